"""Mean squared displacement over all time origins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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


@dataclass(frozen=True)
class Displacement:
    """Mean squared displacement of K ions, in space and in a plane.

    `ions` and `plane_ions` (L, K) Å² for every ion at the lags up to the longest one fitted, `mean` and `plane_mean`
    (T,) Å² their averages at all lags of the run. `lags` (T,) fs.
    """

    lags: Floats
    ions: Floats
    plane_ions: Floats
    mean: Floats
    plane_mean: Floats

    @staticmethod
    def of(paths: Floats, spacing: float, normal: Floats, longest: int) -> Displacement:
        """From paths (T, K, 3) Å `spacing` fs apart; the plane has the unit `normal` (3,), `longest` is L - 1."""
        frames, ions, _ = paths.shape
        full, plane = np.empty((2, longest + 1, ions))
        means = np.zeros((2, frames))
        for first in range(0, ions, IONS):
            part = paths[:, first : first + IONS]
            total = squared_displacements(part)
            across = squared_displacements((part @ normal)[..., None])
            for kept, mean, values in ((full, means[0], total), (plane, means[1], np.maximum(total - across, 0.0))):
                kept[:, first : first + IONS] = values[: longest + 1]
                mean += values.sum(axis=1) / ions
        return Displacement(np.arange(frames, dtype=float) * spacing, full, plane, means[0], means[1])

    @property
    def error(self) -> Floats:
        """Standard error over ions (L,) Å², NaN for a single ion."""
        return _standard_error(self.ions)

    @property
    def plane_error(self) -> Floats:
        """Standard error over ions (L,) Å² of the in-plane part."""
        return _standard_error(self.plane_ions)


def _standard_error(values: Floats) -> Floats:
    ions = values.shape[1]
    return values.std(axis=1, ddof=1) / np.sqrt(ions) if ions > 1 else np.full(len(values), np.nan)


def draw_msd(axes: Axes, lags: Floats, mean: Floats, error: Floats, label: str, colour: str) -> None:
    """Mean squared displacement against lag (fs, drawn in ps) with a band of one standard error over ions."""
    axes.plot(lags * 1e-3, mean, color=colour, lw=1.2, label=label)
    axes.fill_between(lags * 1e-3, mean - error, mean + error, color=colour, alpha=0.2, lw=0)
    axes.set_xlabel("Lag / ps")
    axes.set_ylabel("Mean squared displacement / Å$^2$")
