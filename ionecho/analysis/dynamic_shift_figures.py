"""Figures of a dynamic shift."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Circle

from ionecho.analysis.dynamic_shift import DynamicShift, PlaneResult
from ionecho.analysis.exchange import draw_windows
from ionecho.analysis.experiment import Experiment
from ionecho.analysis.histograms import draw_histogram
from ionecho.analysis.maps import draw_map
from ionecho.analysis.shift_comparisons import experiment_table, spectrum, window_spread
from ionecho.analysis.sites import UNCOVERED
from ionecho.analysis.statistics import draw_block_average
from ionecho.report import Figure
from ionecho.report.content import SHOWN
from ionecho.report.style import DENSITY, DOUBLE, GREY, PALETTE, SEQUENTIAL, SINGLE, SPREAD, colours, panels, shades


def figures(result: DynamicShift) -> dict[str, Figure]:
    """Histograms, the maps of the first eight trajectories, window averages and block averages."""
    names = list(result.groups)
    maps = {
        f"map_{index}": Figure(
            partial(_maps, result, name),
            f"{name}: shift, its spread and the density of ions in the layer, folded onto one repeat (dashed); circles "
            f"are the sites; bins with fewer than {result.planes[name].map.n_min} samples are blank.",
            ["map"],
        )
        for index, name in enumerate(names[:SHOWN])
    }
    peaks = "" if result.experiment is None else "; dotted: the peaks measured, shifted by the mean offset"
    split = f"Shifts of all ions in all frames, split by the site an ion is at; dashed: the lines{peaks}."
    measured = "" if result.experiment is None else " Below: the experiment."
    drawn = (
        "Spectrum: exact exchange between the kinds of sites at the rates seen where lines merge, else the lines, with "
        f"the width given in the settings.{measured}"
    )
    averaged = "Shift of each ion averaged over windows of time; exchange narrows it towards the mean (dashed)."
    narrowed = "Spread of these averages; dashed: what exchange between the kinds of sites leaves of it."
    blocked = "Standard error of the mean shift against block length, for the eye; dashed: the error given."
    made = {
        "histogram": Figure(partial(_histograms, result), split, ["histogram"], names),
        **maps,
        "spectrum": Figure(partial(_spectrum, result), drawn, ["spectrum"], list(result.systems)),
        "windows": Figure(partial(_windows, result), averaged, ["windows"], names),
        "window_spread": Figure(partial(_window_spread, result), narrowed, ["window_spread"], list(result.systems)),
        "blocks": Figure(partial(_blocks, result), blocked, ["blocks"], names),
    }
    if any(stays.ended.any() for each in result.systems.values() for stays in each.exchange.jumps.residences):
        told = "Share of the stays at a site that last longer (Kaplan-Meier); dashed: of the mean rate away from it."
        made["survival"] = Figure(partial(_survival, result), told, ["survival"], list(result.systems))
    return made


def _site_colours(result: DynamicShift) -> dict[str, str]:
    return {**colours(result.names), UNCOVERED: GREY}


def _histograms(result: DynamicShift, names: list[str]) -> Canvas:
    canvas, axes = panels(names, sharex=True)
    for axis, name in zip(axes, names, strict=True):
        group = result.groups[name]
        draw_histogram(axis, group.histogram, [line.position for line in group.lines.lines], _site_colours(result))
        axis.set_title(f"{name}, mean {group.blocks.mean:.0f} ppm", loc="left")
        for peak in _moved_peaks(result):
            axis.axvline(peak, color=PALETTE[1], lw=1.0, ls=":")
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
        labels = {window: _duration(window, group.exchange.jumps.spacing) for window in group.windows}
        draw_windows(axis, group.windows, group.histogram.edges, labels, shades(list(group.windows)))
        axis.axvline(group.blocks.mean, color="black", lw=0.8, ls="--")
        axis.legend(loc="upper right")
    return canvas


def _duration(window: int, spacing: float | None) -> str:
    if window == 1:
        return "1 frame"
    return f"{window} frames" if spacing is None else f"{window} frames ({window * spacing * 1e-6:.3g} ns)"


def _moved_peaks(result: DynamicShift) -> list[float]:
    """The peaks measured plus the mean offset of the lines computed."""
    if result.experiment is None:
        return []
    offset = float(experiment_table(result)["offset"].mean())
    return [peak.shift + offset for peak in result.experiment.peaks]


def _spectrum(result: DynamicShift, names: list[str]) -> Canvas:
    rows = 1 if result.experiment is None else 2
    canvas = Canvas(figsize=(DOUBLE, 2.3 * rows))
    axes = list(canvas.subplots(rows, 1, squeeze=False).flat)
    ends = []
    for name, colour in colours(names).items():
        frame = spectrum(result.systems[name], result)
        axes[0].plot(frame["shift"], frame["intensity"] * 1e3, color=colour, lw=1.2, label=name)
        ends += [float(frame["shift"].min()), float(frame["shift"].max())]
    axes[0].set_ylabel("Intensity / $10^{-3}$ ppm$^{-1}$")
    axes[0].legend(loc="upper left", title="Computed")
    axes[0].set_xlim(max(ends), min(ends))
    axes[0].set_ylim(bottom=0, auto=True)
    if result.experiment is not None:
        _measured(axes[1], result.experiment, result.settings.line_width)
    axes[-1].set_xlabel("Shift / ppm")
    return canvas


def _measured(axes: Axes, experiment: Experiment, width: float) -> None:
    """The spectrum with its fit, or sticks of the peaks, with shares of the area."""
    heights = [peak.area / (peak.width or width) for peak in experiment.peaks]
    if experiment.spectrum is not None:
        axes.plot(experiment.spectrum.shifts, experiment.spectrum.intensity, color=GREY, lw=0.8, label="measured")
        axes.plot(experiment.spectrum.shifts, experiment.spectrum.fitted, color="black", lw=1.0, ls="--", label="fit")
        axes.legend(loc="upper left")
        top = float(experiment.spectrum.intensity.max())
        heights = [height * top / max(heights) for height in heights]
        axes.set_xlim(experiment.spectrum.shifts.max(), experiment.spectrum.shifts.min())
    else:
        axes.vlines([peak.shift for peak in experiment.peaks], 0, heights, color="black", lw=1.5)
        places = [peak.shift for peak in experiment.peaks]
        axes.set_xlim(max(places) + 10 * width, min(places) - 10 * width)
    for peak, height, share in zip(experiment.peaks, heights, experiment.fractions, strict=True):
        text = f"{peak.shift:.0f} ppm\n{share:.0%}"
        axes.annotate(text, (peak.shift, height), xytext=(4, 0), textcoords="offset points", va="top", fontsize=7)
    axes.set_ylim(0, 1.15 * max(heights))
    axes.set_ylabel("Measured")


def _window_spread(result: DynamicShift, names: list[str]) -> Canvas:
    canvas = Canvas(figsize=(SINGLE, 2.5))
    axis = canvas.subplots()
    for name, colour in colours(names).items():
        frame = window_spread(result.systems[name], result.names)
        axis.plot(frame["length"], frame["seen"], "o", ms=3.5, color=colour, label=name)
        if "theory" in frame:
            axis.plot(frame["length"], frame["theory"], color=colour, lw=1.0, ls="--")
    axis.set_xscale("log")
    axis.set_ylim(bottom=0, auto=True)
    axis.set_xlabel("Window / frames")
    axis.set_ylabel("Standard deviation / ppm")
    axis.legend(loc="best")
    return canvas


def _survival(result: DynamicShift, names: list[str]) -> Canvas:
    canvas, axes = panels(names)
    for axis, name in zip(axes, names, strict=True):
        jumps = result.systems[name].exchange.jumps
        for index, stays in enumerate(jumps.residences):
            if not stays.ended.any() or jumps.times is None:
                continue
            kind = result.names[index]
            times, share = stays.survival()
            axis.step(times * 1e12, share, where="post", color=_site_colours(result)[kind], lw=1.2, label=kind)
            rate = jumps.counts[index].sum() / jumps.times[index]
            axis.plot(times * 1e12, np.exp(-rate * times), color=_site_colours(result)[kind], lw=0.8, ls="--")
        axis.set_yscale("log")
        axis.set_ylim(0.01, 1.1)
        axis.set_xlabel("Time / ps")
        axis.set_ylabel("Share still there")
        axis.legend(loc="upper right")
    return canvas


def _blocks(result: DynamicShift, names: list[str]) -> Canvas:
    canvas = Canvas(figsize=(SINGLE, 2.5))
    axis = canvas.subplots()
    for name, colour in colours(names).items():
        draw_block_average(axis, result.groups[name].blocks, name, colour)
    axis.legend(loc="lower left")
    return canvas
