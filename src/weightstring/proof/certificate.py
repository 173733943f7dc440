"""The certificate: what was proved, the partition that proves it, and digests of all it is about."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch

from weightstring.arrays import Thetas
from weightstring.codec import Loss, decode
from weightstring.errors import InvalidRun
from weightstring.notebook import Viewable
from weightstring.problem.capabilities import Certifiable, Traceable, certified_inputs
from weightstring.problem.digests.digest import tensor_digest, tensors_digest, text_digest, without_addresses
from weightstring.problem.digests.identity import lines_of
from weightstring.problem.tensors import named_tensors
from weightstring.store.files import UNREADABLE, one_line, replace_file, writing
from weightstring.store.members import read_whole
from weightstring.store.refusals import reason
from weightstring.tracing.program import program_of

FORMAT = 2


class Piece(NamedTuple):
    """An interval of the proof.

    Args:
        segment: between beads ``segment`` and ``segment + 1``.
        low: t where it begins.
        high: t where it ends.
        bound: the loss is nowhere higher on it.
    """

    segment: int
    low: float
    high: float
    bound: Loss


class Cause(NamedTuple):
    """What an operation takes part in a bound's looseness.

    Args:
        where: the operator and the module that calls it.
        share: of all that operations add to the bound themselves, to first order.
    """

    where: str
    share: float


class Looseness(NamedTuple):
    """How far above the loss a bound lies, and which operations put it there: an explanation, no part of the proof.

    Each operation widens its enclosure by a remainder of its own, beside the errors that it was given. What the bound
    would lose without that remainder, to first order, is its part; later operations' magnification of it is included.

    Args:
        segment: between beads ``segment`` and ``segment + 1``.
        low: t where its interval with the highest bound begins.
        high: t where that ends.
        gap: of that bound over the largest loss at both ends and in the middle.
        causes: operations by their shares, the largest first; empty where the bound is not finite.
    """

    segment: int
    low: float
    high: float
    gap: Loss
    causes: tuple[Cause, ...]


class Certificate(Viewable, msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A proof that the loss is at most ``upper_bound`` on every point of a string.

    The loss is that of the stored parameters in real arithmetic, on the data as stored: rounding is accounted
    for in the bound, which speaks of every t of every segment, not of samples.

    Args:
        quantity: what is bounded, such as ``"loss"``.
        evaluation: what ``"loss"`` is measured on: ``"evaluate"`` or ``"train"``.
        upper_bound: no point of the string has a higher value.
        threshold: the level to be proved; None: only a bound was wanted.
        tolerance: relative distance from the largest sample that was aimed for without a threshold.
        largest_sample: the largest value that was sampled on the way.
        partition: intervals that cover every segment, each with its bound.
        dtype: in which the bounds were computed.
        digests: SHA-256 of ``beads``, ``inputs``, ``targets``, ``module``, ``criterion`` and ``program``, the
            operations that the two are traced as.
        versions: of the software that computed it.
        seconds: the time it took.
        looseness: of the segments with the highest bounds, in order; empty unless asked for, and where operations are
            not enclosed one by one, as those of surfaces.
        problem: the problem's fingerprint, by which a run without its problem knows its own certificate.
        seal: SHA-256 of all of the above.
    """

    format: int = FORMAT
    quantity: str
    evaluation: str
    upper_bound: Loss
    threshold: float | None
    tolerance: float
    largest_sample: float
    partition: tuple[Piece, ...]
    dtype: str
    digests: dict[str, str]
    versions: dict[str, str]
    seconds: float
    looseness: tuple[Looseness, ...] = ()
    problem: str = ""
    seal: str = ""

    @property
    def holds(self) -> bool | None:
        """Whether the bound is at most the threshold; None without one."""
        return None if self.threshold is None else self.upper_bound <= self.threshold

    @property
    def beside_threshold(self) -> str:
        """Where the bound lies beside the threshold, in words; empty without one.

        A string that touches its threshold, as one does whose threshold is the loss of its higher end, has no bound
        under it: rounding alone puts every bound above.
        """
        if self.threshold is None:
            return ""
        if self.holds:
            return f"within the threshold {self.threshold:.6g}"
        touched = self.largest_sample >= self.threshold
        reason = ", which the string touches: a proof needs a threshold a little higher" if touched else ""
        return f"NOT within the threshold {self.threshold:.6g}, by {self.upper_bound - self.threshold:.2g}{reason}"

    @property
    def intervals(self) -> int:
        """Intervals of the partition."""
        return len(self.partition)

    @property
    def loosest(self) -> Piece:
        """The interval with the highest bound."""
        return max(self.partition, key=lambda piece: piece.bound)

    def content_digest(self) -> str:
        """The digest that ``seal`` must equal."""
        return text_digest(msgspec.json.encode(msgspec.structs.replace(self, seal="")).decode())

    def sealed(self) -> Certificate:
        """A copy with its seal."""
        return msgspec.structs.replace(self, seal=self.content_digest())

    @property
    def flaw(self) -> str | None:
        """How it shows, without the problem, that the certificate was changed since it was made; None: it does not."""
        if self.format != FORMAT:
            return f"it was written in format {self.format}, this version reads {FORMAT}"
        if self.content_digest() != self.seal:
            return "its seal does not fit its content: the file was changed"
        if not self.partition or self.upper_bound != self.loosest.bound:
            return "its upper bound is not that of its intervals: the file was changed"
        return None

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it as JSON, whole or not at all.

        Raises:
            StoreFailed: the disk refuses.
        """
        file = Path(path)
        with writing(file, "certify again, or give another place"):
            replace_file(file, self.to_json())

    def to_json(self) -> bytes:
        """What :meth:`save` writes."""
        return msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Certificate:
        """Read a certificate; whether it is true is for ``verify`` to find out.

        Raises:
            InvalidRun: there is none, or it is damaged.
        """
        file = Path(path)
        try:
            content = read_whole(file)
        except FileNotFoundError:
            raise InvalidRun(f"{file}: no certificate here; make one with weightstring certify") from None
        except OSError as error:
            raise InvalidRun(
                f"{file}: cannot be read: {reason(error)}; make a new one with weightstring certify"
            ) from None
        return cls.from_json(content, str(file))

    @classmethod
    def from_json(cls, content: bytes, place: str) -> Certificate:
        """What :meth:`to_json` wrote.

        Args:
            content: the JSON.
            place: where it comes from, for messages.

        Raises:
            InvalidRun: it is damaged.
        """
        try:
            return decode(msgspec.json.decode(content), cls)
        except UNREADABLE as error:
            raise InvalidRun(
                f"{place}: not a certificate ({one_line(error)}); make a new one with weightstring certify"
            ) from None

    def __str__(self) -> str:
        what = "the loss" if self.quantity == "loss" else self.quantity
        said = f"certified: {what} is at most {self.upper_bound:.6g} on the whole string"
        if self.threshold is not None:
            said += f", {self.beside_threshold}"
        return f"{said} ({self.intervals} intervals, largest sample {self.largest_sample:.6g})"


def digests_of(problem: Certifiable, beads: Thetas, quantity: str) -> dict[str, str]:
    """Digests of all that a certificate is about."""
    digests = {"beads": tensor_digest(beads)}
    if not isinstance(problem, Traceable):
        return digests | {"module": problem.fingerprint()}
    (net, criterion, examples, block), estimated = certified_inputs(problem, quantity)
    running = frozenset[str]() if estimated is None else estimated.names
    tensors: Mapping[str, torch.Tensor] = named_tensors(net)
    constants = {name: tensors[name] for name in tensors if name not in {*problem.layout.names, *running}}
    structure = text_digest(without_addresses(str(net)), repr(problem.layout), tensors_digest(constants))
    if estimated is not None:
        leaves = map(tensor_digest, estimated.examples.leaves)
        digests["training inputs"] = text_digest(f"in chunks of {estimated.chunk}", *leaves)
    return digests | {
        "inputs": text_digest(repr(examples.keys), *(tensor_digest(leaf) for leaf in examples.leaves)),
        "targets": tensor_digest(examples.targets),
        "module": structure,
        "program": program_of(problem, quantity).digest(),
        # By name and code; its constants are in the program, and what it counts from call to call is none of them.
        "criterion": f"{text_digest(lines_of(criterion)[0])} in blocks of {block}",
    }


def versions() -> dict[str, str]:
    """Versions of the software that computes."""
    return {name: version(name) for name in ("weightstring", "torch", "numpy")}
