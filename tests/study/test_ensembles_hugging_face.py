"""Ensembles of models that compute their loss themselves, against values by hand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import weightstring as ws

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # importing transformers takes seconds

DRAWN = torch.Generator().manual_seed(0)
TOKENS = torch.randint(3, 20, (5, 6), generator=DRAWN)
CLASSES = torch.randint(0, 3, (5,), generator=DRAWN)
SEVERAL = torch.randint(0, 2, (5, 3), generator=DRAWN).float()
NUMBERS = torch.randn(5, generator=DRAWN)
PLACES = torch.randint(0, 6, (5, 2), generator=DRAWN)


def two(make: Callable[[], nn.Module]) -> list[nn.Module]:
    nets = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        nets.append(make().eval())
        for parameter in nets[-1].parameters():
            parameter.data *= 3
    return nets


def ensemble_of(nets: list[nn.Module], labels: dict[str, Tensor], loss=None) -> ws.Merging:
    """Of batches of two sizes."""
    whole = {"input_ids": TOKENS, **labels}
    batches = [{name: tensor[part] for name, tensor in whole.items()} for part in (slice(3), slice(3, 5))]
    problem = ws.ModuleProblem.from_batches(nets[0], batches, loss=loss)
    string = ws.WeightString(problem, torch.stack([problem.flatten(net) for net in nets]))
    return ws.merge(problem, string, points=2).ensemble


def mean_of(nets: list[nn.Module], name: str, prediction: Callable[[Tensor], Tensor]) -> Tensor:
    with torch.no_grad():
        return torch.stack([prediction(getattr(net(TOKENS), name).double()) for net in nets]).mean(0)


def bert(kind: str, **settings: object) -> list[nn.Module]:
    import transformers

    small = {"vocab_size": 20, "hidden_size": 8, "intermediate_size": 8, "max_position_embeddings": 8}
    config = transformers.BertConfig(**small, num_hidden_layers=1, num_attention_heads=2, **settings)
    return two(lambda: getattr(transformers, kind)(config))


def test_next_tokens():
    from transformers import GPT2Config, GPT2LMHeadModel

    small = {"vocab_size": 20, "n_positions": 6, "n_embd": 8, "n_layer": 1, "n_head": 2}
    nets = two(lambda: GPT2LMHeadModel(GPT2Config(**small, bos_token_id=0, eos_token_id=0)))
    mean = mean_of(nets, "logits", lambda logits: logits.softmax(-1))
    expected = functional.nll_loss(mean[:, :-1].flatten(0, 1).log(), TOKENS[:, 1:].flatten())
    ensemble = ensemble_of(nets, {"labels": TOKENS})
    assert ensemble.average == "probabilities"
    assert ensemble.values == pytest.approx({"loss": float(expected)}, rel=1e-5)
    assert ensemble.values["loss"] < ensemble.mean["loss"]


def likelihood(probabilities: Tensor, targets: Tensor) -> Tensor:
    return functional.nll_loss(probabilities.log(), targets)


@pytest.mark.parametrize(
    ("settings", "labels", "prediction", "loss", "average"),
    [
        (
            {"num_labels": 3},
            CLASSES,
            lambda o: o.softmax(-1),
            lambda p, t: functional.nll_loss(p.log(), t),
            "probabilities",
        ),
        ({"num_labels": 1}, NUMBERS, lambda o: o[:, 0], functional.mse_loss, "outputs"),
        (
            {"num_labels": 3, "problem_type": "multi_label_classification"},
            SEVERAL,
            torch.sigmoid,
            functional.binary_cross_entropy,
            "binary_probabilities",
        ),
    ],
)
def test_sequences_of_every_kind(settings, labels, prediction, loss, average):
    nets = bert("BertForSequenceClassification", **settings)
    ensemble = ensemble_of(nets, {"labels": labels})
    expected = loss(mean_of(nets, "logits", prediction), labels.double() if labels.is_floating_point() else labels)
    assert ensemble.average == average
    assert ensemble.values == pytest.approx({"loss": float(expected)}, rel=1e-5)


def test_both_ends_of_a_span():
    nets = bert("BertForQuestionAnswering")
    first, last = PLACES.unbind(1)
    labels = {"start_positions": first, "end_positions": last}
    ensemble = ensemble_of(nets, labels, loss=lambda net, batch: ws.MeanOf(net(**batch).loss, len(batch["input_ids"])))
    means = [mean_of(nets, name, lambda logits: logits.softmax(-1)) for name in ("start_logits", "end_logits")]
    expected = sum(functional.nll_loss(mean.log(), place) for mean, place in zip(means, (first, last), strict=True)) / 2
    assert ensemble.values == pytest.approx({"loss": float(expected)}, rel=1e-5)
