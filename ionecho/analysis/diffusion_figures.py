"""Figures of tracer diffusion."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure as Canvas

from ionecho.analysis.arrhenius import Arrhenius, draw_arrhenius
from ionecho.analysis.diffusion import TracerDiffusion
from ionecho.analysis.msd import draw_msd
from ionecho.report.files import SUMMARY
from ionecho.report.report import Figure
from ionecho.report.style import DOUBLE, PALETTE, PANELS, SINGLE, colours


def figures(results: Mapping[str, TracerDiffusion], fit: Arrhenius | None) -> list[Figure]:
    """The displacement, that of every element and, with a fit, the Arrhenius line."""
    moved = "Mean squared displacement over all time origins, one standard error over ions; dashed: the fit."
    elements = "Mean squared displacement of every element since the first frame: a framework that holds levels off."
    names = list(results)
    pages = [names[start : start + PANELS] for start in range(0, len(names), PANELS)]
    drawn = [Figure("msd", partial(_draw_msd, results), f"{moved} Data: msd.csv.")]
    drawn += [
        Figure(
            "elements" if number == 0 else f"elements_{number}",
            partial(_draw_elements, {name: results[name] for name in page}),
            f"{elements} Data: elements.csv.",
        )
        for number, page in enumerate(pages)
    ]
    if fit is not None:
        told = f"Arrhenius fit, Ea = {fit.activation_energy:.3f} eV. Data: {SUMMARY}, diffusivity.csv."
        drawn.append(Figure("arrhenius", partial(_draw_arrhenius, fit), told))
    return drawn


def _draw_msd(results: Mapping[str, TracerDiffusion]) -> Canvas:
    canvas = Canvas(figsize=(DOUBLE, 2.8))
    axes = canvas.subplots(1, 2, sharey=True)
    titles = ("In space, $d$ = 3", "In the plane, $d$ = 2")
    for name, colour in colours(list(results)).items():
        result, moved = results[name], results[name].displacement
        lags = moved.lags[: len(moved.ions)]
        panels = ((moved.mean, moved.error, result.space), (moved.plane_mean, moved.plane_error, result.plane))
        for axis, (mean, error, found) in zip(axes, panels, strict=True):
            draw_msd(axis, lags, mean[: len(lags)], error, name, colour)
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


def _draw_elements(results: Mapping[str, TracerDiffusion]) -> Canvas:
    columns = min(2, len(results))
    rows = -(-len(results) // columns)
    canvas = Canvas(figsize=(DOUBLE if columns > 1 else SINGLE, 2.5 * rows))
    axes = list(canvas.subplots(rows, columns, squeeze=False, sharey=True).flat)
    for axis, (name, result) in zip(axes, results.items(), strict=False):
        squares = result.paths.since_first
        for kind, colour in colours(list(squares)).items():
            axis.plot(result.displacement.lags[1:] * 1e-3, squares[kind][1:], color=colour, lw=1.0, label=kind)
        axis.set_title(name, loc="left")
        axis.set_yscale("log")
        axis.set_xlabel("Time / ps")
        axis.legend(loc="upper left", ncols=len(squares))
        if axis.get_subplotspec().is_first_col():
            axis.set_ylabel("MSD since first frame / Å$^2$")
    axes[0].set_ylim(
        top=4 * max(squares.max() for result in results.values() for squares in result.paths.since_first.values())
    )
    for spare in axes[len(results) :]:
        spare.remove()
    return canvas


def _draw_arrhenius(fit: Arrhenius) -> Canvas:
    canvas = Canvas(figsize=(SINGLE, 2.5))
    draw_arrhenius(canvas.subplots(), fit, PALETTE[0])
    return canvas
