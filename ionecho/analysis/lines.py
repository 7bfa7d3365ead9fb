"""How many lines ions give: whether their own means still differ after a run by more than exchange explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import f as fisher

from ionecho.analysis.autoregression import mean_variance
from ionecho.analysis.kinetics import Kinetics
from ionecho.analysis.statistics import student_factor
from ionecho.nmr.exchange import variance_of_mean

Floats = NDArray[np.float64]

SIGNIFICANCE = 0.01  # of a difference between ions beyond exchange
FAST = 10.0  # k_ex over 2 pi times the range of the site frequencies from which lines merge
MOST = 8  # lines at most
ITERATIONS = 200


@dataclass(frozen=True)
class Line:
    """One line: `position` ppm with its `error`, `width` (standard deviation of the ions' means, ppm), share of ions.

    `area_error` is that of a draw of as many ions at random.
    """

    position: float
    error: float
    width: float
    area: float
    area_error: float
    ions: int


@dataclass(frozen=True)
class Lines:
    """`lines` from the highest shift down, and why they are as many.

    `differ` is the standard deviation of the ions' own means over their runs (ppm), `explained` what their own scatter
    in time or exchange at the rates seen makes of it, whichever is more, `beyond` the root of what is left, and
    `probability` that of a difference as large by chance. `window` s is how long an ion was followed (None: unknown).
    `ratio` is k_ex over 2 pi times the range of the site frequencies. `merged`: one line, as the means do not
    differ and exchange is fast, as far as is known.
    """

    lines: Sequence[Line]
    differ: float
    explained: float
    beyond: float
    probability: float
    window: float | None
    ratio: float | None
    merged: bool


def ion_lines(shift: Floats, groups: NDArray, jumps: Kinetics, site_shifts: Floats, ratio: float | None) -> Lines:
    """Lines of the ions of one system.

    Exchange between all kinds of sites leaves the means of ions over a time W different by a known amount
    (`variance_of_mean`), which shrinks as 1 / W. Ions whose means differ by more stay in surroundings of their own:
    they give lines of their own unless they mix later, before the difference of their frequencies shows.

    Parameters
    ----------
    shift
        (T, K) ppm.
    groups
        (T,) run of each frame; ions of different runs are different ions.
    jumps
        Between the kinds of sites.
    site_shifts
        (S,) ppm, NaN of kinds never visited.
    ratio
        k_ex over 2 pi times the range of the site frequencies, None if unknown.
    """
    runs = [shift[groups == name] for name in dict.fromkeys(groups.tolist())]
    means = np.concatenate([run.mean(axis=0) for run in runs])
    weights = np.concatenate([np.full(run.shape[1], len(run)) for run in runs])
    own = [mean_variance(ion) for run in runs for ion in run.T if len(run) > 1]
    variance = float(np.mean([ion.variance for ion in own])) if own else np.nan
    least = float(np.nan_to_num(variance))
    freedom = sum(ion.freedom for ion in own if np.isfinite(ion.freedom)) or 1.0
    window = None
    if jumps.spacing is not None and jumps.times is not None and jumps.times.any():
        window = float(np.mean([len(run) for run in runs])) * jumps.spacing * 1e-15
        kept = jumps.times > 0
        rates, populations = jumps.visited_rates()
        exchanged = float(variance_of_mean([window], rates, populations, site_shifts[kept])[0]) if kept.any() else 0.0
        if exchanged > variance or not np.isfinite(variance):
            variance, freedom = exchanged, 2.0 * max(jumps.hops, 1)
    count = len(means)
    differ = float(means.var(ddof=1)) if count > 1 else 0.0
    chance = float(fisher.sf(differ / variance, count - 1, freedom)) if count > 1 and variance > 0 else 1.0
    if variance == 0 and differ > 0:
        chance = 0.0
    slow = ratio is None or ratio < FAST
    apart = chance < SIGNIFICANCE or (slow and window is not None)
    names = _mixture(means, least) if apart else np.zeros(count, int)
    found = [_line(means[names == name], weights[names == name], least, count) for name in np.unique(names)]
    return Lines(
        lines=sorted(found, key=lambda line: -line.position),
        differ=differ**0.5,
        explained=variance**0.5,
        beyond=max(0.0, differ - variance) ** 0.5,
        probability=chance,
        window=window,
        ratio=ratio,
        merged=not apart,
    )


def _line(means: Floats, weights: Floats, variance: float, count: int) -> Line:
    share = len(means) / count
    ions = len(means)
    width = float(means.std(ddof=1)) if ions > 1 else 0.0
    error = np.sqrt(variance / ions)
    return Line(
        position=float(np.average(means, weights=weights)),
        error=float(max(error, student_factor(ions - 1) * width / np.sqrt(ions) if ions > 1 else 0.0)),
        width=width,
        area=share,
        area_error=float(np.sqrt(share * (1 - share) / count)),
        ions=ions,
    )


def _mixture(means: Floats, least: float) -> NDArray[np.int64]:
    """Which line each mean belongs to: Gaussian mixtures of one variance, at least `least`, of the lowest BIC.

    (Fraley and Raftery, Comput. J. 1998, 41, 578.)
    """
    order = np.sort(means)
    best, names = np.inf, np.zeros(len(means), int)
    for lines in range(1, min(MOST, len(means) // 2) + 1):
        gaps = np.sort(np.argsort(-np.diff(order))[: lines - 1]) + 1
        starts = ([part.mean() for part in np.split(order, gaps)], np.quantile(order, (np.arange(lines) + 0.5) / lines))
        for start in starts:
            likelihood, share = _expectation(means, np.array(start, float), least)
            criterion = 2 * lines * np.log(len(means)) - 2 * likelihood
            if criterion < best - 1e-9:
                best, names = criterion, share.argmax(axis=1)
    return names


def _expectation(means: Floats, centres: Floats, least: float) -> tuple[float, Floats]:
    """Logarithm of the likelihood and share (n, L) of each line in every mean, by expectation and maximisation."""
    floor = max(least, 1e-12 * max(float(np.square(means).max()), 1.0))
    variance, areas = max(float(means.var()) / len(centres) ** 2, floor), np.full(len(centres), 1 / len(centres))
    for _ in range(ITERATIONS):
        logs = np.log(areas) - np.square(means[:, None] - centres) / (2 * variance) - np.log(2 * np.pi * variance) / 2
        largest = logs.max(axis=1, keepdims=True)
        each = np.exp(logs - largest)
        likelihood = float((largest[:, 0] + np.log(each.sum(axis=1))).sum())
        share = each / each.sum(axis=1, keepdims=True)
        areas = np.maximum(share.mean(axis=0), 1e-12)
        centres = (share.T @ means) / (areas * len(means))
        variance = max(float((share * np.square(means[:, None] - centres)).sum()) / len(means), floor)
    return likelihood, share
