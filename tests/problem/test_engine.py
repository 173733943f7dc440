import pytest
import torch
from torch import nn
from torch.nn import functional

from weightstring.errors import InvalidModel
from weightstring.problem import ModuleProblem
from weightstring.problem import engine as engines
from weightstring.problem.engine import GAIN, EngineChoice, Trial, width


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent = nn.GRU(2, 3, batch_first=True)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.recurrent(inputs)[0][:, -1]


class Branching(nn.Module):
    """Decides by the value of an output, which vmap cannot do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        output = self.linear(inputs)
        return output if output.sum() > 0 else 2 * output


class Forking(nn.Module):
    """Gives other numbers under vmap, where a tensor cannot tell that it has a gradient."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.linear(inputs) * (1.0 if "Batched" not in repr(self.linear.weight) else 1.5)


def convolution() -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(1, 3, 2), nn.BatchNorm1d(3), nn.ReLU(), nn.MaxPool1d(2), nn.Flatten(), nn.Linear(6, 3)
    )


def norm_mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 3))


def problem_of(net: nn.Module, *shape: int, count: int = 29, dtype: torch.dtype = torch.float64, **settings: object):
    generator = torch.Generator().manual_seed(2)
    inputs = 1 + torch.randn(count, *shape, generator=generator)
    targets = torch.randint(3, (count,), generator=generator)
    return ModuleProblem(net, functional.cross_entropy, (inputs, targets), dtype=dtype, **settings)


@pytest.mark.parametrize(("build", "shape"), [(norm_mlp, (2,)), (convolution, (1, 5))])
@pytest.mark.parametrize("buffers", ["recalibrate", "frozen"])
def test_vmap_agrees_with_the_loop(build, shape, buffers):
    torch.manual_seed(0)
    problem = problem_of(build(), *shape, buffers=buffers, chunk=10)
    thetas = torch.stack([problem.initial(seed) for seed in range(5)])
    rows = torch.stack([torch.randperm(29)[:6] for _ in thetas])
    results = {}
    for engine in ("loop", "vmap"):
        problem.use_engine(engine)
        results[engine] = (
            problem.measure(thetas)["loss"],
            *problem.gradient(thetas, rows),
            *problem.gradient(thetas, None),
        )
    for one, other in zip(*results.values(), strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-12)


def test_models_are_split_to_bound_memory(monkeypatch):
    problem = problem_of(norm_mlp(), 2, engine="vmap")
    thetas = torch.stack([problem.initial(seed) for seed in range(7)])
    rows = torch.arange(6).expand(7, -1)
    whole = problem.measure(thetas)["loss"], problem.gradient(thetas, rows).gradients
    monkeypatch.setattr("weightstring.problem.engine.CALL_ELEMENTS", 29 * 3 * 3)
    split = problem.measure(thetas)["loss"], problem.gradient(thetas, rows).gradients
    assert all(torch.allclose(one, other, rtol=1e-12) for one, other in zip(whole, split, strict=True))


def test_width_counts_models_that_fit():
    assert width("vmap", 2048, 784) == 10
    assert width("vmap", 1 << 20, 100) == 1
    assert width("loop", 1, 1) == 1


def dropping() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 40), nn.Dropout(0.5), nn.Linear(40, 3))


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("whole", [False, True], ids=["on rows", "on the whole set"])
def test_what_dropout_draws_for_a_model_depends_on_nothing_beside_it(engine, whole):
    problem = problem_of(dropping(), 2, engine=engine, chunk=10)
    thetas = torch.stack([problem.initial(seed) for seed in range(3)])
    rows = None if whole else torch.stack([torch.arange(6), torch.arange(5, 11), torch.arange(28, 22, -1)])
    together = problem.gradient(thetas, rows)
    for index in range(3):
        own = None if rows is None else rows[index : index + 1]
        alone = problem.gradient(thetas[index : index + 1], own)
        assert torch.equal(alone.losses, together.losses[index : index + 1])
        assert torch.equal(alone.gradients, together.gradients[index : index + 1])
    if rows is not None:
        assert not torch.equal(together.losses, problem.gradient(thetas, rows.flip(1)).losses)


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_only_what_draws_is_seeded_and_taken_one_by_one(monkeypatch, engine):
    seeds, widths = [], []
    slopes = engines._slopes
    monkeypatch.setattr(engines, "_seed", lambda own: seeds.append(own) or 3)
    monkeypatch.setattr(engines, "_slopes", lambda *args: widths.append(len(args[1])) or slopes(*args))
    counts = {}
    for build in (dropping, norm_mlp):
        problem = problem_of(build(), 2, engine=engine)
        seeds.clear(), widths.clear()
        problem.gradient(problem.initial(0).expand(4, -1), torch.arange(6).expand(4, -1))
        counts[build] = len(seeds), list(widths)
    assert counts[dropping] == (4, [1, 1, 1, 1])
    assert counts[norm_mlp] == (0, [4] if engine == "vmap" else [1, 1, 1, 1])


def test_draws_show_even_where_they_change_nothing():
    dead = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4, 3))
    nn.init.constant_(dead[0].bias, -1e3)
    assert problem_of(dead, 2)._computation.draws
    assert not problem_of(nn.Sequential(nn.Linear(2, 3), nn.Dropout(0.0)), 2)._computation.draws
    assert not problem_of(convolution(), 1, 5)._computation.draws


def test_a_gradient_can_be_written_to_and_has_the_models_dtype():
    def total(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return output.double().mean()

    net = nn.Linear(2, 3, bias=False)
    problem = ModuleProblem(net, total, (torch.ones(7, 2), torch.ones(7)), dtype=torch.float32, engine="vmap")
    losses, gradients = problem.gradient(problem.initial(0).expand(2, -1), torch.arange(4).expand(2, -1))
    assert losses.dtype == gradients.dtype == torch.float32
    gradients[0, 0] += 1
    assert torch.allclose(gradients * 3, torch.tensor([[4.0, 1, 1, 1, 1, 1], [1.0] * 6]))


def test_the_choice_is_made_once_and_explains_itself():
    problem = problem_of(norm_mlp(), 2)
    choice = problem.engine_choice()
    assert problem.engine_choice() is choice
    assert choice.agreement <= 1e-9
    faster = f"vmap: {choice.speedup:.1f}x faster than one model at a time, results agree to {choice.agreement:.0e}"
    slower = f"loop: vmap runs at {choice.speedup:.1f}x the speed of one model at a time"
    assert choice.reason == (faster if choice.speedup >= GAIN else slower)
    assert choice.name == choice.reason[:4]


@pytest.mark.parametrize("speedup", [0.4, 3.7])
def test_the_faster_engine_is_taken(monkeypatch, speedup):
    monkeypatch.setattr(Trial, "speedup", lambda self: speedup)
    choice = problem_of(norm_mlp(), 2, dtype=torch.float32).engine_choice()
    assert choice.name == ("vmap" if speedup > 1 else "loop")
    assert f"{speedup}x" in choice.reason


@pytest.mark.parametrize(("build", "shape"), [(Recurrent, (4, 2)), (Branching, (2,))])
def test_a_module_that_vmap_cannot_run_is_looped(build, shape):
    problem = problem_of(build(), *shape)
    choice = problem.engine_choice()
    assert choice.reason.startswith("loop: vmap cannot run this module (")
    assert (choice.name, choice.speedup, choice.agreement) == ("loop", None, None)
    thetas = torch.stack([problem.initial(seed) for seed in range(2)])
    assert problem.measure(thetas)["loss"].shape == (2,)
    with pytest.raises(
        InvalidModel, match=r"^engine='vmap' cannot run this module \(.*\): pass engine='auto' or 'loop'$"
    ):
        problem.use_engine("vmap")
    assert problem.engine_choice() is choice


def test_an_engine_with_other_numbers_is_not_taken():
    problem = problem_of(Forking(), 2)
    choice = problem.engine_choice()
    assert choice.name == "loop"
    assert choice.agreement > 0.1
    assert choice.reason.startswith("loop: vmap differs from one model at a time by ")
    with pytest.raises(InvalidModel, match=r"^engine='vmap' differs from one model at a time by .*1e-09 that rounding"):
        problem.use_engine("vmap")


def test_a_metric_that_leaves_tensors_is_measured_by_the_loop():
    def wrong(output: torch.Tensor, targets: torch.Tensor) -> float:
        return (output.argmax(dim=1) != targets).double().mean().item()

    problem = problem_of(norm_mlp(), 2, metrics={"wrong": wrong})
    thetas = torch.stack([problem.initial(seed) for seed in range(2)])
    assert problem.measure(thetas, ("wrong",))["wrong"].shape == (2,)
    assert problem.engine_choice().name == "loop"


def test_a_set_engine_is_kept():
    problem = problem_of(norm_mlp(), 2, engine="loop")
    assert problem.engine_choice() == EngineChoice("loop", "loop: set by the caller")
    problem.use_engine("vmap")
    assert problem.engine_choice().name == "vmap"
    assert problem.engine_choice().reason == "vmap: set by the caller"
