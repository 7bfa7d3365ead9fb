"""The report of tracer diffusion: numbers, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ionecho.analysis.arrhenius import Arrhenius
from ionecho.analysis.diffusion import CM2_PER_S, Diffusivity, TracerDiffusion, arrhenius, diffusion
from ionecho.analysis.diffusion import DiffusionOptions as Settings
from ionecho.analysis.diffusion_figures import figures
from ionecho.analysis.options import named_inputs
from ionecho.analysis.paths import follow
from ionecho.data.trajectory import early_end
from ionecho.errors import InputError
from ionecho.report import Number, Report, Table, by_unit, once, rounded
from ionecho.report.content import SHOWN

CONVENTIONS = {
    "diffusivity": "tracer (self) diffusivity of the ions; correlations between ions (Haven ratio) are not in it",
    "slope": "D = slope / (2 d) of a straight line with intercept; d = 3 in space, d = 2 in the plane",
    "msd": "mean over ions and all time origins; its error is the standard error over ions",
    "msd_of_elements": "since the first frame, without averaging over time origins",
    "displacement": "steps in fractional coordinates, Cartesian in the cell of the later frame",
    "error": "standard error over ions, taken as independent, the lags fitted held fixed; the interval is Student's",
    "rule_of_thumb": "D (3.43 / sqrt(effective hops) + 0.04), npj Comput. Mater. 2018, 4, 18",
    "effective_hops": "ions x MSD at the last lag fitted (for a limit: its maximum) / hop_length²",
    "upper_limit": "Poisson limit of the mean number of effective hops x hop_length² / (2 d x ions x time)",
    "arrhenius": "ln D = ln D0 - Ea / (kB T), natural logarithm, d = 3; errors widened by the scatter where above 1; "
    "Student's interval, of as many freedoms as the errors over ions have",
}
UNITS = by_unit(
    {
        "cm²/s": "value_cm2_per_s error_cm2_per_s interval_cm2_per_s rule_of_thumb_cm2_per_s upper_limit_cm2_per_s D "
        "D_error rule_of_thumb below prefactor prefactor_interval values",
        "Å²/ps": "value_A2_per_ps error_A2_per_ps interval_A2_per_ps rule_of_thumb_A2_per_ps upper_limit_A2_per_ps",
        "Å²": "msd msd_error plane_msd plane_msd_error msd_since_first_frame_A2",
        "Å": "largest_drift_A",
        "K": "temperature_K temperature temperatures",
        "ps": "run_ps window_ps lag_ps time_ps from to run",
        "fs": "frame_spacing_fs",
        "eV": "activation_energy arrhenius.error arrhenius.interval",
        "lattice vectors": "longest_step",
        "": "ions frames exponent dimensions effective_hops hops scatter relative_errors",
    }
)


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """Diffusion in one trajectory or several, and the Arrhenius fit.

    Raises
    ------
    InputError
        If an input cannot be used.
    """
    names = named_inputs(inputs)
    temperatures = _temperatures(settings, len(names))
    results = {
        name: analyze(path, settings, temperature)
        for (name, path), temperature in zip(names.items(), temperatures, strict=True)
    }
    fit = arrhenius(results, settings)
    return Report(
        analysis="diffusion",
        title=f"Tracer diffusion of {settings.element}",
        headline=_headline(results, fit, settings),
        numbers={"trajectories": {name: _numbers(result) for name, result in results.items()}, "arrhenius": fit},
        units=UNITS | {kind: "Å²" for result in results.values() for kind in result.paths.since_first},
        notes=_notes(results, fit),
        tables=tables(results),
        figures=figures(results, fit),
        settings=settings,
        conventions=CONVENTIONS,
        source={
            name: {"sha256_of_displacements": result.paths.sha256(), "frames": result.frames}
            for name, result in results.items()
        },
    )


def analyze(path: Path, options: Settings, temperature: float | None) -> TracerDiffusion:
    """Diffusion in one trajectory; `temperature` None takes that stored with it."""
    trajectory = options.read.open(path)
    paths = follow(
        trajectory,
        path,
        options.element,
        options.framework,
        remove_drift=options.remove_drift,
        unwrap=options.unwrap,
        longest_step=options.longest_step,
        skip=options.read.skip,
        every=options.read.every,
        groups=options.read.groups,
    )
    temperature = trajectory.temperature if temperature is None else temperature
    found = diffusion(paths, options, temperature, trajectory.friction_time)
    return replace(found, notes=(*early_end(trajectory.stopped), *found.notes))


def _temperatures(options: Settings, count: int) -> list[float | None]:
    given = options.temperature
    if not isinstance(given, list):
        return [given] * count
    if len(given) != count:
        raise InputError(f"temperature: expected one or one an input ({count}), found {len(given)}")
    return list(given)


def _notes(results: Mapping[str, TracerDiffusion], fit: Arrhenius | None) -> list[str]:
    notes = once({name: result.notes for name, result in results.items()})
    left = [name for name, result in results.items() if result.space.value is None]
    if len(results) > 1 and fit is None:
        notes.append("no activation energy: that needs diffusivities, not limits, at two known temperatures or more.")
    if fit is not None and left:
        notes.append(f"left out of the activation energy, as there is a limit only: {', '.join(left)}.")
    return notes


def _headline(results: Mapping[str, TracerDiffusion], fit: Arrhenius | None, settings: Settings) -> list[str | Number]:
    lines: list[str | Number] = []
    for name, result in list(results.items())[:SHOWN]:
        where = f"{name}, {'temperature not known' if result.temperature is None else f'{result.temperature:g} K'}"
        who = f"{where}: tracer D of {result.ions} {settings.element}"
        space, plane = _number(f"{who} in space", result.space, settings), _number("plane", result.plane, settings)
        lines.append(f"{space}; {plane}")
    if len(results) > SHOWN:
        lines.append(f"and {len(results) - SHOWN} trajectories more in the table.")
    if fit is not None:
        low, high = fit.interval
        temperatures = ", ".join(f"{t:g}" for t in sorted(set(fit.temperatures)))
        lines.append(
            f"Ea = {rounded(fit.activation_energy, fit.error)} eV, {settings.confidence:.0%} interval {low:.3f} to "
            f"{high:.3f} eV, from {len(fit.values)} diffusivities at {temperatures} K."
        )
    return lines


def _number(name: str, found: Diffusivity, settings: Settings) -> Number:
    dimension = f" (d = {found.dimensions})"
    if found.value is None:
        assert found.upper_limit is not None
        limit = f"{dimension}, upper limit at {settings.confidence:.0%}"
        return Number(name, found.upper_limit * CM2_PER_S, None, "cm²/s", "<", limit)
    error = None if found.error is None else found.error * CM2_PER_S
    return Number(name, found.value * CM2_PER_S, error, "cm²/s", remark=dimension)


def _numbers(result: TracerDiffusion) -> dict[str, Any]:
    return {
        "temperature_K": result.temperature,
        "ions": result.ions,
        "frames": result.frames,
        "run_ps": result.run * 1e-3,
        "frame_spacing_fs": result.paths.spacing,
        "window_ps": None if result.window is None else [edge * 1e-3 for edge in result.window],
        "exponent": result.exponent,
        "not_diffusive": result.not_diffusive,
        "d3": _units(result.space),
        "d2": _units(result.plane),
        "drift_removed_of": result.paths.framework,
        "largest_drift_A": np.linalg.norm(result.paths.drift, axis=1).max(),
        "longest_step": result.paths.longest_step,
        "msd_since_first_frame_A2": {kind: squares[-1] for kind, squares in result.paths.since_first.items()},
    }


def _units(found: Diffusivity) -> dict[str, Any]:
    """Every diffusivity in both units."""
    entries: dict[str, Any] = {"dimensions": found.dimensions, "effective_hops": found.effective_hops}
    for name in ("value", "error", "interval", "rule_of_thumb", "upper_limit"):
        quantity = getattr(found, name)
        known = quantity is not None
        entries[f"{name}_cm2_per_s"] = (np.array(quantity) * CM2_PER_S).tolist() if known else None
        entries[f"{name}_A2_per_ps"] = quantity
    return entries


def tables(results: Mapping[str, TracerDiffusion]) -> dict[str, Table]:
    """Name of a csv file -> its table; the first column is the trajectory."""
    displacement, elements, values, overview = [], [], [], []
    for name, result in results.items():
        moved = result.displacement
        fitted = slice(0, len(moved.ions))
        columns = {
            "lag_ps": moved.lags[fitted] * 1e-3,
            "msd": moved.mean[fitted],
            "msd_error": moved.error,
            "plane_msd": moved.plane_mean[fitted],
            "plane_msd_error": moved.plane_error,
        }
        displacement.append(pd.DataFrame({"trajectory": name, **columns}))
        elements.append(pd.DataFrame({"trajectory": name, "time_ps": moved.lags * 1e-3, **result.paths.since_first}))
        for found in (result.space, result.plane):
            entries = {key: entry for key, entry in _units(found).items() if not key.startswith("interval")}
            values.append({"trajectory": name, "temperature_K": result.temperature, **entries})
            overview.append(_row(name, result, entries))
    caption = (
        "Error over ions; rule of thumb of He et al.; below: upper limit where ions do not diffuse; from, to: lags."
    )
    return {
        "overview": Table(pd.DataFrame(overview), "Diffusivity", caption),
        "diffusivity": Table(pd.DataFrame(values)),
        "msd": Table(pd.concat(displacement)),
        "elements": Table(pd.concat(elements)),
    }


def _row(name: str, result: TracerDiffusion, entries: Mapping[str, Any]) -> dict[str, Any]:
    start, stop = (None, None) if result.window is None else (edge * 1e-3 for edge in result.window)
    return {
        "trajectory": name,
        "temperature": result.temperature,
        "d": entries["dimensions"],
        "D": entries["value_cm2_per_s"],
        "D_error": entries["error_cm2_per_s"],
        "rule_of_thumb": entries["rule_of_thumb_cm2_per_s"],
        "below": entries["upper_limit_cm2_per_s"],
        "hops": entries["effective_hops"],
        "exponent": result.exponent,
        "from": start,
        "to": stop,
        "run": result.run * 1e-3,
    }
