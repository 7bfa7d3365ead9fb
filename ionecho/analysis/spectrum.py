"""Spectra of moving ions from tensors along a trajectory: without exchange, in fast exchange, and between sites."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray
from pydantic import Field

from ionecho.analysis.gradients import GRADIENT, count_neighbours, name_counts
from ionecho.analysis.kinetics import last_visited
from ionecho.analysis.lineshape import Spectrometer, powder_spectrum
from ionecho.analysis.loading import settle_conversion
from ionecho.analysis.options import TrajectoryOptions
from ionecho.analysis.spin_echo_settings import SiteOptions
from ionecho.data.trajectory import Trajectory
from ionecho.errors import InputError
from ionecho.nmr.derived import DERIVED
from ionecho.nmr.exchange import line_shape
from ionecho.nmr.hyperfine import DIPOLAR, ContactShift, rescale
from ionecho.nmr.isotopes import isotope
from ionecho.nmr.quadrupole import asymmetry, principal_components, quadrupole_coupling

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

CONTACT = DERIVED["hyperfine_contact_shift"].label
BLOCK = 256  # frames read at once
PPM, KILOHERTZ, FEMTOSECOND = 1e-6, 1e3, 1e-15
TINY = 1e-12  # of |V_zz|, below which eta is 0
RIGID, ION, ALL, EXCHANGE = "no exchange", "each ion averaged", "all ions averaged", "exchange between sites"


class SpectrumOptions(TrajectoryOptions):
    """Everything the analysis depends on besides the trajectory; see conf/analysis/spectrum.yaml for each entry."""

    interaction: Literal["hyperfine", "quadrupole"]
    isotope: str
    spin: float = Field(ge=0.5)
    gyromagnetic_ratio: float
    quadrupole_moment: float
    magnetic_field: float = Field(gt=0)
    rotor_frequency: float = Field(ge=0)
    contact_shift: ContactShift | None
    additive: float
    samples: int = Field(ge=1)
    seed: int
    width: float = Field(gt=0)
    centre: float | None
    points: int = Field(ge=64)
    broadening: float = Field(gt=0)
    sites: SiteOptions | None
    experiment: str | None

    @property
    def larmor_frequency(self) -> float:
        """Magnitude, Hz."""
        return abs(self.gyromagnetic_ratio) * self.magnetic_field * 1e6


@dataclass(frozen=True)
class Tensors:
    """`isotropic` (T, K) ppm and `anisotropic` (T, K, 3, 3), traceless, ppm or V/Å²; `kinds` (T, K) of sites.

    `spacing` is the time between frames in s, None if unknown.
    """

    isotropic: Floats
    anisotropic: Floats
    kinds: Integers | None
    spacing: float | None
    conversion: ContactShift | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Jumps:
    """Exchange between kinds of sites: shifts (S,) ppm, populations (S,), rates (S, S) 1/s from row to column."""

    names: tuple[str, ...]
    shifts: Floats
    populations: Floats
    rates: Floats


@dataclass(frozen=True)
class Spectra:
    """`curves` (F,) 1/Hz on `shift` (F,) ppm; `jumps` behind the one of exchange, None without."""

    shift: Floats
    curves: dict[str, Floats]
    jumps: Jumps | None


def read_tensors(trajectory: Trajectory, options: SpectrumOptions) -> Tensors:
    """Shifts or gradients of the ions of the isotope's element.

    Raises
    ------
    InputError
        If the trajectory lacks them, or they are not finite.
    """
    element = isotope(options.isotope).symbol
    names = [CONTACT, DIPOLAR] if options.interaction == "hyperfine" else [GRADIENT]
    trajectory.refuse_missing(names)
    assert trajectory.centres is not None
    chosen = np.flatnonzero(trajectory.numbers[trajectory.centres] == atomic_numbers[element])
    if not len(chosen):
        raise InputError(f"{trajectory.path}: none of its centres is {element}; correct isotope=..")
    blocks = list(options.read.frames(trajectory, BLOCK, names))
    arrays = {name: np.concatenate([np.asarray(b.arrays[name], float)[:, chosen] for b in blocks]) for name in names}
    if not all(np.isfinite(values).all() for values in arrays.values()):
        raise InputError(f"{trajectory.path}: expected finite {', '.join(names)} of every {element} in every frame")
    times = None if blocks[0].time is None else np.concatenate([np.asarray(block.time, float) for block in blocks])
    spacing = None if times is None or len(times) < 2 else float(np.median(np.diff(times))) * FEMTOSECOND
    kinds = None
    if options.sites is not None:
        ions = np.searchsorted(
            np.flatnonzero(trajectory.numbers == atomic_numbers[element]), trajectory.centres[chosen]
        )
        counts = count_neighbours(trajectory, options.read, options.sites, element)[:, ions]
        kinds = name_counts(counts, options.sites.kinds, options.sites.window)
    if options.interaction == "quadrupole":
        isotropic = np.full(arrays[GRADIENT].shape[:2], options.additive)
        return Tensors(isotropic, arrays[GRADIENT], kinds, spacing, None, ())
    conversion, stored, notes = settle_conversion(options.contact_shift, trajectory.attrs, trajectory.path)
    shifts = {name: conversion(rescale(arrays[name], stored, conversion.gyromagnetic_ratio)) for name in names}
    return Tensors(shifts[CONTACT] + options.additive, shifts[DIPOLAR], kinds, spacing, conversion, tuple(notes))


def spectra(tensors: Tensors, options: SpectrumOptions, names: tuple[str, ...]) -> Spectra:
    """Spectra without exchange, of each ion's mean tensor, of the mean tensor of all, and of jumps between sites."""
    frames, ions = tensors.isotropic.shape
    larmor = options.larmor_frequency
    centre = float(tensors.isotropic.mean()) if options.centre is None else options.centre
    spectrometer = Spectrometer(
        isotope=options.isotope,
        larmor_frequency=larmor,
        rotor_frequency=options.rotor_frequency * KILOHERTZ,
        width=options.width * KILOHERTZ,
        centre=centre * larmor * PPM,
        points=options.points,
        broadening=options.broadening,
    )
    chosen = np.random.default_rng(options.seed).choice(frames * ions, min(options.samples, frames * ions), False)
    averages = {
        RIGID: (tensors.isotropic.ravel()[chosen], tensors.anisotropic.reshape(-1, 3, 3)[chosen]),
        ION: (tensors.isotropic.mean(axis=0), tensors.anisotropic.mean(axis=0)),
        ALL: (tensors.isotropic.mean()[None], tensors.anisotropic.mean(axis=(0, 1))[None]),
    }
    curves = {name: _powder(spectrometer, options, *average) for name, average in averages.items()}
    jumps = None
    if tensors.kinds is not None and tensors.spacing is not None and options.interaction == "hyperfine":
        jumps = count_jumps(tensors, names)
        curves[EXCHANGE] = line_shape(
            spectrometer.frequencies,
            jumps.shifts * larmor * PPM,
            jumps.rates,
            jumps.populations,
            np.pi * options.broadening,
        )
    return Spectra(spectrometer.frequencies / (larmor * PPM), curves, jumps)


def _powder(spectrometer: Spectrometer, options: SpectrumOptions, isotropic: Floats, tensors: Floats) -> Floats:
    if options.interaction == "quadrupole":
        pair = quadrupole_coupling(tensors, options.quadrupole_moment), asymmetry(tensors, TINY)[0]
        return powder_spectrum(spectrometer, options.spin, isotropic, quadrupole=pair)
    pair = principal_components(tensors)[..., 2], asymmetry(tensors, TINY)[0]
    return powder_spectrum(spectrometer, options.spin, isotropic, anisotropy=pair)


def count_jumps(tensors: Tensors, names: tuple[str, ...]) -> Jumps:
    """Rates between the kinds of sites, counted, with the mean shift and the population of each."""
    assert tensors.kinds is not None
    assert tensors.spacing is not None
    kinds = last_visited(np.where(tensors.kinds < len(names), tensors.kinds, -1))
    present = [index for index in range(len(names)) if (kinds == index).any()]
    transitions = np.array([[((kinds[:-1] == a) & (kinds[1:] == b)).sum() for b in present] for a in present], float)
    populations = np.array([(kinds == index).sum() for index in present], float)
    # forth and back together, so that the populations are those that the rates keep
    flux = (transitions + transitions.T) / 2 / (len(kinds) - 1) * len(kinds) / tensors.spacing
    np.fill_diagonal(flux, 0.0)
    return Jumps(
        names=tuple(names[index] for index in present),
        shifts=np.array([tensors.isotropic[kinds == index].mean() for index in present]),
        populations=populations / populations.sum(),
        rates=flux / populations[:, None],
    )
