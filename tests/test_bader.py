"""Bader charges of densities whose basins are known."""

from __future__ import annotations

import numpy as np
import pytest
from ase.cell import Cell
from numpy.typing import NDArray

from ionecho.errors import InputError
from ionecho.geometry.bader import bader

CUBIC = 6.0 * np.eye(3)
TRICLINIC = np.array(Cell.fromcellpar([6.0, 5.4, 6.6, 75, 65, 80]))
TWO = np.array([[0.25, 0.25, 0.25], [0.75, 0.75, 0.75]])


def gaussians(
    cell: NDArray, fractional: NDArray, electrons: NDArray, widths: NDArray, points: int
) -> tuple[NDArray, NDArray]:
    """Periodic Gaussians on a grid, each with its electrons; also their places in Å."""
    axes = [np.arange(points) / points] * 3
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    images = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    density = np.zeros((points,) * 3)
    for place, number, width in zip(fractional, electrons, widths, strict=True):
        for image in images:
            square = (((grid - place + image) @ cell) ** 2).sum(-1)
            density += number * np.exp(-square / (2 * width**2)) / (2 * np.pi * width**2) ** 1.5
    return density, fractional @ cell


@pytest.mark.parametrize("cell", [CUBIC, TRICLINIC], ids=["cubic", "triclinic"])
def test_two_equal_gaussians_hold_four_electrons_each(cell: NDArray) -> None:
    """Science B7. By symmetry the basins are equal, whatever the cell."""
    density, positions = gaussians(cell, TWO, np.array([4.0, 4.0]), np.array([0.6, 0.6]), 32)
    found = bader(density, cell, positions)
    np.testing.assert_allclose(found.electrons, 4.0, atol=1e-3)
    assert found.furthest_maximum.max() < 0.2


def test_the_sum_is_the_integral_and_a_shift_off_the_grid_changes_little() -> None:
    """Science B7: less than 0.01 electrons."""
    electrons, widths = np.array([6.0, 2.0]), np.array([0.5, 0.7])
    density, positions = gaussians(CUBIC, TWO, electrons, widths, 32)
    moved, shifted = gaussians(CUBIC, TWO + 0.0137, electrons, widths, 32)
    first, second = bader(density, CUBIC, positions), bader(moved, CUBIC, shifted)
    assert first.electrons.sum() == pytest.approx(density.sum() * 216 / 32**3, rel=1e-10)
    np.testing.assert_allclose(first.electrons, second.electrons, atol=0.01)


def test_separated_atoms_hold_what_they_brought_and_their_spin() -> None:
    electrons, widths = np.array([5.0, 1.5]), np.array([0.35, 0.4])
    density, positions = gaussians(TRICLINIC, TWO, electrons, widths, 32)
    spin, _ = gaussians(TRICLINIC, TWO, np.array([1.0, -0.5]), widths, 32)
    found = bader(density, TRICLINIC, positions, spin)
    np.testing.assert_allclose(found.electrons, electrons, atol=2e-3)
    assert found.moment is not None
    np.testing.assert_allclose(found.moment, [1.0, -0.5], atol=2e-3)


def test_a_plane_between_two_linear_ramps() -> None:
    """Along x the density falls from the plane x = 0 to x = 1/2 and is uniform in y and z: all flows to the maximum."""
    x = np.arange(24) / 24
    density = np.broadcast_to((1 + np.cos(2 * np.pi * x))[:, None, None], (24, 8, 8)).copy()
    found = bader(density, CUBIC, np.array([[0.0, 0.0, 0.0]]))
    assert found.electrons[0] == pytest.approx(216.0)


def test_vacuum_that_is_exactly_zero_does_not_stop_the_partition() -> None:
    density, positions = gaussians(CUBIC, TWO, np.array([4.0, 4.0]), np.array([0.3, 0.3]), 32)
    density[density < 1e-12] = 0.0
    np.testing.assert_allclose(bader(density, CUBIC, positions).electrons, 4.0, atol=1e-3)


def test_grids_that_differ_and_empty_densities_are_refused() -> None:
    with pytest.raises(InputError, match="one grid"):
        bader(np.ones((4, 4, 4)), CUBIC, np.zeros((1, 3)), np.ones((4, 4, 5)))
    with pytest.raises(InputError, match="integrates to nothing"):
        bader(np.zeros((4, 4, 4)), CUBIC, np.zeros((1, 3)))
