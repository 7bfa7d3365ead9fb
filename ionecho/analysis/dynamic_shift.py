"""Dynamic shift: the shift of mobile ions averaged over a trajectory, with its sites, maps, exchange and errors.

The method of Chem. Sci. 2022, 13, 7863: mean over all frames and all ions of the predicted contact shift.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionecho.analysis.exchange import Exchange, exchange, window_means
from ionecho.analysis.experiment import Experiment
from ionecho.analysis.histograms import Histogram, common_edges, site_histogram
from ionecho.analysis.kinetics import kinetics
from ionecho.analysis.lattice import layer_coordinates, plane_vectors
from ionecho.analysis.lines import SIGNIFICANCE, Lines, ion_lines
from ionecho.analysis.maps import PlaneMap, plane_map
from ionecho.analysis.scenes import scene_of_series
from ionecho.analysis.series import ShiftSeries
from ionecho.analysis.settings import DynamicShiftSettings
from ionecho.analysis.sites import (
    UNCOVERED,
    SiteNaming,
    SiteStatistics,
    assign_columns,
    check_fold,
    density_sites,
    lattice_sites,
    name_samples,
    order_names,
    site_statistics,
)
from ionecho.analysis.statistics import BlockAverage, ErrorBudget, block_average, conversion_errors, ensemble_error
from ionecho.analysis.systems import runs_of_systems
from ionecho.nmr.hyperfine import ContactShift
from ionecho.report import Scene, once

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

SAME_SITE = 1.0  # Å, how far framework atoms of two runs of one system may stand apart
SHIFT_LABEL = "Shift / ppm"
UNBALANCED = 4.0  # standard deviations of an imbalance of jumps


@dataclass(frozen=True)
class GroupResult:
    """The analysis of one run, or of all runs of one system; shifts in ppm.

    `deviation` is the population sd over ions and frames, `uncovered` the share of samples outside of all circles,
    `mean_spread` the mean (calibrated) spread of single predictions, which is not the error of their mean. `windows`
    maps a window length (frames) to the window means (n, K).
    """

    frames: int
    centres: int
    deviation: float
    blocks: BlockAverage
    budget: ErrorBudget
    mean_spread: float | None
    sites: list[SiteStatistics]
    uncovered: float
    histogram: Histogram
    windows: dict[int, Floats]
    exchange: Exchange
    lines: Lines

    @property
    def site_weighted_mean(self) -> float:
        """Sum of f_s delta_s: ions between the circles are missing from it, so it is not the dynamic shift."""
        return sum(site.occupation.mean * site.shift.mean for site in self.sites)

    def static_mean(self, shifts: Mapping[str, float]) -> tuple[float, float] | None:
        """Sum of f_s delta_s with `shifts` (ppm) at 0 K, and its error from the occupations; None if one is missing.

        What ions at rest in their sites would have, beside which the dynamic shift stands.
        """
        if not self.sites or any(site.name not in shifts for site in self.sites):
            return None
        values = np.array([shifts[site.name] for site in self.sites])
        share = np.array([site.occupation.mean for site in self.sites])
        mean = float(share @ values)
        errors = np.array([site.occupation.error for site in self.sites])
        return mean, float(np.sqrt(np.square(errors * (values - mean)).sum()))

    def within_sites(self) -> float:
        """Variance of the shift at one kind of site, mean over the kinds (ppm²)."""
        return float(sum(site.occupation.mean * site.deviation**2 for site in self.sites))


@dataclass(frozen=True)
class PlaneResult:
    """The layer of one trajectory: its map and its sites, in-plane fractional `points` (S, 2) of the whole cell.

    `kinds` (S,) is the name of the kind of site most often found at each point, None where no ion was.
    """

    map: PlaneMap
    points: Floats
    kinds: list[str | None]


@dataclass(frozen=True)
class DynamicShift:
    """Result: `groups` and `planes` one entry a run, `systems` one a system, `runs` the names of the runs of each.

    Systems are never averaged: several have no common shift. `names` are the kinds of sites of all.
    """

    settings: DynamicShiftSettings
    conversion: ContactShift
    groups: dict[str, GroupResult]
    systems: dict[str, GroupResult]
    runs: dict[str, list[str]]
    planes: dict[str, PlaneResult]
    names: list[str]
    experiment: Experiment | None
    source: dict[str, Any]
    notes: list[str]
    scene: Scene | None = None

    @property
    def all(self) -> dict[str, GroupResult]:
        """Every run, and before its runs every system that has several."""
        found: dict[str, GroupResult] = {}
        for name, runs in self.runs.items():
            if len(runs) > 1:
                found[f"{name}, {len(runs)} runs" if name in runs else name] = self.systems[name]
            found |= {run: self.groups[run] for run in runs}
        return found


def analyze(
    series: ShiftSeries, settings: DynamicShiftSettings, conversion: ContactShift, experiment: Experiment | None = None
) -> DynamicShift:
    """Mean shift, sites, maps, histograms, exchange and errors of every run, and of the runs of each system together.

    `conversion` is the one `series` was made with; the additive terms of the settings are added here.
    """
    added = settings.additive_shift
    members = None if series.members is None else series.members + added
    series = replace(series, shift=series.shift + added, members=members)
    edges = common_edges(series.shift, settings.histogram_width)
    located = {group: _locate(series.of(group), settings) for group in series.groups}
    names = order_names({name for _, _, found in located.values() for name in found}, settings.sites.elements)
    kinds = np.full(series.shift.shape, -1)
    for group, (_, local, found) in located.items():
        kinds[series.group == group] = np.array([names.index(name) for name in found] + [-1])[local]
    frameworks = {name: series.frameworks[name] for name in series.groups}
    runs = runs_of_systems(frameworks, settings.systems, SAME_SITE, series.temperatures)
    groups = {
        name: _summarise(series.of(name), kinds[series.group == name], names, edges, settings, conversion)
        for name in series.groups
    }
    systems = {}
    for name, members_of in runs.items():
        rows = np.isin(series.group.astype(str), members_of)
        systems[name] = (
            groups[members_of[0]]
            if len(members_of) == 1
            else _summarise(series.among(members_of), kinds[rows], names, edges, settings, conversion)
        )
    return DynamicShift(
        settings,
        conversion,
        groups,
        systems,
        runs,
        {group: plane for group, (plane, _, _) in located.items()},
        names,
        experiment,
        {**series.source, "sha256_of_shifts_and_positions": series.sha256()},
        [*series.notes, *once({name: warnings(system, settings.larmor_frequency) for name, system in systems.items()})],
        _scene(series, kinds, [*names, UNCOVERED], settings.element),
    )


def _scene(series: ShiftSeries, kinds: Integers, names: list[str], element: str) -> Scene:
    """The first run; kinds of -1 are the last of the names."""
    first = series.groups[0]
    return scene_of_series(series.of(first), element, kinds[series.group == first], names, SHIFT_LABEL)


def _locate(series: ShiftSeries, settings: DynamicShiftSettings) -> tuple[PlaneResult, Integers, list[str]]:
    """The layer of one trajectory, and the kind of site of each of its samples with the names of the kinds."""
    axis, sites, grid = settings.stacking_axis, settings.sites, settings.map
    (framework,) = series.frameworks.values()
    plane = plane_vectors(series.cell, axis).mean(axis=0)
    points, heights = layer_coordinates(series.positions, series.cell[:, None], axis)
    check_fold(framework, axis, grid.fold, sites.radius)
    if sites.divisions is not None:
        circles = lattice_sites(sites.divisions, framework, axis)
    elif sites.positions is not None:
        circles = np.mod(np.array(sites.positions, float), 1.0)
    else:
        circles = density_sites(points.reshape(-1, 2), plane, grid.fold, sites.radius)
    columns = assign_columns(points, series.cell, axis, circles, sites.radius)
    naming = SiteNaming(sites.elements, sites.radius, sites.reach)
    kinds, names = name_samples(columns, heights, circles, framework, axis, naming)
    commonest: list[str | None] = []
    for index in range(len(circles)):
        seen = kinds[columns == index]
        commonest.append(names[np.bincount(seen).argmax()] if seen.size else None)
    field = plane_map(points, series.shift, plane, grid.bins, grid.fold, grid.n_min)
    return PlaneResult(field, circles, commonest), kinds, names


def _summarise(
    series: ShiftSeries,
    kinds: Integers,
    names: list[str],
    edges: Floats,
    settings: DynamicShiftSettings,
    conversion: ContactShift,
) -> GroupResult:
    """The numbers of one trajectory or of several."""
    shift, groups = series.shift, series.group
    blocks = block_average(shift.mean(axis=1), groups)
    sites = site_statistics(shift, kinds, names, groups, series.members)
    moment, weiss = conversion_errors(
        blocks.mean - settings.additive_shift,
        effective_moment=conversion.effective_moment,
        effective_moment_error=settings.errors.effective_moment,
        temperature=conversion.temperature,
        weiss_constant=conversion.weiss_constant,
        weiss_constant_error=settings.errors.weiss_constant,
    )
    ensemble = None if series.members is None else ensemble_error(series.members)
    shortest = min(np.unique(groups, return_counts=True)[1])
    jumps = kinetics(kinds, len(names), series.time, groups)
    site_shifts = np.full(len(names), np.nan)
    for site in sites:
        site_shifts[names.index(site.name)] = site.shift.mean
    exchanged = exchange(jumps, site_shifts, settings.larmor_frequency * 1e6, settings.confidence)
    return GroupResult(
        frames=len(shift),
        centres=shift.shape[1],
        deviation=float(shift.std()),
        blocks=blocks,
        budget=ErrorBudget(blocks.error, ensemble, settings.errors.bias, moment, weiss),
        mean_spread=None if series.spread is None else float(series.spread.mean()),
        sites=sites,
        uncovered=float((kinds < 0).mean()),
        histogram=site_histogram(shift, kinds, names, edges, UNCOVERED),
        windows={window: window_means(shift, window, groups) for window in settings.windows if window <= shortest},
        exchange=exchanged,
        lines=ion_lines(shift, groups, jumps, site_shifts, exchanged.ratio, blocks.error),
    )


def warnings(result: GroupResult, larmor_frequency: float) -> list[str]:
    """What a reader has to know of one system; Larmor frequency in MHz."""
    notes, jumps, lines = [], result.exchange.jumps, result.lines
    if not result.blocks.converged:
        notes.append("not converged: the error of the mean is a lower bound.")
    if result.blocks.between:
        notes.append(
            f"the runs scatter by {result.blocks.between:.2g} ppm beyond their own errors; the error holds it."
        )
    if result.budget.missing:
        notes.append(f"the total error leaves out what is not known: {', '.join(result.budget.missing)}.")
    if jumps.times is not None and not jumps.hops:
        notes.append("no ion changed its site: occupations and shift are those of the start.")
    if not jumps.resolved:
        notes.append("frames too sparse to resolve jumps between sites: all rates are lower bounds.")
    if np.abs(jumps.imbalance()).max(initial=0.0) > UNBALANCED:
        notes.append("more jumps lead one way between two kinds of sites than back: not in equilibrium.")
    followed = "the run" if lines.window is None else f"{lines.window * 1e12:.3g} ps"
    if len(lines.lines) > 1 and lines.probability < SIGNIFICANCE:
        notes.append(
            f"after {followed} the means of single ions still differ by {lines.differ:.0f} ppm, of which exchange "
            f"explains {lines.explained:.0f}: {len(lines.lines)} lines, unless the ions mix later, within "
            f"{1e6 / (2 * np.pi * lines.beyond * larmor_frequency):.2g} µs."
        )
    elif lines.probability < SIGNIFICANCE:
        notes.append(
            f"after {followed} the means of single ions still differ by {lines.differ:.0f} ppm, of which exchange "
            f"explains {lines.explained:.0f}, but not in groups: one line that may be as broad as that."
        )
    elif len(lines.lines) > 1:
        notes.append(f"exchange between sites is not fast: {len(lines.lines)} lines, of the ions' own means.")
    elif not lines.merged:
        notes.append("no time axis or too few jumps: whether the lines of the sites merge is not known.")
    return notes
