"""Handwritten digits: the 1,797 real ones that scikit-learn carries, so no download is needed.

They are 8×8 grey images from the test set of E. Alpaydin and C. Kaynak, "Optical Recognition of
Handwritten Digits", UCI Machine Learning Repository, 1998.
"""

from __future__ import annotations

import gzip
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import nn

from weightstring.errors import InvalidSetting
from weightstring.problem import ModuleProblem
from weightstring.randomness import generator
from weightstring.tasks.metrics import error_rate
from weightstring.tasks.networks import CLASSES, mlp

TRAIN_SIZE = 1297
"""Images to train on; the other 500 are the evaluation set."""


def digits(width: int = 64, depth: int = 2, batch_size: int = 128, data_seed: int = 0) -> ModuleProblem:
    """A multilayer perceptron, 64-width-…-width-10 with ReLU, cross-entropy, and the error rate as metric.

    Args:
        width: units in each hidden layer.
        depth: hidden layers.
        batch_size: images in a minibatch.
        data_seed: of the split into training and evaluation images.

    >>> problem = digits()
    >>> problem.size, problem.quantities
    (8970, ('loss', 'error', 'train_loss', 'train_error'))
    """
    if width < 1 or depth < 0:
        raise InvalidSetting(f"digits: width={width}, depth={depth}: width must be positive, depth not negative")
    table = _table()
    inputs = table[:, :-1].float() / 16  # grey levels are 0 to 16
    targets = table[:, -1].clone()
    order = torch.randperm(len(inputs), generator=generator(data_seed, "digits split"))
    train, evaluate = order[:TRAIN_SIZE], order[TRAIN_SIZE:]
    return ModuleProblem(
        mlp([64, *[width] * depth, CLASSES]),
        nn.CrossEntropyLoss(),
        train=(inputs[train], targets[train]),
        evaluate=(inputs[evaluate], targets[evaluate]),
        metrics={"error": error_rate},
        batch_size=batch_size,
    )


def _table() -> torch.Tensor:
    """Grey levels (1797, 64) and the digit beside them, from scikit-learn's file: importing it takes 1.5 seconds."""
    found = find_spec("sklearn")
    assert found is not None  # weightstring depends on it
    file = Path(*found.submodule_search_locations or (), "datasets", "data", "digits.csv.gz")
    with gzip.open(file, "rt", encoding="ascii") as lines:
        return torch.from_numpy(np.loadtxt(lines, delimiter=",", dtype=np.int64))
