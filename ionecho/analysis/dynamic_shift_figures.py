"""Figures of a dynamic shift."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from ionecho.analysis.dynamic_shift import ALL, DynamicShift, PlaneResult
from ionecho.analysis.exchange import draw_windows
from ionecho.analysis.histograms import draw_histogram
from ionecho.analysis.maps import draw_map
from ionecho.analysis.sites import UNCOVERED
from ionecho.analysis.statistics import draw_block_average
from ionecho.report import Figure
from ionecho.report.content import SHOWN
from ionecho.report.style import DENSITY, DOUBLE, GREY, SEQUENTIAL, SINGLE, SPREAD, colours, panels, shades


def figures(result: DynamicShift) -> dict[str, Figure]:
    """Histograms, the maps of the first eight trajectories, window averages and block averages."""
    names = [name for name in result.groups if name != ALL]
    maps = {
        f"map_{index}": Figure(
            partial(_maps, result, name),
            f"{name}: shift, its spread and the density of ions in the layer, folded onto one repeat (dashed); circles "
            f"are the sites; bins with fewer than {result.planes[name].map.n_min} samples are blank.",
            ["map"],
        )
        for index, name in enumerate(names[:SHOWN])
    }
    split = "Shifts of all ions in all frames, split by the site an ion is at; dashed: the mean."
    averaged = "Shift of each ion averaged over windows of time; exchange narrows it towards the mean (dashed)."
    plateau = "Standard error of the mean shift against block length; dashed: the plateau."
    return {
        "histogram": Figure(partial(_histograms, result), split, ["histogram"], names),
        **maps,
        "windows": Figure(partial(_windows, result), averaged, ["windows"], names),
        "blocks": Figure(partial(_blocks, result), plateau, ["blocks"], names),
    }


def _site_colours(result: DynamicShift) -> dict[str, str]:
    return {**colours([site.name for site in result.overall.sites]), UNCOVERED: GREY}


def _histograms(result: DynamicShift, names: list[str]) -> Canvas:
    canvas, axes = panels(names, sharex=True)
    for axis, name in zip(axes, names, strict=True):
        draw_histogram(axis, result.groups[name].histogram, _site_colours(result))
        axis.set_title(f"{name}, mean {result.groups[name].blocks.mean:.0f} ppm", loc="left")
        axis.legend(loc="upper right")
    return canvas


def _maps(result: DynamicShift, name: str, _: list[str]) -> Canvas:
    plane = result.planes[name]
    field = plane.map
    canvas = Canvas(figsize=(DOUBLE, 2.6))
    panels = (
        (field.mean, SEQUENTIAL, "Mean shift / ppm"),
        (field.deviation, SPREAD, "Standard deviation / ppm"),
        (field.density, DENSITY, "Probability density / Å$^{-2}$"),
    )
    for axis, (values, colour_map, label) in zip(canvas.subplots(1, 3, sharey=True), panels, strict=True):
        mesh = draw_map(axis, field, values, colour_map)
        axis.label_outer()
        _circles(axis, plane, result)
        canvas.colorbar(mesh, ax=axis, location="top", label=label, shrink=0.95, aspect=25)
    handles = [Line2D([], [], color=colour, label=kind) for kind, colour in _site_colours(result).items()]
    canvas.legend(handles=[h for h in handles if h.get_label() in plane.kinds], loc="outside lower center", ncols=6)
    return canvas


def _circles(axes: Axes, plane: PlaneResult, result: DynamicShift) -> None:
    """The sites of one repeat of the layer and their copies around it."""
    palette, fold = _site_colours(result), np.asarray(result.settings.map.fold)
    folded = {
        tuple(np.round(np.mod(p * fold, 1.0), 3)): kind for p, kind in zip(plane.points, plane.kinds, strict=True)
    }
    for point, kind in folded.items():
        for copy in np.ndindex(3, 3):
            centre = (np.asarray(point) + np.asarray(copy) - 1) @ plane.map.plane
            colour = palette[kind] if kind is not None else GREY
            axes.add_patch(Circle(centre, result.settings.sites.radius, fill=False, ec=colour, lw=1.0))


def _windows(result: DynamicShift, names: list[str]) -> Canvas:
    canvas, axes = panels(names, sharex=True)
    for axis, name in zip(axes, names, strict=True):
        group = result.groups[name]
        labels = {window: _duration(window, group.exchange.frame_spacing) for window in group.windows}
        draw_windows(axis, group.windows, group.histogram.edges, labels, shades(list(group.windows)))
        axis.axvline(group.blocks.mean, color="black", lw=0.8, ls="--")
        axis.legend(loc="upper right")
    return canvas


def _duration(window: int, spacing: float | None) -> str:
    if window == 1:
        return "1 frame"
    return f"{window} frames" if spacing is None else f"{window} frames ({window * spacing * 1e-6:.3g} ns)"


def _blocks(result: DynamicShift, names: list[str]) -> Canvas:
    canvas = Canvas(figsize=(SINGLE, 2.5))
    axis = canvas.subplots()
    for name, colour in colours(names).items():
        draw_block_average(axis, result.groups[name].blocks, name, colour)
    axis.legend(loc="lower left")
    return canvas
