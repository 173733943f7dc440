"""``weightstring mergeable``: whether models can be merged, and after what."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import weightstring as ws
from weightstring.cli.ending import DONE, UNRESOLVED
from weightstring.cli.options.problem import add_json, add_many_models
from weightstring.cli.options.search import add_engine, add_seed, compute_by
from weightstring.cli.options.values import positive, whole

if TYPE_CHECKING:
    from weightstring.store.records import TaskRef

HELP = "will these models merge, and after what?"


def add_arguments(parser: ArgumentParser) -> None:
    add_many_models(parser)
    parser.add_argument("--no-align", action="store_true", help="only as they are")
    parser.add_argument(
        "--learn",
        type=whole,
        default=200,
        metavar="STEPS",
        help="where they do not merge otherwise, also align by so many gradients of the loss on the line for each "
        "model but one; 0: none (default: %(default)s)",
    )
    parser.add_argument(
        "--search",
        type=positive,
        default=0,
        metavar="STEPS",
        help="of two models, also look for a string between them in so many gradient steps",
    )
    parser.add_argument(
        "--blame", action="store_true", help="also which layer raises the line between two; a page has it always"
    )
    parser.add_argument("--page", metavar="FILE", help="the verdict as a page, .html")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="checkpoint of the best merged model, .safetensors; or a new folder: of averaged adapters an adapter, "
        "else by the model's own save_pretrained()",
    )
    parser.add_argument(
        "--mergekit", metavar="FILE", help="the best way as a recipe for mergekit, .yml, where that has the method"
    )
    add_seed(parser, "of alignment and of the search ")
    add_engine(parser)
    add_json(parser, "every way")


def run(options: Namespace) -> int:
    """Try every way; the exit code says whether one of them serves."""
    from weightstring.cli.models import check_destination, check_file, check_folder, check_new, model_names, models_of
    from weightstring.cli.opening import named
    from weightstring.cli.quiet import note
    from weightstring.study.adapters import is_adapter

    if options.out is not None:
        (check_destination if Path(options.out).suffix else check_new)(Path(options.out))
    for option, endings in (("page", (".html", ".htm")), ("mergekit", (".yml", ".yaml"))):
        if (given := getattr(options, option)) is not None:
            check_file(f"--{option}", Path(given), endings)
    task, problem = named(options)
    compute_by(options.engine, problem)
    adapters = all(map(is_adapter, model_names(options.models)))
    if options.out is not None and not Path(options.out).suffix and not adapters:
        check_folder(Path(options.out), problem)
    models = models_of(problem, options.models, options.allowed)
    found = ws.mergeable(
        problem,
        models,
        align=not options.no_align,
        learn=options.learn,
        search=options.search,
        blame=options.blame or options.page is not None,
        seed=options.seed,
        on_way=lambda way: note(f"next: {way}"),
    )
    found = _with_origin(found, task, options)
    out = _written(found, problem, task, options)
    page = None if options.page is None else str(ws.write_report(found, options.page))
    recipe, why = _recipe(found, problem, options)
    if options.json:
        print(json.dumps(_as_json(found) | {"out": out, "page": page, "mergekit": recipe}))
    else:
        print(found)
        if options.out is not None:
            print(f"{options.out} is not written" if out is None else f"{found.best.name} written to {out}")
        if options.mergekit is not None:
            print(f"no recipe for mergekit: {why}" if recipe is None else f"recipe for mergekit {recipe}")
        if page is not None:
            print(f"page {page}")
    return DONE if found.merges else UNRESOLVED


def _written(found: ws.Mergeability, problem: ws.ModuleProblem, task: TaskRef, options: Namespace) -> str | None:
    """Where the merged model is; None: nowhere."""
    from weightstring.cli.models import check_folder, save_pretrained
    from weightstring.store import write_checkpoint
    from weightstring.study.adapters import is_adapter, write_average

    best, out = found.best, options.out
    if out is None or not found.merges or best.theta is None:
        return None
    about = {"task": task.name, "merged_by": best.name, "of": ", ".join(best.members)}
    if Path(out).suffix:
        write_checkpoint(Path(out), problem.unflatten(best.theta), about)
    elif found.averages and all(map(is_adapter, best.members)):
        write_average(out, best.members, [1 / len(best.members)] * len(best.members))
    else:
        check_folder(Path(out), problem)
        save_pretrained(Path(out), problem, best.theta, about)
    return str(out)


def _recipe(
    found: ws.Mergeability, problem: ws.ModuleProblem, options: Namespace
) -> tuple[str, None] | tuple[None, str]:
    """Where mergekit's recipe is, or why there is none."""
    from weightstring.errors import Unsupported
    from weightstring.report.html import write_page
    from weightstring.study.mergekit import mergekit_recipe

    if options.mergekit is None:
        return None, ""
    try:
        recipe = mergekit_recipe(found, statistics=bool(problem.statistics_names))
    except Unsupported as refusal:
        return None, str(refusal)
    return str(write_page(Path(options.mergekit), recipe)), None


def _with_origin(found: ws.Mergeability, task: TaskRef, options: Namespace) -> ws.Mergeability:
    """The verdict, with the command that asked for it, when, and of which files."""
    from weightstring.store.origins import provenance

    origin = provenance(options.words, **dict(zip(map(_key, found.models), found.models, strict=True)))
    files = {
        f"file: {name}": f"sha256 {record.sha256}, {record.size:,} bytes, {record.modified}"
        for name in found.models
        if (record := origin.files[_key(name)]).sha256 is not None
    }
    words = [options.task, *(word for key, value in options.options for word in ("--set", f"{key}={value}"))]
    about = {"task": task.name, "asked": origin.begun, "command": " ".join(origin.command), **files, **found.about}
    return replace(found, about=about, words=tuple(words))


def _key(name: str) -> str:
    return f"model {name}"


def _as_json(found: ws.Mergeability) -> dict[str, Any]:
    """All of the verdict, for programs."""
    from weightstring.codec import for_json
    from weightstring.study.merge_steps import steps_of

    ways = [
        {
            "name": way.name, "members": way.members, "values": way.values, "rise": found.rise(way),
            "barrier": way.barrier, "seconds": way.seconds,
        }
        for way in found.ways
    ]  # fmt: skip
    curve, blame = found.string, found.blame
    told: dict[str, Any] = for_json(
        {
            "merges": found.merges,
            "verdict": found.verdict,
            "best": found.best.name,
            "models": found.models,
            "ways": ways,
            "untried": found.untried,
            "reference": found.reference,
            "evaluation": found.evaluation,
            "evidence": "sampled",
            "lines": None if found.lines is None else found.lines.to_rows(),
            "string": None if curve is None else {"s": curve.s, "values": curve.values},
            "blame": None
            if blame is None
            else {"of": found.blamed, "barrier": blame.barrier, "parts": blame.to_rows()},
            "next": [step._asdict() for step in steps_of(found)],
            "seconds": found.seconds,
            "memory": found.memory,
            "about": found.about,
        }
    )
    return told
