"""Models that compute their own loss from labels: what it is a mean over is found out, or refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

import weightstring as ws
from weightstring.errors import InvalidData, InvalidSetting


class Model(nn.Module):
    """Logits of the label at each place, or of the next one."""

    def __init__(self, shift: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table, self.shift = nn.Embedding(10, 10), shift

    def forward(self, input_ids: Tensor, labels: Tensor | None = None) -> SimpleNamespace:
        logits = self.table(input_ids)
        if labels is None:
            return SimpleNamespace(logits=logits, loss=None)
        read, told = (logits[:, :-1], labels[:, 1:]) if self.shift else (logits, labels)
        loss = functional.cross_entropy(read.flatten(0, 1), told.flatten())
        return SimpleNamespace(logits=logits, loss=loss)


def batches() -> list[dict[str, Tensor]]:
    draw, found = torch.Generator().manual_seed(1), []
    for lengths in ([3, 7, 5], [2, 4]):
        ids = torch.randint(0, 10, (len(lengths), max(lengths)), generator=draw)
        padding = torch.arange(max(lengths)) >= torch.tensor(lengths)[:, None]
        found.append({"input_ids": ids, "labels": ids.masked_fill(padding, -100)})
    return found


@pytest.mark.parametrize("shift", [False, True])
def test_the_loss_of_a_set_is_the_mean_over_all_labels_that_count(shift):
    net = Model(shift).double()
    each = []
    for batch in batches():
        logits, labels = net(batch["input_ids"]).logits, batch["labels"]
        read, told = (logits[:, :-1], labels[:, 1:]) if shift else (logits, labels)
        kept = told != -100
        each.append(functional.cross_entropy(read[kept], told[kept], reduction="none"))
    problem = ws.ModuleProblem.from_batches(net, batches())
    found = problem.measure(problem.flatten(net)[None])["loss"].item()
    assert found == pytest.approx(torch.cat(each).mean().item(), rel=1e-13)


def test_a_loss_over_other_labels_or_none_is_refused():
    with pytest.raises(InvalidSetting, match="loss: the sum of a train batch of 3 is"):
        ws.ModuleProblem.from_batches(Rowwise(), batches())
    unlabelled = [{"input_ids": batch["input_ids"]} for batch in batches()]
    with pytest.raises(InvalidData, match=r"a batch is \['input_ids'\] .* must be a dict with 'labels'"):
        ws.ModuleProblem.from_batches(Model(), unlabelled)
    with pytest.raises(InvalidSetting, match="Plain returns no loss of a batch with 'labels'"):
        ws.ModuleProblem.from_batches(Plain(), batches())


class Rowwise(Model):
    """A mean over sequences of their means."""

    def forward(self, input_ids: Tensor, labels: Tensor) -> SimpleNamespace:
        rows = [
            super(Rowwise, self).forward(*row).loss for row in zip(input_ids.split(1), labels.split(1), strict=True)
        ]
        return SimpleNamespace(loss=torch.stack(rows).mean())


class Plain(Model):
    """Logits alone."""

    def forward(self, input_ids: Tensor, labels: Tensor) -> Tensor:
        return super().forward(input_ids).logits


def small_bert(kind: str, labels: int = 3) -> nn.Module:
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32}
    config = transformers.BertConfig(**sizes, num_attention_heads=2, max_position_embeddings=16, num_labels=labels)
    return getattr(transformers, f"BertFor{kind}")(config)


def small_t5() -> nn.Module:
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    config = transformers.T5Config(**sizes, decoder_start_token_id=0, pad_token_id=0)
    return transformers.T5ForConditionalGeneration(config)


def small_gpt2() -> nn.Module:
    import transformers

    torch.manual_seed(0)
    sizes = {"vocab_size": 50, "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
    return transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0))


def tokens(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    told = labels.flatten()
    return functional.cross_entropy(logits.flatten(0, 1), told, reduction="sum"), (told != -100).sum()


KINDS = {
    "causal": (small_gpt2, lambda out, y: tokens(out[:, :-1], y[:, 1:]), lambda ids, keep: ids),
    "masked": (lambda: small_bert("MaskedLM"), tokens, lambda ids, keep: ids.masked_fill(ids % 3 > 0, -100)),
    "sequence to sequence": (small_t5, tokens, lambda ids, keep: ids),
    "token classes": (lambda: small_bert("TokenClassification"), tokens, lambda ids, keep: ids % 3),
    "classes": (
        lambda: small_bert("SequenceClassification"),
        lambda out, y: (functional.cross_entropy(out, y, reduction="sum"), torch.tensor(len(y))),
        lambda ids, keep: ids[:, 0] % 3,
    ),
    "numbers": (
        lambda: small_bert("SequenceClassification", 1),
        lambda out, y: ((out.squeeze(1) - y).square().sum(), torch.tensor(len(y))),
        lambda ids, keep: ids[:, 0] / 50,
    ),
}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS)
def test_models_of_hugging_face_on_encodings(kind):
    transformers = pytest.importorskip("transformers")
    build, sums, labelled = KINDS[kind]
    draw, data = torch.Generator().manual_seed(3), []
    for lengths in ([3, 8, 5], [4, 6]):
        ids = torch.randint(1, 50, (len(lengths), max(lengths)), generator=draw)
        keep = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
        labels = labelled(ids, keep)
        labels = labels.masked_fill(~keep, -100) if labels.ndim > 1 else labels
        data.append(transformers.BatchEncoding({"input_ids": ids, "attention_mask": keep.long(), "labels": labels}))
    net = build().eval()
    problem = ws.ModuleProblem.from_batches(net, data)
    with torch.no_grad():
        each = [sums(net(**batch).logits, batch["labels"]) for batch in data]
    expected = sum(float(amount) for amount, _ in each) / sum(float(weight) for _, weight in each)
    assert problem.measure(problem.flatten(net)[None])["loss"].item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_dataset_of_hugging_face_goes_through_a_loader():
    datasets = pytest.importorskip("datasets")
    rows = datasets.Dataset.from_dict({"input_ids": torch.arange(40).view(8, 5).remainder(10).tolist()})
    rows = rows.map(lambda row: {"labels": row["input_ids"]}).with_format("torch")
    loader = DataLoader(rows, batch_size=3, shuffle=True)
    kept, streamed = (ws.ModuleProblem.from_batches(Model(), source) for source in (loader, ws.streamed(loader)))
    assert kept.train_size == 3
    assert kept.fingerprint() == streamed.fingerprint()
    theta = kept.initial(0)[None]
    assert torch.equal(kept.measure(theta)["loss"], streamed.measure(theta)["loss"])
    with pytest.raises(InvalidData, match="train is a Dataset: pass a list of batches, or a DataLoader"):
        ws.ModuleProblem.from_batches(Model(), rows)
