"""``nn.MultiheadAttention`` with the examples first throughout, as other spellings of attention have them.

torch's own course of operations lays the heads of all examples side by side, and at its end the examples of each token,
so that none of its axes is that of the examples. This is the same function of the same arguments.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from torch.overrides import TorchFunctionMode


class ExamplesFirst(TorchFunctionMode):
    """Takes the place of ``multi_head_attention_forward`` while a module is traced."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What the call returns."""
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward and _plain(args, kwargs):
            return _attended(*args, **kwargs)
        return func(*args, **kwargs)


def _plain(args: Any, kwargs: Any) -> bool:
    """Whether it is called as by a module in evaluation mode, on batches, without what few ever ask for."""
    names = ("bias_k", "bias_v", "add_zero_attn", "dropout_p", "out_proj_weight", "out_proj_bias", "training")
    given = dict(zip(names, args[7:14], strict=False)) | kwargs
    extra = any(given.get(name) is not None for name in ("bias_k", "bias_v", "static_k", "static_v"))
    return args[0].dim() == 3 and not extra and not given["add_zero_attn"] and not given.get("training", True)


def _attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    width: int,
    heads: int,
    weight: Tensor | None,
    bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_weight: Tensor,
    out_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
    **_: Any,
) -> tuple[Tensor, Tensor | None]:
    """(T, n, E) → (T, n, E), and the weights (n, T, S) if they are asked for; is_causal speaks of attn_mask."""
    weights = (q_proj_weight, k_proj_weight, v_proj_weight) if weight is None else weight.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    q, k, v = (_heads(*each, heads) for each in zip((query, key, value), weights, biases, strict=True))
    mask = _mask(attn_mask, key_padding_mask, heads)
    if need_weights:
        scores = q @ k.transpose(-2, -1) / (width // heads) ** 0.5
        if mask is not None:
            scores = scores + mask if mask.is_floating_point() else scores.masked_fill(~mask, float("-inf"))
        shares = scores.softmax(-1)
        mixed = shares @ v
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out = F.linear(mixed.transpose(1, 2).flatten(2), out_weight, out_bias).transpose(0, 1)
    if not need_weights:
        return out, None
    return out, shares.mean(1) if average_attn_weights else shares


def _heads(x: Tensor, weight: Tensor | None, bias: Tensor | None, heads: int) -> Tensor:
    """(T, n, E) → (n, heads, T, E / heads) of the layer's outputs."""
    assert weight is not None
    made = F.linear(x.transpose(0, 1), weight, bias)
    return made.view(*made.shape[:2], heads, -1).transpose(1, 2)


def _mask(attn_mask: Tensor | None, key_padding_mask: Tensor | None, heads: int) -> Tensor | None:
    """Both masks in one: whether a place is seen, or what is added to its score."""
    parts = []
    if attn_mask is not None:
        parts.append(attn_mask if attn_mask.dim() == 2 else attn_mask.view(-1, heads, *attn_mask.shape[1:]))
    if key_padding_mask is not None:
        parts.append(key_padding_mask.unsqueeze(1).unsqueeze(1))
    if not parts:
        return None
    if all(part.dtype == torch.bool for part in parts):
        hidden = parts[0] if len(parts) == 1 else parts[0] | parts[1]
        return ~hidden
    added = [
        part
        if part.is_floating_point()
        else torch.zeros_like(part, dtype=torch.get_default_dtype()).masked_fill(part, float("-inf"))
        for part in parts
    ]
    return added[0] if len(added) == 1 else added[0] + added[1]
