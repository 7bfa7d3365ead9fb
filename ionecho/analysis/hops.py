"""Hops of ions from their displacements: steps between the running medians before and after."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.stats import chi2

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Hops:
    """`frames` and `ions` (H,) of the hops of K ions, in the order of ions and frames.

    `frames` are the first after the step; an ion that goes and is back within a window has not hopped, and steps nearer
    than a window are one hop. `lengths` (H,) Å is the largest shift of the median position around it.
    """

    frames: Integers
    ions: Integers
    lengths: Floats

    def counts(self, ions: int) -> Integers:
        """Hops of each ion, (K,)."""
        return np.bincount(self.ions, minlength=ions)


@dataclass(frozen=True)
class HopRate:
    """Hops an ion and second, `count` of them by `ions_that_hop`; `rate`, `error`, `interval` None where none was seen.

    `error` and `interval` are Poisson's, widened where the counts of the ions scatter by more; `upper_limit` (1/s)
    stands where no hop was seen.
    """

    count: int
    ions_that_hop: int
    rate: float | None
    error: float | None
    interval: tuple[float, float] | None
    upper_limit: float | None


def find_hops(displacements: Floats, window: int, distance: float) -> Hops:
    """Hops along displacements (T, K, 3) Å.

    The median of the `window` frames before a frame and that of those after it differ by more than `distance` (Å)
    around a hop: each contiguous run of such frames is one hop at its middle. Of runs nearer than a window, which noise
    at the threshold makes, the one with the larger shift is kept. Medians are taken along the principal axes of what an
    ion has moved, so that turning the input changes nothing; `window` is odd.
    """
    frames, ions, _ = displacements.shape
    if frames < 2 * window:
        return Hops(*(np.empty(0, int),) * 2, np.empty(0))
    found: list[tuple[float, ...]] = []
    for ion in range(ions):
        path = displacements[:, ion] @ np.linalg.eigh(np.cov(displacements[:, ion].T))[1]
        medians = running_median(path, window)  # of the frames t ... t + window - 1
        shift = np.linalg.norm(medians[window:] - medians[:-window], axis=-1)  # at the frames window ... T - window
        beyond = np.concatenate([[False], shift > distance, [False]])
        edges = np.flatnonzero(beyond[1:] != beyond[:-1]).reshape(-1, 2)
        for first, stop in edges:
            hop = (first + stop - 1) // 2 + window, ion, float(shift[first:stop].max())
            if found and found[-1][1] == ion and hop[0] - found[-1][0] < window:
                found[-1] = max(found[-1], hop, key=lambda each: each[2])
            else:
                found.append(hop)
    columns = np.array(found).reshape(-1, 3)
    return Hops(columns[:, 0].astype(int), columns[:, 1].astype(int), columns[:, 2])


def running_median(series: Floats, window: int) -> Floats:
    """Median (T - window + 1, ...) of every `window` successive frames of a series (T, ...)."""
    half = window // 2
    filtered = median_filter(series, size=(window,) + (1,) * (series.ndim - 1), mode="nearest")
    return filtered[half : len(series) - window + half + 1]


def drift(hops: Hops, ions: int, frames: int) -> float:
    """Hops in the second half of the run less those in the first, over the standard error that ions' differences tell.

    A standard normal number of a stationary run whose ions move on their own; 0 where all change alike, or by none.
    """
    late = hops.frames >= frames / 2
    change = np.bincount(hops.ions[late], minlength=ions) - np.bincount(hops.ions[~late], minlength=ions)
    error = float(np.sqrt(ions) * change.std(ddof=1)) if ions > 1 else 0.0
    return float(change.sum()) / error if error else 0.0


def hop_rate(hops: Hops, ions: int, time: float, confidence: float) -> HopRate:
    """Rate 1/s per ion of the hops of `ions` followed over `time` seconds."""
    counts = hops.counts(ions)
    total, exposure = int(counts.sum()), ions * time
    if not total:
        return HopRate(0, 0, None, None, None, float(chi2.ppf(confidence, 2) / 2) / exposure)
    dispersion = max(float(counts.var(ddof=1) / counts.mean()), 1.0) if ions > 1 else 1.0
    effective = total / dispersion
    low, high = chi2.ppf([(1 - confidence) / 2, (1 + confidence) / 2], [2 * effective, 2 * effective + 2]) / 2
    return HopRate(
        count=total,
        ions_that_hop=int((counts > 0).sum()),
        rate=total / exposure,
        error=float(np.sqrt(total * dispersion)) / exposure,
        interval=(float(low) * dispersion / exposure, float(high) * dispersion / exposure),
        upper_limit=None,
    )
