"""Figures of a dynamic shift."""

from __future__ import annotations

from functools import partial

import numpy as np

from ionecho.analysis.dynamic_shift import SHIFT_LABEL, DynamicShift
from ionecho.analysis.maps import VIEW_MARGIN
from ionecho.analysis.shift_comparisons import experiment_table, spectrum, window_spread
from ionecho.analysis.sites import UNCOVERED
from ionecho.analysis.statistics import MINIMUM_BLOCKS
from ionecho.report import Axis, Bins, Curve, Figure, Level, Mesh, Panel, Rings, Text
from ionecho.report.content import SHOWN
from ionecho.report.panel import BLACK, THIN, Mark
from ionecho.report.style import DENSITY, GREY, PALETTE, SEQUENTIAL, SPREAD, colours, shades

DENSITY_LABEL = "Probability density / 10⁻³ ppm⁻¹"


def figures(result: DynamicShift) -> dict[str, Figure]:
    """Histograms, the maps of the first eight trajectories, window averages and block averages."""
    names = list(result.groups)
    maps = {
        f"map_{index}": Figure(
            partial(_maps, result, name),
            f"{name}: shift, its spread and the density of ions in the layer, folded onto one repeat (dashed); circles "
            f"are the sites; bins with fewer than {result.planes[name].map.n_min} samples are blank.",
            ["map"],
            columns=3,
            height=2.7,
            shared="y",
        )
        for index, name in enumerate(names[:SHOWN])
    }
    peaks = "" if result.experiment is None else "; dotted: the peak measured that is assigned to it"
    split = f"Shifts of all ions in all frames, split by the site an ion is at; dashed: the lines{peaks}."
    measured = "" if result.experiment is None else " Below: the experiment."
    drawn = (
        "Spectrum: exact exchange between the kinds of sites at the rates seen where lines merge, else the lines, with "
        f"the width given in the settings.{measured}"
    )
    averaged = "Shift of each ion averaged over windows of time; exchange narrows it towards the mean (dashed)."
    narrowed = "Spread of these averages; dashed: what exchange between the kinds of sites leaves of it."
    blocked = "Standard error of the mean shift against block length, for the eye; dashed: the error given."
    systems = list(result.systems)
    made = {
        "histogram": Figure(partial(_histograms, result), split, ["histogram"], names, shared="x"),
        **maps,
        "spectrum": Figure(
            partial(_spectrum, result), drawn, ["spectrum"], systems, columns=1, height=2.3, shared="x", wide=True
        ),
        "windows": Figure(partial(_windows, result), averaged, ["windows"], names, shared="x"),
        "window_spread": Figure(partial(_window_spread, result), narrowed, ["window_spread"], systems),
        "blocks": Figure(partial(_blocks, result), blocked, ["blocks"], names),
    }
    if any(stays.ended.any() for each in result.systems.values() for stays in each.exchange.jumps.residences):
        told = "Share of the stays at a site that last longer (Kaplan-Meier); dashed: of the mean rate away from it."
        made["survival"] = Figure(partial(_survival, result), told, ["survival"], list(result.systems))
    return made


def _site_colours(result: DynamicShift) -> dict[str, str]:
    return {**colours(result.names), UNCOVERED: GREY}


def _histograms(result: DynamicShift, names: list[str]) -> list[Panel]:
    """Total as an outline, kinds of sites as filled curves; high shifts on the left."""
    measured, palette, made = _measured_of_runs(result), _site_colours(result), []
    for name in names:
        group = result.groups[name]
        histogram, edges = group.histogram, group.histogram.edges
        scale = 1e3 / histogram.total.sum() / (edges[1] - edges[0])
        marks: list[Mark] = [
            Bins(edges, counts * scale, kind, palette[kind], THIN, filled=True)
            for kind, counts in histogram.parts.items()
            if counts.any()
        ]
        marks.append(Bins(edges, histogram.total * scale, "all", BLACK))
        marks += [Level(line.position, width=1.2) for line in group.lines.lines]
        marks += [Level(peak, "x", "measured", PALETTE[5], ":", 1.4) for peak in measured.get(name, [])]
        x = Axis(SHIFT_LABEL, ends=(edges[-1], edges[0]))
        top = 1.3 * histogram.total.max() * scale  # headroom for the legend
        title = f"{name}, mean {group.blocks.mean:.0f} ppm"
        made.append(Panel(x, Axis(DENSITY_LABEL, ends=(0, top)), marks, title, "upper right"))
    return made


def _maps(result: DynamicShift, name: str, _: list[str]) -> list[Panel]:
    field = result.planes[name].map
    corners = field.corners()
    outline = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]]) @ field.plane
    ends = np.stack([outline.min(axis=0) - VIEW_MARGIN, outline.max(axis=0) + VIEW_MARGIN], -1)
    x, y = (Axis(f"{letter} / Å", ends=(low, high)) for letter, (low, high) in zip("xy", ends, strict=True))
    drawn = (
        (field.mean, SEQUENTIAL, "Mean shift / ppm"),
        (field.deviation, SPREAD, "Standard deviation / ppm"),
        (field.density, DENSITY, "Probability density / Å⁻²"),
    )
    border = Curve(outline[:, 0], outline[:, 1], colour="#333333", dash="--", width=0.9)
    return [
        Panel(
            x,
            y,
            [Mesh(*corners, values, label, colour_map, periodic=True), border, *_circles(result, name)],
            legend="outside",
            equal=True,
        )
        for values, colour_map, label in drawn
    ]


def _circles(result: DynamicShift, name: str) -> list[Rings]:
    """The sites of one repeat of the layer and their copies around it."""
    plane, palette, fold = result.planes[name], _site_colours(result), np.asarray(result.settings.map.fold)
    copies = np.array(list(np.ndindex(3, 3))) - 1
    folded = {
        tuple(np.round(np.mod(p * fold, 1.0), 3)): kind for p, kind in zip(plane.points, plane.kinds, strict=True)
    }
    made = []
    for kind in dict.fromkeys(folded.values()):
        points = np.array([point for point, of in folded.items() if of == kind])
        centres = (points[:, None] + copies).reshape(-1, 2) @ plane.map.plane
        colour = GREY if kind is None else palette[kind]
        made.append(Rings(centres, result.settings.sites.radius, kind or "", colour))
    return made


def _windows(result: DynamicShift, names: list[str]) -> list[Panel]:
    made = []
    for name in names:
        group = result.groups[name]
        edges, tones = group.histogram.edges, shades(list(group.windows))
        marks: list[Mark] = []
        for window, means in group.windows.items():
            density, _ = np.histogram(means, edges, density=True)
            marks.append(Bins(edges, density * 1e3, _duration(window, group.exchange.jumps.spacing), tones[window]))
        marks.append(Level(group.blocks.mean))
        x = Axis("Window-averaged shift / ppm", ends=(edges[-1], edges[0]))
        made.append(Panel(x, Axis(DENSITY_LABEL, ends=(0, None)), marks, name, "upper right"))
    return made


def _duration(window: int, spacing: float | None) -> str:
    if window == 1:
        return "1 frame"
    return f"{window} frames" if spacing is None else f"{window} frames ({window * spacing * 1e-6:.3g} ns)"


def _measured_of_runs(result: DynamicShift) -> dict[str, list[float]]:
    """Run -> peaks measured (ppm) that are assigned to lines of its system."""
    table = experiment_table(result)
    if table.empty:
        return {}
    return {
        run: table["measured"][table["group"] == system].tolist()
        for system, runs in result.runs.items()
        for run in runs
    }


def _spectrum(result: DynamicShift, names: list[str]) -> list[Panel]:
    curves = {name: spectrum(result.systems[name], result) for name in names}
    lines = [
        Curve(curves[name]["shift"], curves[name]["intensity"] * 1e3, name, colour)
        for name, colour in colours(names).items()
    ]
    ends = [float(end) for frame in curves.values() for end in (frame["shift"].min(), frame["shift"].max())]
    if result.experiment is not None:
        ends += [peak.shift for peak in result.experiment.peaks]
    x = Axis(SHIFT_LABEL, ends=(max(ends), min(ends)))
    computed = Panel(x, Axis("Intensity / 10⁻³ ppm⁻¹", ends=(0, None)), lines, "Computed", "upper left")
    return [computed] if result.experiment is None else [computed, _measured(result, x)]


def _measured(result: DynamicShift, x: Axis) -> Panel:
    """The spectrum with its fit, or sticks of the peaks, with shares of the area."""
    experiment = result.experiment
    assert experiment is not None
    heights = [peak.area / (peak.width or result.settings.line_width) for peak in experiment.peaks]
    marks: list[Mark] = []
    if (seen := experiment.spectrum) is not None:
        marks.append(Curve(seen.shifts, seen.intensity, "measured", GREY, width=THIN))
        marks.append(Curve(seen.shifts, seen.fitted, "fit", dash="--", width=1.0))
        heights = [height * float(seen.intensity.max()) / max(heights) for height in heights]
    else:
        marks += [
            Curve(2 * [peak.shift], [0, top], width=1.5) for peak, top in zip(experiment.peaks, heights, strict=True)
        ]
    for peak, height, share in zip(experiment.peaks, heights, experiment.fractions, strict=True):
        marks.append(Text(peak.shift, height, f"{peak.shift:.0f} ppm\n{share:.0%}"))
    return Panel(x, Axis("Intensity", ends=(0, 1.15 * max(heights)), ticks=False), marks, "Measured", "upper left")


def _window_spread(result: DynamicShift, names: list[str]) -> list[Panel]:
    marks: list[Mark] = []
    for name, colour in colours(names).items():
        frame = window_spread(result.systems[name], result.names)
        marks.append(Curve(frame["length"], frame["seen"], name, colour, dash="", symbol="o"))
        if "theory" in frame:
            marks.append(Curve(frame["length"], frame["theory"], colour=colour, dash="--", width=1.0))
    return [Panel(Axis("Window / frames", log=True), Axis("Standard deviation / ppm", ends=(0, None)), marks)]


def _survival(result: DynamicShift, names: list[str]) -> list[Panel]:
    palette, made = _site_colours(result), []
    for name in names:
        jumps = result.systems[name].exchange.jumps
        marks: list[Mark] = []
        for index, stays in enumerate(jumps.residences):
            if not stays.ended.any() or jumps.times is None:
                continue
            kind = result.names[index]
            times, share = stays.survival()
            rate = jumps.counts[index].sum() / jumps.times[index]
            marks.append(Curve(times * 1e12, share, kind, palette[kind], steps=True))
            marks.append(Curve(times * 1e12, np.exp(-rate * times), colour=palette[kind], dash="--", width=THIN))
        y = Axis("Share still there", log=True, ends=(0.01, 1.1))
        made.append(Panel(Axis("Time / ps"), y, marks, name, "upper right"))
    return made


def _blocks(result: DynamicShift, names: list[str]) -> list[Panel]:
    """Pale where blocks are too few to judge."""
    marks: list[Mark] = []
    for name, colour in colours(names).items():
        blocks = result.groups[name].blocks
        for judged, opacity in ((blocks.counts >= MINIMUM_BLOCKS, 1.0), (blocks.counts < MINIMUM_BLOCKS, 0.3)):
            lengths, found, error = (part[judged] for part in (blocks.lengths, blocks.errors, blocks.errors_of_errors))
            told = name if opacity == 1 else ""
            marks.append(Curve(lengths, found, told, colour, dash="", symbol="o", error=error, opacity=opacity))
        if blocks.converged:
            marks.append(Level(blocks.error, "y", colour=colour, width=0.9))
    y = Axis("Standard error / ppm", ends=(0, None))
    return [Panel(Axis("Block length / frames", log=True), y, marks, legend="lower left")]
