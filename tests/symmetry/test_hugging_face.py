"""Language models as they are: no option changed, no hint given, whatever they return beside their logits."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import weightstring as ws
from weightstring.symmetry.finding import find

from .zoo import count

VOCABULARY = 31
SIZES = {
    "vocab_size": VOCABULARY, "num_hidden_layers": 2, "hidden_size": 16, "num_attention_heads": 4,
    "max_position_embeddings": 16, "bos_token_id": 0, "eos_token_id": 0,
}  # fmt: skip


def model(kind: str) -> nn.Module:
    """A model of two layers with random weights."""
    import transformers as hf

    hf.logging.set_verbosity_error()
    torch.manual_seed(0)
    if kind == "gpt2":
        config = hf.GPT2Config(vocab_size=VOCABULARY, n_positions=16, n_embd=16, n_layer=2, n_head=2)
        return hf.GPT2LMHeadModel(config)
    if kind == "llama":
        return hf.LlamaForCausalLM(hf.LlamaConfig(**SIZES, intermediate_size=24, num_key_value_heads=2))
    if kind == "opt":
        return hf.OPTForCausalLM(hf.OPTConfig(**SIZES, ffn_dim=24, word_embed_proj_dim=16))
    if kind == "bert":
        return hf.BertForMaskedLM(hf.BertConfig(**SIZES, intermediate_size=24))
    return hf.BertForSequenceClassification(hf.BertConfig(**SIZES, intermediate_size=24, num_labels=3))


HEADS = count(4, (4, 8), 24)
"""Four heads, each with queries of width 4 and values of width 4; 24 units of a multilayer perceptron."""

PERMUTATIONS = {
    "gpt2": count(16) + 2 * count(2, (8, 4), 64),
    # Two heads of keys and values, each for two heads of queries; rotations tell the widths of queries apart.
    "llama": count(16) + 2 * count(2, (2, 2), (4, 2), 24),
    "opt": count(16) + 2 * HEADS,
    "bert": count(16) + 2 * HEADS,
    "bert, classes": count(16) + 2 * HEADS + count(16),
}


def problem_of(kind: str, reads: str) -> ws.ModuleProblem:
    """A language model on tokens, some of them padded, whose loss the user or the model itself computes."""
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(VOCABULARY, (24, 7), generator=draw)
    mask = torch.ones_like(tokens)
    mask[1, 5:], mask[7, 2:] = 0, 0
    inputs = {"input_ids": tokens, "attention_mask": mask}
    targets = tokens[:, 0] % 3 if "classes" in kind else tokens
    if reads == "labels":
        inputs["labels"] = targets

    def of_logits(out: dict[str, Tensor], y: Tensor) -> Tensor:
        logits = out.logits
        return F.cross_entropy(logits.transpose(1, -1) if logits.ndim > 2 else logits, y)

    loss = of_logits if reads == "logits" else lambda out, y: out.loss
    return ws.ModuleProblem(model(kind).eval(), loss, (inputs, targets), batch_size=None, engine="loop")


def disturbed(problem: ws.ModuleProblem) -> Tensor:
    theta = problem.flatten(problem._parts.net)
    return theta + 0.1 * torch.randn(len(theta), generator=torch.Generator().manual_seed(2))


@pytest.mark.slow
@pytest.mark.parametrize("reads", ["logits", "labels"])
@pytest.mark.parametrize("kind", PERMUTATIONS)
def test_a_permuted_copy_is_brought_back(kind, reads):
    problem = problem_of(kind, reads)
    assert find(problem).log10_permutations == pytest.approx(PERMUTATIONS[kind], abs=1e-9)
    theta = disturbed(problem)
    copy = ws.permuted_copy(problem, theta, 1)
    found = ws.align(problem, theta, copy, methods=["weights"])
    assert float((copy - theta).norm()) > 5
    assert found.distance == 0
    assert found.difference < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "opt", "bert"])
def test_a_rescaled_copy_is_brought_back(kind):
    problem = problem_of(kind, "logits")
    theta = disturbed(problem)
    copy = ws.rescaled_copy(problem, ws.permuted_copy(problem, theta, 1), 2)
    assert float((copy - theta).norm()) > 5
    assert ws.align(problem, theta, copy, methods=["weights"]).distance < 1e-5
