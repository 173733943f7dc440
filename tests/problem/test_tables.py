"""Data as scikit-learn takes them: arrays, tables and sparse matrices."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch
from torch import nn

import weightstring as ws
from weightstring.problem.datasets import tables

DRAW = np.random.default_rng(0)
X = DRAW.standard_normal((30, 4))
Y = (X[:, 0] > 0).astype(np.int64)


def loss_of(x: Any, y: Any) -> float:
    torch.manual_seed(0)
    net = nn.Linear(4, 2)
    problem = ws.ModuleProblem(net, nn.CrossEntropyLoss(), (x, y), engine="loop")
    return problem.measure(problem.flatten(net)[None])["loss"].item()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X[::-1][::-1], Y.astype(np.int32)),
        (X[::-1].copy()[::-1], Y.astype(bool)),
        (scipy.sparse.csr_matrix(X), Y.astype(np.int8)),
        (scipy.sparse.csc_array(X), Y),
    ],
)
def test_each_form_of_the_same_numbers_has_the_same_loss(x: Any, y: Any) -> None:
    assert loss_of(x, y) == loss_of(torch.from_numpy(X), torch.from_numpy(Y))


def test_a_frame_and_a_series_are_their_numbers_whatever_their_index() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    series = pandas.Series(Y, index=range(100, 130))
    assert loss_of(frame, series) == loss_of(X, Y)
    assert loss_of(frame.astype("Float64"), series.astype("Int64")) == loss_of(X, Y)
    with pytest.raises(ws.InvalidData, match=r"inputs hold what is no number \(columns 'b'\): number it first"):
        loss_of(frame.assign(b="text"), series)
    with pytest.raises(ws.InvalidData, match="targets hold what is no number"):
        loss_of(frame, series.map({0: "no", 1: "yes"}))
    with pytest.raises(ws.InvalidData, match="1 of 120 numbers in the inputs are NaN"):
        loss_of(frame.mask(frame == frame.iloc[3, 2]), series)


def test_numbers_that_are_rounded_are_told(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "weightstring"):
        loss_of(X, Y)
    assert "train: inputs are float64 and are rounded to the model's float32; dtype=torch.float64 keeps" in caplog.text


def test_what_is_no_number_or_too_large_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ws.InvalidData, match=r"targets hold text such as '.*': number what they name first"):
        loss_of(X, np.array(["no", "yes"])[Y])
    with pytest.raises(ws.InvalidData, match=r"got Long and Float.*: pass them as floats \(x.float\(\)\)"):
        loss_of((3 * X).astype(np.int64), Y)
    with pytest.raises(ws.InvalidData, match=r"must be in \[0, 2\): found 1..2"):
        loss_of(X, Y + 1)
    monkeypatch.setattr(tables, "DENSE_BYTES", 900)
    with pytest.raises(ws.InvalidData, match=r"sparse matrix \(30, 4\), .* GiB if dense: make it smaller first"):
        loss_of(scipy.sparse.csr_matrix(X), Y)
