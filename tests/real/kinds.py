"""Models as people have them, each small, with data that it learns in seconds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

import weightstring as ws

VOCABULARY, LENGTH = 24, 12
ADAM = ws.Recipe("adam", {"lr": 3e-3}, check_every=10)


Made = tuple[ws.ModuleProblem, Callable[[nn.Module], float]]
"""A loss, and the same computed in plain PyTorch for a net in evaluation mode."""


@dataclass(frozen=True)
class Real:
    """A kind of model.

    Args:
        make: makes its loss.
        level: that its ends are trained to.
        ratio: of the threshold to that.
    """

    make: Callable[[], Made]
    level: float
    ratio: float = 1.2


def draws(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def counting(count: int, seed: int) -> Tensor:
    """Sequences that count upwards from a random number: the next one is easily learned."""
    first = torch.randint(VOCABULARY, (count, 1), generator=draws(seed))
    return (first + torch.arange(LENGTH)) % VOCABULARY


def padded(tokens: Tensor) -> dict[str, Tensor]:
    """A batch as a tokenizer and its collator make it: every third sequence is shorter."""
    mask = torch.ones_like(tokens)
    mask[::3, 9:] = 0
    return {"input_ids": tokens * mask, "attention_mask": mask, "labels": tokens.masked_fill(mask == 0, -100)}


def classified(tokens: Tensor) -> dict[str, Tensor]:
    return {**padded(tokens), "labels": tokens[:, 0] % 3}


def of_batches(net: nn.Module, batch: Callable[[Tensor], dict[str, Tensor]], *, shifted: bool = False) -> Made:
    """Batches of different sizes, with the loss that the model itself returns: of each label that counts."""
    train = [batch(counting(size, seed)) for seed, size in enumerate((16, 16, 16, 9))]
    evaluate = [batch(counting(size, seed)) for seed, size in enumerate((16, 11), 100)]

    def by_hand(net: nn.Module) -> float:
        counts = [int((each["labels"][:, 1:] if shifted else each["labels"]).ne(-100).sum()) for each in evaluate]
        losses = [float(net(**each).loss) for each in evaluate]
        return sum(n * loss for n, loss in zip(counts, losses, strict=True)) / sum(counts)

    return ws.ModuleProblem.from_batches(net, train, evaluate, recipe=ADAM), by_hand


def of_digits(net: nn.Module, logits: Callable[[object], Tensor] = lambda output: output, **settings: object) -> Made:
    train, (x, y) = digits()
    problem = ws.ModuleProblem(
        net, lambda output, targets: F.cross_entropy(logits(output), targets), train, (x, y), recipe=ADAM, **settings
    )
    return problem, lambda net: float(F.cross_entropy(logits(net(x)), y))


def bert() -> Made:
    import transformers as hf

    config = hf.BertConfig(
        vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
        max_position_embeddings=LENGTH, num_labels=3,
    )  # fmt: skip
    return of_batches(hf.BertForSequenceClassification(config), classified)


def gpt2_net() -> nn.Module:
    import transformers as hf

    config = hf.GPT2Config(
        vocab_size=VOCABULARY, n_positions=LENGTH, n_embd=32, n_layer=2, n_head=4, bos_token_id=0, eos_token_id=0
    )
    return hf.GPT2LMHeadModel(config)


def gpt2() -> Made:
    return of_batches(gpt2_net(), padded, shifted=True)


def llama() -> Made:
    import transformers as hf

    config = hf.LlamaConfig(
        vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=LENGTH,
    )  # fmt: skip
    return of_batches(hf.LlamaForCausalLM(config), padded, shifted=True)


def t5() -> Made:
    import transformers as hf

    config = hf.T5Config(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=2, num_heads=4, decoder_start_token_id=0
    )

    def reversed_order(tokens: Tensor) -> dict[str, Tensor]:
        return {"input_ids": tokens, "labels": tokens.flip(1)}

    return of_batches(hf.T5ForConditionalGeneration(config), reversed_order)


def vit() -> Made:
    import transformers as hf

    config = hf.ViTConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=48, num_labels=10,
    )  # fmt: skip
    return of_digits(hf.ViTForImageClassification(config), lambda output: output.logits)


def lora() -> Made:
    """The adapter alone is θ, on a base that stays as it is."""
    import peft

    torch.manual_seed(0)
    config = peft.LoraConfig(r=4, target_modules=["c_attn", "c_fc"], fan_in_fan_out=True, task_type="CAUSAL_LM")
    return of_batches(peft.get_peft_model(gpt2_net(), config), padded, shifted=True)


def digits() -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """The handwritten digits that scikit-learn brings along, as images (N, 1, 8, 8)."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    x, y = torch.tensor(images, dtype=torch.float32).view(-1, 1, 8, 8) / 16, torch.tensor(labels)
    return (x[:1200], y[:1200]), (x[1200:], y[1200:])


class Residual(nn.Module):
    """A block as timm and torchvision have it."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act2 = nn.ReLU(inplace=True)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x
        x = self.act1(self.bn1(self.conv1(x)))
        x = self.bn2(self.conv2(x))
        if self.downsample is not None:
            shortcut = self.downsample(shortcut)
        x += shortcut
        return self.act2(x)


def resnet() -> Made:
    stem = nn.Sequential(nn.Conv2d(1, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10))
    net = nn.Sequential(stem, Residual(8, 8, 1), Residual(8, 16, 2), Residual(16, 16, 2), head)
    return of_digits(net)


class Block(nn.Module):
    """A transformer block with a class token's attention as timm has it: fused qkv, layer scale."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.fc2 = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)
        self.scale = nn.Parameter(torch.full((dim,), 0.5))
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, dim = x.shape
        qkv = self.qkv(self.norm1(x)).reshape(batch, tokens, 3, self.heads, dim // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(*qkv.unbind(0))
        x = x + self.scale * self.proj(attended.transpose(1, 2).reshape(batch, tokens, dim))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class VisionTransformer(nn.Module):
    """As timm's: a class token and position embeddings that are parameters of the module itself."""

    def __init__(self, dim: int = 24) -> None:
        super().__init__()
        self.patch_embed = nn.Conv2d(1, dim, 4, 4)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, dim))
        self.blocks = nn.Sequential(*(Block(dim, 3) for _ in range(2)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch_embed(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        return self.head(self.norm(self.blocks(x))[:, 0])


def timm_vit() -> Made:
    def initialise(net: nn.Module) -> None:
        for module in net.modules():
            if module is not net and hasattr(module, "reset_parameters"):
                module.reset_parameters()
            if isinstance(module, Block):
                nn.init.constant_(module.scale, 0.5)
        nn.init.trunc_normal_(net.cls_token, std=0.02)
        nn.init.trunc_normal_(net.pos_embed, std=0.02)

    return of_digits(VisionTransformer(), initialise=initialise)


class Messages(nn.Module):
    """Message passing over a flat batch of graphs, as PyG batches them: edges, and each node's graph."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.embed = nn.Embedding(4, width)
        self.message = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(2))
        self.update = nn.ModuleList(nn.Linear(2 * width, width) for _ in range(2))
        self.head = nn.Linear(width, 1)

    def forward(self, x: Tensor, edge_index: Tensor, batch: Tensor, graphs: int) -> Tensor:
        h, (source, target) = self.embed(x), edge_index
        for message, update in zip(self.message, self.update, strict=True):
            sent = F.relu(message(torch.cat([h[source], h[target]], dim=1)))
            received = torch.zeros_like(h).index_add(0, target, sent)
            h = h + F.relu(update(torch.cat([h, received], dim=1)))
        pooled = torch.zeros(graphs, h.shape[1], dtype=h.dtype, device=h.device)
        return self.head(pooled.index_add(0, batch, h)).squeeze(1)


def graphs_of(count: int, seed: int) -> dict[str, Tensor | int]:
    """Rings of 3 to 7 nodes in one flat batch; the target is how many nodes of kind 0 a graph has."""
    sizes = torch.randint(3, 8, (count,), generator=draws(seed))
    kinds = torch.randint(4, (int(sizes.sum()),), generator=draws(seed + 1))
    starts = sizes.cumsum(0) - sizes
    batch = torch.repeat_interleave(torch.arange(count), sizes)
    place = torch.arange(len(kinds)) - starts[batch]
    following = starts[batch] + (place + 1) % sizes[batch]
    edges = torch.stack([torch.arange(len(kinds)), following])
    targets = torch.zeros(count).index_add(0, batch, (kinds == 0).float())
    return {"x": kinds, "edge_index": torch.cat([edges, edges.flip(0)], 1), "batch": batch, "y": targets}


def graph_network() -> Made:
    def squares(net: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, int]:
        y = batch["y"]
        output = net(batch["x"], batch["edge_index"], batch["batch"], len(y))
        return (output - y).square().sum(), len(y)

    train = [graphs_of(size, 10 * seed) for seed, size in enumerate((32, 32, 32, 17))]
    evaluate = [graphs_of(size, 1000 + 10 * seed) for seed, size in enumerate((32, 21))]

    def by_hand(net: nn.Module) -> float:
        sums, counts = zip(*(squares(net, batch) for batch in evaluate), strict=True)
        return float(sum(sums)) / sum(counts)

    problem = ws.ModuleProblem.from_batches(Messages(), train, evaluate, squares, recipe=ADAM, divisible=False)
    return problem, by_hand


KINDS = {
    "BERT": Real(bert, 0.3),
    "GPT-2": Real(gpt2, 0.5),
    "Llama": Real(llama, 0.5),
    "T5": Real(t5, 1.5),
    "ViT": Real(vit, 0.5),
    "LoRA": Real(lora, 2.8),
    "ResNet": Real(resnet, 0.4),
    "timm's ViT": Real(timm_vit, 0.5),
    "graph network": Real(graph_network, 0.1),
}
