"""A plane through three models: its axes, its grid and its projections against their definitions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from weightstring.errors import InvalidCheckpoint, InvalidSetting
from weightstring.path import WeightString
from weightstring.path.plane import FINEST, Plane, plane
from weightstring.problem.surfaces import Ring, TwoWells, shifted

RING = shifted(Ring(size=5, ridge=0.2), torch.tensor([3.0, -2.0, 0.5, 0.25, -1.0], dtype=torch.float64))


def models(*rows: tuple[float, ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def string_on(surface: Ring) -> Tensor:
    """Five uneven beads, the middle ones off the ring's own plane."""
    a, b = surface.ends
    noise = torch.randn(3, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    return torch.stack([a, *(torch.lerp(a, b, t) + own for t, own in zip((0.2, 0.5, 0.9), noise, strict=True)), b])


@pytest.fixture(scope="module")
def found() -> Plane:
    return plane(RING, string_on(RING), resolution=7)


class TestPlane:
    def test_the_losses_are_those_of_the_models_on_the_grid(self, found: Plane) -> None:
        assert found.losses.shape == (7, 7)
        for row, y in enumerate(found.y.tolist()):
            for column, x in enumerate(found.x.tolist()):
                own = RING.measure(found.model(x, y)[None])["loss"]
                assert float(found.losses[row, column]) == pytest.approx(float(own), rel=1e-9)

    def test_the_axes_are_orthonormal_and_the_three_models_lie_on_it(self, found: Plane) -> None:
        torch.testing.assert_close(found.axes @ found.axes.T, torch.eye(2, dtype=torch.float64), rtol=0, atol=1e-12)
        beads = string_on(RING)
        a, b = beads[0], beads[-1]
        along = (b - a) / (b - a).norm()
        distances = [float(((one - a) - ((one - a) @ along) * along).norm()) for one in beads]
        third = beads[distances.index(max(distances))]
        for corner, model in zip(found.corners.tolist(), (a, b, third), strict=True):
            torch.testing.assert_close(found.model(*corner), model, rtol=0, atol=1e-12)
        assert found.corners[0].tolist() == [0.0, 0.0]
        assert found.corners[1].tolist() == pytest.approx([float((b - a).norm()), 0.0], abs=1e-12)
        assert float(found.corners[2, 1]) == pytest.approx(max(distances))

    def test_beads_are_projected_and_ends_onto_themselves(self, found: Plane) -> None:
        for bead, point, distance in zip(string_on(RING), found.beads.tolist(), found.distances.tolist(), strict=True):
            nearest = found.model(*point)
            assert distance == pytest.approx(float((bead - nearest).norm()), abs=1e-12)
            torch.testing.assert_close(found.axes @ (bead - nearest), torch.zeros(2).double(), rtol=0, atol=1e-12)
        assert found.distances[[0, -1]].tolist() == pytest.approx([0, 0], abs=1e-12)
        assert float(found.distances.max()) > 0.1

    def test_the_grid_covers_everything_with_the_same_room(self, found: Plane) -> None:
        points = torch.cat([found.corners, found.beads])
        for axis, grid in enumerate((found.x, found.y)):
            low, high = points[:, axis].min() - grid[0], grid[-1] - points[:, axis].max()
            assert float(low) == pytest.approx(float(high))
            assert float(low) > 0
            assert grid.diff().min() > 0

    def test_three_models_of_ones_own_and_no_string(self) -> None:
        flat = TwoWells(size=2)
        a, b, c = models((1.0, 1.0), (1.0, 3.0), (4.0, 2.0))
        own = plane(flat, [], 3, (a, b, c))
        assert own.corners.tolist() == [[0, 0], [2, 0], [1, 3]]
        assert own.beads.shape == (0, 2)
        everywhere = torch.stack([own.model(x, y) for y in own.y.tolist() for x in own.x.tolist()])
        torch.testing.assert_close(own.losses.flatten(), flat.measure(everywhere)["loss"])

    def test_a_string_and_its_models_are_the_same(self, found: Plane) -> None:
        again = plane(RING, WeightString(RING, string_on(RING)), resolution=7)
        assert torch.equal(again.losses, found.losses)
        assert torch.equal(again.beads, found.beads)

    def test_batches_change_nothing_and_are_told(self, monkeypatch: pytest.MonkeyPatch, found: Plane) -> None:
        monkeypatch.setattr("weightstring.path.plane.rows_at_once", lambda theta: 5)
        told: list[None] = []
        again = plane(RING, string_on(RING), 7, on_chunk=lambda: told.append(None))
        torch.testing.assert_close(again.losses, found.losses)
        assert len(told) == 10

    def test_float32_models_are_measured_in_their_own_dtype(self, cloud: Callable) -> None:
        posed = cloud(dtype=torch.float32)
        beads = 3 + torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
        own = plane(posed, beads, 3, bind="both")
        corner = own.model(float(own.x[0]), float(own.y[0])).float()
        measured = posed.measure(corner[None], ("loss", "train_loss"))
        assert own.names == ("loss", "train_loss")
        assert float(own.losses[0, 0]) == pytest.approx(max(float(v) for v in measured.values()), rel=1e-5)

    def test_a_loss_that_is_not_finite_is_infinite(self, monkeypatch: pytest.MonkeyPatch) -> None:
        flat = TwoWells(size=2)
        monkeypatch.setattr(
            TwoWells, "loss", lambda self, thetas: torch.where(thetas[:, 0] > 2, torch.nan, thetas[:, 1])
        )
        own = plane(flat, [], 3, models((1.0, 1.0), (1.0, 3.0), (4.0, 2.0)).unbind())
        assert own.losses.isinf().any()
        assert not own.losses.isnan().any()


class TestMisuse:
    def test_a_straight_string_is_refused(self, refused: Callable) -> None:
        a, b = RING.ends
        for beads in ([a, b], [a, torch.lerp(a, b, 0.3), b], [a, a], [a, a + 1e-17, b]):
            with refused(InvalidSetting, "the string is straight, or its ends are one model"):
                plane(RING, beads)

    def test_a_straight_string_of_float32_is_straight_however_it_was_rounded(
        self, refused: Callable, cloud: Callable
    ) -> None:
        a, b = 3 + torch.randn(2, 5, generator=torch.Generator().manual_seed(2))
        with refused(InvalidSetting, "the string is straight"):
            plane(cloud(dtype=torch.float32), [a, torch.lerp(a, b, 0.3), torch.lerp(a, b, 0.7), b])

    def test_models_on_a_line_are_refused(self, refused: Callable) -> None:
        a, b = RING.ends
        with refused(InvalidSetting, "through: the three models lie on one line"):
            plane(RING, [a, b], through=(a, b, 2 * b - a))
        with refused(InvalidSetting, "a string of 1 beads: a plane needs three models"):
            plane(RING, [a])
        with refused(InvalidSetting, "through: 2 models"):
            plane(RING, [a, b], through=(a, b))

    @pytest.mark.parametrize("resolution", [1, FINEST + 1, 3.5])
    def test_a_grid_out_of_range_is_refused(self, refused: Callable, resolution: int) -> None:
        with refused(InvalidSetting, "give a whole number of grid points a side, 2 to 301"):
            plane(RING, string_on(RING), resolution)

    def test_models_of_another_problem_are_refused(self, refused: Callable) -> None:
        a, b = RING.ends
        with refused(InvalidCheckpoint, "the third model of the plane has shape"):
            plane(RING, [a, b], through=(a, b, a[:2]))
        with refused(InvalidCheckpoint, "bead 1 has shape"):
            plane(RING, [a, b[:2]])
        with refused(InvalidSetting, "bind='accuracy'"):
            plane(RING, string_on(RING), bind="accuracy")
