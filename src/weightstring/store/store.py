"""A run and where it is kept: its manifest, its rounds, its models and its verdict, each under a name.

::

    manifest.json                what determines the result, written first
    beads/ends.safetensors
    beads/through.safetensors    the models that the first string passes through, where there are any
    journal/NNNNNN.json          a finished round: the truth; a run directory has them as lines of journal.jsonl
    beads/round-NNNN.safetensors
    measured-NAME.json           the finished string on other data, where it was measured
    result.json                  the verdict and its numbers, written last
    beads/string.safetensors     its models; of large ones those between the ends, which are written once
    beads/unpruned.safetensors   the first string under the threshold, where it is another; likewise
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import msgspec

from weightstring.arrays import Theta, Thetas
from weightstring.errors import InvalidRun
from weightstring.path import Outcome
from weightstring.store.alignment_record import AlignmentRecord
from weightstring.store.beads import digest
from weightstring.store.flaws import flaw
from weightstring.store.journal import Rounds
from weightstring.store.measured import MeasuredRecord
from weightstring.store.names import beads_name
from weightstring.store.plane_record import PlaneRecord
from weightstring.store.records import FORMAT, AnyManifest, Manifest, ResultRecord
from weightstring.store.strings import Kept, keep_string, read_string


class Store(Rounds):
    """One run, kept somewhere: all that it needs of that place is four methods, by which bytes have names.

    A run that was ended anywhere goes on from what was written: a name must hold all of its content or what it held
    before, once :meth:`write` has returned. Any mutable mapping of names to bytes can be a store, see
    :func:`~weightstring.store.opened`.
    """

    goes_on = "the same call goes on with it"
    """How a run is resumed, in words."""

    travels = True
    """Whether a copy of it in another process, or on another machine that shares its place, writes the same run."""

    def inside(self, name: str) -> Store:
        """The store of another run within this one."""
        return _Inside(self, name)

    def locked(self) -> AbstractContextManager[None]:
        """Keep every other process from writing here; nothing does by default.

        Raises:
            RunLocked: another process writes.
        """
        return nullcontext()

    @property
    def exists(self) -> bool:
        """Whether a run was begun here."""
        return self.has("manifest.json")

    @property
    def finished(self) -> bool:
        """Whether a verdict was written."""
        return self.has("result.json")

    @property
    def plain(self) -> Store:
        """Where the same search between the models as they were given lies, if it was made."""
        return self.inside("plain")

    # -- what determines the run

    def begin(
        self,
        manifest: Manifest,
        ends: Sequence[Theta] | Thetas,
        alignment: AlignmentRecord | None = None,
        through: Sequence[Theta] = (),
    ) -> None:
        """Write the models, how the second end was aligned, and the manifest: with that, a run exists, and is whole.

        Raises:
            InvalidRun: there is a run already.
            StoreFailed: the disk refuses.
        """
        if self.exists:
            raise InvalidRun(f"{self}: another process began a run here just now; {self.goes_on}")
        self.keep("ends", ends)
        if through:
            self.keep("through", through)
        if alignment is not None:
            self.write("alignment.json", msgspec.json.encode(alignment))
        self.amend(manifest)

    def amend(self, manifest: Manifest) -> None:
        """Write a manifest that asks for more of the same run, such as a certificate. Only for who holds the lock.

        Raises:
            StoreFailed: the disk refuses.
        """
        self.write("manifest.json", msgspec.json.format(msgspec.json.encode(manifest)))

    def manifest(self) -> Manifest:
        """What determines the run.

        Raises:
            InvalidRun: there is none, or it is damaged or of another version.
        """
        written = self.record("manifest.json", AnyManifest)  # Another format may have other fields.
        if written is None:
            raise InvalidRun(f"{self}: no run here (no manifest.json); give the directory that --out named")
        if written.format != FORMAT:
            raise InvalidRun(
                f"{self}: written in format {written.format}, this version reads {FORMAT}: "
                f"use weightstring {written.versions.get('weightstring', '?')}"
            )
        return self.required("manifest.json", Manifest)

    def ends(self) -> Thetas:
        """The two ends (2, P), checked against the manifest.

        Raises:
            InvalidRun: they are damaged, or not those of the manifest.
        """
        manifest, ends = self.manifest(), self.models("ends")
        form = (ends.shape, str(ends.dtype))  # Other numbers can have the same bytes.
        if form != ((2, manifest.size), f"torch.{manifest.dtype}") or tuple(map(digest, ends)) != manifest.ends:
            raise InvalidRun(
                f"{self}/{beads_name('ends')}: not the ends of the manifest; one of the two files was changed"
            )
        return ends

    def through(self) -> Sequence[Theta]:
        """The models that the first string passes through between the ends, checked against the manifest.

        Raises:
            InvalidRun: they are damaged, or not those of the manifest.
        """
        waypoints = self.manifest().through
        models = list(self.models("through")) if waypoints else []
        if [digest(model) for model in models] != [waypoint.sha256 for waypoint in waypoints]:
            raise InvalidRun(
                f"{self}/{beads_name('through')}: not the waypoints of the manifest; one of the two files was changed"
            )
        return models

    def alignment(self) -> AlignmentRecord | None:
        """How the second end was aligned with the first; None where it was not.

        Raises:
            InvalidRun: the file is damaged.
        """
        return self.record("alignment.json", AlignmentRecord)

    # -- the result

    def finish(
        self, result: ResultRecord, beads: Sequence[Theta] | Thetas, unpruned: Sequence[Theta] | None = None
    ) -> None:
        """Write the string's models, in order, those of the unpruned string where it is another, and the verdict.

        Raises:
            InvalidRun: something of the run was damaged or removed meanwhile; it is not finished.
            StoreFailed: the disk refuses; the run is not finished.
        """
        self.remove("result.json")  # An earlier verdict is not that of the string that is written now.
        strings = {"string": beads} | ({} if unpruned is None else {"unpruned": unpruned})
        kept = {name: keep_string(self, name, string) for name, string in strings.items()}
        whole = msgspec.structs.replace(
            result,
            beads_sha256=kept["string"].sha256,
            unpruned_sha256=kept["unpruned"].sha256 if "unpruned" in kept else "",
            between=tuple(name for name, each in kept.items() if each.between),
        )
        self.write("result.json", msgspec.json.encode(whole))

    def revise(self, outcome: Outcome) -> None:
        """Write down what was found out about a verdict since; the rest stays. Only for who holds the lock.

        Raises:
            InvalidRun: the run is not finished, or its result is damaged.
            StoreFailed: the disk refuses; the verdict is as it was.
        """
        self.write("result.json", msgspec.json.encode(msgspec.structs.replace(self.result(), outcome=outcome)))

    def result(self) -> ResultRecord:
        """The verdict and its numbers.

        Raises:
            InvalidRun: the run is not finished, or its result is damaged.
        """
        result = self.record("result.json", ResultRecord)
        if result is None:
            self.manifest()
            raise InvalidRun(f"{self}: this run is not finished; {self.goes_on}")
        if says := flaw(result):
            raise InvalidRun(f"{self}/result.json: {says}; the file was changed")
        return result

    def string(self) -> Sequence[Theta] | Thetas:
        """The models of the result's string (n, P), large ones in a list.

        Raises:
            InvalidRun: the run is not finished, or they are damaged or of another string.
        """
        result = self.result()
        return self._string("string", result.beads_sha256, result.string.beads, result.between)

    def unpruned(self) -> Sequence[Theta] | Thetas | None:
        """The models of the first string under the threshold; None where it is the string, or not kept.

        Raises:
            InvalidRun: the run is not finished, or they are damaged or of another string.
        """
        result = self.result()
        if not result.unpruned_sha256:
            return None
        return self._string("unpruned", result.unpruned_sha256, result.string.beads_before_pruning, result.between)

    def _string(self, name: str, sha256: str, count: int, between: Sequence[str]) -> Sequence[Theta] | Thetas:
        kept, shape = Kept(sha256, name in between), (count, self.manifest().size)
        return read_string(self, name, kept, shape, self.ends() if kept.between else ())

    # -- the string on other data

    def keep_measured(self, record: MeasuredRecord) -> None:
        """Keep a curve, then name it in the manifest; of one name the last counts. Only for who holds the lock.

        Raises:
            StoreFailed: the disk refuses.
        """
        self.write(_measured(record.name), msgspec.json.encode(record))
        manifest = self.manifest()
        if record.name not in manifest.measured:
            self.amend(msgspec.structs.replace(manifest, measured=(*manifest.measured, record.name)))

    def measured(self) -> list[MeasuredRecord]:
        """The curves on other data, those of an earlier string of the run left out.

        Raises:
            InvalidRun: the run is not finished, or one is damaged or missing.
        """
        result, found = self.result(), []
        for name in self.manifest().measured:
            record = self.required(_measured(name), MeasuredRecord)
            if record.beads_sha256 != result.beads_sha256:
                continue
            if says := record.flaw(result.string.curve):
                raise InvalidRun(f"{self}/{_measured(name)}: {says}; the file was changed, measure it again")
            found.append(record)
        return found

    # -- the loss around the string

    def write_plane(self, plane: PlaneRecord) -> None:
        """Keep the loss on a plane through the string.

        Raises:
            StoreFailed: the disk refuses.
        """
        self.write("plane.json", msgspec.json.encode(plane))

    def plane_record(self) -> PlaneRecord | None:
        """The plane through the result's string; None where there is none, or only that of an earlier string.

        Raises:
            InvalidRun: the run is not finished, or the file is damaged.
        """
        plane = self.record("plane.json", PlaneRecord)
        if plane is None or plane.beads_sha256 != (result := self.result()).beads_sha256:
            return None
        if says := plane.flaw(result.string.beads):
            raise InvalidRun(f"{self}/plane.json: {says}; the file was changed, measure the plane again")
        return plane


def _measured(name: str) -> str:
    return f"measured-{name}.json"


class _Inside(Store):
    """A run whose names begin with a prefix in the store of another."""

    def __init__(self, outer: Store, prefix: str) -> None:
        self._outer, self._prefix = outer, prefix
        self.travels = outer.travels

    def read(self, name: str) -> bytes | None:
        return self._outer.read(f"{self._prefix}/{name}")

    def write(self, name: str, content: bytes) -> None:
        self._outer.write(f"{self._prefix}/{name}", content)

    def remove(self, name: str) -> None:
        self._outer.remove(f"{self._prefix}/{name}")

    def __str__(self) -> str:
        return f"{self._outer}/{self._prefix}"
