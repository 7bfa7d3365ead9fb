"""Mean squared displacement over all time origins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from ionecho.analysis.walk import Walk

Floats = NDArray[np.float64]

IONS = 16  # transformed at once


def squared_displacements(paths: Floats) -> Floats:
    """Mean squared displacement of every ion, averaged over all time origins.

    <|r(t + m) - r(t)|²> = (sum of |r(t + m)|² + |r(t)|² - 2 r(t + m)·r(t)) / (T - m), the last sum by Fourier transform
    (Calandrini et al., Collection SFN 2011, 12, 201).

    Parameters
    ----------
    paths
        (T, K, d) Å, unwrapped.

    Returns
    -------
    ndarray
        (T, K) Å², for the lags 0..T-1.
    """
    frames = len(paths)
    paths = paths - paths.mean(axis=0)
    squares = np.square(paths).sum(axis=-1)
    size = next_fast_len(2 * frames, real=True)
    spectrum = np.square(np.abs(rfft(paths, size, axis=0))).sum(axis=-1)
    correlation = irfft(spectrum, size, axis=0)[:frames]
    before = np.concatenate([np.zeros((1, squares.shape[1])), np.cumsum(squares, axis=0)])  # sums of the first n
    origins = np.arange(frames, 0, -1)
    ends = before[-1] - before[:frames] + before[origins]
    result = np.maximum((ends - 2 * correlation) / origins[:, None], 0.0)
    result[0] = 0.0
    return result


def in_plane(paths: Floats, normal: Floats) -> Floats:
    """The part (T, K, 3) of paths (T, K, 3) across the unit `normal` (3,)."""
    return paths - (paths @ normal)[..., None] * normal


@dataclass(frozen=True)
class Displacement:
    """Mean squared displacement of all ions, in space `mean` and in a plane `plane_mean`, (T,) Å² at `lags` (T,) fs."""

    lags: Floats
    mean: Floats
    plane_mean: Floats

    @staticmethod
    def of(paths: Floats, spacing: float, normal: Floats) -> Displacement:
        """From paths (T, K, 3) Å `spacing` fs apart; the plane has the unit `normal` (3,)."""
        frames, ions, _ = paths.shape
        means = np.zeros((2, frames))
        for first in range(0, ions, IONS):
            part = paths[:, first : first + IONS]
            for mean, along in zip(means, (part, in_plane(part, normal)), strict=True):
                mean += squared_displacements(along).sum(axis=1) / ions
        return Displacement(np.arange(frames, dtype=float) * spacing, means[0], means[1])

    def errors(self, walk: Walk, *, plane: bool) -> tuple[Floats, Floats, Floats]:
        """Lags (fs) up to half of the run, the displacement there and its standard error (L,), of ions that move so."""
        count = (len(self.lags) + 1) // 2
        mean = (self.plane_mean if plane else self.mean)[:count]
        return self.lags[:count], mean, mean * np.sqrt(walk.msd_variances(np.arange(count)))
