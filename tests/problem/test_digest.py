import torch

from weightstring.problem.digests.digest import tensor_digest, tensors_digest, without_addresses


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


def test_addresses_are_dropped():
    assert without_addresses("<f at 0x7f00ab> 0x12") == "<f> 0x12"
