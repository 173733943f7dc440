"""Blocks that are written when the site is built: ``{names}`` from docstrings, ``{commands}`` from the parser.

On a code host such a block shows what it holds: public names, one a line, or the command that prints the same.
"""

from __future__ import annotations

import argparse
import inspect
import re
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from sphinx.util import logging
from sphinx.util.nodes import make_refnode

import weightstring
from weightstring.cli.main import build_parser

if TYPE_CHECKING:
    from docutils.nodes import Element, reference
    from sphinx.addnodes import pending_xref
    from sphinx.application import Sphinx
    from sphinx.environment import BuildEnvironment

BLOCK = re.compile(r"^```\{(names|commands)\}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LOG = logging.getLogger(__name__)


def names(content: str) -> str:
    r"""What autodoc makes of public names.

    >>> print(names("connect\nResult\nUnsupported"))
    ```{eval-rst}
    .. autofunction:: weightstring.connect
    .. autoclass:: weightstring.Result
    .. autoexception:: weightstring.Unsupported
    ```
    """
    lines = [f".. auto{_kind(name)}:: weightstring.{name}" for name in content.split()]
    return "\n".join(["```{eval-rst}", *lines, "```"])


def _kind(name: str) -> str:
    thing = getattr(weightstring, name)
    if not inspect.isclass(thing):
        return "function"
    return "exception" if issubclass(thing, Exception) else "class"


def commands(content: str = "") -> str:
    """Every command with its arguments."""
    parser = build_parser()
    told = {action.dest: action.help for action in parser.commands._choices_actions}
    return "\n\n".join(_command(name, one, told[name] or "") for name, one in parser.commands.choices.items())


def _command(name: str, parser: argparse.ArgumentParser, told: str) -> str:
    positional = [action.metavar or action.dest for action in parser._positionals._group_actions]
    words = " ".join([parser.prog, *positional, "[options]"])
    parts = [f"## {name}", f"{told[:1].upper()}{told[1:]}.", f"```text\n{words}\n```"]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if "--help" not in action.option_strings]
        if actions:
            head = {"positional arguments": "Arguments", "options": "Options"}.get(group.title or "", group.title)
            rows = [f"| `{_shown(action, parser)}` | {_cell(_explained(action, parser))} |" for action in actions]
            parts += [f"**{(head or '').capitalize()}**" + (f": {group.description}" if group.description else "")]
            parts += ["\n".join(["| | |", "|---|---|", *rows])]
    return "\n\n".join(parts)


def _shown(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    formatter = parser._get_formatter()
    if not action.option_strings:
        return formatter._metavar_formatter(action, action.dest)(1)[0]
    values = "" if action.nargs == 0 else " " + formatter._format_args(action, action.dest.upper())
    return ", ".join(action.option_strings) + values


def _explained(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    return parser._get_formatter()._expand_help(action) if action.help else ""


def _cell(text: str) -> str:
    return re.sub(r"([|<>*_`])", r"\\\1", " ".join(text.split()))


WRITERS: dict[str, Callable[[str], str]] = {"names": names, "commands": commands}


def _write(app: Sphinx, name: str, source: list[str]) -> None:
    source[0] = BLOCK.sub(lambda block: WRITERS[block[1]](block[2]), source[0])


def public_places() -> dict[str, str]:
    """Where each public name is defined, as annotations call it, and its public name."""
    public = {name: getattr(weightstring, name) for name in weightstring.__all__}
    return {f"{thing.__module__}.{thing.__qualname__}": f"weightstring.{name}" for name, thing in public.items()}


def _imported(target: str) -> object:
    """What a dotted name means; AttributeError or ImportError where it means nothing."""
    module, _, name = target.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except ImportError:
        return getattr(_imported(module), name)


def _resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, content: Element) -> reference | None:
    """A reference to where a public name is defined leads to its documentation; to what does not exist, is a fault."""
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not target.startswith("weightstring."):
        return None
    public = public_places().get(target)
    places = env.get_domain("py").objects  # type: ignore[attr-defined]
    if public in places:
        entry = places[public]
        return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, content, public)
    try:
        _imported(target)
    except (ImportError, AttributeError, ValueError):
        LOG.warning("there is no %s", target, location=node)
    return None


def _plain_defaults(
    app: Sphinx, what: str, name: str, thing: object, options: object, signature: str | None, returned: str | None
) -> tuple[str | None, str | None]:
    """What is no expression, as a default that a dataclass makes anew, keeps a signature from being read."""
    return signature and re.sub(r"<[^<>]+>", "...", signature), returned


def for_language_models(told: str, home: str) -> str:
    r"""llms.txt as the site has it: in place of its last line, the lists of the home page, which lead to its pages.

    >>> home = "# A title\n\n## Begin\n- [Install](install.md): by pip\n- [Changes](../CHANGELOG.md)"
    >>> print(for_language_models("# A title\n\nAll pages: …\n", home))
    # A title
    <BLANKLINE>
    ## Begin
    - [Install](docs/install.html): by pip
    - [Changes](CHANGELOG.html)
    """
    lists = re.sub(r"\]\((?!\.\./)", "](docs/", home[home.index("## ") :]).replace("](../", "](")
    return re.sub(r"[^\n]+\n$", "", told) + lists.replace(".md)", ".html)")


def _finish(app: Sphinx, failure: Exception | None) -> None:
    root = Path(app.srcdir)
    texts = [(root / name).read_text() for name in ("llms.txt", f"{app.config.root_doc}.md")]
    (Path(app.outdir) / "llms.txt").write_text(for_language_models(*texts))


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("source-read", _write)
    app.connect("missing-reference", _resolve)
    app.connect("autodoc-process-signature", _plain_defaults)
    app.connect("build-finished", _finish)
    return {"parallel_read_safe": True}
