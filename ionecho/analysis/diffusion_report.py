"""The report of tracer diffusion: numbers, tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from ionecho.analysis.arrhenius import Arrhenius
from ionecho.analysis.diffusion import DiffusionOptions as Settings
from ionecho.analysis.diffusion import (
    TracerDiffusion,
    arrhenius,
    averages,
    correlation_factor,
    diffusion,
    haven_ratio,
)
from ionecho.analysis.diffusion_figures import figures
from ionecho.analysis.diffusion_tables import both_units, tables
from ionecho.analysis.diffusivity import CM2_PER_S, Average, Diffusivity
from ionecho.analysis.options import at_temperatures
from ionecho.analysis.paths import follow
from ionecho.analysis.scenes import scene_of_trajectory
from ionecho.data.trajectory import early_end
from ionecho.report import Number, Report, Scene, by_unit, once, rounded
from ionecho.report.content import SHOWN

CONVENTIONS = {
    "diffusivity": "tracer (self) diffusivity of the ions",
    "collective": "diffusivity of the sum of all displacements over the number of ions, relative to the framework",
    "haven_ratio": "tracer over collective diffusivity, d = 3; its error is that of both, as if independent",
    "jumps": "moves by more than half of hop_length between running medians of hop_window",
    "jump_diffusivity": "sum of squared jump lengths / (6 ions time); its error is that of independent jumps",
    "correlation_factor": "D / jump_diffusivity; below 1 where ions jump back",
    "alpha": "3 <r^4> / (5 <r^2>^2) - 1, 0 for a Gaussian",
    "slope": "D = slope / (2 d) of a straight line with intercept; d = 3 in space, d = 2 in the plane",
    "msd": "mean over ions and all time origins; its error as that of D",
    "msd_of_elements": "since the first frame, without averaging over time origins",
    "displacement": "steps in fractional coordinates, Cartesian in the cell of the later frame",
    "error": "a quarter of the two-sigma interval; of the slope as a quadratic form of steps whose covariance between "
    "ions and excess over a Gaussian are measured in blocks of time, so that ions may move together and hop rarely",
    "starts": "inputs of one system (`systems`, or the same ions, elements and cell) at one temperature: mean weighted "
    "with ions x time, scatter between them in its error where it exceeds their own; a start with a limit L counts as "
    "L/2 +- L/2",
    "rule_of_thumb": "D (3.43 / sqrt(effective hops) + 0.04), npj Comput. Mater. 2018, 4, 18",
    "effective_hops": "ions x MSD at the last lag fitted (for a limit: its maximum) / hop_length²",
    "upper_limit": "Poisson limit of the mean number of effective hops x hop_length² / (2 d x ions x time)",
    "arrhenius": "ln D = ln D0 - Ea / (kB T), natural logarithm, d = 3; errors widened by the scatter where above 1; "
    "Student's interval; a limit counts with the likelihood (1 - confidence)^(D / limit)",
}
UNITS = by_unit(
    {
        "cm²/s": "value_cm2_per_s error_cm2_per_s interval_cm2_per_s rule_of_thumb_cm2_per_s upper_limit_cm2_per_s D "
        "D_error rule_of_thumb below prefactor prefactor_interval values collective collective_error jump_D "
        "jump_D_error jump_diffusivity_cm2_per_s jump_diffusivity_error_cm2_per_s between",
        "Å²/ps": "value_A2_per_ps error_A2_per_ps interval_A2_per_ps rule_of_thumb_A2_per_ps upper_limit_A2_per_ps",
        "Å²": "msd msd_error plane_msd plane_msd_error msd_since_first_frame_A2",
        "Å": "largest_drift_A distance",
        "Å⁻¹": "density gaussian",
        "K": "temperature_K temperature temperatures",
        "ps": "run_ps window_ps lag_ps time_ps from to run lag",
        "fs": "frame_spacing_fs",
        "eV": "activation_energy arrhenius.error arrhenius.interval",
        "lattice vectors": "longest_step",
        "": "ions frames exponent dimensions effective_hops hops scatter relative_errors jumps "
        "haven_ratio haven_ratio_error correlation_factor correlation_factor_error relative_variance effective_ions "
        "alpha limits confidence covariance gains freedoms",
    }
)


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """Diffusion in one trajectory or several, and the Arrhenius fit.

    Raises
    ------
    InputError
        If an input cannot be used.
    """
    each = at_temperatures(inputs, settings.temperature)
    results = {name: analyze(path, settings, temperature) for name, path, temperature in each}
    points = averages(results, settings)
    fit = arrhenius(points, settings)
    return Report(
        analysis="diffusion",
        title=f"Tracer diffusion of {settings.element}",
        headline=_headline(results, points, fit, settings),
        numbers={
            "trajectories": {name: _numbers(result) for name, result in results.items()},
            "starts": [
                {
                    "system": each.name,
                    "temperature": each.temperature,
                    "starts": each.starts,
                    "limits_only": each.limits,
                    **_mean(each),
                }
                for each in points
            ],
            "arrhenius": fit,
        },
        units=UNITS | {kind: "Å²" for result in results.values() for kind in result.paths.since_first},
        notes=_notes(results, points, fit),
        tables=tables(results, points),
        figures=figures(results, fit),
        scene=_scene(inputs[0], settings, next(iter(results.values()))),
        settings=settings,
        conventions=CONVENTIONS,
        source={
            name: {"sha256_of_displacements": result.paths.sha256(), "frames": result.frames}
            for name, result in results.items()
        },
    )


def _scene(path: Path, settings: Settings, first: TracerDiffusion) -> Scene:
    trajectory = settings.read.open(path)
    gone = np.linalg.norm(first.paths.displacements, axis=-1)
    ions = np.flatnonzero(trajectory.numbers == atomic_numbers[settings.element])
    what = f"{settings.element} by how far it is from where it was in the first frame"
    return scene_of_trajectory(trajectory, settings.read, what, "Displacement / Å", gone, ions, last=True)


def analyze(path: Path, options: Settings, temperature: float | None) -> TracerDiffusion:
    """Diffusion in one trajectory; `temperature` None takes that stored with it."""
    trajectory = options.read.open(path)
    paths = follow(
        trajectory,
        options.element,
        options.framework,
        options.read,
        remove_drift=options.remove_drift,
        unwrap=options.unwrap,
        longest_step=options.longest_step,
    )
    temperature = trajectory.temperature if temperature is None else temperature
    found = diffusion(paths, options, temperature, trajectory.friction_time)
    return replace(found, notes=(*early_end(trajectory.stopped), *found.notes))


def _notes(results: Mapping[str, TracerDiffusion], points: Sequence[Average], fit: Arrhenius | None) -> list[str]:
    notes = once({name: result.notes for name, result in results.items()})
    if len(results) > 1 and fit is None:
        notes.append("no activation energy: that needs diffusivities, not limits, at two known temperatures or more.")
    for each in points:
        where = "unknown temperature" if each.temperature is None else f"{each.temperature:g} K"
        if each.limits and each.value is not None:
            notes.append(f"{where}: half of the limit, as far off as that, stands for {', '.join(each.limits)}.")
        elif each.limits and fit is not None:
            notes.append(f"{where}: a limit in the activation energy too, of {', '.join(each.limits)}.")
    return notes if fit is None else [*notes, *fit.doubts]


def _headline(
    results: Mapping[str, TracerDiffusion], points: Sequence[Average], fit: Arrhenius | None, settings: Settings
) -> list[str | Number]:
    lines: list[str | Number] = []
    for name, result in list(results.items())[:SHOWN]:
        where = f"{name}, {'temperature not known' if result.temperature is None else f'{result.temperature:g} K'}"
        who = f"{where}: tracer D of {result.ions} {settings.element}"
        space, plane = _number(f"{who} in space", result.space, settings), _number("plane", result.plane, settings)
        lines.append(f"{space}; {plane}")
    if len(results) > SHOWN:
        lines.append(f"and {len(results) - SHOWN} trajectories more in the table.")
    for each in points:
        if len(each.starts) > 1:
            name = f"{each.name}, {each.temperature:g} K, mean of {len(each.starts)} starts"
            found = _mean(each)
            if found["D"] is not None:
                lines.append(Number(name, found["D"], found["D_error"], "cm²/s", remark=" (d = 3)"))
            elif found["below"] is not None:
                below = f" (d = 3), upper limit at {settings.confidence:.0%}"
                lines.append(Number(name, found["below"], None, "cm²/s", "<", below))
    if fit is not None:
        low, high = fit.interval
        temperatures = ", ".join(f"{t:g}" for t in sorted(set(fit.temperatures)))
        limits = ", ".join(f"{t:g}" for t, _ in fit.limits)
        lines.append(
            f"Ea = {rounded(fit.activation_energy, fit.error)} eV, {settings.confidence:.0%} interval {low:.3f} to "
            f"{high:.3f} eV, from {len(fit.values)} diffusivities at {temperatures} K"
            + (f" and limits at {limits} K." if limits else ".")
        )
    return lines


def _mean(each: Average) -> dict[str, float | None]:
    scaled = {"D": each.value, "D_error": each.error, "between": each.between, "below": each.upper_limit}
    return {name: None if value is None else value * CM2_PER_S for name, value in scaled.items()}


def _number(name: str, found: Diffusivity, settings: Settings) -> Number:
    dimension = f" (d = {found.dimensions})"
    if found.value is None:
        assert found.upper_limit is not None
        limit = f"{dimension}, upper limit at {settings.confidence:.0%}"
        return Number(name, found.upper_limit * CM2_PER_S, None, "cm²/s", "<", limit)
    error = None if found.error is None else found.error * CM2_PER_S
    return Number(name, found.value * CM2_PER_S, error, "cm²/s", remark=dimension)


def _ratio(name: str, found: tuple[float, float] | None) -> dict[str, float | None]:
    value, error = found or (None, None)
    return {name: value, f"{name}_error": error}


def _numbers(result: TracerDiffusion) -> dict[str, Any]:
    jumped, variance = result.jumps.diffusivity(3)
    return {
        "temperature_K": result.temperature,
        "ions": result.ions,
        "frames": result.frames,
        "run_ps": result.run * 1e-3,
        "frame_spacing_fs": result.paths.spacing,
        "window_ps": None if result.window is None else [edge * 1e-3 for edge in result.window],
        "exponent": result.exponent,
        "not_diffusive": result.not_diffusive,
        "d3": both_units(result.space),
        "d2": both_units(result.plane),
        "collective": None if result.collective is None else both_units(result.collective),
        **_ratio("haven_ratio", haven_ratio(result)),
        "jumps": len(result.jumps.frames),
        "jump_diffusivity_cm2_per_s": jumped * CM2_PER_S,
        "jump_diffusivity_error_cm2_per_s": jumped * CM2_PER_S * variance**0.5 if jumped else None,
        **_ratio("correlation_factor", correlation_factor(result)),
        "drift_removed_of": result.paths.framework,
        "largest_drift_A": np.linalg.norm(result.paths.drift, axis=1).max(),
        "longest_step": result.paths.longest_step,
        "msd_since_first_frame_A2": {kind: squares[-1] for kind, squares in result.paths.since_first.items()},
    }
