"""LightningModules in one line: their own steps without a Trainer, DataModules and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import weightstring as ws

pl: Any = pytest.importorskip("pytorch_lightning", reason="pip install pytorch-lightning to test its modules")
classification: Any = pytest.importorskip("torchmetrics.classification")

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # it takes seconds to import

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0.3).long() + (X[:, 1] > 1).long()
QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "accelerator": "cpu",
}


class Classifier(pl.LightningModule):  # type: ignore[misc]
    """As a tutorial has it: metrics of its own, everything logged, dropout."""

    def __init__(self, width: int = 8, lr: float = 1e-2) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Dropout(0.2), nn.Linear(width, 3))
        self.criterion = nn.CrossEntropyLoss()
        self.f1 = classification.MulticlassF1Score(3, average="macro")

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)

    def training_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        x, y = batch
        loss = self.criterion(self(x), y)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: tuple[Tensor, Tensor], number: int) -> None:
        x, y = batch
        logits = self(x)
        self.f1(logits, y)
        self.log_dict({"val_loss": self.criterion(logits, y), "val/acc": (logits.argmax(1) == y).float().mean()})
        self.log("val_f1", self.f1, on_epoch=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.lr)


class Data(pl.LightningDataModule):  # type: ignore[misc]
    """Its sets are there after ``setup`` only."""

    def setup(self, stage: str) -> None:
        self.train, self.val = TensorDataset(X[:40], Y[:40]), TensorDataset(X[40:], Y[40:])

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.train, batch_size=16, shuffle=True, drop_last=True)

    def val_dataloader(self) -> DataLoader[Any]:
        return DataLoader(self.val, batch_size=7)


def test_what_its_validation_step_logs_is_measured_of_the_whole_set() -> None:
    torch.manual_seed(0)
    module = Classifier()
    problem = ws.from_lightning(module, Data())
    assert problem.quantities == ("loss", "acc", "f1", "train_loss", "train_acc", "train_f1")
    found = problem.measure(problem.flatten(module)[None], problem.quantities)
    with torch.no_grad():
        logits = module.eval()(X)
    for prefix, part in (("", slice(40, None)), ("train_", slice(40))):
        loss = functional.cross_entropy(logits[part], Y[part]).item()
        assert found[f"{prefix}loss"].item() == pytest.approx(loss, rel=1e-6)
        assert found[f"{prefix}acc"].item() == pytest.approx((logits[part].argmax(1) == Y[part]).float().mean().item())
        f1 = float(classification.MulticlassF1Score(3, average="macro")(logits[part], Y[part]))
        assert found[f"{prefix}f1"].item() == pytest.approx(f1, abs=1e-6)
    assert module.f1.update_called is False


def test_checkpoints_of_its_trainer_are_connected(tmp_path: Path) -> None:
    files = []
    for seed in (0, 1):
        pl.seed_everything(seed, verbose=False)
        trainer = pl.Trainer(max_epochs=30, **QUIET)
        module = Classifier(width=12)
        trainer.fit(module, Data())
        trainer.save_checkpoint(tmp_path / f"{seed}.ckpt")
        files.append(tmp_path / f"{seed}.ckpt")
        logged = float(trainer.callback_metrics["val_loss"])
    first, second = map(ws.read_checkpoint, files)
    problem = ws.from_lightning(Classifier, Data(), checkpoint=first)
    a, b = problem.flatten(first), problem.flatten(second)
    ends = problem.measure(torch.stack([a, b]))["loss"]
    assert ends[1].item() == pytest.approx(logged, rel=1e-4)
    result = ws.connect(problem, a, b, threshold=1.3 * float(ends.max()), align=True, progress=False)
    assert result.connected


def test_a_module_after_its_training_still_takes_no_trainer_along() -> None:
    trainer = pl.Trainer(max_epochs=1, **QUIET)
    module = Classifier()
    trainer.fit(module, Data())
    problem = ws.from_lightning(module, Data())
    with torch.no_grad():
        expected = functional.cross_entropy(module.eval()(X[40:]), Y[40:]).item()
    assert problem.measure(problem.flatten(module)[None])["loss"].item() == pytest.approx(expected, rel=1e-6)
    assert module.trainer is trainer


class Returning(Classifier):
    """Only training_step, which returns a dict."""

    validation_step = None

    def training_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        return {"loss": self.criterion(self(batch[0]), batch[1])}


def test_a_training_step_serves_where_there_is_no_other_and_loss_replaces_both() -> None:
    module = Returning()
    own = ws.from_lightning(module, TensorDataset(X, Y), batch_size=13)

    def loss(net: nn.Module, batch: list[Tensor]) -> tuple[Tensor, int]:
        return functional.cross_entropy(net(batch[0]), batch[1], reduction="sum"), len(batch[1])

    given = ws.from_lightning(module, DataLoader(TensorDataset(X, Y), batch_size=60), loss=loss)
    theta = own.flatten(module)[None]
    assert own.measure(theta)["loss"].item() == pytest.approx(given.measure(theta)["loss"].item(), rel=1e-6)


class Asking(Classifier):
    """Asks its Trainer something."""

    def validation_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        return super().training_step(batch, number) * self.trainer.num_val_batches[0]

    training_step = validation_step


class Manual(Classifier):
    validation_step = None

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False


class Summing(Classifier):
    """A sum where a mean is expected."""

    def validation_step(self, batch: tuple[Tensor, Tensor], number: int) -> Tensor:
        return functional.cross_entropy(self(batch[0]), batch[1], reduction="sum")


class Moving(Classifier):
    def on_after_batch_transfer(self, batch: object, number: int) -> object:
        return batch


class Several(Data):
    def val_dataloader(self) -> list[DataLoader[Any]]:
        return [super().val_dataloader(), super().val_dataloader()]


REFUSED = {
    "trainer": (Asking, Data, "fails without a Trainer .*; training_step fails .*pass loss=fn"),
    "manual": (Manual, Data, "optimises by itself in training_step"),
    "sum": (Summing, Data, "loss: the sum of a train batch"),
    "transfer": (Moving, Data, "Moving.on_after_batch_transfer changes batches, and only a Trainer calls it"),
    "several": (Classifier, Several, r"val_dataloader\(\) gives 2 loaders: pass train= and evaluate= themselves"),
    "no data": (Classifier, lambda: None, "does not give its loaders|returns None"),
    "net": (lambda: nn.Linear(1, 1), Data, "module is a Linear: pass a LightningModule"),
    "text": (Classifier, lambda: "data", "train is a str: pass a LightningDataModule"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_told_is_refused_in_one_line(case: str) -> None:
    build, data, message = REFUSED[case]
    with pytest.raises((ws.InvalidModel, ws.InvalidData, ws.InvalidSetting), match=message) as refusal:
        ws.from_lightning(build(), data())
    assert "\n" not in str(refusal.value)


def test_a_checkpoint_without_hyperparameters_builds_no_module() -> None:
    with pytest.raises(ws.InvalidCheckpoint, match=r"no hyper_parameters: call self\.save_hyperparameters"):
        ws.from_lightning(Classifier, Data(), checkpoint={"state_dict": {}})
    with pytest.raises(ws.InvalidCheckpoint, match="cannot be built with the checkpoint's hyper_parameters depth"):
        ws.from_lightning(Classifier, Data(), checkpoint={"state_dict": {}, "hyper_parameters": {"depth": 3}})


def test_a_line_between_two_modules_is_proved() -> None:
    torch.manual_seed(0)
    problem = ws.from_lightning(Classifier(), Data())
    theta = problem.initial(0)
    string = ws.WeightString(problem, torch.stack([theta, theta + 0.01 * torch.randn_like(theta)]))
    certificate = ws.certify(problem, string, tol=0.01)
    assert certificate.largest_sample <= certificate.upper_bound <= 1.01 * certificate.largest_sample
    assert ws.verify(problem, string, certificate).ok
