"""Each kind of model from its training to its page: connect, align, merge, report."""

from __future__ import annotations

import copy

import pytest
import torch

import weightstring as ws

from .kinds import KINDS, Real

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture(params=KINDS, ids=lambda name: name.replace(" ", "-"))
def real(request: pytest.FixtureRequest) -> Real:
    if request.param in ("BERT", "GPT-2", "Llama", "T5", "ViT", "LoRA"):
        hf = pytest.importorskip("transformers", reason="pip install transformers to test its models")
        hf.logging.set_verbosity_error()
    if request.param == "LoRA":
        pytest.importorskip("peft", reason="pip install peft to test its adapters")
    return KINDS[request.param]


def test_it_is_connected_aligned_merged_and_shown(real: Real, tmp_path) -> None:
    (problem, by_hand), threshold = real.make(), real.ratio * real.level
    net = copy.deepcopy(problem._parts.net).eval()

    def loss(theta: torch.Tensor) -> float:
        """As a user computes it of what is exported."""
        net.load_state_dict(problem.unflatten(theta))
        with torch.no_grad():
            return by_hand(net)

    a, b = (problem.fit(seed, real.level, 1000) for seed in (0, 1))
    aligned = ws.align(problem, a, b)
    assert aligned.difference < 1e-4
    assert aligned.distance <= float((a - b).norm())
    assert loss(aligned.theta) == pytest.approx(loss(b), rel=1e-3)

    result = ws.connect(problem, a, aligned.theta, threshold, store=tmp_path / "run", progress=False)
    assert result.connected
    values = problem.measure(result.string.beads)["loss"].tolist()
    assert [loss(bead) for bead in result.string.beads] == pytest.approx(values, rel=1e-5)
    assert loss(result.string.at(0.37)) <= threshold
    assert torch.equal(ws.load(tmp_path / "run").string.beads, result.string.beads)

    merging = ws.merge(problem, result.string)
    assert loss(result.string.at(0.5)) == pytest.approx(merging.midpoint.loss, rel=1e-5)
    assert "<strong>Connected</strong> at the threshold" in ws.write_report(tmp_path / "run").read_text()
