"""Dynamic shift: the shift of mobile ions averaged over a trajectory, with its sites, maps, exchange and errors.

The method of Chem. Sci. 2022, 13, 7863: mean over all frames and all ions of the predicted contact shift.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionecho.analysis.exchange import Exchange, exchange, window_means
from ionecho.analysis.histograms import Histogram, common_edges, site_histogram
from ionecho.analysis.lattice import layer_coordinates, plane_vectors
from ionecho.analysis.maps import PlaneMap, plane_map
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
from ionecho.nmr.hyperfine import ContactShift
from ionecho.report import once

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

ALL = "all"


@dataclass(frozen=True)
class GroupResult:
    """The analysis of one trajectory, or of all; shifts in ppm.

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

    @property
    def site_weighted_mean(self) -> float:
        """Sum of f_s delta_s: ions between the circles are missing from it, so it is not the dynamic shift."""
        return sum(site.occupation.mean * site.shift.mean for site in self.sites)


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
    """Result: `groups` one entry a trajectory, and ``all`` where there are several; `planes` one a trajectory."""

    settings: DynamicShiftSettings
    conversion: ContactShift
    groups: dict[str, GroupResult]
    planes: dict[str, PlaneResult]
    source: dict[str, Any]
    notes: list[str]

    @property
    def overall(self) -> GroupResult:
        """The result over all trajectories."""
        return self.groups[ALL] if ALL in self.groups else next(iter(self.groups.values()))


def analyze(series: ShiftSeries, settings: DynamicShiftSettings, conversion: ContactShift) -> DynamicShift:
    """Mean shift, sites, maps, histograms, exchange and errors of every trajectory and of all together.

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
    planes = {group: plane for group, (plane, _, _) in located.items()}
    results = {}
    for group in series.groups:
        rows = series.group == group
        results[group] = _summarise(series.of(group), kinds[rows], names, edges, settings, conversion)
    if len(results) > 1:
        results[ALL] = _summarise(series, kinds, names, edges, settings, conversion)
    source = {**series.source, "sha256_of_shifts_and_positions": series.sha256()}
    return DynamicShift(settings, conversion, results, planes, source, [*series.notes, *_warnings(results)])


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
        exchange=exchange(
            kinds,
            np.array([site.shift.mean for site in sites]),
            settings.larmor_frequency * 1e6,
            series.time,
            groups,
        ),
    )


def _warnings(results: dict[str, GroupResult]) -> list[str]:
    return once({name: _warnings_of(result) for name, result in results.items()})


def _warnings_of(result: GroupResult) -> list[str]:
    notes, exchanged = [], result.exchange
    if not result.blocks.converged:
        notes.append("no plateau of the block average: not converged, the error is a lower bound.")
    if result.budget.missing:
        notes.append(f"the total error leaves out what is not known: {', '.join(result.budget.missing)}.")
    if exchanged.ion_time is not None and not exchanged.hops:
        notes.append("no ion changed its site: occupations and shift are those of the start.")
    if not exchanged.resolved:
        notes.append("frames too sparse to resolve hops between sites: the hop rate is a lower bound.")
    if exchanged.ratio is not None and exchanged.ratio < 10:
        notes.append(f"exchange is not fast, ratio {exchanged.ratio:.2g}: site lines do not merge.")
    return notes
