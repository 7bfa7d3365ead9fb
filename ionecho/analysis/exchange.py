"""Exchange between sites against the spread of their shifts, and shifts averaged over windows of time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionecho.analysis.kinetics import Kinetics
from ionecho.nmr.exchange import variance_of_mean

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Exchange:
    """Jumps between kinds of sites and what they do to their lines.

    `rate` is k_ex (1/s), for two kinds the sum of both rates, with its `interval` from the counting of jumps.
    `angular_spread` (rad/s) is 2 pi times the frequency range of the site shifts; `ratio` = rate / angular_spread is
    much larger than 1 in fast exchange. None: no time axis, or fewer than two kinds.
    """

    jumps: Kinetics
    rate: float | None
    interval: tuple[float, float] | None
    angular_spread: float | None
    ratio: float | None


def exchange(jumps: Kinetics, site_shifts: Floats, larmor_frequency: float, confidence: float) -> Exchange:
    """From the `jumps` between kinds of `site_shifts` (S,) ppm, NaN of kinds never visited; Larmor frequency in Hz."""
    rate, interval = jumps.exchange_rate(site_shifts), jumps.exchange_interval(site_shifts, confidence)
    seen = site_shifts[np.isfinite(site_shifts)]
    spread = 2 * np.pi * larmor_frequency * float(np.ptp(seen)) * 1e-6 if len(seen) > 1 else None
    return Exchange(jumps, rate, interval, spread, rate / spread if rate is not None and spread else None)


def window_means(shift: Floats, window: int, groups: NDArray) -> Floats:
    """Mean shift of every ion over successive windows of `window` frames within one run, (n, K) ppm."""
    means = []
    for group in dict.fromkeys(groups.tolist()):
        series = shift[groups == group]
        whole = len(series) // window * window
        means.append(series[:whole].reshape(-1, window, shift.shape[1]).mean(axis=1))
    return np.concatenate(means)


def exchange_theory(frames: Floats, jumps: Kinetics, site_shifts: Floats, within: float) -> Floats | None:
    """Standard deviation (n,) ppm of means over windows of so many `frames` that exchange at the rates seen leaves.

    `within` is the variance of the shift at one site (ppm²), taken to be forgotten from frame to frame. None without
    times or jumps.
    """
    if jumps.times is None or jumps.spacing is None or not jumps.times.any():
        return None
    rates, populations = jumps.visited_rates()
    kept = jumps.times > 0
    variance = variance_of_mean(frames * jumps.spacing * 1e-15, rates, populations, site_shifts[kept])
    return np.sqrt(np.maximum(variance, 0) + within / frames)
