from functools import partial

import torch
from torch import nn

from weightstring.problem.digest import callable_name, tensor_digest, tensors_digest, without_addresses


def test_tensor_digest_sees_dtype_shape_and_values_only():
    plain = torch.arange(6.0).view(2, 3)
    assert tensor_digest(plain) == tensor_digest(plain.t().contiguous().t())
    others = [plain.double(), plain.view(3, 2), plain + 1, plain.bfloat16(), plain.bool()]
    assert len({tensor_digest(tensor) for tensor in [plain, *others]}) == 6
    assert len(tensor_digest(torch.tensor(1.5))) == 64


def test_names_of_tensors_count_and_their_order_does_not():
    one, two = torch.ones(2), torch.zeros(2)
    assert tensors_digest({"a": one, "b": two}) == tensors_digest({"b": two, "a": one})
    assert tensors_digest({"a": one, "b": two}) != tensors_digest({"b": one, "a": two})


class Scaled:
    def __call__(self, output: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return (output - targets).mean()


def test_callables_are_named_without_addresses():
    names = [
        callable_name(Scaled()),
        callable_name(lambda output, targets: output),
        callable_name(partial(Scaled(), targets=None)),
        callable_name(nn.MSELoss()),
        callable_name(nn.CrossEntropyLoss(weight=torch.ones(2))),
        callable_name(nn.CrossEntropyLoss(weight=torch.zeros(2))),
        callable_name(nn.CrossEntropyLoss(ignore_index=0)),
        callable_name(nn.CrossEntropyLoss(label_smoothing=0.1)),
        callable_name(nn.MSELoss(reduction="sum")),
        callable_name(partial(nn.functional.cross_entropy, weight=torch.tensor([1.0, 2.0]))),
        callable_name(partial(nn.functional.cross_entropy, weight=torch.tensor([1.0, 2.0 + 1e-6]))),
    ]
    assert len(set(names)) == len(names)
    assert not any("0x" in name for name in names)
    assert names[0] == callable_name(Scaled())
    assert without_addresses("<f at 0x7f00ab> 0x12") == "<f> 0x12"
