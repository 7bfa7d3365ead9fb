"""The report of a spectrum: lines, exchange between sites, and an experiment beside them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ionecho.analysis.options import one
from ionecho.analysis.scenes import scene_of_trajectory
from ionecho.analysis.spectrum import Spectra, Tensors, read_tensors, spectra
from ionecho.analysis.spectrum import SpectrumOptions as Settings
from ionecho.analysis.statistics import block_average
from ionecho.data.trajectory import Trajectory, early_end
from ionecho.errors import InputError
from ionecho.nmr.exchange import exchange_rate
from ionecho.nmr.quadrupole import principal_components
from ionecho.report import Axis, Curve, Figure, Number, Panel, Report, Scene, Table, by_unit
from ionecho.report.panel import THIN, Mark
from ionecho.report.style import GREY, colours

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
SHORT = "The mean shift has not converged: the run is too short, its error is a lower bound."
UNITS = by_unit(
    {
        "ppm": "shift mean mean_error deviation anisotropy all_anisotropy",
        "1/s": "rates k_ex separation",
        "1/Hz": "intensity",
        "MHz": "larmor_MHz",
        "ppm/MHz": "ppm_per_mhz",
        "": "mean_converged frames ions populations population eta all_eta ratio kind",
    }
)


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """Spectrum of the ions of one trajectory.

    Raises
    ------
    InputError
        If the input or the experiment cannot be used, or mrsimulator is not installed.
    """
    trajectory = settings.read.open_run(one(inputs, "spectrum"))
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
        notes=[
            *early_end(trajectory.stopped),
            *tensors.notes,
            *([] if numbers.get("mean_converged", True) else [SHORT]),
        ],
        tables=_tables(found),
        figures={
            "spectrum": Figure(
                partial(_panels, found, experiment, settings),
                "Spectra, each over its highest point" + ("; grey: the experiment." if experiment is not None else "."),
                ["spectrum"],
                list(found.curves),
                height=3.2,
                wide=True,
            )
        },
        scene=_scene(trajectory, tensors, settings, names),
        settings=settings,
        physics=physics,
        conventions=CONVENTIONS,
        source={"file": inputs[0].name},
    )


def _scene(trajectory: Trajectory, tensors: Tensors, settings: Settings, names: Sequence[str]) -> Scene:
    """Ions by their isotropic shift, those of field gradients by their anisotropy."""
    hyperfine = settings.interaction == "hyperfine"
    values = tensors.isotropic if hyperfine else np.abs(principal_components(tensors.anisotropic)[..., 2])
    label = shift_label(settings.isotope) if hyperfine else "|V<sub>zz</sub>| / V Å⁻²"
    assert trajectory.centres is not None
    element = settings.isotope.lstrip("0123456789")
    atoms = trajectory.centres[trajectory.numbers[trajectory.centres] == atomic_numbers[element]]
    what = f"{element} by {'its isotropic shift' if hyperfine else 'its field gradient'}"
    return scene_of_trajectory(trajectory, settings.read, what, label, values, atoms, tensors.kinds, names)


def shift_label(isotope: str) -> str:
    mass = "".join(letter for letter in isotope if letter.isdigit())
    return f"<sup>{mass}</sup>{isotope.removeprefix(mass)} shift / ppm"


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
        blocks = block_average(tensors.isotropic.mean(axis=1))
        average = principal_components(tensors.anisotropic.mean(axis=(0, 1)))
        numbers |= {
            "mean": float(tensors.isotropic.mean()),
            "mean_error": blocks.error,
            "mean_converged": blocks.converged,
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
        lines.append(
            Number("Isotropic shift, mean over ions and frames", numbers["mean"], numbers["mean_error"], "ppm")
        )
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


def _panels(found: Spectra, experiment: Floats | None, settings: Settings, names: list[str]) -> list[Panel]:
    marks: list[Mark] = []
    for level, (name, colour) in enumerate(colours(names).items()):
        if experiment is not None:
            measured = experiment[:, 1] / experiment[:, 1].max() + 1.1 * level
            marks.append(Curve(experiment[:, 0], measured, "" if level else "measured", GREY, width=THIN))
        curve = found.curves[name]
        marks.append(Curve(found.shift, curve / curve.max() + 1.1 * level, name, colour, width=1.0))
    x = Axis(shift_label(settings.isotope), ends=(found.shift[-1], found.shift[0]))
    return [Panel(x, Axis("Intensity", ticks=False), marks, legend="upper right")]
