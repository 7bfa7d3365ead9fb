"""Tracer diffusion in one trajectory or several, and what several temperatures say of its activation energy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ionecho.analysis.arrhenius import Arrhenius
from ionecho.analysis.diffusion import CM2_PER_S, DiffusionOptions, Diffusivity, TracerDiffusion, arrhenius, diffusion
from ionecho.analysis.diffusion_figures import figures
from ionecho.analysis.options import named_inputs
from ionecho.analysis.paths import follow
from ionecho.data.trajectory import early_end
from ionecho.errors import InputError
from ionecho.report.files import SUMMARY
from ionecho.report.html import Table
from ionecho.report.report import Report

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


def run(input: str | list[str], settings: Mapping[str, Any]) -> Report:
    """Diffusion in one trajectory or several, and the Arrhenius fit.

    Raises
    ------
    InputError
        If the settings or an input cannot be used.
    """
    options = DiffusionOptions.parse(settings, "diffusion")
    inputs = named_inputs(input, lambda path: path.name)
    results = {
        name: analyze(Path(path), options, temperature)
        for (name, path), temperature in zip(inputs.items(), _temperatures(options, len(inputs)), strict=True)
    }
    fit = arrhenius(results, options)
    lines = [line for name, result in results.items() for line in _lines(name, result, options)]
    return Report(
        analysis="diffusion",
        title=f"Tracer diffusion of {options.element}",
        headline=lines + ([] if fit is None else [_energy(fit, options)]),
        notes=_notes(results, fit),
        numbers={
            "trajectories": {name: _numbers(result) for name, result in results.items()},
            "arrhenius": fit,
        },
        tables=tables(results),
        shown=[_overview(results)],
        figures=figures(results, fit),
        settings=options,
        conventions=CONVENTIONS,
        source={
            name: {"sha256_of_displacements": result.paths.sha256(), "frames": result.frames}
            for name, result in results.items()
        },
    )


def analyze(path: Path, options: DiffusionOptions, temperature: float | None) -> TracerDiffusion:
    """Diffusion in one trajectory; `temperature` None takes that stored with it."""
    trajectory = options.read.open(path, time_step=options.read.time_step)
    paths = follow(
        trajectory,
        path,
        options.element,
        options.framework,
        remove_drift=options.remove_drift,
        unwrap=options.unwrap,
        longest_step=options.longest_step,
        skip=options.skip,
        every=options.every,
    )
    temperature = trajectory.temperature if temperature is None else temperature
    found = diffusion(paths, options, temperature, trajectory.friction_time)
    return replace(found, notes=(*early_end(trajectory.stopped), *found.notes))


def _temperatures(options: DiffusionOptions, count: int) -> list[float | None]:
    given = options.temperature
    if not isinstance(given, list):
        return [given] * count
    if len(given) != count:
        raise InputError(f"temperature: expected one or one an input ({count}), found {len(given)}")
    return list(given)


def _notes(results: Mapping[str, TracerDiffusion], fit: Arrhenius | None) -> list[str]:
    notes = [f"{name}: {note}" for name, result in results.items() for note in result.notes]
    if len(results) > 1 and fit is None:
        notes.append("no activation energy: that needs diffusivities, not limits, at two known temperatures or more.")
    left = [name for name, result in results.items() if result.space.value is None]
    if fit is not None and left:
        notes.append(f"left out of the activation energy, as there is a limit only: {', '.join(left)}.")
    return notes


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


def _lines(name: str, result: TracerDiffusion, options: DiffusionOptions) -> list[str]:
    where = f"{name}, {'temperature not known' if result.temperature is None else f'{result.temperature:g} K'}"
    return [
        f"{where}: tracer D of {result.ions} {options.element} = {_value(result.space, options)}; "
        f"in the plane {_value(result.plane, options)}; {_conditions(result)}."
    ]


def _value(found: Diffusivity, options: DiffusionOptions) -> str:
    dimension = f"(d = {found.dimensions})"
    if found.value is None:
        assert found.upper_limit is not None
        return f"< {found.upper_limit * CM2_PER_S:.2g} cm²/s {dimension}, upper limit at {options.confidence:.0%}"
    error = "" if found.error is None else f" ± {found.error * CM2_PER_S:.1e}"
    return f"{found.value * CM2_PER_S:.2e}{error} cm²/s {dimension}"


def _conditions(result: TracerDiffusion) -> str:
    lags = (
        "no lags fitted"
        if result.window is None
        else "fitted at {:.3g} to {:.3g} ps".format(*(edge * 1e-3 for edge in result.window))
    )
    framework = result.paths.framework
    drift = f"drift of the {'-'.join(framework)} framework removed" if framework else "drift not removed"
    return f"{lags} of {result.run * 1e-3:.3g} ps, {drift}"


def _energy(fit: Arrhenius, options: DiffusionOptions) -> str:
    low, high = fit.interval
    return (
        f"Ea = {fit.activation_energy:.3f} eV, {options.confidence:.0%} interval {low:.3f} to {high:.3f} eV, from "
        f"{len(fit.values)} diffusivities at {', '.join(f'{t:g}' for t in sorted(set(fit.temperatures)))} K."
    )


def tables(results: Mapping[str, TracerDiffusion]) -> dict[str, pd.DataFrame]:
    """Name of a csv file -> its table; the first column is the trajectory."""
    displacement, elements, values = [], [], []
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
    return {
        "diffusivity": pd.DataFrame(values),
        "msd": pd.concat(displacement),
        "elements": pd.concat(elements),
    }


def _overview(results: Mapping[str, TracerDiffusion]) -> Table:
    rows = []
    for name, result in results.items():
        for found in (result.space, result.plane):
            units = _units(found)
            row = {"trajectory": name, "d": found.dimensions, "T / K": result.temperature}
            row |= {"D / cm² s⁻¹": units["value_cm2_per_s"], "error": units["error_cm2_per_s"]}
            row |= {"rule of thumb": units["rule_of_thumb_cm2_per_s"], "below": units["upper_limit_cm2_per_s"]}
            rows.append(row | {"hops": found.effective_hops, "exponent": result.exponent})
    caption = "Error over ions; rule of thumb of He et al.; below: upper limit where ions do not diffuse."
    return Table("Diffusivity", pd.DataFrame(rows), f"{caption} Data: {SUMMARY}, diffusivity.csv.")
