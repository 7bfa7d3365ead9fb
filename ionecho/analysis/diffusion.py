"""Tracer diffusion of mobile ions: slope of the mean squared displacement, its errors, and limits where ions stay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import chi2, t

from ionecho.analysis.arrhenius import Arrhenius, fit_arrhenius
from ionecho.analysis.msd import Displacement
from ionecho.analysis.options import Options, TrajectoryOptions
from ionecho.analysis.paths import IonPaths
from ionecho.errors import InputError

Floats = NDArray[np.float64]

CM2_PER_S = 1e-4  # in one Å²/ps
SUBDIFFUSIVE = 0.8  # exponent of the displacement below which a note says so


class FitOptions(Options):
    """Lags that are fitted: from where the displacement exceeds `msd_min` (Å²) up to `lag_max` (share of the run).

    Fewer than `points` of them are not fitted, nor a displacement that grows with an exponent below `exponent_min`.
    """

    msd_min: float = Field(ge=0)
    lag_max: float = Field(gt=0, lt=1)
    points: int = Field(ge=3)
    exponent_min: float = Field(ge=0, lt=1)


class DiffusionOptions(TrajectoryOptions):
    """Everything the analysis depends on besides the trajectories; see conf/analysis/diffusion.yaml for each entry."""

    element: str
    framework: list[str] | None
    remove_drift: bool
    plane_normal: Literal["a", "b", "c"] | tuple[float, float, float]
    temperature: float | list[float] | None
    unwrap: bool
    longest_step: float = Field(gt=0, lt=0.5)
    fit: FitOptions
    hop_length: float = Field(gt=0)
    confidence: float = Field(gt=0, lt=1)
    arrhenius_errors: Literal["over_ions", "rule_of_thumb"]


@dataclass(frozen=True)
class Diffusivity:
    """Tracer diffusivity in `dimensions` d, all in Å²/ps: slope / (2 d), or an upper limit where `value` is None.

    `error` is the standard error over ions and `interval` Student's, of as many freedoms as ions but one; both None for
    a single ion. `rule_of_thumb` is the error of He et al. (npj Comput. Mater. 2018, 4, 18), D (3.43 / sqrt(N) + 0.04)
    with N = `effective_hops` = ions x MSD at the last lag fitted / hop_length². `slope` (Å²/fs) and `intercept` (Å²)
    draw the line.
    """

    dimensions: int
    value: float | None
    error: float | None
    interval: tuple[float, float] | None
    rule_of_thumb: float | None
    upper_limit: float | None
    effective_hops: float
    slope: float | None
    intercept: float | None

    def relative_error(self, kind: str) -> float | None:
        """`error` or, where asked for or with one ion, `rule_of_thumb`, over `value`."""
        if self.value is None or self.rule_of_thumb is None:
            return None
        error = self.rule_of_thumb if kind == "rule_of_thumb" or self.error is None else self.error
        return error / self.value


@dataclass(frozen=True)
class TracerDiffusion:
    """The ions of one trajectory: `space` (d = 3) and `plane` (d = 2), fitted over `window` (fs).

    `not_diffusive` says why there is a limit only. `exponent` is d ln MSD / d ln t over the window: 1 for diffusion.
    `temperature` in K, None if unknown; `run` is the time followed in fs.
    """

    temperature: float | None
    ions: int
    frames: int
    run: float
    window: tuple[float, float] | None
    space: Diffusivity
    plane: Diffusivity
    exponent: float | None
    not_diffusive: str | None
    displacement: Displacement
    paths: IonPaths
    notes: tuple[str, ...]


def diffusion(
    paths: IonPaths, options: DiffusionOptions, temperature: float | None, friction_time: float | None = None
) -> TracerDiffusion:
    """Diffusivity of the ions along `paths`, in space and in the plane.

    `friction_time` is the relaxation time (fs) of the Langevin dynamics that they come from, if they do.
    """
    frames, ions, _ = paths.displacements.shape
    longest = int(options.fit.lag_max * (frames - 1))
    normal = _normal(options.plane_normal, paths.cell)
    moved = Displacement.of(paths.displacements, paths.spacing, normal, longest)
    lags, mean = moved.lags[: longest + 1], moved.mean[: longest + 1]
    beyond = np.flatnonzero(mean > options.fit.msd_min)
    start = int(beyond[0]) if beyond.size else longest
    fitted = slice(max(start, 1), longest + 1)
    exponent, reason = None, None
    if not beyond.size:
        reason = f"the displacement reaches {mean.max():.2g} Å², not the {options.fit.msd_min:g} Å² of fit.msd_min"
    elif fitted.stop - fitted.start < options.fit.points:
        reason = f"only {fitted.stop - fitted.start} lags exceed {options.fit.msd_min:g} Å², fewer than fit.points"
    else:
        exponent = float(np.polyfit(np.log(lags[fitted]), np.log(mean[fitted]), 1)[0])
        if exponent < options.fit.exponent_min:
            reason = f"the displacement levels off, it grows as t^{exponent:.2f}"
    window = None if reason else fitted
    parts = {3: (moved.ions, moved.mean), 2: (moved.plane_ions, moved.plane_mean)}
    found = {d: _diffusivity(d, moved.lags, *part, window, options) for d, part in parts.items()}
    if reason is None and found[3].value is None:
        reason = f"the slope does not differ from zero at the {options.confidence:.0%} level"
    return TracerDiffusion(
        temperature=temperature,
        ions=ions,
        frames=frames,
        run=float(moved.lags[-1]),
        window=None if window is None else (float(lags[window][0]), float(lags[window][-1])),
        space=found[3],
        plane=found[2],
        exponent=exponent,
        not_diffusive=reason,
        displacement=moved,
        paths=paths,
        notes=tuple(_notes(paths, options, exponent, reason, ions, friction_time)),
    )


def _diffusivity(
    dimensions: int, lags: Floats, ions: Floats, mean: Floats, window: slice | None, options: DiffusionOptions
) -> Diffusivity:
    """From the displacement of every ion (L, K) and its mean at all lags (T,), both Å²; `lags` (T,) fs."""
    count, per_hop = ions.shape[1], options.hop_length**2
    scale = 1e3 / (2 * dimensions)  # of a slope in Å²/fs
    hops = count * float(mean.max()) / per_hop
    limit = poisson_limit(hops, options.confidence) * per_hop / (count * float(lags[-1])) * scale
    interval = None
    if window is not None:
        times = lags[window] - lags[window].mean()
        slopes = times @ ions[window] / (times @ times)  # (K,)
        slope = float(slopes.mean())
        error = None
        if count > 1:
            error = float(slopes.std(ddof=1)) / count**0.5 * scale
            reach = float(t.ppf((1 + options.confidence) / 2, count - 1)) * error
            interval = (slope * scale - reach, slope * scale + reach)
        if slope > 0 and (interval is None or interval[0] > 0):
            hops = count * float(mean[window][-1]) / per_hop
            return Diffusivity(
                dimensions,
                value=slope * scale,
                error=error,
                interval=interval,
                rule_of_thumb=slope * scale * (3.43 / hops**0.5 + 0.04),
                upper_limit=None,
                effective_hops=hops,
                slope=slope,
                intercept=float(mean[window].mean() - slope * lags[window].mean()),
            )
    limit = max(limit, interval[1]) if interval else limit
    return Diffusivity(dimensions, None, None, None, None, limit, hops, None, None)


def poisson_limit(count: float, confidence: float) -> float:
    """Largest mean number of events that gives `count` or fewer with probability 1 - `confidence`: 3.00 for none."""
    return float(chi2.ppf(confidence, 2 * (count + 1)) / 2)


def _normal(choice: str | tuple[float, float, float], cell: Floats) -> Floats:
    """Unit normal of the plane: perpendicular to the two other lattice vectors, or the direction given."""
    if isinstance(choice, str):
        first, second = np.delete(cell, "abc".index(choice), axis=0)
        direction = np.cross(first, second)
    else:
        direction = np.array(choice)
    length = np.linalg.norm(direction)
    if length == 0:
        raise InputError(f"plane_normal: expected a, b, c or a direction, found {list(choice)}")
    return direction / length


def _notes(
    paths: IonPaths,
    options: DiffusionOptions,
    exponent: float | None,
    reason: str | None,
    ions: int,
    friction_time: float | None,
) -> list[str]:
    notes = []
    if reason is not None:
        notes.append(f"not diffusive: {reason}; upper limits only.")
    if reason is None and exponent is not None and exponent < SUBDIFFUSIVE:
        notes.append(f"the displacement grows as t^{exponent:.2f} in the window, not linearly: sub-diffusive.")
    for kind, squares in paths.since_first.items():
        moved = float(squares[len(squares) // 2 :].mean())
        if kind != options.element and moved > options.fit.msd_min:
            when = "on average over the second half"
            notes.append(f"{kind} has moved by {moved:.1f} Å² itself, {when}: the framework is not intact.")
    if ions == 1:
        notes.append("one ion: no error over ions.")
    if friction_time is not None:
        notes.append(
            f"Langevin dynamics with a relaxation time of {friction_time:g} fs: friction slows the ions, which no "
            "error here holds; compare with ensemble=nvt_nose_hoover."
        )
    return notes


def arrhenius(results: dict[str, TracerDiffusion], options: DiffusionOptions) -> Arrhenius | None:
    """Fit to the d = 3 diffusivities of the trajectories; None with fewer than two temperatures or values."""
    kind = options.arrhenius_errors
    points = [
        (
            result.temperature,
            result.space.value,
            result.space.relative_error(kind),
            result.ions - 1 if kind == "over_ions" and result.ions > 1 else np.inf,
        )
        for result in results.values()
        if result.temperature is not None and result.space.value is not None
    ]
    if len({temperature for temperature, *_ in points}) < 2:
        return None
    temperatures, values, errors, freedoms = np.array(points, float).T
    return fit_arrhenius(temperatures, values * CM2_PER_S, errors, options.confidence, freedoms)
