"""The report of a dynamic shift: numbers, tables and figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ionecho.analysis.dynamic_shift import ALL, DynamicShift, GroupResult, analyze
from ionecho.analysis.dynamic_shift_figures import figures
from ionecho.analysis.loading import read_series
from ionecho.analysis.options import one
from ionecho.analysis.settings import DynamicShiftSettings as Settings
from ionecho.report import Number, Report, Table, by_unit
from ionecho.report.content import SHOWN

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
UNITS = by_unit(
    {
        "ppm": "dynamic_shift error deviation standard_error mean_spread shift shift_error ensemble_error mean low "
        "high site_weighted_mean total_error sampling_error error_of_error bias additive_shift errors.sampling "
        "errors.ensemble errors.bias errors.effective_moment errors.weiss_constant errors.total",
        "ppm/MHz": "ppm_per_mhz",
        "MHz/T": "gyromagnetic_ratio",
        "μB": "contact_shift.effective_moment",
        "K": "temperature contact_shift.weiss_constant",
        "fs": "frame_spacing",
        "s": "ion_time",
        "s⁻¹": "rate",
        "rad/s": "angular_spread",
        "Å": "x y",
        "frames": "length",
        "": "frames centres statistical_inefficiency samples occupation occupation_error uncovered hops ratio "
        "changed_per_frame sz_cell s_formal",
    }
)


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """Analyse the shifts in one input, predictions or a dataset.

    Raises
    ------
    InputError
        If the input cannot be used.
    """
    path = one(inputs, "dynamic_shift")
    series, conversion = read_series(
        path, settings.element, settings.contact_shift, settings.time_per_frame, settings.read
    )
    return report(analyze(series, settings, conversion))


def report(result: DynamicShift) -> Report:
    """All numbers, tables and figures of `result`."""
    return Report(
        analysis="dynamic_shift",
        title=f"Dynamic {result.settings.isotope} shift",
        headline=_headline(result),
        numbers={
            "dynamic_shift": result.overall.blocks.mean,
            "error": result.overall.budget.total,
            "unit": "ppm",
            "groups": {name: _numbers(group) for name, group in result.groups.items()},
        },
        units=UNITS,
        notes=result.notes,
        tables=tables(result),
        figures=figures(result),
        settings=result.settings,
        physics={
            "contact_shift": {**result.conversion.to_dict(), "ppm_per_mhz": result.conversion.ppm_per_mhz},
            "additive_shift": result.settings.additive_shift,
            "composition": total_shift(result),
        },
        conventions=CONVENTIONS,
        source=result.source,
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


def _headline(result: DynamicShift) -> list[str | Number]:
    single = [name for name in result.groups if name != ALL]
    shown = single if len(single) <= SHOWN else [ALL]
    numbers = [Number(name, result.groups[name].blocks.mean, result.groups[name].budget.total, "ppm") for name in shown]
    return [*numbers, f"{total_shift(result)}; 1 MHz is {result.conversion.ppm_per_mhz:.3f} ppm."]


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
        "errors": {**vars(budget), "total": budget.total, "not_known": budget.missing},
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


def tables(result: DynamicShift) -> dict[str, Table]:
    """Name of a csv file -> its table; the first column is the trajectory."""

    def joined(frame: Callable[[GroupResult], pd.DataFrame]) -> pd.DataFrame:
        return pd.concat({name: frame(group) for name, group in result.groups.items()}, names=["group"]).reset_index(0)

    shown = {
        "overview": (
            _overview,
            "Dynamic shift",
            "Mean over all frames and ions with its total error, and the share of samples outside of all site circles.",
        ),
        "sites": (
            lambda group: pd.DataFrame(_site_rows(group)),
            "Sites",
            "Circles of the radius given in the settings; errors from block averages in time.",
        ),
        "exchange": (
            _exchange,
            "Fast exchange",
            "One averaged line needs a rate far above the angular spread, 2π times "
            "the spread of the site shifts; one that is not resolved is a lower bound.",
        ),
        "histogram": (_histogram, "", ""),
        "blocks": (_blocks, "", ""),
        "windows": (_windows, "", ""),
    }
    made = {name: Table(joined(frame), title, caption) for name, (frame, title, caption) in shown.items()}
    return made | {"map": Table(pd.concat(_map(name, result) for name in result.planes))}


def _overview(group: GroupResult) -> pd.DataFrame:
    row = {
        "frames": group.frames,
        "ions": group.centres,
        "shift": group.blocks.mean,
        "shift_error": group.budget.total,
        "sampling_error": group.blocks.error,
        "converged": group.blocks.converged,
        "ensemble_error": group.budget.ensemble,
        "bias": group.budget.bias,
        "deviation": group.deviation,
        "uncovered": group.uncovered,
        "site_weighted_mean": group.site_weighted_mean,
    }
    return pd.DataFrame([row])


def _exchange(group: GroupResult) -> pd.DataFrame:
    names = ("hops", "changed_per_frame", "rate", "resolved", "angular_spread", "ratio")
    return pd.DataFrame([{name: getattr(group.exchange, name) for name in names}])


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
