"""What is to be cited is said once: CITATION.cff and BibTeX agree."""

import yaml

from weightstring.citing import DEVELOPERS, PAPER, TITLE

from .blocks import ROOT


def test_the_citation_file_says_what_the_function_does() -> None:
    told = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (told["title"], [author["name"] for author in told["authors"]]) == (TITLE, [DEVELOPERS])
    (paper,) = told["references"]
    assert [(author["family-names"], author["given-names"]) for author in paper["authors"]] == list(PAPER.authors)
    assert (paper["title"], paper["year"], paper["url"]) == (PAPER.title, PAPER.year, PAPER.url)
    assert paper["collection-title"] == PAPER.conference
