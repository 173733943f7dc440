"""Adapters that ``peft`` saved (LoRA and its like): small weights beside a frozen model, or merged into it.

Plain LoRA is merged by :mod:`weightstring.problem.checkpoints.lora`; all else by the library itself, so that each kind
of adapter computes what it computes there.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from weightstring.errors import InvalidCheckpoint
from weightstring.problem.checkpoints.lora import merged_state, read_lora
from weightstring.problem.checkpoints.misfits import are, named
from weightstring.problem.copying import copied
from weightstring.problem.initialise import seeded
from weightstring.text import first_line

CONFIG = "peft_config"
"""Under which name a saved adapter has its configuration, and"""
WEIGHTS = "adapter_state_dict"
"""its weights."""

FORM = ("peft_type", "r", "lora_alpha", "use_rslora", "rank_pattern", "alpha_pattern", "use_dora", "fan_in_fan_out")
"""Settings that decide what an adapter's weights compute."""

FOREIGN = ("auto_mapping", "megatron_config", "megatron_core", "runtime_config")
"""Settings of a file that name modules to import."""

MERGED = "or give the base model as net: adapters of any form are then read as what they make of its weights"


def with_adapter(net: nn.Module, source: nn.Module | Mapping[str, object]) -> nn.Module | Mapping[str, object]:
    """A copy of a module with an adapter in it, where a checkpoint is one; any other checkpoint as it is.

    Args:
        net: a model with an adapter of the same form, or a base model, into whose weights it is merged.
        source: a checkpoint: an adapter's configuration and weights, or, where ``net`` has one, its weights alone; or
            a model of ``peft`` around a base model like ``net``.

    Raises:
        InvalidCheckpoint: an adapter that does not fit, or ``peft`` is not installed.
    """
    adapted = isinstance(getattr(net, CONFIG, None), Mapping)
    if isinstance(source, nn.Module) and isinstance(getattr(source, CONFIG, None), Mapping) and not adapted:
        name = _active(source)
        source = {CONFIG: getattr(source, CONFIG)[name].to_dict(), WEIGHTS: _weights_of(source, name)}
    if not isinstance(source, Mapping):
        return source
    if CONFIG in source and WEIGHTS in source:
        config, weights = _mapping(source, CONFIG), _mapping(source, WEIGHTS)
    elif adapted and source and source.keys() == _weights_of(net, _active(net)).keys():
        config, weights = {}, source
    else:
        return source
    tensors = {name: value for name, value in weights.items() if isinstance(value, Tensor)}
    if adapted:
        return _filled(net, config, tensors)
    plain = read_lora(config, tensors)
    state = None if plain is None else merged_state(net, plain)
    return _merged(net, config, tensors) if state is None else state


def _mapping(source: Mapping[str, object], key: str) -> Mapping[str, object]:
    found = source[key]
    if not isinstance(found, Mapping):
        raise InvalidCheckpoint(f"{key!r} of the adapter is a {type(found).__name__}: it must be a mapping from names")
    return found


def _filled(net: nn.Module, config: Mapping[str, object], weights: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a model, with these weights in its adapter."""
    name = _active(net)
    own = getattr(net, CONFIG)[name].to_dict()
    for field in FORM:
        if field in config and field in own and config[field] != own[field]:
            raise InvalidCheckpoint(
                f"the adapter has {field} {config[field]!r} where net's has {own[field]!r}, with which its weights "
                f"compute something else: build net with the adapter's own configuration, {MERGED}"
            )
    twin = copied(net)
    _load(twin, name, weights)
    return twin


def _merged(net: nn.Module, config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> nn.Module:
    """A copy of a base model with an adapter merged into its weights."""
    peft = _peft()
    twin = copied(net)
    trainable = [parameter.requires_grad for parameter in twin.parameters()]
    kept = {field: value for field, value in config.items() if field not in FOREIGN}
    try:
        with warnings.catch_warnings(), seeded(0, torch.device("cpu")):  # adapters begin with random numbers
            warnings.simplefilter("ignore")
            around = peft.PeftModel(twin, peft.PeftConfig.from_peft_type(**kept), autocast_adapter_dtype=False)
    except Exception as error:  # of a form that does not fit the model, in as many ways as there are forms
        raise InvalidCheckpoint(
            f"the adapter cannot be put on net, which is no model of its kind ({first_line(error)})"
        ) from error
    _load(around, "default", weights)
    if not hasattr(around.base_model, "merge_and_unload"):
        raise InvalidCheckpoint(
            f"adapters of type {config.get('peft_type')} cannot be merged into weights: give a net with such an adapter"
        )
    merged: nn.Module = around.base_model.merge_and_unload()
    for parameter, trains in zip(merged.parameters(), trainable, strict=True):
        parameter.requires_grad_(trains)
    return merged


def _load(net: nn.Module, adapter: str, weights: Mapping[str, Tensor]) -> None:
    """Load weights into the adapter of a model, all of them and no others."""
    wanted = _weights_of(net, adapter)
    missing, unknown = wanted.keys() - weights.keys(), weights.keys() - wanted.keys()
    if missing or unknown:
        keys, where = (missing, "missing from the adapter") if missing else (unknown, "in the adapter but not in net's")
        raise InvalidCheckpoint(f"{named(sorted(keys))} {are(sorted(keys))} {where}: {_remedy(net)}")
    for name, own in wanted.items():
        if weights[name].shape != own.shape:
            raise InvalidCheckpoint(
                f"the adapter's {name!r} is {tuple(weights[name].shape)} where net's is {tuple(own.shape)}, an adapter "
                f"of another rank or of another model: {_remedy(net)}"
            )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _peft().set_peft_model_state_dict(net, dict(weights), adapter_name=adapter)


def _remedy(net: nn.Module) -> str:
    return f"build net with the adapter's own configuration, {MERGED}"


def _weights_of(net: nn.Module, adapter: str) -> Mapping[str, Tensor]:
    """The weights of a model's adapter, by the names under which they are saved."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        weights: Mapping[str, Tensor] = _peft().get_peft_model_state_dict(
            net, adapter_name=adapter, save_embedding_layers=False
        )
    return weights


def _active(net: nn.Module) -> str:
    """The adapter of a model that computes."""
    active = getattr(net, "active_adapter", None)
    return active if isinstance(active, str) else next(iter(getattr(net, CONFIG)))


def _peft() -> Any:
    try:
        return importlib.import_module("peft")
    except ImportError as error:
        raise InvalidCheckpoint(
            f"the checkpoint is an adapter, which the library peft reads ({first_line(error)}): pip install peft"
        ) from error
