from .citing import citation
from .errors import (
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
from .path import Connected, Disconnected, Evidence, Proof, Unresolved, WeightString
from .path.curve import locate_maximum, loss_curve
from .path.plane import Plane, plane
from .problem import ModuleProblem
from .problem.batchwise.per_batch import MeanOf
from .problem.datasets.batch_sources import epoch
from .problem.datasets.streaming import streamed
from .problem.from_lightning import from_lightning
from .problem.from_transformers import from_transformers
from .problem.losses.folded import FromSums
from .problem.losses.metric_objects import FromMetric
from .problem.random_pair import random_pair
from .problem.ranks.joining import sharded
from .proof.certificate import Certificate
from .proof.enclose.proving import certify
from .proof.verify import Verification, verify
from .protocol import LossProblem
from .recipe import Recipe
from .report import write_report
from .runs.connect import connect, connect_many
from .runs.costs import Estimate
from .runs.estimate import estimate
from .runs.measuring import measure
from .runs.recording import load
from .runs.result import Result
from .search import (
    AsInThePaper,
    AutoNEB,
    Bezier,
    BreadthFirst,
    Budget,
    Constrained,
    Dask,
    Greedy,
    MaxBeads,
    MaxSteps,
    Persistent,
    PolyChain,
    Processes,
    Shortened,
)
from .store import read_checkpoint
from .study.adapters import adapters_only
from .study.align_many import AlignedMany, align_many
from .study.atlas import atlas
from .study.blame import blame
from .study.blaming import Blame
from .study.charting import Atlas
from .study.compare import compare
from .study.components import Components
from .study.diagnosis import Diagnosis, diagnose
from .study.lines import Matrix
from .study.matrix import matrix
from .study.merge import merge
from .study.mergeability import Mergeability
from .study.mergeable import mergeable
from .study.merging import Merging
from .study.minimax import Minimax, minimax
from .study.repair import Repaired, repair
from .study.sweep.collecting import collect
from .study.sweep.running import Sweep, sweep
from .study.threshold import Suggestion, suggest_threshold
from .symmetry.alignment import Aligned, align
from .symmetry.copies import mapped_copy, permuted_copy, rescaled_copy
from .symmetry.spec import Group, Symmetry

__all__ = [
    "Aligned",
    "AlignedMany",
    "AsInThePaper",
    "Atlas",
    "AutoNEB",
    "Bezier",
    "Blame",
    "BreadthFirst",
    "Budget",
    "Certificate",
    "Components",
    "Connected",
    "Constrained",
    "Dask",
    "Diagnosis",
    "Disconnected",
    "EndAboveThreshold",
    "Estimate",
    "Evidence",
    "FromMetric",
    "FromSums",
    "Greedy",
    "Group",
    "InvalidCheckpoint",
    "InvalidData",
    "InvalidModel",
    "InvalidRun",
    "InvalidSetting",
    "LevelNotReached",
    "LossProblem",
    "Matrix",
    "MaxBeads",
    "MaxSteps",
    "MeanOf",
    "Mergeability",
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
    "Repaired",
    "Result",
    "RunLocked",
    "Shortened",
    "StoreFailed",
    "Suggestion",
    "Sweep",
    "Symmetry",
    "TaskError",
    "Unresolved",
    "Unsupported",
    "Verification",
    "WeightString",
    "WeightstringError",
    "WorkerFailed",
    "adapters_only",
    "align",
    "align_many",
    "atlas",
    "blame",
    "certify",
    "citation",
    "collect",
    "compare",
    "connect",
    "connect_many",
    "diagnose",
    "epoch",
    "estimate",
    "from_lightning",
    "from_transformers",
    "load",
    "locate_maximum",
    "loss_curve",
    "mapped_copy",
    "matrix",
    "measure",
    "merge",
    "mergeable",
    "minimax",
    "permuted_copy",
    "plane",
    "random_pair",
    "read_checkpoint",
    "repair",
    "rescaled_copy",
    "sharded",
    "streamed",
    "suggest_threshold",
    "sweep",
    "verify",
    "write_report",
]
