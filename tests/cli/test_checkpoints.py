"""Checkpoints as other libraries write them, named on the command line as their users would."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # each library takes seconds to import

TASK = """
import torch
import weightstring as ws
from torch import nn
from torch.nn import functional

X = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
Y = (X.sum(1) > 0).long() + (X[:, 0] > 1).long()
TOKENS = torch.randint(0, 20, (8, 6), generator=torch.Generator().manual_seed(0))


def net():
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))


def lightning():
    return ws.ModuleProblem(net(), nn.CrossEntropyLoss(), (X, Y), engine="loop", batch_size=None)


def gpt(seed=0):
    from transformers import GPT2Config, GPT2LMHeadModel
    torch.manual_seed(seed)
    small = {"vocab_size": 20, "n_positions": 6, "n_embd": 8, "n_layer": 1, "n_head": 2}
    return GPT2LMHeadModel(GPT2Config(**small, bos_token_id=0, eos_token_id=0))


def of_tokens(net):
    def loss(output, targets):
        return functional.cross_entropy(output.logits.flatten(0, 1), targets.flatten())
    return ws.ModuleProblem(net, loss, (TOKENS, TOKENS.roll(-1, 1)), engine="loop", batch_size=None)


def language():
    return of_tokens(gpt())


def adapted(rank=2):
    from peft import LoraConfig, get_peft_model
    return get_peft_model(gpt(), LoraConfig(r=rank, target_modules=["c_attn"], init_lora_weights=False))


def lora():
    return of_tokens(adapted())
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("checkpoints")
    (made / "task.py").write_text(TASK)
    return made


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[str, object]:
    names: dict[str, object] = {}
    exec(TASK, names)
    return names


@pytest.fixture
def commands(cli, folder: Path, tmp_path: Path):
    """Connect, align, merge and report a pair; returns what each printed."""

    def run(task: str, a: Path | str, b: Path | str, *options: str) -> dict[str, str]:
        named = (f"{folder}/task.py:{task}", a, b)
        said = {}
        for command, arguments in {
            "connect": (*named, "--threshold", "100", "--out", tmp_path / "run", "--json", *options),
            "align": (*named, "--out", tmp_path / "aligned.safetensors", *options),
            "merge": (tmp_path / "run", "--points", "2", "--json"),
            "report": (tmp_path / "run",),
        }.items():
            done = cli(command, *arguments)
            assert done.code == 0, done.err
            said[command] = done.out
        return said

    return run


@pytest.fixture(scope="module")
def lightning_files(folder: Path, made) -> list[Path]:
    pytest.importorskip("pytorch_lightning", reason="its Trainer writes the checkpoint")
    import pytorch_lightning as pl
    from pytorch_lightning.callbacks import ModelCheckpoint

    class Classifier(pl.LightningModule):
        def __init__(self, config: argparse.Namespace) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.net, self.criterion = made["net"](), torch.nn.CrossEntropyLoss()

        def training_step(self, batch, number):
            return self.criterion(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), lr=1e-2)

    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(made["X"], made["Y"]), batch_size=8)
    files = []
    for seed in (0, 1):
        torch.manual_seed(seed)
        kept = ModelCheckpoint(dirpath=folder / f"lightning-{seed}", filename="last")
        quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
        trainer = pl.Trainer(max_epochs=2, callbacks=[kept], default_root_dir=folder, **quiet)
        trainer.fit(Classifier(argparse.Namespace(width=8, out=Path("here"))), loader)
        files.append(Path(kept.best_model_path))
    return files


def test_lightning(commands, lightning_files, made, folder):
    said = commands("lightning", *lightning_files)
    assert json.loads(said["merge"])["ensemble"]["average"] == "probabilities"
    for file, end in zip(lightning_files, ("first", "last"), strict=True):
        state = torch.load(file, weights_only=False)["state_dict"]
        net = made["net"]()
        net.load_state_dict({key.removeprefix("net."): value for key, value in state.items()})
        with torch.no_grad():
            loss = torch.nn.functional.cross_entropy(net(made["X"]), made["Y"]).item()
        place = 0 if end == "first" else 1
        assert json.loads(said["merge"])["ends"][place]["values"]["loss"] == pytest.approx(loss, rel=1e-6)


def test_a_trainers_folder(cli, commands, folder, made):
    pytest.importorskip("accelerate", reason="Hugging Face's Trainer needs it")
    from transformers import Trainer, TrainingArguments

    rows = [{"input_ids": row, "labels": row} for row in made["TOKENS"]]
    out = folder / "trainer"
    arguments = TrainingArguments(
        out, max_steps=4, save_steps=2, per_device_train_batch_size=4, report_to=[], use_cpu=True, disable_tqdm=True
    )
    Trainer(made["gpt"](3), arguments, train_dataset=rows).train()
    task = f"{folder}/task.py:language"
    refused = cli("connect", task, out, out / "checkpoint-4", "--threshold", "100")
    assert refused.code == 2
    assert "trainer: holds no weights itself, but checkpoint-2, checkpoint-4; name one of them" in refused.err
    made["gpt"](5).save_pretrained(folder / "shards", max_shard_size="2KB")
    assert len(list((folder / "shards").glob("*.safetensors"))) > 1
    said = commands("language", out / "checkpoint-4", folder / "shards")
    assert json.loads(said["merge"])["ensemble"]["average"] == "last_axis_probabilities"
    counted = cli("atlas", task, out, "--levels", "100", "--max-beads", "4", "--json")
    assert counted.code == 0, counted.err
    assert [Path(name).name for name in json.loads(counted.out)["models"]] == ["checkpoint-2", "checkpoint-4"]


def test_adapters_and_models_of_another_rank(cli, commands, folder, made):
    pytest.importorskip("peft", reason="adapters are read by peft")
    for rank in (2, 4):
        torch.manual_seed(rank)
        made["adapted"](rank).save_pretrained(folder / f"rank-{rank}")
    torch.manual_seed(9)
    made["adapted"](2).save_pretrained(folder / "rank-2-again")
    commands("lora", folder / "rank-2", folder / "rank-2-again")
    refused = cli("connect", f"{folder}/task.py:lora", folder / "rank-2", folder / "rank-4", "--threshold", "100")
    assert refused.code == 2
    assert f"{folder}/rank-4: the adapter has r 4 where net's has 2" in refused.err


def test_merged_adapters_of_different_rank_meet_in_the_base_model(commands, folder, made, tmp_path):
    pytest.importorskip("peft", reason="adapters are read by peft")
    for rank in (2, 4):
        torch.manual_seed(rank)
        made["adapted"](rank).save_pretrained(folder / f"meets-{rank}")
    said = commands("language", folder / "meets-2", folder / "meets-4")
    with torch.no_grad():
        torch.manual_seed(4)
        logits = made["adapted"](4).eval()(made["TOKENS"]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), made["TOKENS"].roll(-1, 1).flatten()).item()
    assert json.loads(said["merge"])["ends"][1]["values"]["loss"] == pytest.approx(loss, rel=1e-5)
    assert "transformer.h.0.attn.c_attn.weight" in load_file(tmp_path / "aligned.safetensors")


def test_a_class_is_allowed_by_its_name(cli, commands, folder, made, monkeypatch):
    monkeypatch.syspath_prepend(folder)
    (folder / "own_settings.py").write_text("class Config:\n    pass\n")
    from own_settings import Config

    for seed in (0, 1):
        torch.manual_seed(seed)
        torch.save({"model": made["net"]().state_dict(), "config": Config()}, folder / f"own-{seed}.pt")
    pair = (folder / "own-0.pt", f"{folder}/own-1.pt#model")
    refused = cli("connect", f"{folder}/task.py:lightning", *pair, "--threshold", "100")
    assert refused.code == 2
    assert "allow them: --allow-global own_settings.Config (" in refused.err
    commands("lightning", *pair, "--allow-global", "own_settings.Config")
