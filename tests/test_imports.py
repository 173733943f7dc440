"""Imports have no circles, not even through a package's own ``__init__``, which import-linter takes for no sibling."""

from __future__ import annotations

import grimp
import networkx as nx
import pytest


@pytest.fixture(scope="module")
def imports() -> nx.DiGraph:
    graph = grimp.build_graph("weightstring", cache_dir=None)
    return nx.DiGraph((m, other) for m in graph.modules for other in graph.find_modules_directly_imported_by(m))


def test_no_file_imports_itself_by_way_of_others(imports):
    circles = [sorted(files) for files in nx.strongly_connected_components(imports) if len(files) > 1]
    assert circles == []


def test_a_circle_would_be_seen(imports):
    closed = imports.copy()
    closed.add_edge("weightstring.text", "weightstring.cli")  # the lowest layer and the highest
    assert any("weightstring.text" in files and len(files) > 9 for files in nx.strongly_connected_components(closed))
