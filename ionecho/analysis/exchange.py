"""Exchange between sites: hop rates, the fast-exchange criterion, and shifts averaged over windows of time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

RESOLVED = 0.1  # share of ions that may change site between frames, relative to uncorrelated frames


@dataclass(frozen=True)
class Exchange:
    """Hopping between kinds of sites against the spread of their shifts.

    `hops` changes seen over `ion_time` (s, ions times elapsed time) give `rate` (1/s per ion). Where more than a tenth
    of the change expected of uncorrelated frames happens between two frames, `resolved` is False and `rate` is a
    lower bound. `angular_spread` (rad/s) is 2 pi times the frequency range of the site shifts; exchange is fast
    where `ratio` = rate / angular_spread is much larger than 1. None: no time axis, or fewer than two sites.
    """

    hops: int
    ion_time: float | None
    frame_spacing: float | None
    changed_per_frame: float
    resolved: bool
    rate: float | None
    angular_spread: float | None
    ratio: float | None


def last_visited(kinds: Integers) -> Integers:
    """Kinds of sites (T, K) with samples outside of all circles (-1) given the last site visited, -1 before the first.

    A passage through the gap between two circles then counts as one hop, and a return to the same site as none.
    """
    times = np.where(kinds >= 0, np.arange(len(kinds))[:, None], 0)
    return np.take_along_axis(kinds, np.maximum.accumulate(times, axis=0), axis=0)


def exchange(
    kinds: Integers, site_shifts: Floats, larmor_frequency: float, time: Floats | None, groups: NDArray
) -> Exchange:
    """Rate of hops between kinds of sites and its ratio to the spread of their Larmor frequencies (A10).

    Parameters
    ----------
    kinds
        (T, K) kind of site, -1 outside of all.
    site_shifts
        (S,) mean shift of every kind, ppm.
    larmor_frequency
        Hz, magnitude.
    time
        (T,) fs, None if unknown. Gaps longer than 1.5 times the median spacing are left out.
    groups
        (T,) trajectory of each frame; hops are not counted across trajectories.
    """
    pairs = groups[1:] == groups[:-1]
    spacing = None
    if time is not None and pairs.any():
        steps = np.diff(time)
        spacing = float(np.median(steps[pairs]))
        pairs &= (steps > 0) & (steps <= 1.5 * spacing)
    before, after = np.full((2, *kinds.shape), -1)
    for group in np.unique(groups):
        visited = last_visited(kinds[groups == group])
        before[groups == group] = visited
        after[groups == group] = np.roll(visited, -1, axis=0)
    before, after = before[:-1][pairs], after[:-1][pairs]
    known = (before >= 0) & (after >= 0)
    hops = int(np.sum(known & (before != after)))
    changed = hops / max(int(known.sum()), 1)
    shares = np.bincount(kinds[kinds >= 0], minlength=1) / max(int((kinds >= 0).sum()), 1)
    ion_time = float(known.sum()) * spacing * 1e-15 if spacing else None
    rate = hops / ion_time if ion_time else None
    spread = 2 * np.pi * larmor_frequency * float(np.ptp(site_shifts)) * 1e-6 if len(site_shifts) > 1 else None
    return Exchange(
        hops=hops,
        ion_time=ion_time,
        frame_spacing=spacing,
        changed_per_frame=changed,
        resolved=bool(known.any()) and changed <= RESOLVED * (1 - float(np.sum(shares**2))),
        rate=rate,
        angular_spread=spread,
        ratio=rate / spread if rate is not None and spread else None,
    )


def window_means(shift: Floats, window: int, groups: NDArray) -> Floats:
    """Mean shift of every ion over successive windows of `window` frames within one trajectory, (n, K) ppm."""
    means = []
    for group in dict.fromkeys(groups.tolist()):
        series = shift[groups == group]
        whole = len(series) // window * window
        means.append(series[:whole].reshape(-1, window, shift.shape[1]).mean(axis=1))
    return np.concatenate(means)


def draw_windows(
    axes: Axes, windows: dict[int, Floats], edges: Floats, labels: dict[int, str], colours: dict[int, Any]
) -> None:
    """Normalised histograms of the window means (n, K)."""
    for window, means in windows.items():
        density, _ = np.histogram(means, edges, density=True)
        axes.stairs(density * 1e3, edges, lw=1.2, label=labels[window], color=colours[window])
    axes.set_xlim(edges[-1], edges[0])
    axes.set_ylim(bottom=0, auto=True)
    axes.set_xlabel("Window-averaged shift / ppm")
    axes.set_ylabel("Probability density / $10^{-3}$ ppm$^{-1}$")
