import pytest
import torch
from torch import nn
from torch.nn import functional

from weightstring.errors import InvalidData, InvalidModel, InvalidSetting, NotDeterministic
from weightstring.problem import ModuleProblem
from weightstring.problem.datasets.data import Examples
from weightstring.problem.inspection.checks import probe_rows

INPUTS = torch.arange(400.0).view(200, 2) / 100 - 1
CLASSES = torch.arange(200) % 3


class Module(nn.Module):
    """A linear layer with something wrong after it."""

    def __init__(self, outputs: int = 3) -> None:
        super().__init__()
        self.linear = nn.Linear(2, outputs)
        self.register_buffer("seen", torch.zeros(()))
        self.calls = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.after(self.linear(inputs))

    def after(self, output: torch.Tensor) -> torch.Tensor:
        return output


class Random(Module):
    def after(self, output: torch.Tensor) -> torch.Tensor:
        return functional.dropout(output)


class Counting(Module):
    def after(self, output: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return output * self.calls


class Updating(Module):
    def after(self, output: torch.Tensor) -> torch.Tensor:
        self.seen += 1
        return output


class Detached(Module):
    def after(self, output: torch.Tensor) -> torch.Tensor:
        return output.detach()


class OnlyEvaluating(Module):
    def after(self, output: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise NotImplementedError("no training here\nat all")
        return output


def build(net: nn.Module, loss=functional.cross_entropy, inputs=INPUTS, targets=CLASSES, **settings: object):
    torch.manual_seed(0)
    return ModuleProblem(net, loss, (inputs, targets), **settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            Random,
            r"^two evaluations of one theta differ .* draws at random in evaluation mode: pass training=self.training",
        ),
        (Counting, r"^two evaluations of one theta differ .* keeps a state from call to call: reset it in forward$"),
        (Updating, r"^buffer 'seen' changes while net evaluates, .*: update it only if self.training$"),
    ],
)
def test_a_loss_that_is_no_function_of_theta_is_refused(make, message):
    with pytest.raises(NotDeterministic, match=message):
        build(make())


@pytest.mark.parametrize("spoilt", [3, 250, -1])
def test_targets_out_of_range_are_found_wherever_they_are(spoilt):
    targets = CLASSES.clone()
    targets[170] = spoilt
    with pytest.raises(
        InvalidData, match=rf"^train targets must be in \[0, 3\): found {min(spoilt, 0)}..{max(spoilt, 2)} "
    ):
        build(nn.Linear(2, 3), targets=targets)


def test_tokens_out_of_range_are_found_wherever_they_are():
    tokens = CLASSES.clone()
    tokens[170] = 5
    with pytest.raises(
        InvalidData, match=r"^net cannot take the train inputs \(\d+,\) int64 with integers 0..5: index out of"
    ):
        build(nn.Embedding(3, 3), inputs=tokens)


def test_inputs_that_do_not_fit_are_refused():
    with pytest.raises(InvalidData, match=r"^net cannot take the train inputs \(\d+, 2\) float32: mat1 and mat2 .*\)$"):
        build(nn.Linear(5, 3))
    with pytest.raises(InvalidData, match=r"inputs x=\(\d+, 2\) float32: .*unexpected keyword argument 'x'$"):
        build(nn.Linear(2, 3), inputs={"x": INPUTS})
    with pytest.raises(
        InvalidData, match=r"^holdout inputs \(5, 2\) float32, \(5, 2\) float32 differ in form from the train"
    ):
        build(nn.Linear(2, 3), holdout=((INPUTS[:5], INPUTS[:5]), CLASSES[:5]))


def test_targets_that_do_not_fit_are_refused():
    with pytest.raises(
        InvalidData, match=r"^loss_fn cannot compare the output \(\d+, 3\) float32 with the train targets"
    ):
        build(nn.Linear(2, 3), targets=INPUTS)
    with pytest.raises(InvalidData, match=r"train targets \(64,\) float32: Using a target size .* is different"):
        build(nn.Linear(2, 1), functional.mse_loss, targets=INPUTS[:, 0])


def test_a_loss_that_is_no_scalar_is_refused():
    with pytest.raises(InvalidSetting, match=r"^loss_fn returned \(\d+,\) float32: it must return one floating tensor"):
        build(nn.Linear(2, 3), nn.CrossEntropyLoss(reduction="none"))
    with pytest.raises(InvalidSetting, match=r"^loss_fn returned a float: it must return one floating tensor"):
        build(nn.Linear(2, 3), lambda output, targets: float(output.mean()))
    with pytest.raises(InvalidSetting, match=r"^wrong returned \(\d+,\) bool: it must return one number, the mean"):
        build(nn.Linear(2, 3), metrics={"wrong": lambda output, targets: output.argmax(dim=1) != targets})


def test_a_module_that_cannot_be_trained_is_refused():
    with pytest.raises(InvalidModel, match=r"^the training loss does not depend on any trainable parameter: "):
        build(Detached())
    with pytest.raises(InvalidModel, match=r"cannot be trained on a minibatch of \d+ examples: no training here$"):
        build(OnlyEvaluating())


def test_a_large_module_is_tried_on_fewer_examples():
    examples = Examples((torch.zeros(100, 1),), torch.arange(100.0))
    assert [len(probe_rows(examples, size)) for size in (1000, 4_000_000, 16_000_000, 10**9)] == [64, 64, 16, 8]
