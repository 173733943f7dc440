"""LoRA as ``peft`` saves it, read without that library: of each layer a product of two thin matrices, W + s B A.

Only the plain form (Hu et al. 2021, arXiv:2106.09685; with the scale of rsLoRA, arXiv:2312.03732): linear layers and
transformers' ``Conv1D``, and whole modules that were trained beside them. Whatever else an adapter may be is left to
the library itself.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidCheckpoint
from weightstring.problem.checkpoints.loading import state_of

PREFIX = "base_model.model."
"""Before the names of the base model's modules."""
LOWER, RAISE = ".lora_A.weight", ".lora_B.weight"
"""After the name of a layer: A (r, in) and B (out, r)."""
OTHER_FORMS = (
    "use_dora", "use_bdlora", "use_qalora", "use_ccl", "lora_bias", "layer_replication", "target_parameters",
    "trainable_token_indices", "alora_invocation_tokens", "arrow_config", "megatron_config",
)  # fmt: skip
"""Settings under which the weights compute something else."""
PLAIN_STARTS = (None, True, False, "gaussian", "eva", "orthogonal")
"""Initialisations that leave the base model as it is."""


@dataclass(frozen=True, eq=False)
class Product:
    """What an adapter adds to the weight of one layer: ``scale * raise_ @ lower``.

    Args:
        lower: A (r, in).
        raise_: B (out, r).
        scale: α / r, or α / √r.
    """

    lower: Tensor
    raise_: Tensor
    scale: float

    @property
    def rank(self) -> int:
        """R, the number of rows of A."""
        return len(self.lower)

    @property
    def delta(self) -> Tensor:
        """The product (out, in), computed in float32 or wider.

        >>> Product(torch.ones(1, 2), torch.ones(3, 1), 0.5).delta.shape
        torch.Size([3, 2])
        """
        dtype = torch.promote_types(self.lower.dtype, torch.float32)
        return self.scale * (self.raise_.to(dtype) @ self.lower.to(dtype))


@dataclass(frozen=True, eq=False)
class Lora:
    """An adapter in numbers.

    Args:
        products: by the name of the layer in the base model.
        whole: parameters that were trained whole, by their names there.
    """

    products: Mapping[str, Product]
    whole: Mapping[str, Tensor]

    @property
    def changed(self) -> set[str]:
        """Names of the base model's parameters that it changes."""
        return {f"{layer}.weight" for layer in self.products} | self.whole.keys()


def read_lora(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Lora | None:
    """An adapter of the plain form; None: one of another form, which the library has to read.

    Args:
        config: its ``adapter_config.json``.
        weights: its tensors.

    Raises:
        InvalidCheckpoint: A without B, or of another rank than B.

    >>> weights = {f"{PREFIX}fc{LOWER}": torch.ones(1, 2), f"{PREFIX}fc{RAISE}": torch.ones(3, 1)}
    >>> found = read_lora({"peft_type": "LORA", "r": 1, "lora_alpha": 2}, weights)
    >>> found.products["fc"].scale, found.changed
    (2.0, {'fc.weight'})
    """
    plain = (
        str(config.get("peft_type")) in ("LORA", "PeftType.LORA")
        and not any(config.get(form) for form in OTHER_FORMS)
        and config.get("bias", "none") == "none"
        and config.get("init_lora_weights") in PLAIN_STARTS
    )
    names = {name.removeprefix(PREFIX): tensor for name, tensor in weights.items()}
    layers = [name.removesuffix(LOWER) for name in names if name.endswith(LOWER)]
    whole = {name: tensor for name, tensor in names.items() if not name.endswith((LOWER, RAISE))}
    kept = config.get("modules_to_save") or ()
    if not plain or not layers or not all(_within(name, kept) for name in whole):
        return None
    if not all(tensor.dim() == 2 for name, tensor in names.items() if name not in whole):
        return None  # of convolutions
    products = {}
    for layer in layers:
        lower, raise_ = names[layer + LOWER], names.get(layer + RAISE)
        if raise_ is None or raise_.shape[1] != len(lower):
            lack = "no lora_B" if raise_ is None else f"lora_A {tuple(lower.shape)} and lora_B {tuple(raise_.shape)}"
            raise InvalidCheckpoint(f"the adapter has {lack} for {layer!r}: it is damaged, save it again")
        products[layer] = Product(lower, raise_, _scale(config, layer, len(lower)))
    return Lora(products, whole)


def _within(name: str, modules: object) -> bool:
    """Whether a parameter belongs to one of the modules that are named by the ends of their names."""
    owner = name.rpartition(".")[0]
    return isinstance(modules, list | tuple | set) and any(
        owner == module or owner.endswith(f".{module}") or f"{module}." in name for module in map(str, modules)
    )


def _scale(config: Mapping[str, Any], layer: str, rank: int) -> float:
    """α over r or √r; α may be another for layers whose names end in a pattern."""
    patterns: Mapping[str, float] = config.get("alpha_pattern") or {}
    matching = (value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", layer))
    alpha = float(next(matching, config.get("lora_alpha", 8)))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def merged_state(net: nn.Module, lora: Lora) -> dict[str, object] | None:
    """The state dict of a base model with an adapter in its weights; what is not changed is the model's own.

    None where a layer is of a kind that the library has to merge.

    Raises:
        InvalidCheckpoint: the adapter is of another model.
    """
    state, modules = dict(state_of(net)), dict(net.named_modules())
    changed: dict[int, Tensor] = {}
    for layer, product in lora.products.items():
        module = modules.get(layer)
        if module is None:
            raise InvalidCheckpoint(
                f"the adapter cannot be put on net, which is no model of its kind (it has no layer {layer!r})"
            )
        turned = type(module).__name__ == "Conv1D"  # its weight is (in, out)
        own = state.get(f"{layer}.weight")
        if not (isinstance(module, nn.Linear) or turned) or not isinstance(own, Tensor):
            return None
        delta = product.delta.T if turned else product.delta
        if delta.shape != own.shape:
            raise InvalidCheckpoint(
                f"the adapter changes {layer!r} by a {tuple(delta.shape)} where net's is {tuple(own.shape)}: an "
                "adapter of another model"
            )
        wide = own.detach().to(torch.promote_types(own.dtype, torch.float32))
        changed[id(own)] = (wide + delta.to(wide)).to(own.dtype)
    for name, tensor in lora.whole.items():
        own = state.get(name)
        if not isinstance(own, Tensor) or own.shape != tensor.shape:
            return None
        changed[id(own)] = tensor.to(own)
    return {name: changed.get(id(own), own) for name, own in state.items()}
