"""weightstring: find, measure and show low-loss paths between trained PyTorch models.

Names are imported when first used: importing the package must not cost the seconds that PyTorch takes.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from weightstring.errors import (
        EndAboveThreshold,
        InvalidCheckpoint,
        InvalidData,
        InvalidModel,
        InvalidRun,
        InvalidSetting,
        LevelNotReached,
        NotDeterministic,
        NotEquivalent,
        RunLocked,
        StoreFailed,
        TaskError,
        Unsupported,
        WeightstringError,
        WorkerFailed,
    )
    from weightstring.path import Connected, Disconnected, Evidence, Proof, Unresolved, WeightString
    from weightstring.path.curve import locate_maximum, loss_curve
    from weightstring.path.plane import Plane, plane
    from weightstring.problem import ModuleProblem
    from weightstring.problem.random_pair import random_pair
    from weightstring.proof.certificate import Certificate
    from weightstring.proof.enclose.proving import certify
    from weightstring.proof.verify import Verification, verify
    from weightstring.protocol import LossProblem, Recipe
    from weightstring.report import write_report
    from weightstring.runs.connect import connect, connect_many
    from weightstring.runs.result import Result, load
    from weightstring.search import (
        AsInThePaper,
        AutoNEB,
        Bezier,
        BreadthFirst,
        Budget,
        Constrained,
        Greedy,
        MaxBeads,
        MaxSteps,
        Persistent,
        PolyChain,
        Processes,
        Shortened,
    )
    from weightstring.study.compare import compare
    from weightstring.study.components import Components, components
    from weightstring.study.merge import Merging, merge
    from weightstring.study.minimax import Minimax, minimax
    from weightstring.study.sweep.running import Sweep, sweep
    from weightstring.symmetry.alignment import Aligned, align
    from weightstring.symmetry.copies import permuted_copy, rescaled_copy
    from weightstring.symmetry.spec import Group, Symmetry

_HOMES = {
    "study.compare": ("compare",),
    "runs.connect": ("connect", "connect_many"),
    "errors": (
        "EndAboveThreshold",
        "InvalidCheckpoint",
        "InvalidData",
        "InvalidModel",
        "InvalidRun",
        "InvalidSetting",
        "LevelNotReached",
        "NotDeterministic",
        "NotEquivalent",
        "RunLocked",
        "StoreFailed",
        "TaskError",
        "Unsupported",
        "WeightstringError",
        "WorkerFailed",
    ),
    "proof.certificate": ("Certificate",),
    "proof.enclose.proving": ("certify",),
    "study.minimax": ("Minimax", "minimax"),
    "study.merge": ("Merging", "merge"),
    "path": ("Connected", "Disconnected", "Evidence", "Proof", "Unresolved", "WeightString"),
    "path.curve": ("locate_maximum", "loss_curve"),
    "path.plane": ("Plane", "plane"),
    "problem": ("ModuleProblem",),
    "problem.random_pair": ("random_pair",),
    "protocol": ("LossProblem", "Recipe"),
    "report": ("write_report",),
    "runs.result": ("Result", "load"),
    "study.components": ("Components", "components"),
    "study.sweep.running": ("Sweep", "sweep"),
    "symmetry.alignment": ("Aligned", "align"),
    "symmetry.copies": ("permuted_copy", "rescaled_copy"),
    "symmetry.spec": ("Group", "Symmetry"),
    "proof.verify": ("Verification", "verify"),
    "search": (
        "AsInThePaper",
        "AutoNEB",
        "Bezier",
        "BreadthFirst",
        "Budget",
        "Constrained",
        "Greedy",
        "MaxBeads",
        "MaxSteps",
        "Persistent",
        "PolyChain",
        "Processes",
        "Shortened",
    ),
}
_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Aligned",
    "AsInThePaper",
    "AutoNEB",
    "Bezier",
    "BreadthFirst",
    "Budget",
    "Certificate",
    "Components",
    "Connected",
    "Constrained",
    "Disconnected",
    "EndAboveThreshold",
    "Evidence",
    "Greedy",
    "Group",
    "InvalidCheckpoint",
    "InvalidData",
    "InvalidModel",
    "InvalidRun",
    "InvalidSetting",
    "LevelNotReached",
    "LossProblem",
    "MaxBeads",
    "MaxSteps",
    "Merging",
    "Minimax",
    "ModuleProblem",
    "NotDeterministic",
    "NotEquivalent",
    "Persistent",
    "Plane",
    "PolyChain",
    "Processes",
    "Proof",
    "Recipe",
    "Result",
    "RunLocked",
    "Shortened",
    "StoreFailed",
    "Sweep",
    "Symmetry",
    "TaskError",
    "Unresolved",
    "Unsupported",
    "Verification",
    "WeightString",
    "WeightstringError",
    "WorkerFailed",
    "align",
    "certify",
    "compare",
    "components",
    "connect",
    "connect_many",
    "load",
    "locate_maximum",
    "loss_curve",
    "merge",
    "minimax",
    "permuted_copy",
    "plane",
    "random_pair",
    "rescaled_copy",
    "sweep",
    "verify",
    "write_report",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'weightstring' has no attribute {name!r}")
    value = getattr(import_module(f"weightstring.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value
