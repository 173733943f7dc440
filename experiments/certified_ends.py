"""Networks of today in small, and pairs of them, for experiments/certified.py."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

LENGTH, WIDTH, HEADS = 16, 32, 4
"""Characters of a window; what a token is in a network, and by how many heads attention looks at it."""

WINDOWS, IMAGES, PHOTOGRAPHS = 16, 64, 1000
"""Examples on which losses are bounded."""

ESTIMATING = 256
"""Training images of which running statistics are estimated, where they are functions of θ."""

BATCH = 32
Batches = Callable[[torch.Generator], tuple[Tensor, Tensor]]


class Block(nn.Module):
    """Attention and a layer of four times the width, each behind a LayerNorm and beside an identity."""

    def __init__(self, causal: bool) -> None:
        super().__init__()
        self.causal = causal
        self.before, self.after = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.qkv, self.out = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
        self.up, self.down = nn.Linear(WIDTH, 4 * WIDTH), nn.Linear(4 * WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, WIDTH), as it came."""
        q, k, v = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in self.qkv(self.before(x)).chunk(3, 2))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        x = x + self.out(mixed.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.after(x))))


class CharGPT(nn.Module):
    """GPT-2's layout in small, its last layer the embedding."""

    def __init__(self, letters: int, blocks: int) -> None:
        super().__init__()
        self.letters, self.places = nn.Embedding(letters, WIDTH), nn.Embedding(LENGTH, WIDTH)
        for table in (self.letters, self.places):
            nn.init.normal_(table.weight, std=0.1)
        self.blocks = nn.Sequential(*(Block(causal=True) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, letters, bias=False)
        self.head.weight = self.letters.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, LENGTH) → (n, LENGTH, letters)."""
        return self.head(self.norm(self.blocks(self.letters(tokens) + self.places.weight)))


class ViT(nn.Module):
    """Images of 8 × 8 as 16 patches of 2 × 2; the class is read off the mean of all tokens."""

    def __init__(self, blocks: int) -> None:
        super().__init__()
        self.patches, self.places = nn.Conv2d(1, WIDTH, 2, 2), nn.Parameter(torch.randn(16, WIDTH) * 0.02)
        self.blocks = nn.Sequential(*(Block(causal=False) for _ in range(blocks)))
        self.norm, self.head = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 10)

    def forward(self, images: Tensor) -> Tensor:
        """(n, 1, 8, 8) → (n, 10)."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.places
        return self.head(self.norm(self.blocks(tokens)).mean(1))


class CharLSTM(nn.Module):
    """Two layers of LSTM over characters."""

    def __init__(self, letters: int) -> None:
        super().__init__()
        self.letters, self.lstm = nn.Embedding(letters, WIDTH), nn.LSTM(WIDTH, WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, letters)

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, LENGTH) → (n, LENGTH, letters)."""
        return self.head(self.lstm(self.letters(tokens))[0])


def encoder(letters: int, layers: int) -> nn.Module:
    """BERT's own code, in MiniLM's layout and small: the letters that are hidden are its classes."""
    import transformers

    config = transformers.BertConfig(
        vocab_size=letters + 1, hidden_size=WIDTH, num_hidden_layers=layers, num_attention_heads=HEADS,
        intermediate_size=4 * WIDTH, max_position_embeddings=LENGTH, type_vocab_size=1, hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return Outputs(transformers.BertForMaskedLM(config))


class Outputs(nn.Module):
    """The logits of a network that returns them among other things."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, tokens: Tensor) -> Tensor:
        """(n, LENGTH) → (n, LENGTH, classes)."""
        return self.inner(tokens).logits


def nats(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy of a token, those with target −100 left out."""
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=-100)


@dataclass(frozen=True)
class Text:
    """Windows of a text in characters, drawn from a part of it.

    Args:
        tokens: of that part.
        hide: whether a seventh of a window is to be guessed from the rest, rather than each next character.
        mask: the token of what is hidden.
    """

    tokens: Tensor
    hide: bool
    mask: int

    def drawn(self, draw: torch.Generator, count: int = BATCH) -> tuple[Tensor, Tensor]:
        """Windows and their targets."""
        starts = torch.randint(len(self.tokens) - LENGTH - 1, (count,), generator=draw).tolist()
        here, after = (torch.stack([self.tokens[at + k : at + k + LENGTH] for at in starts]) for k in (0, 1))
        if not self.hide:
            return here, after
        hidden = torch.rand(here.shape, generator=draw) < 1 / 7
        hidden[:, LENGTH // 2] = True  # or a window may hide nothing
        return here.masked_fill(hidden, self.mask), here.masked_fill(~hidden, -100)


@dataclass(frozen=True)
class Images:
    """Digits of 8 × 8, 1,200 to train with and the last to measure on."""

    held: bool

    def drawn(self, draw: torch.Generator, count: int = BATCH) -> tuple[Tensor, Tensor]:
        """Images and their classes."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        images, classes = torch.tensor(digits.images[:, None] / 16.0).float(), torch.tensor(digits.target)
        low, high = (1200, len(images)) if self.held else (0, 1200)
        chosen = low + torch.randperm(high - low, generator=draw)[:count]
        return images[chosen], classes[chosen]


@dataclass(frozen=True)
class Photographs:
    """Images of CIFAR-10, standardised, drawn from a part of them.

    Args:
        images: (n, 3, 32, 32), of that part.
        classes: (n,).
    """

    images: Tensor
    classes: Tensor

    def drawn(self, draw: torch.Generator, count: int = BATCH) -> tuple[Tensor, Tensor]:
        """Images and their classes."""
        chosen = torch.randperm(len(self.images), generator=draw)[:count]
        return self.images[chosen], self.classes[chosen]


def photographs(data: Path) -> tuple[Photographs, Photographs, Photographs, Photographs]:
    """The training images, both halves of them, and the test images."""
    from weightstring.tasks.cifar_files import read_cifar
    from weightstring.tasks.cifar_published import CIFAR_SETS

    known = CIFAR_SETS["cifar10"]
    mean, std = (torch.tensor(each)[:, None, None] for each in (known.mean, known.std))
    train, test = (
        Photographs(part.pixels.float().div_(255).sub_(mean).div_(std), part.labels.long())
        for part in read_cifar(known, data)
    )
    halves = zip(train.images.chunk(2), train.classes.chunk(2), strict=True)
    return train, *(Photographs(*half) for half in halves), test


Source = Text | Images | Photographs


def trained(net: nn.Module, source: Source, steps: int, rate: float, seed: int) -> nn.Module:
    """AdamW, 32 examples a step, the rate warmed up and brought down to 0; BatchNorm as the network's mode says."""
    draw = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=rate)
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1, (step + 1) / 50) * (1 - step / steps)
        inputs, targets = source.drawn(draw)
        optimizer.zero_grad()
        nats(net(inputs), targets).backward()
        optimizer.step()
    return net


def kept(file: Path, net: nn.Module, train: Callable[[nn.Module], nn.Module]) -> nn.Module:
    """A network as it is in a file, or trained and kept there."""
    if file.exists():
        net.load_state_dict(load_file(file))
        return net
    train(net)
    file.parent.mkdir(parents=True, exist_ok=True)
    # The same numbers under two names are kept under both.
    save_file({name: values.clone().contiguous() for name, values in net.state_dict().items()}, file)
    return net


def pair(
    build: Callable[[], nn.Module],
    parts: tuple[Source, ...],
    steps: int,
    rate: float | None,
    store: Path,
    frozen: bool,
) -> tuple[nn.Module, nn.Module]:
    """Two networks trained apart, or one trained further on each of two parts of its data, for a quarter of the steps.

    Args:
        build: a network with fresh weights.
        parts: of the data: the whole, and its two halves.
        steps: of a training.
        rate: of further training, where they have a base in common; None: they have none.
        store: where they are kept.
        frozen: whether those that have a base in common keep its running statistics.
    """

    def base(seed: int) -> nn.Module:
        torch.manual_seed(seed)
        return kept(store / f"{seed}.safetensors", build(), lambda net: trained(net, parts[0], steps, 3e-3, seed))

    if rate is None:
        return base(0), base(1)
    found = (
        kept(
            store / f"tuned-{k}.safetensors",
            copy.deepcopy(base(0)).train(not frozen),
            lambda net, k=k: trained(net, parts[1 + k], steps // 4, rate, 10 + k),
        )
        for k in (0, 1)
    )
    return next(found), next(found)
