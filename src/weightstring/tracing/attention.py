"""``nn.MultiheadAttention`` with the examples first throughout, as other spellings of attention have them.

torch's own course of operations lays the heads of all examples side by side, and at its end the examples of each token,
so that none of its axes is that of the examples. This is the same function of the same arguments.
"""

from __future__ import annotations

from collections.abc import Mapping
from inspect import signature
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor
from torch.overrides import TorchFunctionMode

SIGNATURE = signature(F.multi_head_attention_forward)


class ExamplesFirst(TorchFunctionMode):
    """Takes the place of ``multi_head_attention_forward`` while a module is traced."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """What the call returns."""
        kwargs = kwargs or {}
        if func is F.multi_head_attention_forward:
            given = SIGNATURE.bind(*args, **kwargs)
            given.apply_defaults()
            if _plain(given.arguments):
                return _attended(given.arguments)
        return func(*args, **kwargs)


def _plain(given: Mapping[str, Any]) -> bool:
    """Whether it is called as by a module in evaluation mode, on batches, without what few ever ask for."""
    extra = any(given[name] is not None for name in ("bias_k", "bias_v", "static_k", "static_v"))
    return given["query"].dim() == 3 and not extra and not given["add_zero_attn"] and not given["training"]


def _attended(given: Mapping[str, Any]) -> tuple[Tensor, Tensor | None]:
    """(T, n, E) → (T, n, E), and the weights (n, T, S) if they are asked for; is_causal speaks of attn_mask."""
    width, heads, bias = given["embed_dim_to_check"], given["num_heads"], given["in_proj_bias"]
    inner = given["in_proj_weight"]
    own = [given[f"{name}_proj_weight"] for name in "qkv"]
    weights = own if given["use_separate_proj_weight"] else inner.chunk(3)
    biases = (None, None, None) if bias is None else bias.chunk(3)
    sources = (given["query"], given["key"], given["value"])
    q, k, v = (_heads(*each, heads) for each in zip(sources, weights, biases, strict=True))
    mask, shares = _mask(given["attn_mask"], given["key_padding_mask"], heads), None
    if given["need_weights"]:
        scores = q @ k.transpose(-2, -1) / (width // heads) ** 0.5
        if mask is not None:
            scores = scores + mask if mask.is_floating_point() else scores.masked_fill(~mask, float("-inf"))
        shares = scores.softmax(-1)
        mixed = shares @ v
    else:
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    out = F.linear(mixed.transpose(1, 2).flatten(2), given["out_proj_weight"], given["out_proj_bias"]).transpose(0, 1)
    return out, shares.mean(1) if shares is not None and given["average_attn_weights"] else shares


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
