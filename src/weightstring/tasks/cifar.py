"""CIFAR-10 and CIFAR-100: 60,000 real colour images of 32×32 pixels, by a network of one's choice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from weightstring.errors import InvalidSetting
from weightstring.problem import ModuleProblem
from weightstring.recipe import Recipe
from weightstring.tasks.augmentation import TrainingLoss
from weightstring.tasks.cifar_files import Coloured, read_cifar
from weightstring.tasks.cifar_networks import VisionTransformer, cnn, resnet, vgg
from weightstring.tasks.cifar_published import CIFAR_SETS, CifarSet
from weightstring.tasks.images import drawn_rows
from weightstring.tasks.metrics import error_rate
from weightstring.tasks.networks import STATISTICS_CHUNK, draw_normal
from weightstring.tasks.options import choose, recipe_of

NETWORKS: dict[str, Callable[[int, float], nn.Module]] = {
    "cnn": cnn,
    "resnet8": lambda classes, width: resnet(classes, 1, width),
    "resnet20": lambda classes, width: resnet(classes, 3, width),
    "vgg11": vgg,
    "vit": VisionTransformer,
}
PLAIN = ("cnn", "vgg11")
"""Those without normalisation, where the size of the first weights tells."""


def task_of(name: str) -> Callable[..., ModuleProblem]:
    """The task of a set of that name."""

    def task(
        net: str = "cnn",
        width: float = 1.0,
        train_size: int = 50_000,
        test_size: int = 10_000,
        data_seed: int = 0,
        batch_size: int = 128,
        optimizer: str = "auto",
        lr: float = 0.0,
        one_cycle: int = 0,
        first_weights: float = 0.0,
        augment: bool = False,
        label_smoothing: float = 0.0,
        train_curves: bool = False,
        data: Path | None = None,
    ) -> ModuleProblem:
        """Images of a set, cross-entropy, and the error rate as metric.

        The evaluation set is the test set. Pixels are scaled to [0, 1] and standardised by each channel's mean and
        standard deviation over all training images. Augmentation and smoothing change training alone: losses and
        errors are measured on images and labels as they are. With BatchNorm (``resnet8``, ``resnet20``) statistics
        are collected on all training inputs for every θ measured: see ``train_size``.

        Args:
            net: ``cnn`` (the paper's), ``resnet8``, ``resnet20``, ``vgg11`` (without BatchNorm), or ``vit``.
            width: factor on its channels, hidden units or features.
            train_size: training images.
            test_size: evaluation images.
            data_seed: draws the images, where not all are wanted, without replacement.
            batch_size: images in a minibatch.
            optimizer: ``auto``, which finds its own step, or one of torch.optim, such as ``adam``.
            lr: its learning rate, of ``auto`` Adam's; 0: .001, or what ``auto`` finds.
            one_cycle: steps in which networks are trained by :meth:`weightstring.Recipe.one_cycle`; 0: by ``optimizer``
                and ``lr``, as beads always descend.
            first_weights: their standard deviation in a random network, for ``cnn`` and ``vgg11``; 0: as PyTorch draws
                them.
            augment: shift training images by up to four pixels each way, and mirror them, at random.
            label_smoothing: the share of each training label that is spread over all classes.
            train_curves: measure the training images along a finished string too, unless that takes longer than the
                search.
            data: directory with the files; None: the one that $WEIGHTSTRING_DATA names.

        Raises:
            InvalidSetting: an option has no such value.
            InvalidData: the files are missing or not the published ones.

        >>> cifar10(net="perceptron")
        Traceback (most recent call last):
        weightstring.errors.InvalidSetting: cifar10: net='perceptron': choose one of cnn, resnet8, resnet20, vgg11, vit
        """
        images = CIFAR_SETS[name]
        choose(name, "net", net, NETWORKS)
        if not 0 < width < float("inf"):
            raise InvalidSetting(f"{name}: width={width:g}: give a factor > 0")
        if not 0 <= label_smoothing < 1:
            raise InvalidSetting(f"{name}: label_smoothing={label_smoothing:g}: give a share from 0 to below 1")
        if first_weights < 0 or (first_weights and net not in PLAIN):
            raise InvalidSetting(
                f"{name}: first_weights={first_weights:g}: a deviation > 0 of a network without normalisation "
                f"({', '.join(PLAIN)})"
            )
        train, test = read_cifar(images, data)
        return ModuleProblem(
            NETWORKS[net](images.classes, width),
            nn.CrossEntropyLoss(),
            train=_examples(images, train, "train_size", train_size, data_seed),
            evaluate=_examples(images, test, "test_size", test_size, data_seed),
            metrics={"error": error_rate},
            batch_size=batch_size,
            recipe=recipe_of(optimizer, lr),
            training_recipe=Recipe.one_cycle(one_cycle) if one_cycle else None,
            initialise=partial(draw_normal, deviation=first_weights) if first_weights else None,
            chunk=STATISTICS_CHUNK if net.startswith("resnet") else 2048,
            training_step=TrainingLoss(augment, label_smoothing) if augment or label_smoothing else None,
            train_curves="auto" if train_curves else False,
        )

    return task


cifar10 = task_of("cifar10")
"""Ten classes of animals and vehicles."""

cifar100 = task_of("cifar100")
"""A hundred classes, which are harder."""


def _examples(
    images: CifarSet, coloured: Coloured, option: str, size: int, data_seed: int
) -> tuple[Float[Tensor, "n 3 32 32"], Int64[Tensor, " n"]]:
    """Inputs and targets of a random subset, in the order of the files; standardised as is usual."""
    rows = drawn_rows(images.name, len(coloured.labels), option, size, data_seed)
    mean, std = (torch.tensor(each)[:, None, None] for each in (images.mean, images.std))
    return coloured.pixels[rows].float().div_(255).sub_(mean).div_(std), coloured.labels[rows].long()
