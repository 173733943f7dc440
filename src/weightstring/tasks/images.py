"""MNIST and Fashion-MNIST: 70,000 real images of 28×28 grey pixels in ten classes, by a network of one's choice."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from weightstring.errors import InvalidSetting
from weightstring.problem import ModuleProblem
from weightstring.randomness import generator
from weightstring.recipe import Recipe
from weightstring.tasks.files import Labelled, read_images
from weightstring.tasks.metrics import error_rate
from weightstring.tasks.networks import CLASSES, STATISTICS_CHUNK, cnn, draw_normal, mlp, resnet, small_cnn
from weightstring.tasks.options import choose, recipe_of
from weightstring.tasks.published import IMAGE_SETS, ImageSet

CONVOLUTIONAL = {"small-cnn": small_cnn, "cnn": cnn, "resnet": resnet}


def task_of(name: str) -> Callable[..., ModuleProblem]:
    """The task of a set of images of that name."""

    def task(
        net: str = "mlp",
        hidden: str = "256-128",
        train_size: int = 60_000,
        test_size: int = 10_000,
        data_seed: int = 0,
        batch_size: int = 128,
        optimizer: str = "auto",
        lr: float = 0.0,
        one_cycle: int = 0,
        first_weights: float = 0.0,
        train_curves: bool = True,
        data: Path | None = None,
    ) -> ModuleProblem:
        """Images of a set (Section V.B), cross-entropy, and the error rate as metric.

        The evaluation set is the test set. Pixels are scaled to [0, 1] and standardised by the mean and the standard
        deviation of all training pixels. With ``net="resnet"`` BatchNorm's statistics are collected on all training
        inputs for every θ measured: seven passes instead of one, unless ``train_size`` is smaller.

        Args:
            net: ``mlp``, ``small-cnn``, ``cnn`` (the paper's), or ``resnet``.
            hidden: units in each hidden layer of the mlp, joined by dashes; empty for none.
            train_size: training images.
            test_size: evaluation images.
            data_seed: draws the images, where not all are wanted, without replacement.
            batch_size: images in a minibatch.
            optimizer: ``auto``, which finds its own step, or one of torch.optim, such as ``adam``.
            lr: its learning rate, of ``auto`` Adam's; 0: .001, or what ``auto`` finds.
            one_cycle: steps in which networks are trained by :meth:`weightstring.Recipe.one_cycle`; 0: by ``optimizer``
                and ``lr``, as beads always descend.
            first_weights: their standard deviation in a random network, for ``mlp``, ``small-cnn`` and ``cnn``; 0: as
                PyTorch draws them.
            train_curves: measure the training images along a finished string too, unless that takes longer than the
                search.
            data: directory with the files; None: the one that $WEIGHTSTRING_DATA names.

        Raises:
            InvalidSetting: an option has no such value.
            InvalidData: the files are missing or not the published ones.

        >>> mnist(data=Path("nowhere"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        weightstring.errors.InvalidData: mnist: there is no train-images-idx3-ubyte.gz in nowhere/mnist, ...

        >>> fashion_mnist(net="transformer")
        Traceback (most recent call last):
        weightstring.errors.InvalidSetting: fashion-mnist: net='transformer': choose one of mlp, small-cnn, cnn, resnet
        """
        images = IMAGE_SETS[name]
        choose(images.name, "net", net, ["mlp", *CONVOLUTIONAL])
        widths = _widths(images, hidden)
        if first_weights < 0 or (first_weights and net == "resnet"):
            raise InvalidSetting(
                f"{images.name}: first_weights={first_weights:g}: a deviation > 0 of a network without BatchNorm"
            )
        parts = read_images(images, data)
        flat = net == "mlp"
        train = _examples(images, parts.train, "train_size", train_size, data_seed, flat)
        evaluate = _examples(images, parts.test, "test_size", test_size, data_seed, flat)
        return ModuleProblem(
            mlp([train[0].shape[1], *widths, CLASSES]) if flat else CONVOLUTIONAL[net](),
            nn.CrossEntropyLoss(),
            train=train,
            evaluate=evaluate,
            metrics={"error": error_rate},
            chunk=STATISTICS_CHUNK if net == "resnet" else 2048,
            batch_size=batch_size,
            recipe=recipe_of(optimizer, lr),
            training_recipe=Recipe.one_cycle(one_cycle) if one_cycle else None,
            initialise=partial(draw_normal, deviation=first_weights) if first_weights else None,
            train_curves="auto" if train_curves else False,
        )

    return task


mnist = task_of("mnist")
"""Handwritten digits."""

fashion_mnist = task_of("fashion-mnist")
"""Articles of clothing, which are harder."""


def drawn_rows(name: str, whole: int, option: str, size: int, data_seed: int) -> Int64[Tensor, " size"]:
    """Rows of a random subset of so many images, in their order; with one seed, fewer are a subset of more.

    Args:
        name: of the set.
        whole: how many there are.
        option: what ``size`` is called.
        size: how many are wanted.
        data_seed: draws them, without replacement.

    Raises:
        InvalidSetting: there are not so many.

    >>> drawn_rows("mnist", 3, "train_size", 3, 0)
    tensor([0, 1, 2])
    """
    if not 1 <= size <= whole:
        raise InvalidSetting(f"{name}: {option}={size}: there are {whole} images; give 1 to {whole}")
    return torch.randperm(whole, generator=generator(data_seed, name, option))[:size].sort().values


def _widths(images: ImageSet, hidden: str) -> list[int]:
    parts = hidden.split("-") if hidden else []
    if not all(part.isdecimal() and int(part) > 0 for part in parts):
        raise InvalidSetting(
            f"{images.name}: hidden={hidden!r}: join the widths of the hidden layers by dashes, such as 256-128"
        )
    return [int(part) for part in parts]


def _examples(
    images: ImageSet, labelled: Labelled, option: str, size: int, data_seed: int, flat: bool
) -> tuple[Float[Tensor, " n *pixels"], Int64[Tensor, " n"]]:
    """Inputs and targets of a random subset, in the order of the files; standardised as is usual."""
    rows = drawn_rows(images.name, len(labelled.labels), option, size, data_seed)
    inputs = labelled.pixels[rows].float().div_(255).sub_(images.mean).div_(images.std)
    return inputs.flatten(1) if flat else inputs.unsqueeze(1), labelled.labels[rows].long()
