"""How a correlation function decays: a stretched exponential above a residual, or no decay at all."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import gamma
from scipy.stats import norm, t

from ionecho.errors import InputError

Floats = NDArray[np.float64]

SIGMAS = 3.0  # errors by which a decay has to show
FLOOR = 0.2  # of the largest error of a curve: early lags, known best, do not decide alone
STRETCHING = (0.1, 1.5)  # bounds of the exponent; above 1 only by noise
STARTS = (0.3, 1.0)  # stretching exponents that the search starts from


@dataclass(frozen=True)
class Quantity:
    """A fitted number with its standard error and interval."""

    value: float
    error: float
    low: float
    high: float


@dataclass(frozen=True)
class Decay:
    """C(t) = a [b² + (1 - b²) exp(-(t / tau)^g)], or why there is none.

    `time` is tau (in the unit of the lags; its interval is Student's, of ln tau), `stretching` g, `residual` b² the
    plateau in [0, 1], `amplitude` a what is left after motion faster than the lags fitted; the error of one that stands
    at a bound is NaN. All None where `none` says that no decay shows; then tau of an exponential decay to zero exceeds
    `longer_than`. In 2 % of runs without a decay one is said to show.
    """

    time: Quantity | None
    stretching: Quantity | None
    residual: Quantity | None
    amplitude: Quantity | None
    none: str | None = None
    longer_than: float | None = None

    @property
    def known_time(self) -> Quantity | None:
        """tau; None where there is no decay, or its error exceeds it or is not known."""
        return self.time if self.time is not None and self.time.error <= self.time.value else None

    @property
    def mean_time(self) -> float | None:
        """Area under exp(-(t / tau)^g), tau / g Gamma(1 / g)."""
        if self.time is None or self.stretching is None:
            return None
        return self.time.value / self.stretching.value * float(gamma(1 / self.stretching.value))

    @property
    def effective_sites(self) -> float | None:
        """1 / b²: as many equally visited sites with unrelated tensors leave this residual; None where it may be 0."""
        found = self.residual
        return None if found is None or not found.value > 2 * found.error else 1 / found.value

    def __call__(self, time: ArrayLike) -> Floats:
        """The fitted curve at these times."""
        parts = (self.time, self.stretching, self.residual, self.amplitude)
        values = [np.nan if part is None else part.value for part in parts]
        return _model(np.asarray(time, float), np.log(values[0]), *values[1:])


def fit_decay(
    time: ArrayLike, curve: ArrayLike, resampled: ArrayLike, ions: int, confidence: float, free_amplitude: bool = False
) -> Decay:
    """Stretched exponential through a normalised correlation function.

    Points are weighted by their errors. Errors of the parameters are those of the curves that `resampled` ions give,
    carried through the fit in first order with all correlations between lags; points of one curve are far from
    independent.

    Parameters
    ----------
    time
        (L,) increasing, any unit.
    curve
        (L,) the mean over ions, over its value at lag 0; 1 at the first lag unless the amplitude is free.
    resampled
        (B, L) the same of ions drawn with replacement.
    ions
        K, of which the errors have K - 1 freedoms.
    confidence
        Of intervals.
    free_amplitude
        Fit a instead of setting it to 1.

    Raises
    ------
    InputError
        If there are too few lags or ions.
    """
    lags, points, copies = (np.asarray(each, float) for each in (time, curve, resampled))
    if len(lags) < 6 or ions < 2:
        raise InputError(f"fit of a decay: expected 6 lags and 2 ions or more, found {len(lags)} and {ions}")
    copies = points + (copies - points) * np.sqrt(ions / (ions - 1))
    errors = copies.std(axis=0)
    limit = t.ppf(norm.cdf(SIGMAS), ions - 1)  # as unlikely as 3 known errors
    lost = 1 - points / points[0]
    doubt = limit * (copies / copies[:, :1]).std(axis=0)
    if not (lost[1:] > doubt[1:]).any():
        least = np.clip(1 - lost - doubt, 1e-300, 1 - 1e-12)[1:]
        bound = ((lags[1:] - lags[0]) / -np.log(least)).max()
        told = f"C falls by {SIGMAS:g} errors at none of {len(lags) - 1} lags"
        return Decay(None, None, None, None, told, float(bound))
    weights = 1 / np.maximum(errors, FLOOR * errors.max())
    used = slice(None) if free_amplitude else slice(1, None)  # a point that is 1 by definition
    values, held = _search(lags[used], points[used], weights[used], free_amplitude)
    jacobian = _jacobian(lags[used], values)[:, ~held] * weights[used, None]
    gain = np.linalg.pinv(jacobian) * weights[used]
    deviation = np.where([True, True, True, free_amplitude], np.nan, 0.0)  # not known of what stands at a bound
    deviation[~held] = (copies[:, used] @ gain.T).std(axis=0)
    reach = t.ppf((1 + confidence) / 2, ions - 1) * deviation
    low, high = values - reach, values + reach
    tau = float(np.exp(values[0]))
    stretching, residual, amplitude = (
        Quantity(float(values[i]), float(deviation[i]), float(low[i]), float(high[i])) for i in (1, 2, 3)
    )
    with np.errstate(over="ignore"):
        interval = np.exp(np.array([low[0], high[0]]))
    return Decay(
        Quantity(tau, tau * float(deviation[0]), float(interval[0]), float(interval[1])),
        stretching,
        residual,
        amplitude,
    )


def _search(time: Floats, points: Floats, weights: Floats, free: bool) -> tuple[Floats, NDArray[np.bool_]]:
    """ln tau, g, b², a of the least squares, and which of them stand at a bound."""
    reach = np.log(time[-1] / time[time > 0][0]) + 3
    middle = np.log(time[time > 0]).mean()
    lower = np.array([middle - reach, STRETCHING[0], 0.0, 0.0 if free else 1.0])
    upper = np.array([middle + reach, STRETCHING[1], 1.0, 2.0 if free else 1.0])
    fitted = upper > lower

    def whole(parameters: Floats) -> Floats:
        values = np.ones(4)
        values[fitted] = parameters
        return values

    def residuals(parameters: Floats) -> Floats:
        return (_model(time, *whole(parameters)) - points) * weights

    def slopes(parameters: Floats) -> Floats:
        return _jacobian(time, whole(parameters))[:, fitted] * weights[:, None]

    floor = float(np.clip(points[-3:].mean(), 0.02, 0.9))
    half = time[np.argmin(np.abs(points - (points[0] + floor) / 2))] or time[1]
    starts = [np.array([np.log(half), start, floor, 1.0])[fitted] for start in STARTS]
    bounds = (lower[fitted], upper[fitted])
    trials = [least_squares(residuals, np.clip(start, *bounds), slopes, bounds) for start in starts]
    best = min(trials, key=lambda trial: trial.cost)
    held = np.ones(4, bool)
    near = 1e-4 * (upper - lower)[fitted]
    low, high = best.x - bounds[0] < near, bounds[1] - best.x < near
    held[fitted] = low | high
    return whole(np.where(low, bounds[0], np.where(high, bounds[1], best.x))), held


def _model(time: Floats, log_tau: float, stretching: float, residual: float, amplitude: float) -> Floats:
    falling = np.exp(-((time * np.exp(-log_tau)) ** stretching))
    return amplitude * (residual + (1 - residual) * falling)


def _jacobian(time: Floats, values: Floats) -> Floats:
    """Derivatives (L, 4) of the model with respect to ln tau, g, b² and a."""
    log_tau, stretching, residual, amplitude = values
    power = (time * np.exp(-log_tau)) ** stretching
    falling = np.exp(-power)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.where(time > 0, np.log(np.maximum(time, 1e-300)) - log_tau, 0.0)
    moved = amplitude * (1 - residual) * falling * power
    return np.stack(
        [moved * stretching, -moved * logarithm, amplitude * (1 - falling), residual + (1 - residual) * falling], axis=1
    )
