"""How to cite what was used: the paper whose method this is, and the software."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

TITLE = "weightstring: low-loss paths between trained networks, found, measured and proved"
DEVELOPERS = "The weightstring developers"


@dataclass(frozen=True)
class Paper:
    """A work in the proceedings of a conference; authors as (family name, given names)."""

    key: str
    title: str
    authors: tuple[tuple[str, str], ...]
    year: int
    conference: str
    url: str


PAPER = Paper(
    key="freeman2017topology",
    title="Topology and Geometry of Half-Rectified Network Optimization",
    authors=(("Freeman", "C. Daniel"), ("Bruna", "Joan")),
    year=2017,
    conference="International Conference on Learning Representations",
    url="https://arxiv.org/abs/1611.01540",
)
"""Dynamic String Sampling. CITATION.cff in the repository says the same, which a test compares."""


def citation() -> str:
    """What to cite, as BibTeX: the paper whose method this is, and the software in the version that is installed.

    >>> print(citation())  # doctest: +ELLIPSIS
    @inproceedings{freeman2017topology,
      title = {Topology and Geometry of Half-Rectified Network Optimization},
      author = {Freeman, C. Daniel and Bruna, Joan},
      booktitle = {International Conference on Learning Representations},
      year = {2017},
      url = {https://arxiv.org/abs/1611.01540},
    }
    <BLANKLINE>
    @software{weightstring,
      title = {weightstring: low-loss paths between trained networks, found, measured and proved},
      author = {{The weightstring developers}},
      version = {...},
    }
    """
    paper = {
        "title": PAPER.title,
        "author": " and ".join(", ".join(names) for names in PAPER.authors),
        "booktitle": PAPER.conference,
        "year": str(PAPER.year),
        "url": PAPER.url,
    }
    software = {"title": TITLE, "author": f"{{{DEVELOPERS}}}", "version": version("weightstring")}
    return f"{_entry('inproceedings', PAPER.key, paper)}\n\n{_entry('software', 'weightstring', software)}"


def _entry(kind: str, key: str, fields: dict[str, str]) -> str:
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items()]
    return "\n".join([f"@{kind}{{{key},", *lines, "}"])
