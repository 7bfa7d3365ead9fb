"""Figures of tracer diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from ionecho.analysis.arrhenius import Arrhenius
from ionecho.analysis.diffusion import TracerDiffusion
from ionecho.analysis.van_hove import gaussian_part
from ionecho.report import Axis, Bins, Curve, Figure, Level, Panel
from ionecho.report.panel import Mark
from ionecho.report.style import PALETTE, colours, shades


def figures(results: Mapping[str, TracerDiffusion], fit: Arrhenius | None) -> dict[str, Figure]:
    """The displacement, that of every element and, with a fit, the Arrhenius line."""
    names = list(results)
    moved = "Mean squared displacement over all time origins, one standard error; dashed: the fit."
    kinds = "Mean squared displacement of every element since the first frame: a framework that holds levels off."
    made = {
        "msd": Figure(partial(_msd, results), moved, ["msd"], names, height=2.8, shared="y"),
        "elements": Figure(partial(_elements, results), kinds, ["elements"], names, shared="y"),
    }
    made["van_hove"] = Figure(
        partial(_van_hove, results),
        "Distances gone (self part of the van Hove function) after four lags; dashed: Gaussians of equal mean square.",
        ["van_hove"],
        names,
    )
    made["non_gaussian"] = Figure(
        partial(_alpha, results), "Non-Gaussian parameter, 0 for Brownian motion.", ["non_gaussian"], names
    )
    if fit is not None:
        caption = f"Arrhenius fit, Ea = {fit.activation_energy:.3f} eV."
        made["arrhenius"] = Figure(partial(_arrhenius, fit), caption, ["diffusivity"])
    return made


def _msd(results: Mapping[str, TracerDiffusion], names: list[str]) -> list[Panel]:
    made: list[list[Mark]] = [[], []]
    for name, colour in colours(names).items():
        result, moved = results[name], results[name].displacement
        for marks, walk, found in zip(made, result.walks, (result.space, result.plane), strict=True):
            lags, mean, error = moved.errors(walk, plane=found is result.plane)
            marks.append(Curve(lags * 1e-3, mean, name, colour, error=error))
            if found.slope is not None and found.intercept is not None and result.window is not None:
                ends = np.array(result.window)
                marks.append(Curve(ends * 1e-3, found.intercept + found.slope * ends, dash="--", width=1.0))
    x, y = Axis("Lag / ps", ends=(0, None)), Axis("Mean squared displacement / Å²", ends=(0, None))
    titles = ("In space, <i>d</i> = 3", "In the plane, <i>d</i> = 2")
    return [Panel(x, y, marks, title, "upper left") for marks, title in zip(made, titles, strict=True)]


def _elements(results: Mapping[str, TracerDiffusion], names: list[str]) -> list[Panel]:
    made = []
    for name in names:
        lags, squares = results[name].displacement.lags[1:] * 1e-3, results[name].paths.since_first
        marks = [
            Curve(lags, squares[kind][1:], kind, colour, width=1.0) for kind, colour in colours(list(squares)).items()
        ]
        y = Axis("MSD since first frame / Å²", log=True)
        made.append(Panel(Axis("Time / ps"), y, marks, name, "lower right"))
    return made


def _van_hove(results: Mapping[str, TracerDiffusion], names: list[str]) -> list[Panel]:
    made = []
    for name in names:
        found = results[name].van_hove
        centres, tones = (found.edges[1:] + found.edges[:-1]) / 2, shades(range(len(found.parts)))
        marks: list[Mark] = []
        for (lag, part), colour in zip(found.parts.items(), tones.values(), strict=True):
            marks.append(Bins(found.edges, part, f"{lag * 1e-3:.3g} ps", colour))
            gaussian = gaussian_part(centres, found.squares[lag])
            marks.append(Curve(centres, gaussian, colour=colour, dash="--", width=0.9))
        x = Axis("Distance / Å", ends=(0, found.edges[-1]))
        y = Axis("4π<i>r</i>² <i>G</i><sub>s</sub>(<i>r</i>, <i>t</i>) / Å⁻¹", ends=(0, None))
        made.append(Panel(x, y, marks, name, "upper right", "After"))
    return made


def _alpha(results: Mapping[str, TracerDiffusion], names: list[str]) -> list[Panel]:
    marks: list[Mark] = [
        Curve(results[name].van_hove.lags * 1e-3, results[name].van_hove.alpha, name, colour)
        for name, colour in colours(names).items()
    ]
    return [Panel(Axis("Lag / ps", log=True), Axis("α<sub>2</sub>"), [*marks, Level(0, "y")])]


def _arrhenius(fit: Arrhenius, _: list[str]) -> list[Panel]:
    colour, every = PALETTE[0], [*fit.temperatures, *(temperature for temperature, _ in fit.limits)]
    ends = np.array([min(every), max(every)])
    error = fit.relative_errors * fit.values
    marks: list[Mark] = [
        Curve(1e3 / fit.temperatures, fit.values, "fitted", colour, dash="", symbol="o", error=error),
        Curve(1e3 / ends, fit(ends), colour=colour, dash="--", width=1.0),
    ]
    if fit.limits:
        temperatures, limits = np.array(fit.limits).T
        marks.append(Curve(1e3 / temperatures, limits, "upper limits", colour, dash="", limits=True))
    return [Panel(Axis("1000 K / <i>T</i>"), Axis("<i>D</i> / cm² s⁻¹", log=True), marks)]
