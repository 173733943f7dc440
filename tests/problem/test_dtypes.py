"""Half precision and several dtypes in one module: θ is the master copy, what is measured is what is saved."""

from __future__ import annotations

import itertools
import warnings

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import weightstring as ws
from weightstring.errors import Converted, InvalidCheckpoint, InvalidModel, InvalidSetting, Unsupported
from weightstring.problem import Layout, ModuleProblem

HALF = [torch.bfloat16, torch.float16]
INPUTS = torch.randn(53, 4, generator=torch.Generator().manual_seed(0))
CLASSES = (INPUTS[:, 0] * INPUTS[:, 1] > 0.1).long()


class Mixed(nn.Module):
    """Two layers, each in its own dtype."""

    def __init__(self, first: torch.dtype, last: torch.dtype) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 16).to(first), nn.Linear(16, 2).to(last)

    def forward(self, inputs: Tensor) -> Tensor:
        hidden = torch.tanh(self.first(inputs.to(self.first.weight.dtype)))
        output: Tensor = self.last(hidden.to(self.last.weight.dtype))
        return output


DTYPES = {
    "bfloat16": (torch.bfloat16, torch.bfloat16),
    "float16": (torch.float16, torch.float16),
    "bfloat16 and float32": (torch.bfloat16, torch.float32),
    "float64 and float16": (torch.float64, torch.float16),
    "float16 and bfloat16": (torch.float16, torch.bfloat16),
}


def mixed(dtypes: tuple[torch.dtype, torch.dtype], seed: int = 0) -> Mixed:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Mixed(*dtypes)


def problem_of(net: nn.Module, **settings: object) -> ModuleProblem:
    options: dict[str, object] = {"recipe": ws.Recipe("adam", {"lr": 0.02}), "engine": "loop", **settings}
    return ModuleProblem(net, functional.cross_entropy, (INPUTS, CLASSES), **options)


@pytest.fixture(params=DTYPES.values(), ids=DTYPES.keys())
def net(request: pytest.FixtureRequest) -> Mixed:
    return mixed(request.param)


def test_theta_has_the_widest_dtype_and_float32_at_least(net: Mixed) -> None:
    widest = torch.float64 if torch.float64 in (parameter.dtype for parameter in net.parameters()) else torch.float32
    problem = problem_of(net)
    assert problem.dtype == problem.flatten(net).dtype == problem.initial(0).dtype == widest
    assert problem.gradient(problem.initial(0)[None], None).gradients.dtype == widest


def test_a_checkpoint_comes_back_bit_for_bit_in_its_own_dtypes(net: Mixed) -> None:
    problem = problem_of(net)
    state = problem.unflatten(problem.flatten(net))
    assert {name: value.dtype for name, value in state.items()} == {
        name: value.dtype for name, value in net.state_dict().items()
    }
    assert all(torch.equal(state[name], value) for name, value in net.state_dict().items())


@pytest.mark.parametrize("engine", ["loop", "auto"])
def test_the_loss_of_a_theta_between_is_that_of_the_model_that_is_saved(net: Mixed, engine: str) -> None:
    problem = problem_of(net, engine=engine)
    a, b = problem.initial(1), problem.initial(2)
    theta = torch.lerp(a, b, 0.3)
    state = problem.unflatten(theta)
    assert problem.measure(theta[None])["loss"].item() == problem.measure(problem.flatten(state)[None])["loss"].item()
    net.load_state_dict(state)
    with torch.no_grad():
        plain = functional.cross_entropy(
            net(INPUTS.to(Layout.of(net).computes or INPUTS.dtype)).to(theta.dtype), CLASSES
        )
    assert problem.measure(theta[None])["loss"].item() == pytest.approx(plain.item(), rel=1e-6)


def test_masters_move_where_half_precision_would_stand_still() -> None:
    net = mixed((torch.bfloat16, torch.bfloat16))
    problem = problem_of(net, recipe=ws.Recipe("sgd", {"lr": 1e-4}, check_every=1))
    start = problem.flatten(net)
    slope = problem.gradient(start[None], None).gradients[0]
    step = start - 1e-4 * slope
    assert not torch.equal(step, start)
    assert torch.equal(step.bfloat16(), start.bfloat16())


def test_outputs_in_half_precision_enter_the_loss_as_float32() -> None:
    class Autocast(nn.Linear):
        def forward(self, inputs: Tensor) -> dict[str, Tensor]:
            with torch.autocast("cpu", torch.bfloat16):
                return {"logits": super().forward(inputs)}

    seen = set[torch.dtype]()

    def loss(output: dict[str, Tensor], targets: Tensor) -> Tensor:
        seen.add(output["logits"].dtype)
        return functional.cross_entropy(output["logits"], targets)

    problem = ModuleProblem(Autocast(4, 2), loss, (INPUTS, CLASSES))
    problem.gradient(problem.initial(0)[None], None)
    assert not seen & set(HALF)


def test_data_keep_their_dtype_where_frozen_parameters_have_another() -> None:
    class Adapted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.base, self.adapter = nn.Linear(4, 2).bfloat16().requires_grad_(False), nn.Linear(4, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            output: Tensor = self.base(inputs) + self.adapter(inputs.to(self.adapter.weight.dtype))
            return output

    problem = ModuleProblem(Adapted(), functional.cross_entropy, (INPUTS.bfloat16(), CLASSES))
    assert problem.observed().inputs.dtype == torch.bfloat16
    assert problem.dtype == torch.float32


@pytest.mark.many(quick=2)
def test_a_half_model_trains_connects_and_is_exported(net: Mixed) -> None:
    problem = problem_of(net, engine="auto")
    a, b = (problem.flatten(problem.unflatten(problem.fit(seed, 0.3))) for seed in (0, 1))
    result = ws.connect(problem, a, b, 0.4)
    assert result.connected
    middle = result.string.at(0.5)
    assert {value.dtype for value in problem.unflatten(middle).values()} == {p.dtype for p in net.parameters()}
    assert torch.equal(result.string.beads[0], a)


def test_gradients_are_those_of_a_module_in_float32_up_to_rounding(net: Mixed) -> None:
    problem, wide = problem_of(net), problem_of(net, dtype=torch.float64)
    theta = problem.flatten(net)
    expected = wide.gradient(theta.double()[None], None).gradients
    found = problem.gradient(theta[None], None).gradients.double()
    assert float((found - expected).norm() / expected.norm()) < 0.02


def test_float16_gradients_do_not_vanish() -> None:
    def tiny(output: Tensor, targets: Tensor) -> Tensor:
        return 1e-6 * functional.cross_entropy(output, targets)

    net = mixed((torch.float16, torch.float16))
    problem = ModuleProblem(net, tiny, (INPUTS, CLASSES), engine="loop")
    theta = problem.flatten(net)
    expected = 1e-6 * problem_of(net).gradient(theta[None], None).gradients
    found = problem.gradient(theta[None], None).gradients
    assert float((found - expected).norm() / expected.norm()) < 0.02


def test_float16_gradients_do_not_overflow() -> None:
    def huge(output: Tensor, targets: Tensor) -> Tensor:
        return 1e3 * functional.cross_entropy(output, targets)

    net = mixed((torch.float16, torch.float16))
    problem = ModuleProblem(net, huge, (INPUTS, CLASSES), engine="loop")
    found = problem.gradient(problem.flatten(net)[None], None).gradients
    assert bool(found.isfinite().all())
    assert float(found.abs().max()) > 10


def test_hessian_products_of_half_models_are_taken_at_theta() -> None:
    net = mixed((torch.bfloat16, torch.float32))
    problem, wide = problem_of(net), problem_of(net, dtype=torch.float32)
    theta = problem.flatten(net)
    v = torch.randn(1, problem.size, generator=torch.Generator().manual_seed(1))
    found, expected = (each.hessian_products(theta, v, None) for each in (problem, wide))
    assert found.dtype == torch.float32
    assert float((found - expected).norm() / expected.norm()) < 0.05


@pytest.mark.parametrize(("given", "computed"), list(itertools.permutations([*HALF, torch.float32, torch.float64], 2)))
def test_a_checkpoint_of_another_dtype_is_converted_with_a_word(given: torch.dtype, computed: torch.dtype) -> None:
    problem, other = problem_of(mixed((computed, computed))), mixed((given, given), seed=1)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(0.7)
    exact = all(torch.equal(each.double(), each.to(computed).double()) for each in other.parameters())
    with pytest.warns(Converted, match=rf"is {str(given)[6:]}, computed as {str(computed)[6:]}") as said:
        theta = problem.flatten(other.state_dict())
    assert ("rounding moves its numbers by" in str(said[0].message)) is not exact
    expected = torch.cat([parameter.detach().reshape(-1) for parameter in other.parameters()]).to(computed)
    assert torch.equal(theta, expected.to(problem.dtype))


def test_the_size_of_a_rounding_is_told() -> None:
    problem = problem_of(nn.Linear(4, 2).bfloat16())
    state = {"weight": torch.full((2, 4), 1 + 2**-9), "bias": torch.zeros(2)}  # half a unit in the last place over 1
    with pytest.warns(Converted, match=r"moves its numbers by 0\.19 % of their length$"):
        problem.flatten(state)


def test_what_the_user_asked_for_and_costs_nothing_is_not_told() -> None:
    net = mixed((torch.bfloat16, torch.bfloat16))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        theta = problem_of(net, dtype=torch.float32).flatten(net)
    assert torch.equal(theta, problem_of(net).flatten(net))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (
            torch.full((2, 4), 1e6),
            r"^'weight' holds numbers of up to 1e\+06, more than float16 can: pass dtype=torch.fl",
        ),
        (torch.ones(2, 4, dtype=torch.int32), r"^'weight' is torch.int32 where torch.float16 is expected"),
        (torch.ones(2, 4, dtype=torch.complex64), r"^'weight' is torch.complex64 where torch.float16 is expected"),
        (torch.ones(2, 4).to(torch.float8_e4m3fn), r"^'weight' is torch.float8_e4m3fn where torch.float16 is expected"),
    ],
)
def test_what_no_rounding_turns_into_the_dtype_is_refused(state: Tensor, message: str) -> None:
    problem = problem_of(nn.Linear(4, 2).half())
    with pytest.raises(InvalidCheckpoint, match=message):
        problem.flatten({"weight": state, "bias": torch.zeros(2, dtype=torch.float16)})


def test_an_operation_without_half_precision_is_named() -> None:
    class Inverting(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs @ torch.linalg.inv(self.weight)

    with pytest.raises(InvalidModel, match=r"^net does not run as float16 on cpu \(linalg.inv.*: pass dtype=torch.fl"):
        problem_of(Inverting(4, 4).half())
    assert problem_of(Inverting(4, 4).half(), dtype=torch.float32).dtype == torch.float32


def test_certificates_and_unsuitable_engines_refuse_half_precision() -> None:
    problem = problem_of(mixed((torch.bfloat16, torch.float32)))
    with pytest.raises(Unsupported, match=r"^the module computes in bfloat16, theta rounded at every point"):
        problem.traceable("loss")
    with pytest.raises(InvalidModel, match="'vmap' computes no float16"):
        problem_of(mixed((torch.float16, torch.float16)), engine="vmap")
    with pytest.raises(InvalidSetting, match="pass a real floating dtype"):
        problem_of(nn.Linear(4, 2), dtype=torch.float8_e5m2)


def test_problems_of_other_dtypes_have_other_fingerprints() -> None:
    pairs = [(torch.float32, torch.float32), *DTYPES.values()]
    prints = {problem_of(mixed(dtypes)).fingerprint() for dtypes in pairs}
    assert len(prints) == len(pairs)


def test_spectral_norm_and_running_statistics_work_in_half_precision() -> None:
    first = nn.utils.parametrizations.spectral_norm(nn.Linear(4, 8))
    net = nn.Sequential(first, nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 2)).bfloat16()
    problem, wide = problem_of(net), problem_of(net, dtype=torch.float32)
    theta = problem.flatten(net)
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(
        float(wide.measure(theta[None])["loss"]), rel=0.02
    )
    assert {value.dtype for value in problem.unflatten(theta).values()} <= {torch.bfloat16, torch.int64}


def test_alignment_of_half_models_keeps_their_function() -> None:
    net = nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2)).bfloat16()
    problem = problem_of(net)
    a, b = (problem.flatten(problem.unflatten(problem.initial(seed))) for seed in (0, 1))
    aligned = ws.align(problem, a, b).theta
    assert float(problem.measure(aligned[None])["loss"]) == pytest.approx(
        float(problem.measure(b[None])["loss"]), rel=0.02
    )


def test_batches_reach_a_half_module_as_they_are() -> None:
    def squares(net: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        assert batch["y"].dtype == torch.float64
        return (net(batch["x"].bfloat16()).float() - batch["y"]).square().sum(), len(batch["y"])

    batches = [{"x": INPUTS[i : i + 9].double(), "y": INPUTS[i : i + 9, :1].double()} for i in (0, 9, 18)]
    net = nn.Linear(4, 1).bfloat16()
    problem = ModuleProblem.from_batches(net, batches, loss=squares)
    theta = problem.flatten(net)
    with torch.no_grad():
        plain = sum(float(squares(net, batch)[0]) for batch in batches) / 27
    assert problem.measure(theta[None])["loss"].item() == pytest.approx(plain, rel=1e-6)
    assert problem.gradient(theta[None], torch.tensor([[1]])).gradients.dtype == torch.float32


@pytest.mark.parametrize("dtype", HALF)
def test_autocast_is_for_training_passes_alone(dtype: torch.dtype) -> None:
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    problem, plain = problem_of(net, autocast=dtype), problem_of(net)
    theta = plain.initial(0)
    assert torch.equal(problem.measure(theta[None])["loss"], plain.measure(theta[None])["loss"])
    with torch.enable_grad(), torch.autocast("cpu", dtype):
        net.load_state_dict(plain.unflatten(theta))
        output = net(INPUTS)
    assert output.dtype == dtype
    expected = torch.autograd.grad(functional.cross_entropy(output.float(), CLASSES), list(net.parameters()))
    found = problem.gradient(theta[None], None).gradients[0]
    torch.testing.assert_close(found, torch.cat([slope.reshape(-1) for slope in expected]), atol=1e-4, rtol=1e-2)
    assert not torch.equal(found, plain.gradient(theta[None], None).gradients[0])
    assert problem.fingerprint() != plain.fingerprint()


def test_autocast_is_no_affair_of_the_stack() -> None:
    net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 2))
    with pytest.raises(InvalidModel, match=r"without training_step and autocast"):
        problem_of(net, autocast=torch.bfloat16, engine="stack")
    with pytest.raises(InvalidSetting, match=r"^autocast=torch.float32: pass torch.bfloat16 or torch.float16, or None"):
        problem_of(net, autocast=torch.float32)


@pytest.mark.slow
def test_compiled_passes_compute_and_draw_as_others_do() -> None:
    net = nn.Sequential(nn.Linear(4, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.3), nn.Linear(16, 2))
    problem, plain = problem_of(net, compile=True), problem_of(net)
    theta, rows = plain.initial(0), torch.arange(32)[None]
    torch.testing.assert_close(problem.measure(theta[None]), plain.measure(theta[None]))
    torch.testing.assert_close(problem.gradient(theta[None], rows), plain.gradient(theta[None], rows))
