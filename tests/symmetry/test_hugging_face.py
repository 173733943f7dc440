"""Models as they are: no option changed, no hint given, whatever they return beside their logits."""

from __future__ import annotations

from typing import Any

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
WIDE = {**SIZES, "intermediate_size": 24}
GROUPED = {**WIDE, "num_key_value_heads": 2}
SMALL = {"vocab_size": VOCABULARY, "num_layers": 2, "num_heads": 4}


class Sentences(nn.Module):
    """Means of the last hidden states, of length 1: sentence encoders such as MiniLM."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.body(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        mask = attention_mask.unsqueeze(-1).expand(hidden.shape).to(hidden)
        return F.normalize((hidden * mask).sum(1) / mask.sum(1).clamp(min=1e-9), dim=1)


def made(kind: str, **settings: Any) -> nn.Module:
    """A model of transformers by its class, with random weights."""
    import transformers as hf

    model = getattr(hf, kind)
    return model(model.config_class(**settings))


MODELS = {
    "gpt2": lambda: made("GPT2LMHeadModel", vocab_size=VOCABULARY, n_positions=16, n_embd=16, n_layer=2, n_head=2),
    "gpt2, untied": lambda: made(
        "GPT2LMHeadModel", vocab_size=VOCABULARY, n_positions=16, n_embd=16, n_layer=2, n_head=2,
        tie_word_embeddings=False,
    ),
    "llama": lambda: made("LlamaForCausalLM", **GROUPED),
    "qwen2": lambda: made("Qwen2ForCausalLM", **GROUPED),
    "qwen3": lambda: made("Qwen3ForCausalLM", **GROUPED, head_dim=4),
    "opt": lambda: made("OPTForCausalLM", **SIZES, ffn_dim=24, word_embed_proj_dim=16),
    "bert": lambda: made("BertForMaskedLM", **WIDE),
    "bert, classes": lambda: made("BertForSequenceClassification", **WIDE, num_labels=3),
    "distilbert, classes": lambda: made(
        "DistilBertForSequenceClassification", vocab_size=VOCABULARY, n_layers=2, n_heads=4, dim=16, hidden_dim=24,
        num_labels=3,
    ),
    "roberta": lambda: made("RobertaForMaskedLM", **WIDE, pad_token_id=1),
    "deberta, classes": lambda: made(
        "DebertaV2ForSequenceClassification", **WIDE, num_labels=3, relative_attention=True,
        pos_att_type=["p2c", "c2p"],
    ),
    "minilm": lambda: Sentences(made("BertModel", **WIDE)),
    "t5": lambda: made(
        "T5ForConditionalGeneration", **SMALL, d_model=16, d_kv=4, d_ff=24, decoder_start_token_id=0
    ),
    "vit, classes": lambda: made(
        "ViTForImageClassification", **{**WIDE, "image_size": 8, "patch_size": 4, "num_labels": 3}
    ),
}  # fmt: skip


def model(kind: str) -> nn.Module:
    """A model of two layers with random weights."""
    import transformers as hf

    hf.logging.set_verbosity_error()
    torch.manual_seed(0)
    return MODELS[kind]()


HEADS = count(4, (4, 8), 24)
"""Four heads, each with queries of width 4 and values of width 4; 24 units of a multilayer perceptron."""

# Two heads of keys and values, each for two heads of queries; rotations tell the widths of queries apart.
LLAMA = count(16) + 2 * count(2, (2, 2), (4, 2), 24)

PERMUTATIONS = {
    "gpt2": count(16) + 2 * count(2, (8, 4), 64),
    "gpt2, untied": count(16) + 2 * count(2, (8, 4), 64),
    "llama": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "opt": count(16) + 2 * HEADS,
    "bert": count(16) + 2 * HEADS,
    "bert, classes": count(16) + 2 * HEADS + count(16),
    "distilbert, classes": count(16) + 2 * HEADS + count(16),
    "roberta": count(16) + 2 * HEADS,
    "deberta, classes": count(16) + 2 * HEADS + count(16, 16),  # the pooler, and the table of relative positions
    "minilm": 2 * HEADS,  # its residual stream is what it returns
    # Heads of all layers share the bias of relative positions, of the encoder and the decoder each.
    "t5": count(16) + count(4, 4, 4, 4) + count((4, 48), 24, 24, 24, 24),
    "vit, classes": count(16) + 2 * HEADS,
}


def problem_of(kind: str, reads: str = "logits", dtype: torch.dtype = torch.float32) -> ws.ModuleProblem:
    """A model on tokens, some of them padded, or pictures, whose loss the user or the model itself computes."""
    draw = torch.Generator().manual_seed(1)
    tokens = torch.randint(VOCABULARY, (24, 7), generator=draw)
    mask = torch.ones_like(tokens)
    mask[1, 5:], mask[7, 2:] = 0, 0
    inputs = {"input_ids": tokens, "attention_mask": mask}
    targets = tokens[:, 0] % 3 if "classes" in kind else tokens
    if kind.startswith("vit"):
        inputs = {"pixel_values": torch.randn(24, 3, 8, 8, generator=draw)}
    if kind == "t5":
        inputs["decoder_input_ids"] = tokens.flip(1)
    if reads == "labels":
        inputs["labels"] = targets
    if kind == "minilm":
        targets = torch.randn(24, 16, generator=draw)

    def of_logits(out: Any, y: Tensor) -> Tensor:
        if isinstance(out, Tensor):
            return F.mse_loss(out, y)
        logits = out.logits
        return F.cross_entropy(logits.transpose(1, -1) if logits.ndim > 2 else logits, y)

    loss = of_logits if reads == "logits" else lambda out, y: out.loss
    net = model(kind).eval().to(dtype)
    return ws.ModuleProblem(net, loss, (inputs, targets), batch_size=None, engine="loop", dtype=dtype)


def disturbed(problem: ws.ModuleProblem) -> Tensor:
    theta = problem.flatten(problem._parts.net)
    return theta + 0.1 * torch.randn(len(theta), generator=torch.Generator().manual_seed(2)).to(theta)


@pytest.mark.slow
@pytest.mark.parametrize("kind", PERMUTATIONS)
def test_a_permuted_copy_is_brought_back(kind):
    problem = problem_of(kind)
    assert find(problem).log10_permutations == pytest.approx(PERMUTATIONS[kind], abs=1e-9)
    theta = disturbed(problem)
    copy = ws.permuted_copy(problem, theta, 1)
    assert float((copy - theta).norm()) > 5
    for method in ("weights", "activations"):
        found = ws.align(problem, theta, copy, methods=[method])
        assert found.distance == 0
        assert found.difference < 1e-5
        assert found.evaluations <= 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["gpt2", "llama", "opt", "bert", "bert, classes"])
def test_a_loss_that_the_model_computes_has_the_same_symmetries(kind):
    problem = problem_of(kind, "labels")
    assert find(problem).log10_permutations == pytest.approx(PERMUTATIONS[kind], abs=1e-9)
    theta = disturbed(problem)
    assert ws.align(problem, theta, ws.permuted_copy(problem, theta, 1), methods=["weights"]).distance == 0


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["opt", "llama"])
def test_a_rescaled_copy_is_brought_back(kind):
    problem = problem_of(kind, "logits")
    theta = disturbed(problem)
    copy = ws.rescaled_copy(problem, ws.permuted_copy(problem, theta, 1), 2)
    assert float((copy - theta).norm()) > 5
    for method in ("weights", "activations"):
        assert ws.align(problem, theta, copy, methods=[method]).distance < 1e-5
