"""A dynamic shift beside others: exchange theory, additivity of sites, other temperatures, the experiment."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ionecho.analysis.curie_weiss import shift_at
from ionecho.analysis.dynamic_shift import DynamicShift, GroupResult
from ionecho.analysis.exchange import exchange_theory
from ionecho.analysis.experiment import assign
from ionecho.analysis.statistics import BlockAverage
from ionecho.nmr.exchange import line_shape

Floats = NDArray[np.float64]

POINTS, MARGIN = 1200, 6  # of a spectrum; line widths beyond the outermost line


def window_spread(group: GroupResult, names: list[str]) -> pd.DataFrame:
    """Standard deviation of window means, and what exchange between kinds of sites leaves of it."""
    windows = np.array(list(group.windows), float)
    frame = pd.DataFrame({"length": list(group.windows), "seen": [means.std() for means in group.windows.values()]})
    theory = exchange_theory(windows, group.exchange.jumps, site_shifts(group, names), group.within_sites())
    return frame if theory is None else frame.assign(theory=theory)


def site_shifts(group: GroupResult, names: list[str]) -> Floats:
    """Mean shift of each of `names` (S,), NaN of kinds never visited."""
    known = {site.name: site.shift.mean for site in group.sites}
    return np.array([known.get(name, np.nan) for name in names])


def spectrum(group: GroupResult, result: DynamicShift) -> pd.DataFrame:
    """Intensity over shift: of exact exchange between the kinds of sites where lines merge, else of the lines."""
    width, larmor = result.settings.line_width, result.settings.larmor_frequency  # ppm, MHz: products are Hz
    edges = [site.shift.mean for site in group.sites] + [line.position for line in group.lines.lines]
    shifts = np.linspace(min(edges) - MARGIN * width, max(edges) + MARGIN * width, POINTS)
    jumps, decay = group.exchange.jumps, np.pi * width * larmor
    if group.lines.merged and jumps.times is not None and jumps.hops:
        rates, populations = jumps.visited_rates()
        offsets = site_shifts(group, result.names)[jumps.times > 0] * larmor
        offsets = offsets + (group.blocks.mean * larmor - populations @ offsets)  # ions between circles count too
    else:
        offsets = np.array([line.position for line in group.lines.lines]) * larmor
        populations = np.array([line.area for line in group.lines.lines])
        rates = np.zeros((len(offsets), len(offsets)))
    intensity = line_shape(shifts * larmor, offsets, rates, populations, decay) * larmor
    return pd.DataFrame({"shift": shifts, "intensity": intensity})


def additivity(result: DynamicShift) -> pd.DataFrame:
    """Sites X-Y beside the mean of X-X and Y-Y, which may stand in another system."""
    found = {(name, site.name): site.shift for name, system in result.systems.items() for site in system.sites}

    def pure(element: str, system: str) -> BlockAverage | None:
        wanted = f"{element}-{element}"
        here = found.get((system, wanted))
        return here or next((shift for (_, site), shift in found.items() if site == wanted), None)

    rows = []
    for (system, site), shift in found.items():
        first, _, second = site.partition("-")
        parts = [pure(first, system), pure(second, system)] if second and first != second else []
        known = [part for part in parts if part is not None]
        if len(known) == 2:
            expected = float(np.mean([part.mean for part in known]))
            error = float(np.hypot(known[0].error, known[1].error)) / 2
            row = {"group": system, "site": site, "shift": shift.mean, "shift_error": shift.error}
            rows.append(row | {"expected": expected, "expected_error": error})
    return pd.DataFrame(rows)


def temperatures(result: DynamicShift) -> pd.DataFrame:
    """Shifts predicted at the temperatures of the settings."""
    wanted, conversion = result.settings.temperatures, result.conversion
    rows = []
    for name, system in result.systems.items():
        added = result.settings.additive_shift
        contact = system.blocks.mean - added
        predicted = shift_at(wanted, contact, conversion.temperature, conversion.weiss_constant, added)
        errors = system.blocks.error * (predicted - added) / contact
        for temperature, shift, error in zip(wanted, predicted.tolist(), errors.tolist(), strict=True):
            rows.append({"group": name, "temperature": temperature, "shift": shift, "sampling_error": abs(error)})
    return pd.DataFrame(rows)


def experiment_table(result: DynamicShift) -> pd.DataFrame:
    """The lines of all systems beside the peaks measured."""
    if result.experiment is None:
        return pd.DataFrame()
    lines = [(name, line) for name, system in result.systems.items() for line in system.lines.lines]
    budgets = {name: system.budget.total for name, system in result.systems.items()}
    rows = []
    for pair in assign([line.position for _, line in lines], result.experiment):
        (name, line), peak = lines[pair.line], result.experiment.peaks[pair.peak]
        alone = len(result.systems[name].lines.lines) == 1
        rows.append(
            {
                "group": name,
                "computed": line.position,
                "computed_error": budgets[name] if alone else line.error,
                "measured": peak.shift,
                "measured_error": peak.shift_error,
                "offset": pair.offset,
                "residual": pair.residual,
                "corrected": pair.corrected,
                "peak_width": peak.width,
                "fraction": result.experiment.fractions[pair.peak],
                "fraction_error": None
                if peak.area_error is None
                else peak.area_error / sum(each.area for each in result.experiment.peaks),
            }
        )
    return pd.DataFrame(rows).sort_values("measured", ascending=False)
