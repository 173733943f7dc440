"""A finished run meets new data: its string is measured on them, and the curve is kept beside its own."""

from __future__ import annotations

from collections.abc import Sequence

from weightstring.ambient import undisturbed
from weightstring.errors import InvalidRun
from weightstring.path import StringCurve
from weightstring.protocol import LossProblem
from weightstring.runs.manifest import digests_of, versions
from weightstring.runs.recording import curve_of, curve_record, from_run
from weightstring.store import Store, StoreLike, opened
from weightstring.store.measured import MeasuredRecord, check_name
from weightstring.store.origins import now, provenance
from weightstring.store.records import TaskRef


@undisturbed
def measure(
    store: StoreLike, problem: LossProblem, *, name: str, task: TaskRef | None = None, command: Sequence[str] = ()
) -> StringCurve:
    """Measure a finished run's string on other data, at the points of its own curve, and keep that with the run.

    The run's verdict and numbers stay what they are: they are about the data that it was searched on. Its page, drawn
    anew by :func:`weightstring.write_report`, shows both curves.

    Args:
        store: the run directory, or another store of the run.
        problem: whatever measures models with the run's parameters: other data, metrics, another loss.
        name: of the curve, in file names and on the page. One that is there already is read back, if it was measured
            by this problem.
        task: recorded with it.
        command: the words of the command line, recorded with it.

    Raises:
        InvalidRun: there is no finished run, it is damaged, or it holds a curve of this name by another problem.
        InvalidCheckpoint: the problem has other parameters.
        InvalidSetting: no name for a curve.
        RunLocked, StoreFailed: see :func:`weightstring.connect`.

    >>> from weightstring import connect
    >>> from weightstring.problem.surfaces import Ring, shifted
    >>> ring, run = Ring(), {}
    >>> result = connect(ring, *ring.ends, threshold=0.1, store=run)
    >>> higher = shifted(ring, ring.ends[0] * 0, lift=1.0)
    >>> curve = measure(run, higher, name="lifted")
    >>> round(curve.barrier("max") - result.string.max_loss, 9)
    1.0
    """
    directory = opened(store)
    string, fingerprint = from_run(directory, proof=False).string, problem.fingerprint()
    beads = directory.result().beads_sha256
    check_name(name)
    for record in directory.measured():
        if record.name == name:
            if record.problem != fingerprint:
                raise InvalidRun(
                    f"{directory}: holds a curve {name!r} measured by another problem; choose another name"
                )
            return curve_of(record.curve)
    curve = string.measure_on(problem)
    record = MeasuredRecord(
        name=name,
        task=task,
        problem=fingerprint,
        digests=digests_of(problem),
        evaluation=problem.evaluation,
        date=now(),
        command=provenance(command).command,
        versions=versions(),
        beads_sha256=beads,
        curve=curve_record(curve),
    )
    _keep(directory, record)
    return curve


def _keep(directory: Store, record: MeasuredRecord) -> None:
    with directory.locked():
        if directory.result().beads_sha256 != record.beads_sha256:
            raise InvalidRun(f"{directory}: its string became another while it was measured; measure it again")
        directory.keep_measured(record)
