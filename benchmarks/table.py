"""The loss at 17 points between two networks on a table: CPU seconds, beside plain loops.

    python -m benchmarks table [--rows 1000000] [--repeats 5]

Two plain loops: one that puts the whole table through the network at once, and one in blocks, which is what a careful
user writes. All take turns; medians of CPU seconds of the process, so that a busy machine matters little. The losses
of all agree to float32's rounding. Memory is what a curve takes beyond the data, at its peak.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

import weightstring as ws
from benchmarks.measuring import asked, keep, parser
from benchmarks.memory import Peak, anonymous

POINTS = 17
BLOCK = 2048


def network(kind: str, columns: int) -> nn.Module:
    """Small networks: a plain stack, and one that only ``nn.Module`` calls compute."""
    if kind == "mlp":
        return nn.Sequential(nn.Linear(columns, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    return Residual(columns)


class Residual(nn.Module):
    """A network with a shortcut and a LayerNorm, which no stack of layers is."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.into, self.inner, self.out = nn.Linear(columns, 64), nn.Linear(64, 64), nn.Linear(64, 10)
        self.norm = nn.LayerNorm(64)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        h = self.into(x).relu()
        return self.out(self.norm(h + self.inner(h).relu()))


def plain(
    net: nn.Module, ends: tuple[Tensor, Tensor], ts: Tensor, data: tuple[Tensor, Tensor], block: int
) -> Callable[[], Tensor]:
    """The loop that one writes by hand: interpolate, load, evaluate."""
    inputs, targets = data

    def run() -> Tensor:
        losses = []
        with torch.no_grad():
            for t in ts.tolist():
                nn.utils.vector_to_parameters(torch.lerp(*ends, t), net.parameters())
                total = 0.0
                for start in range(0, len(inputs), block):
                    part = slice(start, start + block)
                    loss = nn.functional.cross_entropy(net(inputs[part]), targets[part])
                    total += float(loss) * len(targets[part])
                losses.append(total / len(inputs))
        return torch.tensor(losses, dtype=torch.float64)

    return run


def measured(sides: dict[str, Callable[[], Tensor]], repeats: int) -> dict[str, dict[str, float]]:
    """Median CPU seconds and peak memory of each side, in turns."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    memory: dict[str, float] = {}
    for turn in range(repeats + 1):
        for name, run in sides.items():
            if turn == 0:  # warming up, with memory watched
                before = anonymous()
                with Peak() as peak:
                    run()
                memory[name] = (peak.bytes - before) / 2**20
                continue
            start = time.process_time()
            run()
            found[name].append(time.process_time() - start)
    return {
        name: {"CPU seconds": round(statistics.median(times), 3), "MiB": round(memory[name], 1)}
        for name, times in found.items()
    }


def main(arguments: Sequence[str]) -> None:
    """Measure and keep."""
    options = parser(__doc__)
    options.add_argument("--rows", type=int, default=10**6)
    options.add_argument("--columns", type=int, default=32)
    options.add_argument("--repeats", type=int, default=5)
    chosen = asked(options, arguments)
    if chosen.quick:
        chosen.rows //= 20
    draw = torch.Generator().manual_seed(0)
    inputs = torch.randn(chosen.rows, chosen.columns, generator=draw)
    targets = (inputs[:, :10] + 0.5 * torch.randn(chosen.rows, 10, generator=draw)).argmax(1)
    results, lines = [], {}
    for kind in ("mlp", "residual"):
        torch.manual_seed(0)
        net = network(kind, chosen.columns)
        problem = ws.ModuleProblem(net, nn.functional.cross_entropy, (inputs, targets))
        a, b = (problem.initial(seed) for seed in range(2))
        ts = torch.linspace(0, 1, POINTS, dtype=torch.float64)
        sides: dict[str, Callable[[], Tensor]] = {
            "plain, all at once": plain(net, (a, b), ts, (inputs, targets), chosen.rows),
            f"plain, blocks of {BLOCK}": plain(net, (a, b), ts, (inputs, targets), BLOCK),
            "ours": lambda problem=problem, a=a, b=b, ts=ts: problem.measure_along(a, b, ts)["loss"],  # type: ignore[misc]
        }
        curves = [run() for run in sides.values()]
        apart = max(float((curve - curves[0]).abs().max()) for curve in curves)
        rows = measured(sides, chosen.repeats)
        fastest = min(own["CPU seconds"] for name, own in rows.items() if name != "ours")
        results += [{"network": kind, "side": name, **own} for name, own in rows.items()]
        lines[f"{kind}: ours over the faster plain loop"] = round(rows["ours"]["CPU seconds"] / fastest, 2)
        lines[f"{kind}: engine"] = problem.engine_choice().reason
        lines[f"{kind}: largest difference of a loss"] = f"{apart:.0e}"
    shape = {"rows": chosen.rows, "columns": chosen.columns, "points": POINTS}
    keep("table", {**shape, **lines, "curves": results}, chosen.quick)
