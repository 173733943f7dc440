"""The recipe of a merge for mergekit."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

import weightstring as ws
from weightstring.errors import Unsupported
from weightstring.study.mergekit import mergekit_recipe

yaml = pytest.importorskip("yaml", reason="recipes are read back by it")
X = torch.linspace(-1, 1, 8)[:, None]


def verdict(tmp_path, models: dict[str, list[float]], config: dict[str, object] | None = None) -> ws.Mergeability:
    """Of lines through the origin of slope 2, in folders of Hugging Face's."""
    problem = ws.ModuleProblem(nn.Linear(1, 1), nn.functional.mse_loss, (X, 2 * X), engine="loop")
    for name in models:
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(json.dumps(config or {"dtype": "float32"}))
    named = {str(tmp_path / name): torch.tensor(theta) for name, theta in models.items()}
    return ws.mergeable(problem, named, align=False)


def test_an_average_is_mergekits_linear(tmp_path):
    found = verdict(tmp_path, {"a": [1.8, 0.0], 'b "x"': [2.2, 0.0]}, {"torch_dtype": "bfloat16"})
    recipe = yaml.safe_load(mergekit_recipe(found))
    assert recipe == {
        "merge_method": "linear",
        "models": [{"model": str(tmp_path / name), "parameters": {"weight": 1.0}} for name in ("a", 'b "x"')],
        "parameters": {"normalize": True},
        "dtype": "float32",
        "out_dtype": "bfloat16",
    }


def test_a_soup_names_its_members_alone(tmp_path):
    found = verdict(tmp_path, {"a": [2.1, 0.0], "b": [1.9, 0.0], "far": [9.0, 5.0]})
    recipe = yaml.safe_load(mergekit_recipe(found))
    assert [model["model"] for model in recipe["models"]] == [str(tmp_path / name) for name in found.best.members]
    assert str(tmp_path / "far") not in found.best.members


def test_arcs_are_mergekits_slerp(tmp_path):
    found = verdict(tmp_path, {"a": [1.8, 0.0], "b": [2.2, 0.0]})
    arcs = replace(found, ways=(replace(found.ways[0], name="slerp"),))
    assert yaml.safe_load(mergekit_recipe(arcs)) == {
        "merge_method": "slerp",
        "models": [{"model": str(tmp_path / name)} for name in "ab"],
        "base_model": str(tmp_path / "a"),
        "parameters": {"t": 0.5},
        "dtype": "float32",
    }


def test_an_adapter_is_its_base_and_itself(tmp_path):
    found = verdict(tmp_path, {"a": [1.8, 0.0], "b": [2.2, 0.0]})
    (tmp_path / "b" / "adapter_config.json").write_text('{"base_model_name_or_path": "org/base"}')
    recipe = yaml.safe_load(mergekit_recipe(found))
    assert [model["model"] for model in recipe["models"]] == [str(tmp_path / "a"), f"org/base+{tmp_path / 'b'}"]


def test_why_there_is_none(tmp_path):
    found = verdict(tmp_path, {"a": [1.8, 0.0], "b+c": [2.2, 0.0]})
    with pytest.raises(Unsupported, match="signs of its own; rename it"):
        mergekit_recipe(found)
    with pytest.raises(Unsupported, match="re-estimated, which mergekit does not do"):
        mergekit_recipe(found, statistics=True)
    (tmp_path / "a" / "config.json").unlink()
    with pytest.raises(Unsupported, match=r"is no folder of Hugging Face's, with config.json"):
        mergekit_recipe(found)
    ring = ws.problem.surfaces.Ring()
    with pytest.raises(Unsupported, match="they do not merge"):
        mergekit_recipe(ws.mergeable(ring, list(ring.ends)))
