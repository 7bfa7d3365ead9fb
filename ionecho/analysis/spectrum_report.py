"""The report of a spectrum: lines, exchange between sites, and an experiment beside them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from ionecho.analysis.options import one
from ionecho.analysis.spectrum import Spectra, Tensors, read_tensors, spectra
from ionecho.analysis.spectrum import SpectrumOptions as Settings
from ionecho.data.trajectory import early_end
from ionecho.errors import InputError
from ionecho.nmr.exchange import exchange_rate
from ionecho.nmr.quadrupole import principal_components
from ionecho.report import Figure, Number, Report, Table, by_unit
from ionecho.report.style import DOUBLE, GREY, colours

Floats = NDArray[np.float64]

CONVENTIONS = {
    "shift": "positive towards high frequency; delta = ppm_per_mhz (A_contact + n.A_dipolar.n) + additive for n along "
    "the field, which holds for an isotropic g and susceptibility",
    "anisotropy": "Haeberlen: delta_zz - delta_iso, |delta_zz - delta_iso| the largest",
    "no exchange": "powder pattern of single ions in single frames: rattling is not averaged either",
    "averaged": "powder pattern of the mean tensor over the run, of each ion or of all of them: exchange much faster "
    "than the lines are apart",
    "exchange between sites": "Bloch-McConnell equations of the isotropic shifts (Bain, Prog. NMR Spectrosc. 2003, 43, "
    "63): without anisotropy and sidebands",
    "intensity": "unit area in Hz; transitions m -> m - 1 weigh I(I+1) - m(m - 1)",
}
UNITS = by_unit(
    {
        "ppm": "shift mean deviation anisotropy all_anisotropy",
        "1/s": "rates k_ex separation",
        "1/Hz": "intensity",
        "MHz": "larmor_MHz",
        "ppm/MHz": "ppm_per_mhz",
        "": "frames ions populations population eta all_eta ratio kind",
    }
)


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """Spectrum of the ions of one trajectory.

    Raises
    ------
    InputError
        If the input or the experiment cannot be used, or mrsimulator is not installed.
    """
    trajectory = settings.read.open(one(inputs, "spectrum"))
    experiment = None if settings.experiment is None else read_experiment(Path(settings.experiment))
    tensors = read_tensors(trajectory, settings)
    names = () if settings.sites is None else tuple(settings.sites.kinds)
    found = spectra(tensors, settings, names)
    physics: dict[str, Any] = {"larmor": {"larmor_MHz": settings.larmor_frequency * 1e-6}}
    if tensors.conversion is not None:
        physics |= {"contact_shift": tensors.conversion.to_dict()}
    numbers = _numbers(tensors, found, settings)
    return Report(
        analysis="spectrum",
        title=f"Spectrum of {settings.isotope}",
        headline=_headline(numbers, found, settings),
        numbers=numbers,
        units=UNITS,
        notes=[*early_end(trajectory.stopped), *tensors.notes],
        tables=_tables(found),
        figures={
            "spectrum": Figure(
                partial(_draw, found, experiment, settings),
                "Spectra, each over its highest point" + ("; grey: the experiment." if experiment is not None else "."),
                ["spectrum"],
                list(found.curves),
            )
        },
        settings=settings,
        physics=physics,
        conventions=CONVENTIONS,
        source={"file": inputs[0].name},
    )


def read_experiment(path: Path) -> Floats:
    """Shift / ppm and intensity (n, 2) from a csv without a header; raises InputError if it is none."""
    try:
        values = pd.read_csv(path, header=None, comment="#").to_numpy(float)
    except (OSError, ValueError) as error:
        raise InputError(f"experiment {path}: expected a csv of shift / ppm and intensity: {error}") from error
    if values.ndim != 2 or values.shape[1] != 2 or len(values) < 2 or not np.isfinite(values).all():
        raise InputError(f"experiment {path}: expected two columns of numbers, found {values.shape}")
    return values[np.argsort(values[:, 0])]


def _numbers(tensors: Tensors, found: Spectra, settings: Settings) -> dict[str, Any]:
    frames, ions = tensors.isotropic.shape
    numbers: dict[str, Any] = {"frames": frames, "ions": ions}
    if settings.interaction == "hyperfine":
        average = principal_components(tensors.anisotropic.mean(axis=(0, 1)))
        numbers |= {
            "mean": float(tensors.isotropic.mean()),
            "deviation": float(tensors.isotropic.std()),
            "anisotropy": float(np.abs(principal_components(tensors.anisotropic)[..., 2]).mean()),
            "all_anisotropy": float(average[2]),
        }
    if found.jumps is not None:
        jumps = found.jumps
        separation = 2 * np.pi * float(np.ptp(jumps.shifts)) * 1e-6 * settings.larmor_frequency
        rate = exchange_rate(jumps.rates, jumps.populations, jumps.shifts) if len(jumps.shifts) > 1 else 0.0
        numbers["exchange"] = {
            "populations": dict(zip(jumps.names, jumps.populations.tolist(), strict=True)),
            "rates": jumps.rates,
            "k_ex": rate,
            "separation": separation,
            "ratio": rate / separation if separation else None,
        }
    return numbers


def _headline(numbers: dict[str, Any], found: Spectra, settings: Settings) -> list[str | Number]:
    spinning = f"{settings.rotor_frequency:g} kHz spinning" if settings.rotor_frequency else "static"
    lines: list[str | Number] = [
        f"{settings.isotope} at {settings.magnetic_field:g} T, {spinning}: {', '.join(found.curves)}."
    ]
    if "mean" in numbers:
        lines.append(Number("Isotropic shift, mean over ions and frames", numbers["mean"], None, "ppm"))
        lines.append(Number("Anisotropy of single ions, mean magnitude", numbers["anisotropy"], None, "ppm"))
        lines.append(Number("Anisotropy left by exchange among all sites", numbers["all_anisotropy"], None, "ppm"))
    if "exchange" in numbers and numbers["exchange"]["ratio"] is not None:
        text = (
            f"k_ex = {numbers['exchange']['k_ex']:.2g} 1/s, {numbers['exchange']['ratio']:.2g} times 2 pi the distance"
        )
        lines.append(f"Exchange between sites: {text} of their lines; fast where much larger than 1.")
    return lines


def _tables(found: Spectra) -> dict[str, Table]:
    parts = [
        pd.DataFrame({"curve": name, "shift": found.shift, "intensity": curve}) for name, curve in found.curves.items()
    ]
    made = {"spectrum": Table(pd.concat(parts))}
    if found.jumps is not None:
        jumps = found.jumps
        columns = {"kind": jumps.names, "population": jumps.populations, "shift": jumps.shifts}
        made["sites"] = Table(pd.DataFrame(columns), "Sites", "Kinds of sites, their populations and mean shifts.")
    return made


def _draw(found: Spectra, experiment: Floats | None, settings: Settings, names: list[str]) -> Canvas:
    canvas = Canvas(figsize=(DOUBLE, 3.2))
    axis = canvas.subplots()
    for level, (name, colour) in enumerate(colours(names).items()):
        curve = found.curves[name]
        axis.plot(found.shift, curve / curve.max() + 1.1 * level, color=colour, lw=1.0, label=name)
        if experiment is not None:
            axis.plot(experiment[:, 0], experiment[:, 1] / experiment[:, 1].max() + 1.1 * level, color=GREY, lw=0.8)
    axis.set_xlim(found.shift[-1], found.shift[0])
    axis.set_yticks([])
    axis.set_xlabel(
        f"$^{{{settings.isotope.rstrip('abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ')}}}$"
        f"{settings.isotope.lstrip('0123456789')} shift / ppm"
    )
    axis.legend(loc="upper right")
    return canvas
