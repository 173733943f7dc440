"""Models of ``transformers`` in one line: small ones of many kinds, built from their configurations."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

import weightstring as ws

hf: Any = pytest.importorskip("transformers", reason="pip install transformers to test its models")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # it takes seconds to import

BERT = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 1, "intermediate_size": 32, "num_attention_heads": 2}


def rows(count: int = 11, seed: int = 0) -> list[dict[str, Any]]:
    """Sequences of 3 to 8 tokens."""
    draw = torch.Generator().manual_seed(seed)
    lengths = torch.randint(3, 9, (count,), generator=draw).tolist()
    return [{"input_ids": torch.randint(1, 40, (length,), generator=draw).tolist()} for length in lengths]


def gpt2() -> nn.Module:
    sizes = {"vocab_size": 40, "n_positions": 16, "n_embd": 16, "n_layer": 1, "n_head": 2}
    return hf.GPT2LMHeadModel(hf.GPT2Config(**sizes, bos_token_id=0, eos_token_id=0, loss_type="ForCausalLM"))


def llama(tied: bool = True) -> nn.Module:
    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    return hf.LlamaForCausalLM(hf.LlamaConfig(**sizes, num_attention_heads=2, tie_word_embeddings=tied))


def bert(kind: str, **options: object) -> nn.Module:
    return getattr(hf, f"BertFor{kind}")(hf.BertConfig(**BERT, max_position_embeddings=16, **options))


def t5() -> nn.Module:
    sizes = {"vocab_size": 50, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_heads": 2}
    return hf.T5ForConditionalGeneration(hf.T5Config(**sizes, decoder_start_token_id=0, pad_token_id=0))


def vit() -> nn.Module:
    sizes = {"image_size": 8, "patch_size": 4, "num_channels": 1, "hidden_size": 16, "num_hidden_layers": 1}
    return hf.ViTForImageClassification(
        hf.ViTConfig(**sizes, num_attention_heads=2, intermediate_size=16, num_labels=10)
    )


def lora() -> nn.Module:
    peft = pytest.importorskip("peft", reason="pip install peft to test its adapters")
    return peft.get_peft_model(gpt2(), peft.LoraConfig(r=2, target_modules=["c_attn"], init_lora_weights=False))


def with_labels(label: Callable[[list[int]], object]) -> list[dict[str, Any]]:
    return [{**row, "labels": label(row["input_ids"])} for row in rows()]


def images() -> list[dict[str, Any]]:
    draw = torch.Generator().manual_seed(0)
    return [{"pixel_values": torch.randn(1, 8, 8, generator=draw), "labels": i % 10} for i in range(11)]


def some_tokens(ids: list[int]) -> list[int]:
    return [token % 3 if token % 5 else -100 for token in ids]


def classes(logits: Tensor, labels: Tensor) -> Tensor:
    return functional.cross_entropy(logits.flatten(0, -2), labels.flatten(), reduction="none", ignore_index=-100)


def next_tokens(logits: Tensor, labels: Tensor) -> Tensor:
    return classes(logits[:, :-1], labels[:, 1:])


KINDS = {
    "GPT-2": (gpt2, lambda: with_labels(lambda ids: ids), next_tokens, "perplexity"),
    "Llama": (llama, lambda: with_labels(lambda ids: ids), next_tokens, "perplexity"),
    "LoRA": (lora, lambda: with_labels(lambda ids: ids), next_tokens, "perplexity"),
    "masked": (lambda: bert("MaskedLM"), lambda: with_labels(some_tokens), classes, "perplexity"),
    "T5": (t5, lambda: with_labels(lambda ids: ids[::-1][:4]), classes, "perplexity"),
    "token classes": (
        lambda: bert("TokenClassification", num_labels=3),
        lambda: with_labels(some_tokens),
        classes,
        "accuracy",
    ),
    "classes": (
        lambda: bert("SequenceClassification", num_labels=3),
        lambda: with_labels(lambda ids: ids[0] % 3),
        classes,
        "accuracy",
    ),
    "images": (vit, images, classes, "accuracy"),
    "numbers": (
        lambda: bert("SequenceClassification", num_labels=1),
        lambda: with_labels(lambda ids: ids[0] / 7),
        lambda logits, labels: (logits.flatten() - labels).square(),
        None,
    ),
    "several": (
        lambda: bert("SequenceClassification", num_labels=2, problem_type="multi_label_classification"),
        lambda: with_labels(lambda ids: [1.0, float(ids[0] % 2)]),
        lambda logits, labels: functional.binary_cross_entropy_with_logits(logits, labels, reduction="none").flatten(),
        None,
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_the_mean_over_all_labels_of_rows_by_themselves(kind: str) -> None:
    build, data, each, quantity = KINDS[kind]
    torch.manual_seed(0)
    net, examples = build().eval(), data()
    problem = ws.from_transformers(net, examples, batch_size=4)
    values: list[Tensor] = []
    hits: list[Tensor] = []
    for row in examples:
        batch = {name: torch.as_tensor(value)[None] for name, value in row.items()}
        with torch.no_grad():
            logits = net(**batch).logits
        losses = each(logits, batch["labels"])
        counts = torch.ones_like(losses, dtype=torch.bool)
        if quantity is not None:
            told = batch["labels"][:, 1:] if each is next_tokens else batch["labels"]
            counts = told.flatten() != -100
            hits.append((logits.argmax(-1).flatten() == told.flatten())[counts] if quantity == "accuracy" else counts)
        values.append(losses[counts])
    measured = problem.measure(problem.flatten(net)[None], problem.quantities)
    loss = torch.cat(values).double().mean().item()
    assert measured["loss"].item() == pytest.approx(loss, rel=1e-5)
    if quantity == "perplexity":
        assert measured["perplexity"].item() == pytest.approx(torch.tensor(loss).exp().item(), rel=1e-5)
    if quantity == "accuracy":
        accuracy = torch.cat(hits).double().mean().item()
        assert measured["accuracy"].item() == pytest.approx(accuracy)
        assert measured["error"].item() == pytest.approx(1 - accuracy)


@pytest.mark.parametrize("build", [gpt2, llama, t5, vit, lambda: bert("SequenceClassification", num_labels=3)])
def test_half_precision_is_computed_as_the_model_computes_it(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    net = build().to(torch.bfloat16).eval()
    label = (lambda ids: ids[0] % 3) if "Bert" in type(net).__name__ else (lambda ids: ids)
    problem = ws.from_transformers(net, images() if "ViT" in type(net).__name__ else with_labels(label), batch_size=16)
    (batch,) = problem._parts.train
    with torch.no_grad():
        floats = {
            name: value.to(torch.bfloat16) if value.is_floating_point() else value for name, value in batch.items()
        }
        own = float(net(**floats).loss)
    assert problem.measure(problem.flatten(net)[None])["loss"].item() == pytest.approx(
        own, rel=2e-2
    )  # which some models round


def test_rows_of_datasets_loaders_with_collators_and_lists_of_batches_are_the_same_data() -> None:
    datasets = pytest.importorskip("datasets", reason="pip install datasets to test its rows")
    net = bert("SequenceClassification", num_labels=3)
    plain = [{**row, "label": row["input_ids"][0] % 3, "text": "…", "idx": i} for i, row in enumerate(rows())]

    class Own(Dataset):
        def __len__(self) -> int:
            return len(plain)

        def __getitem__(self, place: int) -> dict[str, Any]:
            return plain[place]

    def collate(batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        ids = nn.utils.rnn.pad_sequence([torch.tensor(row["input_ids"]) for row in batch], batch_first=True)
        labels = torch.tensor([row["label"] for row in batch])
        return {"input_ids": ids, "attention_mask": (ids > 0).long(), "labels": labels}

    table = datasets.Dataset.from_list(plain)
    loader: DataLoader[Any] = DataLoader(Own(), batch_size=4, collate_fn=collate, shuffle=True)
    sources = [plain, Own(), table, table.with_format("torch"), ws.streamed(table), loader, ws.streamed(loader)]
    sources.append([collate(plain[i : i + 4]) for i in range(0, 11, 4)])
    problems = [ws.from_transformers(net, source, batch_size=4) for source in sources]
    theta = problems[0].initial(0)[None]
    assert len({problem.measure(theta)["loss"].item() for problem in problems}) == 1


def test_a_language_model_can_predict_its_own_tokens_but_not_padding() -> None:
    net = gpt2().eval()
    own, named = (
        ws.from_transformers(net, data, labels=labels, batch_size=4)
        for data, labels in ((rows(), "input_ids"), (with_labels(lambda ids: ids), "labels"))
    )
    theta = own.flatten(net)[None]
    assert own.measure(theta)["loss"].item() == named.measure(theta)["loss"].item()


def test_a_collator_that_draws_is_refused_until_a_seed_is_given() -> None:
    net = bert("MaskedLM")

    def masking(batch: list[dict[str, Any]]) -> dict[str, Tensor]:
        ids = torch.stack([torch.tensor(row["input_ids"][:3]) for row in batch])
        drawn = torch.rand(ids.shape) < 0.5
        drawn[:, 0] = True
        return {"input_ids": ids.masked_fill(drawn, 49), "labels": ids.masked_fill(~drawn, -100)}

    with pytest.raises(ws.InvalidData, match=r"train: the collator makes another batch of the same rows .* pass seed="):
        ws.from_transformers(net, rows(), collator=masking)
    first, second = (ws.from_transformers(net, rows(), collator=masking, seed=3) for _ in range(2))
    assert first.fingerprint() == second.fingerprint()


def test_batches_of_unlike_weight_are_told_apart_from_the_mean_of_their_means(caplog) -> None:
    net = llama()
    with torch.no_grad():
        net.lm_head.weight.mul_(20)
    data = [{"input_ids": [5, 6, 7, 8, 9, 10, 11, 12]}, {"input_ids": [3, 4]}]
    with caplog.at_level(logging.INFO, "weightstring"):
        problem = ws.from_transformers(net, data, labels="input_ids", batch_size=1)
    assert "over all 8 labels that count; of the first 2 batches that is" in caplog.text
    with torch.no_grad():
        losses = [
            float(net(input_ids=ids, labels=ids).loss) for row in data for ids in [torch.tensor([row["input_ids"]])]
        ]
    mean = (7 * losses[0] + losses[1]) / 8
    assert problem.measure(problem.flatten(net)[None])["loss"].item() == pytest.approx(mean, rel=1e-5)


def test_batches_without_a_label_that_counts_weigh_nothing() -> None:
    net = llama().eval()
    data = [{"input_ids": [7]}, {"input_ids": [5, 6, 7, 8]}]
    problem = ws.from_transformers(net, data, labels="input_ids", batch_size=1)
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.no_grad():
        expected = float(net(input_ids=ids, labels=ids).loss)
    assert problem.measure(problem.flatten(net)[None])["loss"].item() == pytest.approx(expected, rel=1e-5)
    slopes = problem.gradient(problem.flatten(net)[None], torch.tensor([[0]])).gradients
    assert not slopes.any()
    with pytest.raises(ws.InvalidModel, match="first 1 batches is no number: none of their labels counts"):
        ws.from_transformers(net, data[:1], labels="input_ids")


def mixtral() -> nn.Module:
    sizes = {"vocab_size": 40, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "num_local_experts": 4}
    return hf.MixtralForCausalLM(hf.MixtralConfig(**sizes, **heads, output_router_logits=True))


def blind() -> nn.Module:
    """A model that does not heed its mask."""
    net = gpt2()
    forward = type(net).forward

    class Blind(type(net)):  # type: ignore[misc]
        def forward(self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor | None = None) -> Any:
            mixed = (input_ids + input_ids.sum(1, keepdim=True)) % 40
            return forward(self, input_ids=mixed, labels=labels)

    net.__class__ = Blind
    return net


def whole(ids: Tensor, **others: Tensor) -> list[dict[str, Tensor]]:
    return [{"input_ids": ids, "labels": ids, **others}]


IDS = torch.arange(8).view(2, 4) + 1

REFUSED = {
    "no labels": (gpt2, rows, "has 'input_ids', 'attention_mask' but no labels: name their column by labels="),
    "router": (mixtral, lambda: with_labels(lambda ids: ids), "own loss .* is no mean over labels that is known here"),
    "count of a step": (
        gpt2,
        lambda: whole(IDS, num_items_in_batch=torch.tensor(8)),
        "'num_items_in_batch', which divides the loss by a number of the whole step",
    ),
    "cache": (gpt2, lambda: whole(IDS, cache=IDS), "'cache', which holds what another call computed"),
    "misspelt": (gpt2, lambda: whole(IDS, attention=IDS), "'attention', which GPT2LMHeadModel does not take"),
    "counted padding": (
        gpt2,
        lambda: whole(IDS, attention_mask=torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])),
        "2 labels of a batch .* lie on padding",
    ),
    "unknown label": (gpt2, lambda: whole(IDS - 2), "labels of a batch hold -1: what does not count is -100"),
    "heedless": (blind, lambda: with_labels(lambda ids: ids), "depends on the tokens in padding"),
    "no head": (lambda: hf.GPT2Model(gpt2().config), rows, "GPT2Model takes no 'labels'"),
    "text": (gpt2, lambda: [{"text": "a", "labels": 1}], "no column of 'text', 'labels' is one that .* tokenise"),
    "plain": (lambda: nn.Linear(1, 1), rows, "model is a Linear: pass a model of transformers"),
    "data": (gpt2, lambda: "data", "train is a str: pass rows"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_would_give_a_wrong_number_is_refused_in_one_line(case: str) -> None:
    build, data, message = REFUSED[case]
    with pytest.raises((ws.InvalidModel, ws.InvalidData), match=message) as refusal:
        ws.from_transformers(build(), data())
    assert "\n" not in str(refusal.value)


def test_a_head_that_a_flat_model_cannot_tell_is_named_by_the_caller() -> None:
    net = gpt2()
    with torch.no_grad():
        net.lm_head.weight.zero_()  # every token is as likely as any other
    data = with_labels(lambda ids: ids)
    with pytest.raises(ws.InvalidModel, match=r"say which it is, head='.*token' or head='.*token'"):
        ws.from_transformers(net, data)
    problem = ws.from_transformers(net, data, head="next-token")
    assert problem.measure(problem.flatten(net)[None], ["perplexity"])["perplexity"].item() == pytest.approx(40)
    with pytest.raises(ws.InvalidSetting, match="head='tokens': pass one of 'next-token'"):
        ws.from_transformers(net, data, head="tokens")


def test_two_models_are_connected_by_the_perplexity() -> None:
    torch.manual_seed(0)
    net = llama(tied=False)
    problem = ws.from_transformers(net, with_labels(lambda ids: sorted(ids)), recipe=ws.Recipe("adam", {"lr": 3e-3}))
    a, b = (problem.fit(seed, until=2.5) for seed in (0, 1))
    result = ws.connect(problem, a, b, threshold=20.0, bind="perplexity", progress=False)
    assert result.connected
    assert (problem.measure(result.string.beads, ["perplexity"])["perplexity"] <= 20).all()


def chunks(count: int = 6, length: int = 5) -> list[dict[str, Any]]:
    """Sequences of one length; of some a label is ignored."""
    draw = torch.Generator().manual_seed(4)
    ids = torch.randint(1, 40, (count, length), generator=draw)
    return [{"input_ids": row, "labels": row.where(row != row[0], -100)} for row in ids]


def two_classes(count: int = 6, length: int = 5) -> list[dict[str, Any]]:
    return [{**row, "labels": torch.tensor(k % 2)} for k, row in enumerate(chunks(count, length))]


@pytest.mark.parametrize(
    ("build", "data", "quantity"),
    [
        (gpt2, chunks, "perplexity"),
        (llama, chunks, "loss"),
        (lambda: bert("MaskedLM"), chunks, "loss"),
        (lambda: bert("SequenceClassification"), two_classes, "error"),
    ],
)
def test_a_line_between_two_models_is_proved(build, data, quantity) -> None:
    torch.manual_seed(1)
    dtype = torch.float32 if build is llama else torch.float64  # its norms compute in that
    problem = ws.from_transformers(build(), data(), dtype=dtype, batch_size=2)
    theta = problem.initial(0)
    string = ws.WeightString(problem, torch.stack([theta, theta + 1e-3 * torch.randn_like(theta)]))
    certificate = ws.certify(problem, string, quantity=quantity, max_intervals=2)
    sampled = problem.measure(torch.stack([torch.lerp(*string.beads, t) for t in (0.0, 0.3, 1.0)]), [quantity])
    assert float(sampled[quantity].max()) <= certificate.upper_bound <= 1.05 * certificate.largest_sample
    assert ws.verify(problem, string, certificate).ok


@pytest.mark.parametrize(
    ("build", "rows", "why"),
    [
        (gpt2, [*chunks(2), *chunks(2, 4)], "make rows of one length"),
        (t5, chunks(), "this one is given the labels"),
    ],
)
def test_models_that_certificates_do_not_read_say_why(build, rows, why) -> None:
    problem = ws.from_transformers(build(), rows, dtype=torch.float64, batch_size=2)
    string = ws.WeightString(problem, [problem.initial(0), problem.initial(1)])
    with pytest.raises(ws.Unsupported, match=why):
        ws.certify(problem, string)
