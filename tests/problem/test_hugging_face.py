"""Transformers and their adapters, as their libraries save them; small ones, built from a configuration."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

from weightstring.errors import InvalidCheckpoint
from weightstring.problem import ModuleProblem
from weightstring.store import read_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

TOKENS = torch.randint(0, 40, (12, 8), generator=torch.Generator().manual_seed(0))
NEXT = TOKENS.roll(-1, 1)


def loss(output: object, targets: torch.Tensor) -> torch.Tensor:
    return functional.cross_entropy(output.logits.flatten(0, -2), targets.flatten())


def gpt2(seed: int) -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(seed)
    small = {"vocab_size": 40, "n_positions": 8, "n_embd": 16, "n_layer": 2, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**small, bos_token_id=0, eos_token_id=0)).eval()


def llama(seed: int, tied: bool = False) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    small = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 2, "max_position_embeddings": 8}
    return LlamaForCausalLM(LlamaConfig(**small, **heads, tie_word_embeddings=tied)).eval()


def problem_of(net: nn.Module) -> ModuleProblem:
    return ModuleProblem(net, loss, (TOKENS, NEXT), engine="loop", batch_size=None)


def plain_loss(net: nn.Module) -> float:
    with torch.no_grad():
        return float(loss(net(TOKENS), NEXT))


@pytest.mark.parametrize("build", [gpt2, llama, lambda seed: llama(seed, tied=True)])
def test_folders_shards_and_pickles_are_what_the_library_saved(build, tmp_path: Path) -> None:
    net, other = build(0), build(1)
    problem = problem_of(net)
    theta = problem.flatten(other)
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(plain_loss(other), rel=1e-6)
    other.save_pretrained(tmp_path / "whole")
    other.save_pretrained(tmp_path / "shards", max_shard_size="8KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    (tmp_path / "old").mkdir()
    torch.save(other.state_dict(), tmp_path / "old" / "pytorch_model.bin")
    for folder in ("whole", "shards", "old"):
        assert torch.equal(problem.flatten(read_checkpoint(tmp_path / folder)), theta)
    net.load_state_dict(problem.unflatten(theta))
    assert plain_loss(net) == plain_loss(other)


def test_the_published_keys_of_gpt2_have_no_prefix_and_old_masks() -> None:
    other = gpt2(1)
    published = dict(other.transformer.state_dict())
    published |= {f"h.{layer}.attn.bias": torch.ones(1, 1, 8, 8).tril() for layer in range(2)}
    problem = problem_of(gpt2(0))
    assert torch.equal(problem.flatten(published), problem.flatten(other))


def adapted(seed: int, base: int = 0) -> nn.Module:
    from peft import LoraConfig, get_peft_model

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        net = gpt2(base)
        torch.manual_seed(100 + seed)
        return get_peft_model(net, LoraConfig(r=2, target_modules=["c_attn"], init_lora_weights=False)).eval()


def test_adapters_are_the_trainable_part_of_one_frozen_model(tmp_path: Path) -> None:
    problem, other = problem_of(adapted(0)), adapted(1)
    theta = problem.flatten(other)
    assert problem.size == 2 * (2 * 16 + 48 * 2)
    assert float(problem.measure(theta[None])["loss"]) == pytest.approx(plain_loss(other), rel=1e-6)
    other.save_pretrained(tmp_path)
    assert torch.equal(problem.flatten(read_checkpoint(tmp_path)), theta)
    base = problem_of(gpt2(0))
    merged = base.measure(base.flatten(read_checkpoint(tmp_path))[None])["loss"]
    assert float(merged) == pytest.approx(plain_loss(other), rel=1e-5)
    with pytest.raises(InvalidCheckpoint, match=r", a frozen parameter, differs from the module's own by up to"):
        problem.flatten(adapted(1, base=5))
