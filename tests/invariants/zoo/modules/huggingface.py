"""Hugging Face models, built from their configurations, and adapters by peft."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..entry import Entry, classes

TOKENS, LENGTH = 11, 6
SLOW = {"slow": True}
"""One model is tried quickly too."""


def causal(kind: str, **options: Any) -> nn.Module:
    import transformers

    small = {"vocab_size": TOKENS, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
    configurations = {
        "GPT2": {
            "n_embd": 8,
            "n_layer": 2,
            "n_head": 2,
            "n_positions": LENGTH,
            "resid_pdrop": 0.0,
            "embd_pdrop": 0.0,
            "attn_pdrop": 0.0,
        },
        "Llama": {
            "hidden_size": 8,
            "intermediate_size": 12,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
        },
        "OPT": {
            "hidden_size": 8,
            "ffn_dim": 12,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "max_position_embeddings": LENGTH,
            "word_embed_proj_dim": 8,
            "dropout": 0.0,
        },
    }
    config = getattr(transformers, kind + "Config")(**small, **configurations[kind], **options)
    head = "LMHeadModel" if kind == "GPT2" else "ForCausalLM"
    return getattr(transformers, kind + head)(config)


def bert(**options: Any) -> nn.Module:
    import transformers

    none = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    size = {
        "vocab_size": TOKENS,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 12,
    }
    config = transformers.BertConfig(**size, max_position_embeddings=LENGTH, num_labels=3, **none | options)
    return transformers.BertForSequenceClassification(config)


def recomputing(net: nn.Module, **options: Any) -> nn.Module:
    net.gradient_checkpointing_enable(**options)
    return net.train()


def adapted(net: nn.Module, **options: Any) -> nn.Module:
    import peft

    config = peft.LoraConfig(r=2, lora_dropout=0.0, init_lora_weights=False, **options)
    return peft.get_peft_model(net, config)


def next_token(output: Any, tokens: Tensor) -> Tensor:
    logits = output.logits[:, :-1]
    return functional.cross_entropy(logits.transpose(1, 2), tokens[:, 1:])


def own_loss(output: Any, tokens: Tensor) -> Tensor:
    """What the model itself computed, given labels."""
    return output.loss


def masked(n: int) -> dict[str, Tensor]:
    mask = (torch.rand(n, LENGTH) > 0.3).long()
    mask[:, 0] = 1
    return {"input_ids": torch.randint(TOKENS, (n, LENGTH)), "attention_mask": mask}


def labelled(n: int) -> dict[str, Tensor]:
    tokens = torch.randint(TOKENS, (n, LENGTH))
    return {"input_ids": tokens, "labels": tokens}


def language(name: str, net: Any, **options: Any) -> Entry:
    return Entry(
        name=name,
        net=net,
        inputs=masked,
        targets=classes(TOKENS, LENGTH),
        loss=next_token,
        warns=DEPRECATED,
        **SLOW | options,
    )


def classify(name: str, net: Any, **options: Any) -> Entry:
    return Entry(
        name=name,
        net=net,
        inputs=masked,
        targets=classes(3),
        loss=lambda out, t: functional.cross_entropy(out.logits, t),
        warns=DEPRECATED,
        **SLOW | options,
    )


DEPRECATED = (".*gradient_checkpointing", ".*requires_grad=True")
FLOAT32 = (torch.float32,)
"""Llama's norms, and each model's own loss, compute in float32 whatever they are given."""

ENTRIES = [
    language("GPT-2", lambda: causal("GPT2")),
    language("Llama", dtypes=FLOAT32, net=lambda: causal("Llama")),
    language("OPT", lambda: causal("OPT")),
    classify("BERT", bert),
    classify("BERT with dropout", lambda: bert(hidden_dropout_prob=0.1), draws=True),
    language("GPT-2, eager attention", lambda: causal("GPT2", attn_implementation="eager")),
    language("GPT-2, checkpointed", lambda: recomputing(causal("GPT2")), slow=False),
    language("Llama, checkpointed", dtypes=FLOAT32, net=lambda: recomputing(causal("Llama"))),
    language("OPT, checkpointed", lambda: recomputing(causal("OPT"))),
    language(
        "Llama, checkpointed, reentrant",
        dtypes=FLOAT32,
        net=lambda: recomputing(causal("Llama"), gradient_checkpointing_kwargs={"use_reentrant": True}),
    ),
    classify("BERT, checkpointed", lambda: recomputing(bert())),
    language("GPT-2 with LoRA", lambda: adapted(causal("GPT2"), target_modules=["c_attn"], fan_in_fan_out=True)),
    language(
        "Llama with LoRA, checkpointed",
        dtypes=FLOAT32,
        net=lambda: adapted(recomputing(causal("Llama")), target_modules=["q_proj", "v_proj"]),
    ),
    classify(
        "BERT with LoRA and a trained head",
        lambda: adapted(bert(), target_modules=["query"], modules_to_save=["classifier"]),
    ),
    Entry(
        name="GPT-2 with a loss of its own",
        net=lambda: causal("GPT2"),
        inputs=labelled,
        targets=classes(TOKENS, LENGTH),
        loss=own_loss,
        dtypes=FLOAT32,
        slow=True,
    ),
]
