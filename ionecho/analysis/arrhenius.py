"""Activation energy from diffusivities at several temperatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.constants import e, k
from scipy.stats import t

from ionecho.errors import InputError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Floats = NDArray[np.float64]

KB = k / e  # eV/K
NEWTON, LARGEST = 100, 10.0  # steps; exponent of how far above a limit a line counts


@dataclass(frozen=True)
class Arrhenius:
    """Fit of ln D = ln D0 - Ea / (kB T), natural logarithm.

    `activation_energy` eV with its standard `error` and `interval`; `prefactor` D0 in the unit of D with its
    `prefactor_interval`; `scatter` is sqrt(chi² / degrees of freedom) of the points (None for two): where above 1 it
    has widened the errors. `temperatures` K, `values` D and `relative_errors` are the points,
    `limits` the temperatures and upper limits that were counted as such.
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
    limits: tuple[tuple[float, float], ...] = ()

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
    deviation = np.sqrt(np.diag(covariance)) * max(1.0, scatter or 0.0)
    shares = np.square(covariance @ design.T)  # of every point in the variances of both parameters
    with np.errstate(divide="ignore"):
        of_line = shares.sum(axis=1) ** 2 / (shares**2 / np.asarray(freedoms, float)).sum(axis=1)
    reach = t.ppf((1 + confidence) / 2, of_line) * deviation
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
        limits=tuple(limits),
    )


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


def draw_arrhenius(axes: Axes, fit: Arrhenius, colour: str) -> None:
    """Points with errors and the line, against 1000 / T; D in cm²/s."""
    axes.errorbar(
        1e3 / fit.temperatures, fit.values, fit.relative_errors * fit.values, fmt="o", ms=4, capsize=2, color=colour
    )
    for temperature, limit in fit.limits:
        axes.errorbar(1e3 / temperature, limit, 0.4 * limit, uplims=True, fmt="_", ms=6, color=colour)
    every = [*fit.temperatures, *(temperature for temperature, _ in fit.limits)]
    ends = np.array([min(every), max(every)])
    axes.plot(1e3 / ends, fit(ends), color=colour, lw=1.0, ls="--")
    axes.set_yscale("log")
    axes.set_xlabel("1000 K / $T$")
    axes.set_ylabel("$D$ / cm$^2$ s$^{-1}$")
