"""The report of a dynamic shift: numbers, tables and figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ionecho.analysis.dynamic_shift import DynamicShift, GroupResult, analyze
from ionecho.analysis.dynamic_shift_figures import figures
from ionecho.analysis.dynamic_shift_tables import site_rows, tables
from ionecho.analysis.experiment import read_experiment
from ionecho.analysis.loading import read_series
from ionecho.analysis.options import named_inputs
from ionecho.analysis.series import joined
from ionecho.analysis.settings import DynamicShiftSettings as Settings
from ionecho.errors import InputError
from ionecho.report import Number, Report, by_unit, rounded
from ionecho.report.content import SHOWN

CONVENTIONS = {
    "shift": "ppm, positive towards high frequency",
    "dynamic_shift": "mean over all frames and all ions, valid in fast exchange; not the site-weighted mean",
    "standard_error": "of the mean over ions of each frame, from its spectrum at zero frequency, raised so that two of "
    "it cover the truth in 95 %; runs of one system that scatter by more have that in it; systems are never averaged",
    "lines": "one where exchange is fast and the ions' own means over a run differ by no more than exchange explains; "
    "else Gaussian mixtures of these means, as many as the Bayesian criterion asks for; area: share of the ions",
    "ensemble": "standard deviation over models of each model's own trajectory mean",
    "occupation": "samples in the circles of one kind of site over samples in all circles",
    "site_shift": "mean over the samples inside the circles of one kind of site",
    "site_names": "elements straight above and below the site in the first frame of the trajectory",
    "jumps": "changes of the kind of site last visited",
    "rate": "k_ex = 1 / (integral of the normalised correlation of the site shift); two kinds: k12 + k21",
    "interval": "exact Poisson limits of counts; of k_ex from counts drawn around those seen",
    "residence": "time until an ion leaves a kind of site, 1 / (sum of the rates away from it); survival: Kaplan-Meier",
    "additivity": "shift of a site X-Y against the mean of X-X and Y-Y, the latter of any system here",
    "static_mean": "sum of occupations times static_shifts",
    "temperature": "magnetisation of Curie and Weiss alone: ions stay where they are",
    "experiment": "lines and peaks in order of shift; residual: offset less the mean offset; fraction: share of areas",
    "spectrum": "exact exchange between the kinds of sites at the rates seen, where lines merge; else the lines",
    "angular_spread": "2 pi times the frequency range of the site shifts, rad/s",
    "map_deviation": "population standard deviation of the samples of a bin",
    "drift": "mean displacement of the framework since the first frame is removed",
}
UNITS = by_unit(
    {
        "ppm": "dynamic_shift error deviation standard_error mean_spread shift shift_error ensemble_error mean low "
        "high site_weighted_mean total_error sampling_error error_of_error bias additive_shift errors.sampling "
        "errors.ensemble errors.bias errors.effective_moment errors.weiss_constant errors.total between position "
        "position_error width differ explained beyond static static_error expected expected_error seen theory computed "
        "computed_error measured measured_error offset residual corrected peak_width mean_offset static_mean "
        "static_mean_error",
        "ppm/MHz": "ppm_per_mhz",
        "ppm⁻¹": "intensity",
        "MHz/T": "gyromagnetic_ratio",
        "μB": "contact_shift.effective_moment",
        "K": "temperature contact_shift.weiss_constant",
        "fs": "frame_spacing",
        "s": "ion_time lines.window residence residence_low residence_high time",
        "s⁻¹": "rate rate_low rate_high interval",
        "rad/s": "angular_spread",
        "Å": "x y",
        "frames": "length",
        "": "frames centres statistical_inefficiency samples occupation occupation_error uncovered jumps ratio runs "
        "changed_per_frame sz_cell s_formal area area_error probability ions imbalance back fraction fraction_error "
        "survival",
    }
)


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """Analyse the shifts in one input or several, predictions or datasets, beside an experiment if one is given.

    Raises
    ------
    InputError
        If an input or the experiment cannot be used.
    """
    parts, conversions = {}, {}
    for name, path in named_inputs(inputs).items():
        parts[name], conversions[name] = read_series(
            path, settings.element, settings.contact_shift, settings.time_per_frame, settings.read
        )
    conversion = next(iter(conversions.values()))
    if other := [name for name, each in conversions.items() if each != conversion]:
        raise InputError(f"input: {', '.join(other)} stored with another conversion; give contact_shift={{..}} for all")
    experiment = None
    if settings.experiment.file is not None:
        experiment = read_experiment(settings.experiment.file, settings.experiment, settings.larmor_frequency * 1e6)
    return report(analyze(joined(parts), settings, conversion, experiment))


def report(result: DynamicShift) -> Report:
    """All numbers, tables and figures of `result`."""
    only = next(iter(result.systems.values())) if len(result.systems) == 1 else None
    alone = {} if only is None else {"dynamic_shift": only.blocks.mean, "error": only.budget.total, "unit": "ppm"}
    every = tables(result)
    return Report(
        analysis="dynamic_shift",
        title=f"Dynamic {result.settings.isotope} shift",
        headline=_headline(result),
        numbers={
            **alone,
            "systems": {
                name: {"of": result.runs[name], **_numbers(system, result)} for name, system in result.systems.items()
            },
            "groups": {name: _numbers(group, result) for name, group in result.groups.items()},
        },
        units=UNITS,
        notes=result.notes,
        tables=every,
        figures=figures(result),
        scene=result.scene,
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
    lines: list[str | Number] = []
    isotope = result.settings.isotope
    for name, system in list(result.systems.items())[:SHOWN]:
        runs = f" over {system.blocks.runs} runs" if system.blocks.runs > 1 else ""
        if len(system.lines.lines) == 1:
            over = f", the mean of {system.centres} ions over {system.frames} frames"
            name = f"{isotope} shift of {name}{runs}"
            lines.append(Number(name, system.blocks.mean, system.budget.total, "ppm", remark=over))
        else:
            told = ", ".join(
                f"{rounded(line.position, line.error)} ppm (area {line.area:.2f})" for line in system.lines.lines
            )
            lines.append(f"The {isotope} spectrum of {name}{runs} has {len(system.lines.lines)} lines: {told}.")
    if len(result.systems) > SHOWN:
        lines.append(f"The table has {len(result.systems) - SHOWN} systems more.")
    made = f"A coupling of 1 MHz makes {result.conversion.ppm_per_mhz:.6g} ppm"
    return [*lines, f"{made}, and {total_shift(result)}."]


def _numbers(group: GroupResult, result: DynamicShift) -> dict[str, Any]:
    budget, exchange = group.budget, group.exchange
    static = None if result.settings.static_shifts is None else group.static_mean(result.settings.static_shifts)
    return {
        "dynamic_shift": group.blocks.mean,
        "deviation": group.deviation,
        "frames": group.frames,
        "centres": group.centres,
        "runs": group.blocks.runs,
        "standard_error": group.blocks.error,
        "between": group.blocks.between,
        "converged": group.blocks.converged,
        "statistical_inefficiency": group.blocks.inefficiency,
        "errors": {**vars(budget), "total": budget.total, "not_known": budget.missing},
        "mean_spread": group.mean_spread,
        "lines": group.lines,
        "sites": site_rows(group),
        "uncovered": group.uncovered,
        "site_weighted_mean": group.site_weighted_mean,
        "static_mean": None if static is None else static[0],
        "static_mean_error": None if static is None else static[1],
        "exchange": {
            "rate": exchange.rate,
            "interval": exchange.interval,
            "angular_spread": exchange.angular_spread,
            "ratio": exchange.ratio,
            "jumps": exchange.jumps.hops,
            "changed_per_frame": exchange.jumps.changed_per_frame,
            "resolved": exchange.jumps.resolved,
            "frame_spacing": exchange.jumps.spacing,
        },
        "windows": {
            window: {"samples": means.size, "mean": means.mean(), "deviation": means.std()}
            for window, means in group.windows.items()
        },
    }
