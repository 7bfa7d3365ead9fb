"""Tracer diffusion of mobile ions: slope of the mean squared displacement, its errors, and limits where ions stay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ionecho.analysis.arrhenius import Arrhenius, fit_arrhenius
from ionecho.analysis.diffusivity import CM2_PER_S, Average, Diffusivity, average, fit_diffusivity
from ionecho.analysis.jumps import Jumps, find_jumps
from ionecho.analysis.msd import Displacement, in_plane, squared_displacements
from ionecho.analysis.options import Options, TrajectoryOptions
from ionecho.analysis.paths import IonPaths
from ionecho.analysis.van_hove import VanHove, van_hove
from ionecho.analysis.walk import Walk
from ionecho.errors import InputError

Floats = NDArray[np.float64]

SAME_CELL = 0.02  # relative difference of lengths
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
    hop_window: float = Field(gt=0)
    confidence: float = Field(gt=0, lt=1)
    systems: dict[str, list[str]] | None
    arrhenius_errors: Literal["walk", "rule_of_thumb"]


@dataclass(frozen=True)
class TracerDiffusion:
    """The ions of one trajectory: `space` (d = 3) and `plane` (d = 2), fitted over `window` (fs).

    `collective` is the diffusivity of the ions' charge, None where nothing was fitted; `walks` say how well
    displacements are known, in space and in the plane. `not_diffusive` says why there is a limit only. `exponent` is
    d ln MSD / d ln t over the window: 1 for diffusion. `temperature` in K, None if unknown; `run` is the time followed
    in fs.
    """

    temperature: float | None
    ions: int
    frames: int
    run: float
    window: tuple[float, float] | None
    space: Diffusivity
    plane: Diffusivity
    collective: Diffusivity | None
    jumps: Jumps
    van_hove: VanHove
    exponent: float | None
    not_diffusive: str | None
    displacement: Displacement
    walks: tuple[Walk, Walk]
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
    moved = Displacement.of(paths.displacements, paths.spacing, normal)
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

    def fit(dimensions: int, lags: Floats, mean: Floats, window: slice | None, walk: Walk) -> Diffusivity:
        return fit_diffusivity(dimensions, lags, mean, window, walk, ions, options.hop_length, options.confidence)

    walks = [Walk.of(each, fitted.start) for each in (paths.displacements, in_plane(paths.displacements, normal))]
    space, plane = (
        fit(3, moved.lags, moved.mean, window, walks[0]),
        fit(2, moved.lags, moved.plane_mean, window, walks[1]),
    )
    if reason is None and space.value is None:
        reason = "the slope is known to less than half of itself"
    return TracerDiffusion(
        temperature=temperature,
        ions=ions,
        frames=frames,
        run=float(moved.lags[-1]),
        window=None if window is None else (float(lags[window][0]), float(lags[window][-1])),
        space=space,
        plane=plane,
        collective=_collective(paths, window, fit),
        jumps=find_jumps(paths.displacements, paths.spacing, options.hop_length / 2, options.hop_window),
        van_hove=van_hove(paths.displacements, paths.spacing, longest),
        exponent=exponent,
        not_diffusive=reason,
        displacement=moved,
        walks=(walks[0], walks[1]),
        paths=paths,
        notes=tuple(_notes(paths, options, exponent, reason, friction_time)),
    )


def _collective(
    paths: IonPaths, window: slice | None, fit: Callable[[int, Floats, Floats, slice | None, Walk], Diffusivity]
) -> Diffusivity | None:
    """Diffusivity of the sum of all displacements over the number of ions: that of their charge.

    It is one path, which long lags tell little of: the line ends at four times the lag where it begins.
    """
    if window is None:
        return None
    ions = paths.displacements.shape[1]
    centre = paths.displacements.sum(axis=1, keepdims=True) / np.sqrt(ions)
    mean = squared_displacements(centre)[:, 0]
    lags = np.arange(len(mean), dtype=float) * paths.spacing
    short = slice(window.start, min(window.stop, max(4 * window.start, len(mean) // 10)))
    return fit(3, lags, mean, short, Walk.of(centre, window.start))


def haven_ratio(result: TracerDiffusion) -> tuple[float, float] | None:
    """Tracer over collective diffusivity and its error; None where either has a limit only."""
    if result.space.value is None or result.collective is None or result.collective.value is None:
        return None
    ratio = result.space.value / result.collective.value
    return ratio, ratio * _both(result.space, result.collective)


def correlation_factor(result: TracerDiffusion) -> tuple[float, float] | None:
    """Diffusivity over that of the jumps alone, D_MSD / D_jump, and its error; None without either."""
    jumped, variance = result.jumps.diffusivity(3)
    if result.space.value is None or result.space.relative_variance is None or not jumped:
        return None
    ratio = result.space.value / jumped
    return ratio, ratio * (result.space.relative_variance + variance) ** 0.5


def _both(first: Diffusivity, second: Diffusivity) -> float:
    return float((first.relative_variance or 0.0) + (second.relative_variance or 0.0)) ** 0.5


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
    if friction_time is not None:
        notes.append(
            f"Langevin dynamics with a relaxation time of {friction_time:g} fs: friction slows the ions, which no "
            "error here holds; compare with ensemble=nvt_nose_hoover."
        )
    return notes


def averages(results: Mapping[str, TracerDiffusion], options: DiffusionOptions) -> list[Average]:
    """Mean diffusivity in space of the starts of one system at each temperature, name -> result of one input.

    Unless the options say so, inputs are of one system where their elements, number of ions and cells are the same,
    within 2 % of the latter's lengths; of unknown temperature each is one of its own.

    Raises
    ------
    InputError
        If the options name other inputs than there are.
    """
    asked = options.systems
    if asked is not None and sorted(name for names in asked.values() for name in names) != sorted(results):
        raise InputError(f"systems: expected each of {', '.join(results)} once, found {asked}")
    of = {name: system for system, names in (asked or {}).items() for name in names}
    together: list[dict[str, TracerDiffusion]] = []
    for name, result in results.items():
        for starts in together:
            first, other = next(iter(starts.items()))
            same = of[first] == of[name] if asked is not None else _alike(other, result)
            if same and result.temperature is not None and result.temperature == other.temperature:
                starts[name] = result
                break
        else:
            together.append({name: result})
    return [
        average(
            of.get(next(iter(starts)), next(iter(starts))),
            next(iter(starts.values())).temperature,
            {name: result.space for name, result in starts.items()},
            {name: result.ions * result.run for name, result in starts.items()},
            options.arrhenius_errors,
        )
        for starts in together
    ]


def _alike(first: TracerDiffusion, second: TracerDiffusion) -> bool:
    cells = [np.linalg.norm(each.paths.cell, axis=1) for each in (first, second)]
    elements = [set(each.paths.since_first) for each in (first, second)]
    same = first.ions == second.ions and elements[0] == elements[1]
    return bool(same and np.abs(cells[0] / cells[1] - 1).max() < SAME_CELL)


def arrhenius(points: Sequence[Average], options: DiffusionOptions) -> Arrhenius | None:
    """Fit to the means at each temperature, limits as limits; None with fewer than two temperatures with a value."""
    known = [(each.temperature, each.value, each.relative_error, each.freedom) for each in points if each.value]
    known = [point for point in known if point[0] is not None]
    if len({temperature for temperature, *_ in known}) < 2:
        return None
    temperatures, values, errors, freedoms = np.array(known, float).T
    limits = [(each.temperature, each.upper_limit) for each in points if each.upper_limit and each.temperature]
    return fit_arrhenius(
        temperatures,
        values * CM2_PER_S,
        errors,
        options.confidence,
        freedoms,
        limits=[(temperature, limit * CM2_PER_S) for temperature, limit in limits],
    )
