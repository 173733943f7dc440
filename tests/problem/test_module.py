import copy

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import vector_to_parameters

from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.problem import ModuleProblem
from weightstring.protocol import LossProblem
from weightstring.recipe import Recipe


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.enter = nn.Linear(6, 5)
        self.block = nn.Sequential(nn.LayerNorm(5), nn.Linear(5, 7), nn.GELU(), nn.Linear(7, 5))
        self.leave = nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        hidden = self.enter(inputs.flatten(1))
        return self.leave(hidden + self.block(hidden))


class Language(nn.Module):
    """Next-token scores of an LSTM whose decoder is its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.recurrent = nn.LSTM(4, 4, batch_first=True)
        self.decoder = nn.Linear(4, 7)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.recurrent(self.embedding(tokens))[0]).transpose(1, 2)


class Pair(nn.Module):
    """Takes two inputs, and holds a frozen parameter and a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.left = nn.Linear(2, 3)
        self.right = nn.Linear(4, 3)
        self.scale = nn.Parameter(torch.tensor(1.7), requires_grad=False)
        self.register_buffer("shift", torch.tensor([0.1, -0.2, 0.3]))

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return self.scale * torch.tanh(self.left(left) + self.right(right)) + self.shift


def draw(*shape: int) -> torch.Tensor:
    return 0.5 + torch.randn(*shape, dtype=torch.float64)


def classes(*shape: int, count: int = 3) -> torch.Tensor:
    return torch.randint(count, shape)


def convolution() -> nn.Module:
    layers = (nn.Conv2d(1, 3, 2), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(3 * 3 * 2, 3))
    return nn.Sequential(*layers)


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 6, dropout=0.3, batch_first=True)
    return nn.Sequential(layer, nn.Flatten(), nn.Linear(12, 3))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Dropout(0.2), nn.Linear(5, 3))


CASES = {
    "mlp": (mlp, lambda n: draw(n, 6), lambda n: classes(n), {}),
    "cnn recalibrated": (convolution, lambda n: draw(n, 1, 4, 3), lambda n: classes(n), {"buffers": "recalibrate"}),
    "cnn frozen": (convolution, lambda n: draw(n, 1, 4, 3), lambda n: classes(n), {"buffers": "frozen"}),
    "residual": (Residual, lambda n: draw(n, 2, 3), lambda n: classes(n), {}),
    "lstm": (Language, lambda n: classes(n, 5, count=7), lambda n: classes(n, 5, count=7), {}),
    "transformer": (transformer, lambda n: draw(n, 3, 4), lambda n: classes(n), {}),
    "tuple": (Pair, lambda n: (draw(n, 2), draw(n, 4)), lambda n: classes(n), {}),
    "dict": (Pair, lambda n: {"right": draw(n, 4), "left": draw(n, 2)}, lambda n: classes(n), {}),
}


def error(output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return (output.argmax(dim=1) != targets).double().mean()


def forward(net: nn.Module, inputs: object) -> torch.Tensor:
    if isinstance(inputs, dict):
        return net(**inputs)
    return net(*inputs) if isinstance(inputs, tuple) else net(inputs)


def rows_of(inputs: object, rows: torch.Tensor) -> object:
    if isinstance(inputs, dict):
        return {name: leaf[rows] for name, leaf in inputs.items()}
    return tuple(leaf[rows] for leaf in inputs) if isinstance(inputs, tuple) else inputs[rows]


def build(case: str, **settings: object):
    make, inputs, targets, extra = CASES[case]
    torch.manual_seed(11)
    net = make().double()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2.0)
    data = {"train": (inputs(23), targets(23)), "evaluate": (inputs(13), targets(13))}
    options = {"metrics": {"error": error}, "chunk": 5, "engine": "loop", **extra, **settings}
    return net, data, ModuleProblem(net, functional.cross_entropy, **data, **options)


def ends_and_between(net: nn.Module, problem: ModuleProblem) -> torch.Tensor:
    first, second = problem.flatten(net), problem.initial(9)
    return torch.stack([torch.lerp(first, second, t) for t in (0.0, 0.3, 0.71, 1.0)])


@pytest.mark.parametrize("case", CASES)
def test_measure_is_what_the_loaded_module_computes(case):
    net, data, problem = build(case)
    thetas = ends_and_between(net, problem)
    measured = problem.measure(thetas, ("train_error", "loss", "error", "train_loss"))
    assert list(measured) == ["train_error", "loss", "error", "train_loss"]
    for index, theta in enumerate(thetas):
        loaded = copy.deepcopy(net)
        loaded.load_state_dict(problem.unflatten(theta), strict=True)
        loaded.eval()
        with torch.no_grad():
            for prefix, (inputs, targets) in {"": data["evaluate"], "train_": data["train"]}.items():
                output = forward(loaded, inputs)
                expected = functional.cross_entropy(output, targets)
                assert float(measured[prefix + "loss"][index]) == pytest.approx(float(expected), rel=1e-9)
                expected = error(output, targets)
                assert float(measured[prefix + "error"][index]) == pytest.approx(float(expected), rel=1e-9)


@pytest.mark.parametrize("case", CASES)
def test_gradient_is_that_of_plain_autograd(case):
    net, data, problem = build(case)
    thetas = ends_and_between(net, problem)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train(CASES[case][3]["buffers"] == "recalibrate")
    rows = torch.stack([torch.randperm(23)[:7] for _ in thetas])
    # Dropout draws its own numbers: compare without it, by a problem whose module has none.
    quiet = copy.deepcopy(net)
    for module in quiet.modules():
        if hasattr(module, "p"):
            module.p = 0.0
        if isinstance(module, nn.MultiheadAttention):
            module.dropout = 0.0
    options = CASES[case][3]
    problem = ModuleProblem(quiet, functional.cross_entropy, data["train"], engine="loop", **options)
    losses, gradients = problem.gradient(thetas, rows)
    inputs, targets = data["train"]
    for index, theta in enumerate(thetas):
        loaded = copy.deepcopy(quiet).train()
        if options.get("buffers") == "frozen":
            loaded.eval()
        vector_to_parameters(theta, [p for p in loaded.parameters() if p.requires_grad])
        loss = functional.cross_entropy(forward(loaded, rows_of(inputs, rows[index])), targets[rows[index]])
        slopes = torch.autograd.grad(loss, [p for p in loaded.parameters() if p.requires_grad])
        expected = torch.cat([slope.reshape(-1) for slope in slopes])
        assert float(losses[index]) == pytest.approx(loss.item(), rel=1e-10)
        assert torch.allclose(gradients[index], expected, rtol=1e-9, atol=1e-12)


def test_gradient_without_rows_is_that_of_the_whole_set():
    torch.manual_seed(0)
    inputs, targets = draw(23, 6), classes(23)
    net = nn.Linear(6, 3).double()
    problem = ModuleProblem(net, functional.cross_entropy, (inputs, targets), chunk=5, batch_size=None, engine="loop")
    thetas = torch.stack([problem.initial(seed) for seed in range(3)])
    in_pieces, at_once = problem.gradient(thetas, None), problem.gradient(thetas, torch.arange(23).expand(3, -1))
    assert torch.allclose(in_pieces.losses, at_once.losses, rtol=1e-12)
    assert torch.allclose(in_pieces.gradients, at_once.gradients, rtol=1e-10, atol=1e-14)
    assert problem.batch_size is None


def test_dropout_is_on_in_training_and_a_function_of_the_rows():
    net, _, problem = build("mlp")
    theta, rows = problem.flatten(net), torch.arange(8)[None]
    torch.manual_seed(0)
    first = problem.gradient(theta[None], rows)
    torch.manual_seed(1)
    again = problem.gradient(theta[None], rows)
    after = torch.rand(2)
    torch.manual_seed(1)
    assert torch.equal(after, torch.rand(2))
    assert torch.equal(first.gradients, again.gradients)
    quiet = problem.gradient(theta[None], rows.flip(1))
    assert not torch.allclose(quiet.losses, first.losses)
    together = problem.gradient(theta.expand(2, -1), torch.cat([rows, rows.flip(1)]))
    assert torch.equal(together.losses, torch.cat([first.losses, quiet.losses]))


def test_net_is_never_changed():
    net, _, problem = build("cnn recalibrated")
    before = copy.deepcopy(net.state_dict())
    problem.measure(problem.initial(1)[None])
    problem.gradient(problem.initial(1)[None], torch.arange(4)[None])
    problem.unflatten(problem.initial(1))["0.weight"].zero_()
    assert net.training
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    with torch.no_grad():
        net[0].weight.zero_()
    assert not torch.equal(problem.flatten(before)[:12], torch.zeros(12, dtype=torch.float64))


def test_the_problem_is_a_loss_problem_with_named_quantities():
    net, data, problem = build(
        "mlp", holdout=(draw(3, 6), classes(3)), recipe=Recipe("sgd", {"lr": 0.1}), batch_size=99
    )
    assert isinstance(problem, LossProblem)
    assert problem.quantities == ("loss", "error", "train_loss", "train_error", "holdout_loss", "holdout_error")
    assert (problem.size, problem.dtype, problem.device.type) == (53, torch.float64, "cpu")
    assert (problem.train_size, problem.batch_size, problem.recipe.optimizer) == (23, 23, "sgd")
    assert problem.evaluation == "evaluate"
    only = ModuleProblem(net, functional.cross_entropy, data["train"])
    assert (only.quantities, only.evaluation) == (("loss",), "train")


def test_measure_repeats_and_takes_no_models():
    net, _, problem = build("transformer")
    thetas = ends_and_between(net, problem)
    first, second = problem.measure(thetas)["loss"], problem.measure(thetas)["loss"]
    assert torch.equal(first, second)
    assert first.dtype == torch.float64
    assert problem.measure(thetas[:0])["loss"].shape == (0,)
    assert problem.measure(thetas, ()) == {}
    assert problem.gradient(thetas[:0], None).gradients.shape == (0, problem.size)


def test_another_dtype_computes_in_it():
    net, data, _ = build("mlp")
    inputs, targets = data["train"]
    problem = ModuleProblem(net.float(), functional.cross_entropy, (inputs, targets), dtype=torch.float64)
    theta = problem.flatten(net)
    assert theta.dtype == problem.dtype == torch.float64
    with torch.no_grad():
        expected = functional.cross_entropy(net.double().eval()(inputs), targets)
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(float(expected), rel=1e-12)


def test_a_loss_module_with_weights_goes_where_the_problem_computes():
    _, data, _ = build("mlp")
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0]))
    problem = ModuleProblem(mlp(), loss, data["train"], dtype=torch.float64)
    assert problem.measure(problem.initial(0)[None])["loss"].isfinite().all()
    assert loss.weight.dtype == torch.float32


def test_a_loss_that_is_not_finite_is_measured():
    net = nn.Linear(1, 1)
    nn.init.constant_(net.weight, 1e30)
    problem = ModuleProblem(net, functional.mse_loss, (torch.ones(3, 1), torch.ones(3, 1)))
    assert float(problem.measure(problem.flatten(net)[None])["loss"]) == float("inf")


def test_fingerprint_is_repeated_and_sees_what_matters():
    def fingerprint(case: str = "mlp", **settings: object) -> str:
        return build(case, **settings)[2].fingerprint()

    same = fingerprint()
    assert fingerprint() == same
    assert fingerprint(engine="auto") == same
    different = [
        fingerprint("tuple"),
        fingerprint("dict"),
        fingerprint("cnn frozen"),
        fingerprint("cnn recalibrated"),
        fingerprint(batch_size=4),
        fingerprint(chunk=6),
        fingerprint(metrics={}),
        fingerprint(metrics={"wrong": error}),
        fingerprint(holdout=(draw(3, 6), classes(3))),
        fingerprint(recipe=Recipe("sgd")),
        fingerprint(recipe=Recipe(options={"lr": 0.5})),
    ]
    assert len({same, *different}) == len(different) + 1


def test_fingerprint_sees_constants_and_not_parameters():
    def fingerprint(change) -> str:
        torch.manual_seed(0)
        net = Pair()
        with torch.no_grad():
            change(net)
        return ModuleProblem(net, functional.cross_entropy, data).fingerprint()

    torch.manual_seed(1)
    data = ((torch.randn(4, 2), torch.randn(4, 4)), classes(4))
    same = fingerprint(lambda net: None)
    assert fingerprint(lambda net: net.left.weight.zero_()) == same
    assert fingerprint(lambda net: net.scale.fill_(2.0)) != same
    assert fingerprint(lambda net: net.shift.fill_(2.0)) != same


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"chunk": 0}, r"^chunk=0: pass an integer of at least 1$"),
        ({"batch_size": -3}, r"^batch_size=-3: pass an integer"),
        ({"dtype": torch.int64}, r"^dtype=torch.int64: pass a real floating dtype such as torch.float32$"),
        (
            {"engine": "jit"},
            r"^engine='jit': pass one of 'loop', 'native', 'channels-last', 'stack', 'vmap' \(a problem also takes 'au",
        ),
        ({"metrics": {"top 5": error}}, r"^metric name 'top 5': pass an identifier other than 'loss'"),
        ({"metrics": {"loss": error}}, r"^metric name 'loss': pass"),
        ({"metrics": {"train_error": error}}, r"^metric name 'train_error': pass"),
        *(
            ({"metrics": {name: error}}, f"^metric name '{name}': pass an identifier other than 'loss', 'train', ")
            for name in ("train", "evaluate", "both", "holdout")
        ),
        ({"metrics": {3: error}}, r"^metric name 3: pass an identifier"),
        ({"metrics": [error]}, r"^metrics is a list: pass a mapping from names to functions, such as {'error': fn}$"),
        ({"batch_size": "8"}, r"^batch_size='8': pass an integer of at least 1$"),
        ({"dtype": "float64"}, r"^dtype='float64': pass a real floating dtype such as torch.float32$"),
        ({"device": "cudaa"}, r"^device='cudaa' cannot compute here \(.*\): pass 'cpu', or a device of this machine$"),
        ({"recipe": {"lr": 0.1}}, r"^recipe is a dict: pass a Recipe, such as Recipe\('adam', {'lr': 1e-3}\)$"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(InvalidSetting, match=message) as caught:
        build("mlp", **settings)
    assert "\n" not in str(caught.value)


def test_misuse_of_measure_and_gradient_is_refused():
    net, _, problem = build("mlp")
    thetas = problem.flatten(net).expand(2, -1)
    with pytest.raises(InvalidSetting, match=r"^quantity 'accuracy' is unknown: pass some of loss, error, train_loss"):
        problem.measure(thetas, ("accuracy",))
    with pytest.raises(
        InvalidCheckpoint, match=r"^theta is \(2, 52\) torch.float64 on cpu where the problem needs \(B, P\)"
    ):
        problem.measure(thetas[:, 1:])
    with pytest.raises(InvalidCheckpoint, match=r"^theta is \(2, 53\) torch.float32 on cpu"):
        problem.gradient(thetas.float(), None)
    with pytest.raises(
        InvalidSetting, match=r"^rows are \(2, 0\) torch.int64 for 2 models: pass \(B, n\) int64 with n > 0"
    ):
        problem.gradient(thetas, torch.zeros(2, 0, dtype=torch.int64))
    with pytest.raises(InvalidCheckpoint, match=r"needs \(P,\) torch.float64 on cpu with P = 53"):
        problem.unflatten(thetas[0, 1:])


def test_a_problem_says_in_one_line_what_it_is():
    problem = ModuleProblem(nn.Linear(2, 1), functional.mse_loss, (torch.ones(1200, 2), torch.ones(1200, 1)))
    assert repr(problem) == "<ModuleProblem: Linear, 3 parameters, float32 on cpu; train 1,200 examples>"
