"""Figures of tracer diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure as Canvas

from ionecho.analysis.arrhenius import Arrhenius, draw_arrhenius
from ionecho.analysis.diffusion import TracerDiffusion
from ionecho.analysis.msd import draw_msd
from ionecho.analysis.van_hove import draw_van_hove
from ionecho.report import Figure
from ionecho.report.style import DOUBLE, PALETTE, SINGLE, colours, panels, shades


def figures(results: Mapping[str, TracerDiffusion], fit: Arrhenius | None) -> dict[str, Figure]:
    """The displacement, that of every element and, with a fit, the Arrhenius line."""
    names = list(results)
    moved = "Mean squared displacement over all time origins, one standard error; dashed: the fit."
    kinds = "Mean squared displacement of every element since the first frame: a framework that holds levels off."
    made = {
        "msd": Figure(partial(_draw_msd, results), moved, ["msd"], names),
        "elements": Figure(partial(_draw_elements, results), kinds, ["elements"], names),
    }
    made["van_hove"] = Figure(
        partial(_draw_van_hove, results),
        "Distances gone (self part of the van Hove function) after four lags; dashed: Gaussians of equal mean square.",
        ["van_hove"],
        names,
    )
    made["non_gaussian"] = Figure(
        partial(_draw_alpha, results), "Non-Gaussian parameter, 0 for Brownian motion.", ["non_gaussian"], names
    )
    if fit is not None:
        caption = f"Arrhenius fit, Ea = {fit.activation_energy:.3f} eV."
        made["arrhenius"] = Figure(partial(_draw_arrhenius, fit), caption, ["diffusivity"])
    return made


def _draw_msd(results: Mapping[str, TracerDiffusion], names: list[str]) -> Canvas:
    canvas = Canvas(figsize=(DOUBLE, 2.8))
    axes = canvas.subplots(1, 2, sharey=True)
    titles = ("In space, $d$ = 3", "In the plane, $d$ = 2")
    for name, colour in colours(names).items():
        result, moved = results[name], results[name].displacement
        for axis, walk, found in zip(axes, result.walks, (result.space, result.plane), strict=True):
            draw_msd(axis, *moved.errors(walk, plane=found is result.plane), name, colour)
            if found.slope is not None and found.intercept is not None and result.window is not None:
                ends = np.array(result.window)
                axis.plot(ends * 1e-3, found.intercept + found.slope * ends, color="black", lw=1.0, ls="--", zorder=3)
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title, loc="left")
        axis.set_xlim(left=0, auto=True)
        axis.set_ylim(bottom=0, auto=True)
        axis.label_outer()
    axes[0].legend(loc="upper left")
    return canvas


def _draw_elements(results: Mapping[str, TracerDiffusion], names: list[str]) -> Canvas:
    canvas, axes = panels(names, sharey=True)
    highest = 0.0
    for axis, name in zip(axes, names, strict=True):
        squares = results[name].paths.since_first
        for kind, colour in colours(list(squares)).items():
            axis.plot(results[name].displacement.lags[1:] * 1e-3, squares[kind][1:], color=colour, lw=1.0, label=kind)
        axis.set_yscale("log")
        axis.set_xlabel("Time / ps")
        axis.legend(loc="upper left", ncols=len(squares))
        if axis.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axis.set_ylabel("MSD since first frame / Å$^2$")
        highest = max(highest, *(float(values.max()) for values in squares.values()))
    axes[0].set_ylim(top=4 * highest)
    return canvas


def _draw_van_hove(results: Mapping[str, TracerDiffusion], names: list[str]) -> Canvas:
    canvas, axes = panels(names)
    for axis, name in zip(axes, names, strict=True):
        found = results[name].van_hove
        steps = shades(list(range(len(found.parts))))
        draw_van_hove(axis, found, dict(zip(found.parts, steps.values(), strict=True)))
        axis.legend(loc="upper right", title="After")
    return canvas


def _draw_alpha(results: Mapping[str, TracerDiffusion], names: list[str]) -> Canvas:
    canvas = Canvas(figsize=(SINGLE, 2.5))
    axis = canvas.subplots()
    for name, colour in colours(names).items():
        axis.plot(results[name].van_hove.lags * 1e-3, results[name].van_hove.alpha, color=colour, lw=1.2, label=name)
    axis.axhline(0, color="black", lw=0.8, ls="--")
    axis.set_xscale("log")
    axis.set_xlabel("Lag / ps")
    axis.set_ylabel(r"$\alpha_2$")
    axis.legend(loc="best")
    return canvas


def _draw_arrhenius(fit: Arrhenius, _: list[str]) -> Canvas:
    canvas = Canvas(figsize=(SINGLE, 2.5))
    draw_arrhenius(canvas.subplots(), fit, PALETTE[0])
    return canvas
