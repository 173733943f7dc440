"""The recipe of a merge for mergekit, where that has the method: ``linear`` and ``slerp`` of Hugging Face's folders.

What a file may say: github.com/arcee-ai/mergekit, docs/merge_methods.md and mergekit/config.py.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from weightstring.errors import Unsupported
from weightstring.store.checkpoints import ADAPTER
from weightstring.study.adapters import is_adapter
from weightstring.study.mergeability import Mergeability, Way

CONFIG = "config.json"
SIGNS = "+@"
"""What has a meaning of its own in the name of a model there: an adapter, a revision."""
ARCS = "slerp"
"""The way that mergekit calls so too."""
NARROW = ("float16", "bfloat16")


def mergekit_recipe(found: Mergeability, *, statistics: bool = False) -> str:
    """The best way as YAML for ``mergekit-yaml FILE OUT``: every model with the same weight, or half way on arcs.

    Args:
        found: the verdict; its models are named by their folders.
        statistics: whether the models have running statistics, which an average needs re-estimated.

    Raises:
        Unsupported: mergekit has no such method, or does not read one of the models; the message says which.
    """
    way = _plain(found, statistics)
    models = [_reference(name) for name in way.members]
    arcs = way.name == ARCS
    losses = [values["loss"] for values in found.models.values()]
    lines = [
        f"# {way.name} of {len(models)} models, by weightstring: {found.label('loss')} {way.loss:.4g},",
        f"# the models' own {min(losses):.4g} to {max(losses):.4g}. To be run: mergekit-yaml THIS-FILE NEW-FOLDER",
        f"merge_method: {'slerp' if arcs else 'linear'}",
        "models:",
    ]
    names = [json.dumps(model, ensure_ascii=False) for model in models]  # JSON's strings are YAML's
    for name in names:
        lines += [f"  - model: {name}", *([] if arcs else ["    parameters:", "      weight: 1.0"])]
    lines += [f"base_model: {names[0]}", "parameters:", "  t: 0.5"] if arcs else ["parameters:", "  normalize: true"]
    lines.append("dtype: float32")
    narrow = _saved_in(way.members[0])
    return "\n".join([*lines, *([f"out_dtype: {narrow}"] if narrow in NARROW else [])]) + "\n"


def _plain(found: Mergeability, statistics: bool) -> Way:
    """The way, if it is an average of models as they are."""
    best = found.best
    if not found.merges:
        raise Unsupported("they do not merge: no recipe would help")
    if statistics:
        raise Unsupported(
            "an average needs its BatchNorm statistics re-estimated, which mergekit does not do: use --out"
        )
    if found.averages or best.name == ARCS:
        return best
    raise Unsupported(f"mergekit has no method for {best.name}" + ("" if best.theta is None else ": use --out"))


def _reference(name: str) -> str:
    """A model as mergekit names it: its folder; of an adapter that of its base, and its own."""
    folder = Path(name)
    if is_adapter(folder):
        base = _json(folder / ADAPTER).get("base_model_name_or_path")
        if not isinstance(base, str) or not base:
            raise Unsupported(f"{name}: its {ADAPTER} names no base model, which mergekit needs")
        return "+".join(map(_checked, (base, name)))
    if not (folder / CONFIG).is_file():
        raise Unsupported(f"{name} is no folder of Hugging Face's, with {CONFIG} in it, as mergekit reads them")
    return _checked(name)


def _checked(name: str) -> str:
    if any(sign in name for sign in SIGNS):
        raise Unsupported(f"{name}: mergekit reads {' and '.join(SIGNS)} in a name as signs of its own; rename it")
    return name


def _saved_in(name: str) -> str:
    """The dtype that a folder's configuration names; empty: none."""
    config = _json(Path(name) / CONFIG) if (Path(name) / CONFIG).is_file() else {}
    return str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")


def _json(path: Path) -> Mapping[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as problem:
        raise Unsupported(f"{path}: cannot be read: {problem}") from None
    return found if isinstance(found, Mapping) else {}
