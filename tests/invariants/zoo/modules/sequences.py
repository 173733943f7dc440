"""Embeddings, recurrent networks, attention."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from weightstring.errors import InvalidModel

from ..entry import Entry, classes, draw


class Language(nn.Module):
    """Scores of the next token; the decoder is the embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.recurrent = nn.LSTM(4, 4, batch_first=True)
        self.decoder = nn.Linear(4, 7)
        self.decoder.weight = self.embedding.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.decoder(self.recurrent(self.embedding(tokens))[0]).transpose(1, 2)


class Packed(nn.Module):
    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.recurrent, self.leave = kind(3, 4, batch_first=True, bidirectional=True), nn.Linear(8, 2)

    def forward(self, sequences: Tensor, lengths: Tensor) -> Tensor:
        packed = pack_padded_sequence(sequences, lengths, batch_first=True, enforce_sorted=False)
        padded, _ = pad_packed_sequence(self.recurrent(packed)[0], batch_first=True)
        return self.leave(padded.sum(1) / lengths.unsqueeze(1))


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.GRUCell(3, 2)

    def forward(self, sequences: Tensor) -> Tensor:
        hidden = None
        for step in sequences.unbind(1):
            hidden = self.cell(step, hidden)
        return hidden


class Encoder(nn.Module):
    """Torch's own transformer, with its fast path while evaluating, and padding."""

    def __init__(self, dropout: float = 0.0, **options: bool) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, dim_feedforward=9, dropout=dropout, batch_first=True, **options)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(6, 3)

    def forward(self, tokens: Tensor, padding: Tensor | None = None) -> Tensor:
        return self.head(self.encoder(tokens, src_key_padding_mask=padding).mean(1))


class Causal(nn.Module):
    """Attention with a mask of −inf among its buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.attention, self.head = (
            nn.Embedding(7, 6),
            nn.MultiheadAttention(6, 2, batch_first=True),
            nn.Linear(6, 7),
        )
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(5))

    def forward(self, tokens: Tensor) -> Tensor:
        hidden = self.embedding(tokens)
        attended, _ = self.attention(hidden, hidden, hidden, attn_mask=self.mask, need_weights=False)
        return self.head(hidden + attended).transpose(1, 2)


class Rotary(nn.Module):
    """Positions as rotations in the complex plane, in a buffer that is not saved."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.head = nn.Linear(4, 4), nn.Linear(4, 3)
        angles = torch.outer(torch.arange(5.0), torch.tensor([1.0, 0.3]))
        self.register_buffer("freqs_cis", torch.polar(torch.ones(5, 2), angles), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        queries = torch.view_as_complex(self.query(tokens).unflatten(2, (2, 2)).contiguous())
        return self.head(torch.view_as_real(queries * self.freqs_cis).flatten(2).sum(1))


class Bags(nn.Module):
    """Bags of tokens in one long row, as they begin where the offsets say."""

    def __init__(self) -> None:
        super().__init__()
        self.bags, self.head = nn.EmbeddingBag(7, 4, mode="mean"), nn.Linear(4, 2)

    def forward(self, tokens: Tensor) -> Tensor:
        offsets = torch.arange(0, tokens.numel(), tokens.shape[1])
        return self.head(self.bags(tokens.flatten(), offsets))


class Spoken(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.recurrent, self.head = nn.GRU(3, 5, batch_first=True), nn.Linear(5, 4)

    def forward(self, sounds: Tensor) -> Tensor:
        return self.head(self.recurrent(sounds)[0]).log_softmax(2)


def ctc(output: Tensor, targets: Tensor) -> Tensor:
    """The last column of the targets says how many of them count; the mean of each example's loss over its length."""
    count = len(output)
    frames = torch.full((count,), output.shape[1], dtype=torch.long)
    return functional.ctc_loss(output.transpose(0, 1), targets[:, :-1], frames, targets[:, -1])


def words(n: int) -> Tensor:
    return torch.cat([torch.randint(1, 4, (n, 3)), torch.randint(1, 4, (n, 1))], dim=1)


def embedding(**options: object) -> nn.Module:
    return nn.Sequential(nn.Embedding(7, 4, **options), nn.Flatten(), nn.Linear(12, 2))


def lengths(n: int) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 5, 3), torch.randint(1, 6, (n,))


def padded(n: int) -> tuple[Tensor, Tensor]:
    mask = torch.rand(n, 4) < 0.4
    mask[:, 0] = False
    return torch.randn(n, 4, 6), mask


def tokens_entry(name: str, net: object, **options: object) -> Entry:
    return Entry(name=name, net=net, inputs=classes(7, 3), **options)


def next_token(name: str, net: object, **options: object) -> Entry:
    return Entry(
        name=name, net=net, inputs=classes(7, 5), targets=classes(7, 5), loss=functional.cross_entropy, **options
    )


def classify(name: str, net: object, inputs: object, **options: object) -> Entry:
    return Entry(name=name, net=net, inputs=inputs, targets=classes(3), loss=functional.cross_entropy, **options)


ENTRIES = [
    tokens_entry("embedding", embedding),
    tokens_entry("embedding with padding", lambda: embedding(padding_idx=2)),
    tokens_entry("embedding with sparse gradients", lambda: embedding(sparse=True)),
    tokens_entry(
        "embedding of limited norm",
        lambda: embedding(max_norm=1.0),
        refused=(InvalidModel, "writes to parameter '0.weight'"),
    ),
    tokens_entry("embedding scaled by frequency", lambda: embedding(scale_grad_by_freq=True)),
    tokens_entry("bags of tokens with offsets", Bags),
    next_token("LSTM with a tied decoder", Language),
    Entry(name="packed GRU", net=lambda: Packed(nn.GRU), inputs=lengths),
    Entry(name="packed LSTM", net=lambda: Packed(nn.LSTM), inputs=lengths),
    Entry(
        name="recurrent cell in a loop",
        net=Cell,
        inputs=draw(4, 3),
    ),
    classify("transformer", Encoder, draw(4, 6)),
    classify("transformer, norm first", lambda: Encoder(norm_first=True), draw(4, 6)),
    classify("transformer with dropout", lambda: Encoder(dropout=0.2), draw(4, 6), draws=True),
    classify("transformer with padding", Encoder, padded),
    next_token("attention with a mask of −inf", Causal),
    classify("rotary positions", Rotary, draw(5, 4)),
    Entry(name="speech with CTC", net=Spoken, inputs=draw(6, 3), targets=words, loss=ctc),
]
