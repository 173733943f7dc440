import re

import pytest
import torch
from torch import nn

from weightstring.errors import InvalidModel, InvalidSetting
from weightstring.problem.assemble import adopt, adopt_loss


def test_a_copy_computes_elsewhere_and_keeps_ties():
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    copied = adopt(net, "cpu", torch.float64)
    assert copied[0].weight is copied[1].weight
    assert (copied[0].weight.dtype, net[0].weight.dtype) == (torch.float64, torch.float32)
    assert torch.equal(copied[0].weight.float(), net[0].weight)


def test_a_loss_with_constants_follows_and_a_function_stays():
    net = nn.Linear(2, 2).double()
    loss = nn.CrossEntropyLoss(weight=torch.ones(2))
    assert adopt_loss(loss, net).weight.dtype == torch.float64
    assert loss.weight.dtype == torch.float32
    assert adopt_loss(nn.functional.mse_loss, net) is nn.functional.mse_loss


class Caching(nn.Linear):
    def __init__(self) -> None:
        super().__init__(2, 2)
        self.cache = [self.weight * 2]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: nn.DataParallel(nn.Linear(2, 2)), r"^net is a DataParallel: pass the plain module inside it"),
        (lambda: nn.functional.mse_loss, r"^net is a function: pass an nn.Module$"),
        (
            Caching,
            r"^net cannot be copied \(Only Tensors created explicitly.*\): its attributes must not hold locks, open",
        ),
    ],
)
def test_what_cannot_be_copied_is_refused(build, message):
    with pytest.raises(InvalidModel, match=message):
        adopt(build(), None, None)


@pytest.mark.parametrize("device", ["meta", torch.device("meta"), [], "cuda:99"])
def test_a_device_that_cannot_compute_is_refused(refused, device):
    shown = re.escape(repr(str(device) if device else device))
    with refused(InvalidSetting, rf"^device={shown} cannot compute here \(.+\): pass 'cpu', or a device of this"):
        adopt(nn.Linear(2, 2), device, None)


def test_a_dtype_without_gradients_is_refused():
    with pytest.raises(InvalidSetting, match=r"^dtype=torch.int64: pass a real floating dtype such as torch.float32$"):
        adopt(nn.Linear(2, 2), None, torch.int64)
