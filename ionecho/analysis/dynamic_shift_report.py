"""Dynamic shift: its numbers, tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ionecho.analysis.dynamic_shift import ALL, DynamicShift, GroupResult, analyze
from ionecho.analysis.dynamic_shift_figures import figures
from ionecho.analysis.loading import read_series
from ionecho.analysis.settings import DynamicShiftSettings
from ionecho.errors import InputError
from ionecho.report.files import SUMMARY, plain
from ionecho.report.html import Table
from ionecho.report.report import Report

CONVENTIONS = {
    "shift": "ppm, positive towards high frequency",
    "dynamic_shift": "mean over all frames and all ions, valid in fast exchange; not the site-weighted mean",
    "standard_error": "plateau of the block average of the mean over ions of each frame; blocks stay in a trajectory",
    "ensemble": "standard deviation over models of each model's own trajectory mean",
    "occupation": "samples in the circles of one kind of site over samples in all circles",
    "site_shift": "mean over the samples inside the circles of one kind of site",
    "site_names": "elements straight above and below the site in the first frame of the trajectory",
    "hop_rate": "changes of the kind of site last visited, per ion and second",
    "angular_spread": "2 pi times the frequency range of the site shifts, rad/s",
    "map_deviation": "population standard deviation of the samples of a bin",
    "drift": "mean displacement of the framework since the first frame is removed",
}


def run(input: str | list[str], settings: Mapping[str, Any]) -> Report:
    """The dynamic shift in `input`, predictions or a dataset.

    Raises
    ------
    InputError
        If the settings or the input cannot be used.
    """
    if not isinstance(input, str):
        raise InputError(f"dynamic_shift: expected one input, found {len(input)}; analyse them one by one")
    parsed = DynamicShiftSettings.parse(settings, "dynamic_shift")
    series, conversion = read_series(Path(input), parsed.element, parsed.contact_shift, parsed.time_per_frame)
    return report(analyze(series.after(parsed.skip), parsed, conversion))


def report(result: DynamicShift) -> Report:
    """What was found, to be written."""
    frames = tables(result)
    return Report(
        analysis="dynamic_shift",
        title=f"Dynamic {result.settings.isotope} shift",
        headline=_headline(result),
        notes=result.notes,
        numbers={
            "dynamic_shift": result.overall.blocks.mean,
            "error": result.overall.budget.total,
            "unit": "ppm",
            "composition": total_shift(result),
            "additive_shift": result.settings.additive_shift,
            "groups": {name: _numbers(group) for name, group in result.groups.items()},
        },
        tables=frames,
        shown=[_overview(result), _sites_table(frames["sites"]), _exchange_table(result)],
        figures=figures(result),
        settings=result.settings,
        conventions=CONVENTIONS,
        source=result.source,
        physics={
            "contact_shift": {**result.conversion.to_dict(), "ppm_per_mhz": result.conversion.ppm_per_mhz},
        },
    )


def total_shift(result: DynamicShift) -> str:
    """What the shift consists of, in words."""
    additive = result.settings.additive
    terms = {"orbital": additive.orbital, "pseudocontact": additive.pseudocontact}
    parts = [f"{value:g} ppm ({name})" for name, value in terms.items() if value]
    if additive.quadrupole is not None:
        induced = result.settings.additive_shift - additive.orbital - additive.pseudocontact
        parts.append(f"{induced:.2f} ppm (quadrupole-induced)")
    return f"delta_total = delta_FC + {' + '.join(parts)}" if parts else "delta_total = delta_FC only"


def _numbers(group: GroupResult) -> dict[str, Any]:
    budget = group.budget
    return {
        "dynamic_shift": group.blocks.mean,
        "deviation": group.deviation,
        "frames": group.frames,
        "centres": group.centres,
        "standard_error": group.blocks.error,
        "converged": group.blocks.converged,
        "statistical_inefficiency": group.blocks.inefficiency,
        "errors": {**plain(budget), "total": budget.total, "not_known": budget.missing},
        "mean_spread": group.mean_spread,
        "sites": _site_rows(group),
        "uncovered": group.uncovered,
        "site_weighted_mean": group.site_weighted_mean,
        "exchange": group.exchange,
        "windows": {
            window: {"samples": means.size, "mean": means.mean(), "deviation": means.std()}
            for window, means in group.windows.items()
        },
    }


def _site_rows(group: GroupResult) -> list[dict[str, Any]]:
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


def tables(result: DynamicShift) -> dict[str, pd.DataFrame]:
    """Name of a csv file -> its table; the first column is the trajectory."""
    groups = result.groups.items()
    sites = [{"group": name, **row} for name, group in groups for row in _site_rows(group)]
    frames = {"sites": pd.DataFrame(sites)}
    frames["histogram"] = pd.concat(
        pd.DataFrame(
            {
                "group": name,
                "low": group.histogram.edges[:-1],
                "high": group.histogram.edges[1:],
                "total": group.histogram.total,
                **group.histogram.parts,
            }
        )
        for name, group in groups
    )
    frames["blocks"] = pd.concat(
        pd.DataFrame(
            {
                "group": name,
                "length": group.blocks.lengths,
                "blocks": group.blocks.counts,
                "error": group.blocks.errors,
                "error_of_error": group.blocks.errors_of_errors,
            }
        )
        for name, group in groups
    )
    frames["windows"] = pd.concat(_window_frame(name, group) for name, group in groups)
    frames["map"] = pd.concat(_map_frame(name, result) for name in result.planes)
    return frames


def _window_frame(name: str, group: GroupResult) -> pd.DataFrame:
    edges = group.histogram.edges
    counts = {f"frames_{window}": np.histogram(means, edges)[0] for window, means in group.windows.items()}
    return pd.DataFrame({"group": name, "low": edges[:-1], "high": edges[1:], **counts})


def _map_frame(name: str, result: DynamicShift) -> pd.DataFrame:
    field = result.planes[name].map
    centres = field.centres()
    coordinates = {"u": centres[..., 0], "v": centres[..., 1]}
    coordinates |= dict(zip("xy", np.moveaxis(centres @ field.plane, -1, 0), strict=True))
    columns = {**coordinates, "count": field.count, "mean": field.mean, "deviation": field.deviation}
    return pd.DataFrame({"group": name, **{key: value.ravel() for key, value in columns.items()}})


def _headline(result: DynamicShift) -> list[str]:
    lines = [
        f"{name}: {group.blocks.mean:.1f} ± {group.budget.total:.1f} ppm"
        for name, group in result.groups.items()
        if name != ALL
    ]
    return [*lines, f"{total_shift(result)}; 1 MHz is {result.conversion.ppm_per_mhz:.3f} ppm."]


def _overview(result: DynamicShift) -> Table:
    rows = [
        {
            "trajectory": name,
            "frames": group.frames,
            "ions": group.centres,
            "shift / ppm": round(group.blocks.mean, 2),
            "sd / ppm": round(group.deviation, 1),
            "sampling error": group.blocks.error,
            "converged": "yes" if group.blocks.converged else "no",
            "ensemble error": group.budget.ensemble,
            "bias": group.budget.bias,
            "total error": group.budget.total,
            "uncovered": group.uncovered,
            "site-weighted mean": round(group.site_weighted_mean, 1),
        }
        for name, group in result.groups.items()
    ]
    caption = "Mean over all frames and ions, its errors (ppm), and the share of samples outside of all site circles."
    return Table("Dynamic shift", pd.DataFrame(rows), f"{caption} Data: {SUMMARY}, blocks.csv.")


def _sites_table(frame: pd.DataFrame) -> Table:
    rounded = frame.drop(columns=["shift_converged", "ensemble_error"]).round({"shift": 1, "deviation": 1})
    caption = "Circles of the radius given in the settings; errors from block averages in time; ppm. Data: sites.csv."
    return Table("Sites", rounded, caption)


def _exchange_table(result: DynamicShift) -> Table:
    rows = [
        {
            "trajectory": name,
            "hops": group.exchange.hops,
            "changed per frame": group.exchange.changed_per_frame,
            "hop rate / s⁻¹": group.exchange.rate,
            "rate is": "resolved" if group.exchange.resolved else "a lower bound",
            "2π Δν / rad s⁻¹": group.exchange.angular_spread,
            "ratio": group.exchange.ratio,
        }
        for name, group in result.groups.items()
    ]
    caption = "One averaged line needs a hop rate far above 2π Δν, the spread of the site shifts. Data: summary.json."
    return Table("Fast exchange", pd.DataFrame(rows), caption)
