"""Periodic functions on grids, through their Fourier series."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


def resampled(values: Floats, shape: tuple[int, int, int]) -> Floats:
    """A periodic function (n1, n2, n3) on another grid `shape`: waves that either grid cannot hold are dropped."""
    waves = np.fft.fftn(values)
    kept = np.zeros(shape, dtype=complex)
    highest = [(min(old, new) - 1) // 2 for old, new in zip(values.shape, shape, strict=True)]
    orders = np.ix_(*(np.arange(-most, most + 1) for most in highest))
    kept[orders] = waves[orders]
    return np.fft.ifftn(kept).real * (kept.size / values.size)


def gaussians(shape: tuple[int, int, int], cell: Floats, positions: Floats, weights: Floats, width: float) -> Floats:
    """Periodic sum of normalised Gaussians on a grid, (n1, n2, n3) in 1/Å³ times the unit of the weights.

    Parameters
    ----------
    cell, positions
        Lattice vectors as rows (3, 3), centres (N, 3), Å.
    weights
        Integral of every Gaussian, (N,).
    width
        Standard deviation, Å.
    """
    frequencies = [np.fft.fftfreq(count, 1 / count) for count in shape]
    wave_vectors = np.stack(np.meshgrid(*frequencies, indexing="ij"), -1) @ (2 * np.pi * np.linalg.inv(cell).T)
    scaled = positions @ np.linalg.inv(cell)
    phases = [np.exp(-2j * np.pi * np.outer(x, k)) for x, k in zip(scaled.T, frequencies, strict=True)]
    waves = np.einsum("n, na, nb, nc -> abc", weights, *phases, optimize=True)
    waves *= np.exp(-0.5 * width**2 * (wave_vectors**2).sum(-1))
    return np.fft.ifftn(waves).real * (waves.size / abs(np.linalg.det(cell)))
