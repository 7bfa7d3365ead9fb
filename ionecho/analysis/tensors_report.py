"""The report of tensors by site: shifts, couplings, asymmetries and principal frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import Field

from ionecho.analysis.options import TrajectoryOptions, one
from ionecho.analysis.scenes import scene_of_trajectory
from ionecho.analysis.tensors import SiteTensors, site_tensors
from ionecho.data.trajectory import Trajectory, early_end
from ionecho.nmr.isotopes import isotope
from ionecho.nmr.site_table import ANGLES, Conventions
from ionecho.nmr.site_table import UNITS as COLUMN_UNITS
from ionecho.report import Axis, Curve, Figure, Panel, Report, Scene, Table, by_unit, rounded
from ionecho.report.style import GREY, colours

CONVENTIONS = {
    "value": "of the mean tensor over the frames: motion much faster than the tensor's spread in frequency",
    "error": "standard error of the average over time, to first order; of the ensemble's error nothing is in it",
    "rigid": "root mean square over single frames, deviation the standard deviation: no motional averaging",
    "shift": "delta = intercept + slope sigma, of the symmetric part; span and skew as Herzfeld and Berger",
    "gradient": "|V_zz| >= |V_yy| >= |V_xx|, C_Q = e Q V_zz / h, eta = (V_xx - V_yy) / V_zz",
    "angles": "turns about z, the new y and the new z that take the Cartesian axes to the principal ones "
    "(Haeberlen's order |zz - iso| >= |xx - iso| >= |yy - iso|)",
}
PARTS = ("", "_error", "_rigid", "_deviation")
AXES = (("C_Q", "eta"), ("V_zz", "eta"), ("delta_iso", "span"))
LABELS = {
    "C_Q": "<i>C</i><sub>Q</sub>",
    "V_zz": "<i>V</i><sub>zz</sub>",
    "eta": "η",
    "delta_iso": "δ<sub>iso</sub>",
    "sigma_iso": "σ<sub>iso</sub>",
    "span": "Ω",
}
SCALARS = [name for name in COLUMN_UNITS if not name.endswith(ANGLES)]
UNITS = {name + part: unit for name, unit in COLUMN_UNITS.items() for part in PARTS} | by_unit(
    {"": "frames sites atom slope", "ppm": "intercept", "barn": "quadrupole_moment"}
)


class Settings(TrajectoryOptions):
    """What the tensors do not say of themselves, and which frames are used; see conf/analysis/tensors.yaml."""

    isotopes: list[str]
    references: dict[str, tuple[float, float]]
    tolerance: float = Field(gt=0)

    @property
    def conventions(self) -> Conventions:
        """The same, as tables take it."""
        return Conventions.of(self.isotopes, self.references, self.tolerance)


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """Tensors of the sites of one trajectory.

    Raises
    ------
    InputError
        If the input holds no tensors, or an isotope or element is unknown.
    """
    trajectory = settings.read.open(one(inputs, "tensors"))
    found = site_tensors(trajectory, settings.read, settings.conventions)
    caption = "Of the mean tensor over the frames, with its error; the csv has single frames beside it."
    return Report(
        analysis="tensors",
        title="Tensors by site",
        headline=[line for sites in found.sites.values() for line in _headline(sites, found.frames)],
        numbers={
            "frames": found.frames,
            "tensors": {label: {"sites": len(sites), "mean": _means(sites)} for label, sites in found.sites.items()},
        },
        units=UNITS,
        notes=[*early_end(trajectory.stopped), *_notes(found, settings)],
        tables={
            **{label: Table(sites) for label, sites in found.sites.items()},
            **{
                f"{label}_sites": Table(_shown(sites), f"Sites, {label}", caption)
                for label, sites in found.sites.items()
            },
        },
        figures={
            label: Figure(
                partial(_panels, found, label, axes),
                "Each site's mean tensor with its error; grey: the sites in single frames.",
                [label],
                list(dict.fromkeys(sites.element)),
                columns=1,
                height=3.0,
            )
            for label, sites in found.sites.items()
            if (axes := _axes(sites)) is not None
        },
        scene=_scene(trajectory, found, settings),
        settings=settings,
        physics={
            "isotopes": {name: {"quadrupole_moment": isotope(name).quadrupole_moment} for name in settings.isotopes},
            "references": {
                element: {"intercept": intercept, "slope": slope}
                for element, (intercept, slope) in settings.references.items()
            },
        },
        conventions=CONVENTIONS,
        source={"file": inputs[0].name},
    )


def _scalars(sites: pd.DataFrame) -> list[str]:
    """Columns of the mean tensor that are no angles."""
    return [name for name in SCALARS if name in sites]


def _means(sites: pd.DataFrame) -> dict[str, Any]:
    """Mean over the sites of each element."""
    means = sites.groupby("element", sort=False)[_scalars(sites)].mean()
    return {str(element): dict(row) for element, row in means.iterrows()}


def _headline(sites: pd.DataFrame, frames: int) -> list[str]:
    lines = []
    for element, rows in sites.groupby("element", sort=False):
        ranges = []
        for name in _scalars(rows):
            if (values := rows[name].dropna()).size:
                low, high = (rounded(each, digits=3) for each in (values.min(), values.max()))
                ranges.append(f"{name} {low}{'' if low == high else f' to {high}'} {UNITS[name]}".rstrip())
        lines.append(f"{element}, {len(rows)} sites, {frames} frames: {', '.join(ranges)}.")
    return lines


def _shown(sites: pd.DataFrame) -> pd.DataFrame:
    """What the page shows: values with their errors."""
    return sites[[name for name in sites.columns if not name.endswith(("_rigid", "_deviation"))]]


def _notes(found: SiteTensors, settings: Settings) -> list[str]:
    notes = []
    if found.frames == 1:
        notes.append("One frame: nothing is averaged, and no error is known.")
    if found.unsettled:
        notes.append(f"{found.unsettled} averages have not converged: the run is too short, errors are lower bounds.")
    if not settings.isotopes and any("V_zz" in sites for sites in found.sites.values()):
        notes.append("No C_Q: give the isotope of an element, e.g. analysis.settings.isotopes=[23Na].")
    if not settings.references and any("sigma_iso" in sites for sites in found.sites.values()):
        notes.append("No shifts: give the line of an element, e.g. analysis.settings.references={Na: [551.3, -0.997]}.")
    return notes


def _axes(sites: pd.DataFrame) -> tuple[str, str] | None:
    """Columns that a figure of the sites shows; None without a reference line of shieldings."""
    return next((pair for pair in AXES if set(pair) <= set(sites)), None)


def _panels(found: SiteTensors, label: str, axes: tuple[str, str], names: list[str]) -> list[Panel]:
    sites, single, (across, up) = found.sites[label], found.samples[label], axes
    marks = []
    for name, colour in colours(names).items():
        rows = np.flatnonzero(sites.element == name)
        x, y = (single[column][:, rows].ravel() for column in (across, up))
        marks.append(Curve(x, y, colour=GREY, dash="", symbol="o", size=1.5, opacity=0.3))
        own = sites.iloc[rows]
        error = own.get(f"{up}_error")
        marks.append(Curve(own[across], own[up], name, colour, dash="", symbol="o", error=error))
    return [Panel(_axis(across), _axis(up), marks)]


def _axis(column: str) -> Axis:
    unit = COLUMN_UNITS[column]
    return Axis(f"{LABELS.get(column, column)}{f' / {unit}' if unit else ''}")


def _scene(trajectory: Trajectory, found: SiteTensors, settings: Settings) -> Scene:
    """Atoms by the quantity across the first figure."""
    label, sites = next(iter(found.sites.items()))
    across = (_axes(sites) or _scalars(sites))[0]
    values, atoms = found.samples[label][across], sites["atom"].to_numpy()
    what = f"atoms by {across}"
    return scene_of_trajectory(trajectory, settings.read, what, _axis(across).label, values, atoms)
