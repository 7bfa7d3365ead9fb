"""Periodic functions on grids: resampling and Gaussians."""

from __future__ import annotations

import numpy as np
import pytest

from ionecho.geometry.fourier import gaussians, resampled

CELL = np.array([[4.0, 0.0, 0.0], [1.0, 5.0, 0.0], [0.5, -0.7, 6.0]])


def wave(shape: tuple[int, int, int]) -> np.ndarray:
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij")
    return 2.0 + np.cos(2 * np.pi * (2 * x - y)) + np.sin(2 * np.pi * (3 * z + x))


@pytest.mark.parametrize("shape", [(9, 8, 11), (16, 20, 15), (8, 12, 10)])
def test_waves_that_both_grids_hold_are_kept(shape: tuple[int, int, int]) -> None:
    np.testing.assert_allclose(resampled(wave((12, 13, 14)), shape), wave(shape), atol=1e-12)


def test_waves_that_a_grid_cannot_hold_are_dropped_and_the_mean_stays() -> None:
    kept = resampled(wave((12, 13, 14)), (4, 5, 6))
    assert kept.mean() == pytest.approx(2.0)
    np.testing.assert_allclose(kept, 2.0, atol=1e-12)


def test_gaussians_are_those_of_all_images() -> None:
    shape, width = (24, 30, 36), 0.45
    positions, weights = np.array([[0.3, 0.2, 5.9], [2.0, 2.5, 1.0]]), np.array([1.0, 3.0])
    found = gaussians(shape, CELL, positions, weights, width)
    scaled = np.stack(np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij"), -1)
    expected = np.zeros(shape)
    for position, weight in zip(positions, weights, strict=True):
        for image in np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), -1).reshape(-1, 3):
            distance = np.linalg.norm(scaled @ CELL - position - image @ CELL, axis=-1)
            expected += weight * np.exp(-0.5 * (distance / width) ** 2) / (2 * np.pi * width**2) ** 1.5
    np.testing.assert_allclose(found, expected, atol=1e-7)  # images at 9 Å and farther are left out: exp(-0.5 20²)
    assert found.mean() * abs(np.linalg.det(CELL)) == pytest.approx(4.0)
