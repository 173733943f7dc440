"""Language models on any plain text (Section V): the next word, by the paper's two-layer LSTM."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from weightstring.errors import InvalidData, InvalidSetting
from weightstring.problem import ModuleProblem
from weightstring.recipe import Recipe

WORD = re.compile(r"[a-z']+|[.,;:?!]")
UNKNOWN = "<unk>"


class NextWord(nn.Module):
    """An LSTM over words: token indices (N, T) to logits of the next word (N, V, T).

    The class axis comes second, as torch's cross-entropy reads it.

    Args:
        vocabulary: V.
        hidden: units of each layer, and width of the embedding.
        layers: of the LSTM.
    """

    def __init__(self, vocabulary: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, hidden)
        self.lstm = nn.LSTM(hidden, hidden, layers, batch_first=True)
        self.words = nn.Linear(hidden, vocabulary)

    def forward(self, tokens: Int64[Tensor, "N T"]) -> Float[Tensor, "N V T"]:
        """Logits of the word after each."""
        states, _ = self.lstm(self.embedding(tokens))
        logits: Tensor = self.words(states)
        return logits.transpose(1, 2)


def text(
    data: Path | None = None,
    vocabulary: int = 10_000,
    hidden: int = 200,
    layers: int = 2,
    length: int = 20,
    train_words: int = 0,
    test_words: int = 80_000,
    batch_size: int = 64,
    optimizer: str = "adam",
    lr: float = 2e-3,
) -> ModuleProblem:
    """The next word of a plain text file, by a two-layer LSTM of 200 units over 20 words, as in the paper.

    The loss is the mean cross-entropy of a word in nats; perplexity is its exponential. The paper's text, the Penn
    Treebank, may not be redistributed: any text of some hundred thousand words will do.

    Args:
        data: the file, UTF-8; words are lower case, punctuation marks are words.
        vocabulary: the most frequent words of the training part; the others are one word, ``<unk>``.
        hidden: units of each layer.
        layers: of the LSTM.
        length: words in a sequence, through which gradients go.
        train_words: of the first part, 0: all that is not held out.
        test_words: of the end of the text, held out as evaluation set.
        batch_size: sequences in a minibatch.
        optimizer: ``adam``, or another of torch.optim.
        lr: its learning rate.

    Raises:
        InvalidData: there is no such file, or it is too short.
        InvalidSetting: an option is out of range.
    """
    for name, value in (("vocabulary", vocabulary), ("hidden", hidden), ("layers", layers), ("length", length)):
        if value < 1:
            raise InvalidSetting(f"text: {name}={value}: must be positive")
    words = _words(data)
    train, evaluate = words[:-test_words], words[-test_words:]
    if train_words:
        train = train[:train_words]
    if min(len(train), len(evaluate)) <= length:
        raise InvalidData(f"{data}: has {len(words)} words: too few for test_words={test_words} and length={length}")
    known = [word for word, _ in Counter(train).most_common(vocabulary - 1)]
    index = {UNKNOWN: 0, **{word: number for number, word in enumerate(known, 1)}}
    return ModuleProblem(
        NextWord(len(index), hidden, layers),
        nn.CrossEntropyLoss(),
        train=_sequences(train, index, length),
        evaluate=_sequences(evaluate, index, length),
        batch_size=batch_size,
        chunk=256,
        recipe=Recipe(optimizer, {"lr": lr}, clip=5.0, check_every=50),
        engine="loop",  # recurrent layers gain nothing from the others on a CPU
        train_curves=False,  # ten times the evaluation set
    )


def _words(data: Path | None) -> list[str]:
    if data is None:
        raise InvalidData("text: no file is named: give --data FILE, any plain text")
    try:
        content = Path(data).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise InvalidData(f"{data}: cannot be read as plain text: {problem}") from None
    return WORD.findall(content.lower())


def _sequences(
    words: list[str], index: dict[str, int], length: int
) -> tuple[Int64[Tensor, "N T"], Int64[Tensor, "N T"]]:
    """Words in runs of ``length``, and the words after each; what is left over at the end is dropped."""
    tokens = torch.tensor([index.get(word, 0) for word in words])
    count = (len(tokens) - 1) // length
    return tokens[: count * length].view(count, length), tokens[1 : count * length + 1].view(count, length)
