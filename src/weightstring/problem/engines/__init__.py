"""Five ways to compute many models, and the trial that chooses one.

``loop`` takes one model after the other and runs any module; ``channels-last`` does so with a copy of a convolutional
one in the memory format that suits it. ``vmap`` puts models side by side in one tensor program: an order of magnitude
on tiny networks, nothing on convolutions. ``stack`` does the same for plain sequential networks with products of
stacked matrices, and ``native`` by code that the system's compiler makes of C++ that comes with the package.
"""

from weightstring.problem.engines import loop  # noqa: F401, I001 - in the order in which they are tried
from weightstring.problem.engines.native import engine  # noqa: F401
from weightstring.problem.engines import channels_last, stacked, vmapped  # noqa: F401
from weightstring.problem.engines.base import ENGINES, Engine, Unavailable, Workload, engine_named
from weightstring.problem.engines.threads import on_threads
from weightstring.problem.engines.trial import Trial

__all__ = [
    "ENGINES",
    "Engine",
    "Trial",
    "Unavailable",
    "Workload",
    "engine_named",
    "on_threads",
]
