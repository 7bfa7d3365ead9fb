"""A diffusivity from a straight line through a mean squared displacement, with its error, or a limit of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from ionecho.analysis.kinetics import poisson_interval
from ionecho.analysis.statistics import TWO_SIGMA, student_factor
from ionecho.analysis.walk import Walk, gamma_interval

Floats = NDArray[np.float64]

CM2_PER_S = 1e-4  # in one Å²/ps


@dataclass(frozen=True)
class Diffusivity:
    """Diffusivity in `dimensions` d, all in Å²/ps: slope / (2 d), or an upper limit where `value` is None.

    `relative_variance` is that of the slope for ions that move as these do (`Walk`), `interval` holds the truth with
    the confidence asked for, `error` is a quarter of the interval of two sigma. `effective_ions` is the number of
    independent ions worth these. `rule_of_thumb` is the error of He et al. (npj Comput. Mater. 2018, 4, 18),
    D (3.43 / sqrt(N) + 0.04) with N = `effective_hops` = ions x MSD at the last lag fitted / hop_length². `slope`
    (Å²/fs) and `intercept` (Å²) draw the line.
    """

    dimensions: int
    value: float | None
    error: float | None
    interval: tuple[float, float] | None
    relative_variance: float | None
    effective_ions: float | None
    rule_of_thumb: float | None
    upper_limit: float | None
    effective_hops: float
    slope: float | None
    intercept: float | None

    def relative_error(self, kind: str) -> float | None:
        """Of `value`: the root of `relative_variance` or, where asked for, the rule of thumb."""
        if self.value is None or self.relative_variance is None or self.rule_of_thumb is None:
            return None
        return self.rule_of_thumb / self.value if kind == "rule_of_thumb" else self.relative_variance**0.5


def fit_diffusivity(
    dimensions: int,
    lags: Floats,
    mean: Floats,
    window: slice | None,
    walk: Walk,
    ions: int,
    hop_length: float,
    confidence: float,
) -> Diffusivity:
    """Straight line through `mean` (T,) Å² at `lags` (T,) fs in `window`, None where there is nothing to fit.

    A slope known to less than half of itself is a limit: the Poisson limit of the number of effective hops, or the
    upper end of the slope's normal interval where that is more.
    """
    scale = 1e3 / (2 * dimensions)  # of a slope in Å²/fs
    hops = ions * float(mean.max()) / hop_length**2
    limit = poisson_limit(hops, confidence) * hop_length**2 / (ions * float(lags[-1])) * scale
    if window is not None:
        times = lags[window] - lags[window].mean()
        slope = float(times @ mean[window] / (times @ times))
        variance = walk.slope_variance(window.start, window.stop - 1)
        if slope > 0 and variance < 0.25:
            hops = ions * float(mean[window][-1]) / hop_length**2
            value = slope * scale
            return Diffusivity(
                dimensions,
                value=value,
                error=float(np.diff(gamma_interval(value, variance, TWO_SIGMA))[0]) / 4,
                interval=gamma_interval(value, variance, confidence),
                relative_variance=variance,
                effective_ions=1 / (dimensions * walk.shared),
                rule_of_thumb=value * (3.43 / hops**0.5 + 0.04),
                upper_limit=None,
                effective_hops=hops,
                slope=slope,
                intercept=float(mean[window].mean() - slope * lags[window].mean()),
            )
        spread = abs(slope) * variance**0.5
        limit = max(limit, (slope + norm.ppf(confidence) * spread) * scale)
    return Diffusivity(dimensions, None, None, None, None, None, None, limit, hops, None, None)


def poisson_limit(count: float, confidence: float) -> float:
    """Largest mean number of events that gives `count` or fewer with probability 1 - `confidence`: 3.00 for none."""
    return float(poisson_interval(count, confidence, upper=True)[1])


@dataclass(frozen=True)
class Average:
    """Diffusivity of several starts of one system at one temperature, Å²/ps, or an upper limit of it.

    `relative_error` is the standard error of its logarithm and `freedom` what that is known with; `between` the
    standard deviation of the starts beyond their own errors. `starts` are all, `limits` those with a limit only.
    """

    temperature: float | None
    value: float | None
    error: float | None
    relative_error: float | None
    freedom: float
    between: float | None
    upper_limit: float | None
    starts: Sequence[str]
    limits: Sequence[str]


def average(
    temperature: float | None, found: dict[str, Diffusivity], ion_times: dict[str, float], kind: str, confidence: float
) -> Average:
    """Mean over starts, weighted with `ion_times` (ions times time), name -> diffusivity.

    The scatter between starts is in the error where it exceeds their own (as in `block_average`). Starts with a limit
    L only enter a mean as L/2 +- L/2; where no start has more, what they followed adds up to one limit.
    """
    limits = [name for name, each in found.items() if each.value is None]
    weights = np.array([ion_times[name] for name in found])
    weights = weights / weights.sum()
    if len(limits) == len(found):
        limit = 1 / sum(1 / each.upper_limit for each in found.values() if each.upper_limit)
        return Average(temperature, None, None, None, np.inf, None, limit, list(found), limits)
    half = np.array([(each.upper_limit or 0.0) / 2 for each in found.values()])
    values = np.array([each.value or 0.0 for each in found.values()]) + half
    relative = np.array([each.relative_error(kind) or 0.0 for each in found.values()])
    mean = float(weights @ values)
    variances = np.square(relative * mean) + np.square(half)
    within, between, freedom = float(np.square(weights) @ variances), None, np.inf
    if len(found) > 1:
        apart = float(values.var(ddof=1) - variances.mean())
        between = max(0.0, apart) ** 0.5
        within += float(np.square(weights).sum()) * between**2
        freedom = len(found) - 1 if apart > 0 else np.inf
    share = within / mean**2
    error = float(np.diff(gamma_interval(mean, share, TWO_SIGMA))[0]) / 4 * student_factor(freedom)
    return Average(temperature, mean, error, share**0.5, freedom, between, None, list(found), limits)
