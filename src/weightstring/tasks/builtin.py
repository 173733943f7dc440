"""The built-in tasks by name, and where each lives. Nothing here imports PyTorch: help and completion list them too."""

from __future__ import annotations

BUILT_IN = {
    "digits": "weightstring.tasks.digits:digits",
    "polynomial": "weightstring.tasks.polynomial:polynomial",
    "mnist": "weightstring.tasks.images:mnist",
    "fashion-mnist": "weightstring.tasks.images:fashion_mnist",
    "cifar10": "weightstring.tasks.cifar:cifar10",
    "cifar100": "weightstring.tasks.cifar:cifar100",
    "text": "weightstring.tasks.text:text",
}
