"""Copies of a model that compute the same function at another θ: test pairs whose answer is known."""

from __future__ import annotations

from weightstring.ambient import undisturbed
from weightstring.arrays import Theta
from weightstring.errors import InvalidSetting, Unsupported
from weightstring.path import check_theta
from weightstring.problem import Modular
from weightstring.symmetry.equivalence import check_equivalent, check_move, check_symmetry
from weightstring.symmetry.finding import find
from weightstring.symmetry.moves import Move, random_factors, random_maps, random_permutation, unfoldable
from weightstring.symmetry.spec import Symmetry


@undisturbed
def permuted_copy(
    problem: Modular, theta: Theta, seed: int = 0, *, symmetry: Symmetry | None = None, even: bool = False
) -> Theta:
    """The same function with its hidden units in a random order: π(θ) (P,).

    Args:
        problem: whose model.
        theta: the model (P,).
        seed: of the permutation.
        symmetry: found from the module unless given.
        even: only even permutations of each group.

    Raises:
        InvalidCheckpoint: θ is not the problem's.
        NotEquivalent: the copy computes something else: a symmetry by hand is wrong.
        Unsupported: the module's symmetry cannot be found.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(net, torch.nn.functional.mse_loss, (torch.ones(2, 1), torch.ones(2, 1)))
    >>> theta = problem.initial(0)
    >>> copy = permuted_copy(problem, theta, seed=1)
    >>> bool((copy != theta).any()), bool((copy.sort().values == theta.sort().values).all())
    (True, True)
    """
    check_theta(problem, theta, "the model")
    move = random_permutation(_checked(problem, symmetry, theta, "permuted_copy"), seed, even=even)
    return _moved(problem, move, theta, "permuted_copy")


@undisturbed
def rescaled_copy(
    problem: Modular, theta: Theta, seed: int = 0, *, symmetry: Symmetry | None = None, largest: float = 2.0
) -> Theta:
    """The same function with units scaled at random, in by c and out by 1/c, up to rounding (P,).

    Args:
        problem: whose model.
        theta: the model (P,).
        seed: of the factors c.
        symmetry: found from the module unless given.
        largest: c lies between 1/largest and largest; where units are odd, as tanh, signs change.

    Raises:
        InvalidCheckpoint: θ is not the problem's.
        InvalidSetting: ``largest`` is below 1.
        NotEquivalent: the copy computes something else: a symmetry by hand is wrong.
        Unsupported: the module's symmetry cannot be found.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(net, torch.nn.functional.mse_loss, (torch.ones(2, 1), torch.ones(2, 1)))
    >>> theta = problem.initial(0)
    >>> losses = problem.measure(torch.stack([theta, rescaled_copy(problem, theta, seed=1)]))["loss"]
    >>> bool((losses[0] - losses[1]).abs() < 1e-5)
    True
    """
    check_theta(problem, theta, "the model")
    if not largest >= 1:
        raise InvalidSetting(
            f"rescaled_copy(largest={largest}): factors lie between 1/largest and largest: give 1 or more"
        )
    move = random_factors(_checked(problem, symmetry, theta, "rescaled_copy"), seed, largest)
    return _moved(problem, move, theta, "rescaled_copy")


@undisturbed
def mapped_copy(
    problem: Modular, theta: Theta, seed: int = 0, *, symmetry: Symmetry | None = None, largest: float = 2.0
) -> Theta:
    """The same function with units mixed by random linear maps, where it has any, up to rounding (P,).

    Args:
        problem: whose model.
        theta: the model (P,).
        seed: of the maps.
        symmetry: found from the module unless given.
        largest: singular values lie between 1/largest and largest, where maps need not be orthogonal.

    Raises:
        InvalidCheckpoint: θ is not the problem's.
        InvalidSetting: ``largest`` is below 1.
        NotEquivalent: the copy computes something else: a symmetry by hand is wrong.
        Unsupported: the module's symmetry cannot be found, or a vector that must become 1 has zeros.

    >>> import torch
    >>> net = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Linear(3, 1))
    >>> from weightstring.problem import ModuleProblem
    >>> problem = ModuleProblem(net, torch.nn.functional.mse_loss, (torch.ones(2, 1), torch.ones(2, 1)))
    >>> theta = problem.initial(0)
    >>> losses = problem.measure(torch.stack([theta, mapped_copy(problem, theta, seed=1)]))["loss"]
    >>> bool((losses[0] - losses[1]).abs() < 1e-5)
    True
    """
    check_theta(problem, theta, "the model")
    if not largest >= 1:
        raise InvalidSetting(
            f"mapped_copy(largest={largest}): factors lie between 1/largest and largest: give 1 or more"
        )
    move = random_maps(_checked(problem, symmetry, theta, "mapped_copy"), seed, largest)
    if zeros := unfoldable(move.symmetry, theta):
        raise Unsupported(
            f"mapped_copy: {', '.join(zeros)} has zeros, which no factor makes 1: permute or rescale instead"
        )
    return _moved(problem, move, theta, "mapped_copy")


def _checked(problem: Modular, symmetry: Symmetry | None, theta: Theta, subject: str) -> Symmetry:
    """A symmetry by hand, if it is one; else what is found."""
    if symmetry is None:
        return find(problem)
    check_symmetry(problem, symmetry, theta, subject)
    return symmetry


def _moved(problem: Modular, move: Move, theta: Theta, subject: str) -> Theta:
    check_move(problem, move, theta, subject)
    moved = move(theta)
    check_equivalent(problem, theta, moved, subject)
    return moved
