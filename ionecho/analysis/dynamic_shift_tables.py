"""Tables of a dynamic shift."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ionecho.analysis.dynamic_shift import DynamicShift, GroupResult
from ionecho.analysis.shift_comparisons import additivity, experiment_table, spectrum, temperatures, window_spread
from ionecho.report import Table


def tables(result: DynamicShift) -> dict[str, Table]:
    """Name of a csv file -> its table; the first column is the run or the system."""

    def joined(frame: Callable[[GroupResult], pd.DataFrame]) -> pd.DataFrame:
        frames = {name: frame(group) for name, group in result.all.items()}
        return pd.concat(frames, names=["group"]).reset_index(0)

    names, confidence = result.names, result.settings.confidence
    shown = {
        "overview": (
            lambda group: _overview(group, result),
            "Dynamic shift",
            "Mean over all frames and ions with its total error, and the share of samples outside of all site circles.",
        ),
        "lines": (
            _lines,
            "Lines",
            "As many as the ions' own means over a run tell apart beyond their exchange; width: standard deviation of "
            "these means; area: share of the ions.",
        ),
        "sites": (
            lambda group: pd.DataFrame(site_rows(group)),
            "Sites",
            "Circles of the radius given in the settings; errors of the ions' motion in time and between runs.",
        ),
        "exchange": (
            _exchange,
            "Exchange",
            "One averaged line needs a rate k_ex far above the angular spread, 2π times the range of the site shifts; "
            "rates that are not resolved are lower bounds. Differ: standard deviation of the ions' means over a run, "
            "of which exchange explains a part.",
        ),
        "rates": (
            lambda group: _rates(group, names, confidence),
            "Jumps between kinds of sites",
            "Rate an ion there, with exact Poisson limits; imbalance: jumps there less back in standard deviations, "
            "which stays within about 2 in equilibrium.",
        ),
        "residences": (
            lambda group: _residences(group, names, confidence),
            "Times at a site",
            "Mean time until an ion leaves: what was followed over the jumps away, so that stays cut off by the end of "
            "a run count for as long as they were seen.",
        ),
        "histogram": (_histogram, "", ""),
        "blocks": (_blocks, "", ""),
        "windows": (_windows, "", ""),
        "window_spread": (lambda group: window_spread(group, names), "", ""),
        "survival": (lambda group: _survival(group, names), "", ""),
        "spectrum": (lambda group: spectrum(group, result), "", ""),
    }
    made = {name: Table(joined(frame), title, caption) for name, (frame, title, caption) in shown.items()}
    made |= {"map": Table(pd.concat(_map(name, result) for name in result.planes))}
    made |= {name: table for name, table in _more(result).items() if len(table.frame)}
    return {name: table for name, table in made.items() if len(table.frame.columns) > 1}


def _more(result: DynamicShift) -> dict[str, Table]:
    """Tables that only some inputs or settings ask for."""
    additive = "Shift of a mixed site against the mean of the two pure ones, of whatever system here has them."
    cold = "Of ions that stay where they are: the magnetisation alone changes with temperature."
    measured = (
        "In order of shift. Offset: computed less measured, residual: less the mean offset; corrected: by the line "
        "through all other pairs; fraction: share of the area measured."
    )
    return {
        "additivity": Table(additivity(result), "Additivity of sites", additive),
        "temperature": Table(temperatures(result), "Shift with temperature", cold),
        "experiment": Table(experiment_table(result), "Experiment", measured),
    }


def site_rows(group: GroupResult) -> list[dict[str, Any]]:
    """Occupation and shift of every kind of site."""
    return [
        {
            "site": site.name,
            "samples": site.samples,
            "occupation": site.occupation.mean,
            "occupation_error": site.occupation.error,
            "shift": site.shift.mean,
            "shift_error": site.shift.error,
            "shift_converged": site.shift.converged,
            "deviation": site.deviation,
            "ensemble_error": site.ensemble_error,
        }
        for site in group.sites
    ]


def _overview(group: GroupResult, result: DynamicShift) -> pd.DataFrame:
    static = result.settings.static_shifts
    at_rest = (None, None) if static is None else group.static_mean(static) or (None, None)
    row = {
        "frames": group.frames,
        "ions": group.centres,
        "shift": group.blocks.mean,
        "shift_error": group.budget.total,
        "sampling_error": group.blocks.error,
        "converged": group.blocks.converged,
        "between": group.blocks.between,
        "ensemble_error": group.budget.ensemble,
        "bias": group.budget.bias,
        "deviation": group.deviation,
        "uncovered": group.uncovered,
        "site_weighted_mean": group.site_weighted_mean,
        "static": at_rest[0],
        "static_error": at_rest[1],
    }
    return pd.DataFrame([row])


def _lines(group: GroupResult) -> pd.DataFrame:
    rows = [
        {
            "position": line.position,
            "position_error": line.error,
            "width": line.width,
            "area": line.area,
            "area_error": line.area_error or None,
            "ions": line.ions,
        }
        for line in group.lines.lines
    ]
    return pd.DataFrame(rows)


def _exchange(group: GroupResult) -> pd.DataFrame:
    found, lines = group.exchange, group.lines
    low, high = found.interval or (None, None)
    row = {
        "jumps": found.jumps.hops,
        "changed_per_frame": found.jumps.changed_per_frame,
        "rate": found.rate,
        "rate_low": low,
        "rate_high": high,
        "resolved": found.jumps.resolved,
        "angular_spread": found.angular_spread,
        "ratio": found.ratio,
        "differ": lines.differ,
        "explained": lines.explained,
        "probability": lines.probability,
    }
    return pd.DataFrame([row])


def _rates(group: GroupResult, names: list[str], confidence: float) -> pd.DataFrame:
    jumps = group.exchange.jumps
    imbalance, rates, ends = jumps.imbalance(), jumps.rates, jumps.intervals(confidence)
    rows = []
    for a, b in zip(*np.nonzero(jumps.counts), strict=True):
        row = {"from": names[a], "to": names[b], "jumps": int(jumps.counts[a, b]), "back": int(jumps.counts[b, a])}
        if rates is not None and ends is not None:
            row |= {"rate": rates[a, b], "rate_low": ends[0][a, b], "rate_high": ends[1][a, b]}
        rows.append(row | {"imbalance": imbalance[a, b]})
    return pd.DataFrame(rows)


def _residences(group: GroupResult, names: list[str], confidence: float) -> pd.DataFrame:
    jumps = group.exchange.jumps
    if jumps.times is None:
        return pd.DataFrame()
    away = jumps.counts.sum(axis=1)
    low, high = jumps.leaving(confidence)
    rows = [
        {
            "site": names[kind],
            "jumps": int(away[kind]),
            "residence": jumps.times[kind] / away[kind] if away[kind] else None,
            "residence_low": 1 / high[kind],
            "residence_high": 1 / low[kind] if low[kind] else None,
        }
        for kind in np.flatnonzero(jumps.times > 0)
    ]
    return pd.DataFrame(rows)


def _survival(group: GroupResult, names: list[str]) -> pd.DataFrame:
    parts = [pd.DataFrame()]
    for name, stays in zip(names, group.exchange.jumps.residences, strict=False):
        if stays.ended.any():
            times, share = stays.survival()
            parts.append(pd.DataFrame({"site": name, "time": times, "survival": share}))
    return pd.concat(parts)


def _histogram(group: GroupResult) -> pd.DataFrame:
    found = group.histogram
    return pd.DataFrame({"low": found.edges[:-1], "high": found.edges[1:], "total": found.total, **found.parts})


def _blocks(group: GroupResult) -> pd.DataFrame:
    found = group.blocks
    columns = {"length": found.lengths, "blocks": found.counts, "error": found.errors}
    return pd.DataFrame(columns | {"error_of_error": found.errors_of_errors})


def _windows(group: GroupResult) -> pd.DataFrame:
    edges = group.histogram.edges
    counts = {f"frames_{window}": np.histogram(means, edges)[0] for window, means in group.windows.items()}
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], **counts})


def _map(name: str, result: DynamicShift) -> pd.DataFrame:
    field = result.planes[name].map
    centres = field.centres()
    coordinates = {"u": centres[..., 0], "v": centres[..., 1]}
    coordinates |= dict(zip("xy", np.moveaxis(centres @ field.plane, -1, 0), strict=True))
    columns = {**coordinates, "count": field.count, "mean": field.mean, "deviation": field.deviation}
    return pd.DataFrame({"group": name, **{key: value.ravel() for key, value in columns.items()}})
