"""An atlas of models whose Γ is known: lines, strings along a spanning tree, and components from both sides."""

from __future__ import annotations

from itertools import combinations

import pandas as pd
import pytest
import torch

import weightstring as ws
from weightstring.errors import InvalidRun, InvalidSetting
from weightstring.problem.surfaces import Ring
from weightstring.problem.surfaces.two_wells import TwoWells
from weightstring.study.spanning import next_pairs, over_paths, single_linkage
from weightstring.theory.triangle import swapped_ends, swapped_triangle

FEW = {"progress": False, "stop": ws.MaxBeads(16)}


def around(*angles: float) -> list[torch.Tensor]:
    """Models in the valley of a ring, at these angles; straight lines between far ones climb."""
    return [Ring(angles=(angle, 0.0)).ends[0] for angle in angles]


def square(rows: list[list[float]]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def test_over_paths_is_the_least_of_all_paths() -> None:
    heights = torch.rand(6, 6, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    heights = heights + heights.T
    naive = heights.clone()
    for middle in range(6):  # Floyd and Warshall's, with max in place of plus
        naive = torch.minimum(naive, torch.maximum(naive[:, middle, None], naive[None, middle]))
    off = ~torch.eye(6, dtype=torch.bool)
    assert torch.equal(over_paths(heights)[off], naive[off])
    assert torch.equal(over_paths(heights).diagonal(), heights.diagonal())


def test_the_spanning_tree_comes_first_and_then_what_may_lower_its_highest_join() -> None:
    lines = square([[0, 1, 5, 6], [1, 0, 3, 7], [5, 3, 0, 4], [6, 7, 4, 0]])
    floor = torch.zeros(4, 4, dtype=torch.float64)
    assert next_pairs(lines, lines, floor, [], None) == [(0, 1), (1, 2), (2, 3)]
    direct = lines.clone()
    direct[1, 2] = direct[2, 1] = 0.5
    searched = [(0, 1), (1, 2), (2, 3)]
    assert next_pairs(lines, direct, floor, searched, None) == [(0, 3)]  # the lowest other line over the highest join
    floor[0, 3] = floor[3, 0] = floor[1, 3] = floor[3, 1] = 4
    assert next_pairs(lines, direct, floor, searched, None) == [(0, 2)]  # that join is as low as it can be
    assert next_pairs(lines, direct, lines, [], None) == []


def test_under_a_threshold_pairs_join_groups_that_no_proof_keeps_apart() -> None:
    lines = square([[0, 1, 5, 6], [1, 0, 3, 7], [5, 3, 0, 4], [6, 7, 4, 0]])
    floor = torch.zeros(4, 4, dtype=torch.float64)
    assert next_pairs(lines, lines, floor, [], 2.0) == [(1, 2), (2, 3)]
    floor[0, 2] = floor[2, 0] = 2.5
    assert next_pairs(lines, lines, floor, [], 2.0) == [(2, 3), (0, 3)]  # 1 is joined with 0, so apart from 2 as well
    lines[3, 3] = 2.5
    assert next_pairs(lines, lines, floor, [], 2.0) == []
    assert next_pairs(lines, lines, floor, [(0, 2)], 4.0) == []


def test_lines_alone_bound_by_their_lowest_path() -> None:
    ring = Ring()
    thetas = around(0.0, 0.8, 1.6, 3.1)
    found = ws.atlas(ring, thetas, searches=0, **FEW)
    tops = ws.matrix(ring, thetas).barriers("max")
    assert torch.equal(found.bounds.above, over_paths(tops))
    assert (found.gradients, found.searched) == (0, {})
    assert found.next == tuple(sorted((join.edge for join in single_linkage(tops)), key=lambda edge: tops[edge]))
    assert found.count(float(tops[0, 1])).at_most < 4


@pytest.mark.slow
def test_one_valley_is_one_component_by_as_many_strings_as_a_tree_has_edges() -> None:
    found = ws.atlas(Ring(), around(0.0, 1.5, 3.0), threshold=0.05, **FEW)
    assert (found.count(0.05), found.next) == ((3, 1, 1), ())
    assert found.searched.keys() == {(0, 1), (1, 2)}
    assert float(found.bounds.above[0, 2]) <= 0.05 < found.lines.barriers("max")[0, 2]  # over the model between them
    table = pd.DataFrame(found.to_rows())
    assert list(table.tree) == [True, False, True]
    assert table.string.isna().tolist() == [False, True, False]
    assert "1 component of 3 models" in found.verdict


@pytest.mark.slow
def test_certified_strings_count_by_themselves() -> None:
    wells = TwoWells(saddle=1.0)
    found = ws.atlas(wells, wells.ends, certify=True, progress=False, stop=ws.MaxBeads(4) | ws.MaxSteps(50))
    own = found.searched[0, 1]
    assert own.level <= own.certified == float(found.certified[0, 1])
    assert found.certified_at_most(own.certified) == 1 == found.count(own.certified).at_most
    assert found.certified_at_most(0.99) == 2
    assert ws.atlas(wells, wells.ends, searches=0, **FEW).certified_at_most(9.0) == 2


@pytest.mark.slow
def test_searches_and_proofs_bound_from_both_sides() -> None:
    triangle = swapped_triangle()
    first, swapped = swapped_ends(triangle)
    _, turned = swapped_ends(triangle, (1, 2, 0))
    stop = ws.MaxBeads(4) | ws.MaxSteps(50)  # the proofs and the ends' own heights bound it all the same
    found = ws.atlas(triangle, [first, swapped, turned], stop=stop, progress=False)
    count = found.count(0.16)
    assert (count.models, count.at_least) == (3, 2)
    assert count.at_most >= 2
    assert bool((found.bounds.below <= found.bounds.above).all())
    apart = ws.atlas(triangle, [first, swapped], threshold=0.16, stop=stop, progress=False)
    assert (apart.searched, apart.next, apart.count(0.16)) == ({}, (), (2, 2, 2))  # nothing is spent on it


class Interrupted(Ring):
    """A ring on which Ctrl-C strikes at a gradient."""

    left = 0

    def gradient(self, thetas, rows):
        self.left -= 1
        if self.left == 0:
            raise KeyboardInterrupt
        return super().gradient(thetas, rows)


@pytest.mark.slow
def test_an_interrupted_atlas_ends_as_another_and_takes_more_models(tmp_path) -> None:
    ring, thetas = Interrupted(), around(0.0, 1.4, 3.0)
    settings = {"strategy": ws.Greedy(), "progress": False, "stop": ws.MaxBeads(4)}
    ring.left = 40
    with pytest.raises(KeyboardInterrupt):
        ws.atlas(ring, thetas, store=tmp_path, **settings)
    ring.left = 0
    found = ws.atlas(ring, thetas, store=tmp_path, **settings)
    whole = ws.atlas(ring, thetas, **settings)
    assert torch.equal(found.direct, whole.direct)
    assert (found.searched.keys(), found.next) == (whole.searched.keys(), whole.next)
    runs = {own.run for own in found.searched.values()}
    assert {path.name for path in (tmp_path / "strings").iterdir()} == runs
    more = ws.atlas(ring, [*thetas, *around(3.01)], store=tmp_path, **settings)
    kept = [pair for pair in combinations(range(3), 2) if pair in more.searched]
    assert all(more.searched[pair].level == found.searched[pair].level for pair in kept)
    with pytest.raises(InvalidRun, match="strategy"):
        ws.atlas(ring, thetas, store=tmp_path, **settings | {"strategy": ws.BreadthFirst()})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"strategy": ws.Shortened(ws.BreadthFirst(ends="free"))}, "moves the ends"),
        ({"searches": -1}, "how many strings"),
        ({"threshold": float("inf")}, "give a number"),
        ({"bind": "error"}, "does not measure it"),
    ],
)
def test_refused(settings, said) -> None:
    with pytest.raises(InvalidSetting, match=said):
        ws.atlas(Ring(), around(0.0, 1.0), **settings)


def test_the_page_shows_bounds_and_links_to_the_runs(tmp_path) -> None:
    found = ws.atlas(Ring(), {"one": around(0.0)[0], "two": around(1.0)[0]}, store=tmp_path, threshold=0.01, **FEW)
    page = ws.write_report(found, tmp_path / "report.html").read_text()
    (run,) = (own.run for own in found.searched.values())
    assert f'href="strings/{run}/report.html"' in page
    assert (tmp_path / "strings" / run / "report.html").exists()
    assert "No string is certified" in page
    assert "1 component of 2 models" in page
    other = ws.write_report(found, tmp_path / "elsewhere" / "report.html").read_text()
    assert 'href="strings' not in other


def test_models_of_files_are_told_apart_by_their_names_alone() -> None:
    thetas = around(0.0, 0.1)
    found = ws.atlas(Ring(), {"runs/one.pt": thetas[0], "other/two.pt": thetas[1]}, searches=0, progress=False)
    assert found.labels == ("one", "two")
    assert "one with two" in str(found)
    same = ws.atlas(Ring(), {"a/end.pt": thetas[0], "b/end.pt": thetas[1]}, searches=0, progress=False)
    assert same.labels == same.names
