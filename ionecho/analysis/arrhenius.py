"""Activation energy from diffusivities at several temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.constants import e, k
from scipy.stats import t

from ionecho.errors import InputError

Floats = NDArray[np.float64]

KB = k / e  # eV/K
NEWTON, LARGEST = 100, 10.0  # steps; exponent of how far above a limit a line counts


@dataclass(frozen=True)
class Arrhenius:
    """Fit of ln D = ln D0 - Ea / (kB T), natural logarithm.

    `activation_energy` eV with its standard `error` and `interval`; `prefactor` D0 in the unit of D with its
    `prefactor_interval`; `scatter` is sqrt(chi² / degrees of freedom) of the points (None for two): where above 1 it
    has widened the errors. `temperatures` K, `values` D and `relative_errors` are the points,
    `limits` the temperatures and upper limits that were counted as such. `covariance` (2, 2) is that of ln D0 and Ea,
    `gains` (2, n) what a relative error of each point adds to them, `freedoms` (n,) those of the errors.
    """

    activation_energy: float
    error: float
    interval: tuple[float, float]
    prefactor: float
    prefactor_interval: tuple[float, float]
    scatter: float | None
    temperatures: Floats
    values: Floats
    relative_errors: Floats
    confidence: float
    covariance: Floats
    gains: Floats
    freedoms: Floats
    limits: tuple[tuple[float, float], ...] = ()

    def interval_at(self, temperature: float) -> tuple[float, float]:
        """Student's interval of D at `temperature` (K), which may lie far from the points."""
        row = np.array([1.0, -1 / (KB * temperature)])
        deviation = float(np.sqrt(row @ self.covariance @ row))
        reach = float(t.ppf((1 + self.confidence) / 2, _welch(np.square(row @ self.gains), self.freedoms)) * deviation)
        middle = float(np.log(self.prefactor)) - self.activation_energy / (KB * temperature)
        return float(np.exp(middle - reach)), float(np.exp(middle + reach))

    @property
    def doubts(self) -> list[str]:
        """What a reader should know of an energy that is not above zero."""
        low, high = self.interval
        if low > 0:
            return []
        known = "is negative, D falls as it gets hotter" if high < 0 else "cannot be told from zero"
        return [f"the activation energy {known}: the points do not show thermally activated motion."]

    def __call__(self, temperature: ArrayLike) -> Floats:
        """D at `temperature` (K)."""
        return self.prefactor * np.exp(-self.activation_energy / (KB * np.asarray(temperature, float)))


def fit_arrhenius(
    temperatures: ArrayLike,
    values: ArrayLike,
    relative_errors: ArrayLike,
    confidence: float,
    freedoms: ArrayLike = np.inf,
    limits: Sequence[tuple[float, float]] = (),
) -> Arrhenius:
    """Weighted straight line through ln D against 1 / (kB T).

    Parameters
    ----------
    temperatures
        (n,) K, at least two that differ.
    values
        (n,) D, positive, in any unit.
    relative_errors
        (n,) standard errors of ln D, dD / D.
    confidence
        Of the intervals, which are Student's, of freedoms by Welch and Satterthwaite.
    freedoms
        (n,) or one number: what each error was estimated from, infinite where it is known.
    limits
        Temperatures (K) and upper limits of D at `confidence`: no event where the mean number is D / limit times that
        of the limit, whose likelihood (1 - confidence)^(D / limit) bends the line down where it would pass above.

    Raises
    ------
    InputError
        If the numbers do not allow a fit.
    """
    temperature, value, error = (np.asarray(each, float) for each in (temperatures, values, relative_errors))
    for name, each in (("temperatures", temperature), ("diffusivities", value), ("errors", error)):
        if not (np.isfinite(each) & (each > 0)).all():
            raise InputError(f"Arrhenius fit: expected positive {name}, found {each.tolist()}; leave limits out")
    if len(set(temperature)) < 2:
        raise InputError(f"Arrhenius fit: expected two temperatures or more, found {sorted(set(temperature))} K")
    design = np.stack([np.ones_like(temperature), -1 / (KB * temperature)], axis=1) / error[:, None]
    information = design.T @ design
    line = np.linalg.solve(information, design.T @ (np.log(value) / error))
    line, information = _below(line, information, limits, -np.log(1 - confidence))
    covariance = np.linalg.inv(information)
    freedom = len(value) - 2
    scatter = float(np.sqrt(np.square(design @ line - np.log(value) / error).sum() / freedom)) if freedom else None
    gains, widened = covariance @ design.T, covariance * max(1.0, scatter or 0.0) ** 2
    of_errors = np.broadcast_to(np.asarray(freedoms, float), value.shape)
    deviation = np.sqrt(np.diag(widened))
    reach = t.ppf((1 + confidence) / 2, _welch(np.square(gains), of_errors)) * deviation
    (low0, low), (high0, high) = line - reach, line + reach
    return Arrhenius(
        activation_energy=float(line[1]),
        error=float(deviation[1]),
        interval=(float(low), float(high)),
        prefactor=float(np.exp(line[0])),
        prefactor_interval=(float(np.exp(low0)), float(np.exp(high0))),
        scatter=scatter,
        temperatures=temperature,
        values=value,
        relative_errors=error,
        confidence=confidence,
        covariance=np.asarray(widened, np.float64),
        gains=np.asarray(gains, np.float64),
        freedoms=of_errors,
        limits=tuple(limits),
    )


def _welch(shares: Floats, freedoms: Floats) -> Floats:
    """Freedoms (...) of sums of variances `shares` (..., n), each known with so many `freedoms` (n,)."""
    with np.errstate(divide="ignore"):
        return shares.sum(axis=-1) ** 2 / (shares**2 / freedoms).sum(axis=-1)


def _below(
    line: Floats, information: Floats, limits: Sequence[tuple[float, float]], events: float
) -> tuple[Floats, Floats]:
    """The most likely line (2,) and its information (2, 2) when `limits` count too, by Newton's method."""
    rows = np.array([[1.0, -1 / (KB * temperature)] for temperature, _ in limits]).reshape(-1, 2)
    bounds = np.log([limit for _, limit in limits])
    start, known = line, information
    for _ in range(NEWTON if len(limits) else 0):
        seen = events * np.exp(np.minimum(rows @ line - bounds, LARGEST))
        gradient = known @ (line - start) + rows.T @ seen
        information = known + (rows.T * seen) @ rows
        step = np.linalg.solve(information, gradient)
        line = line - step
    return line, information
