"""Powder spectra, static or under magic-angle spinning, by mrsimulator (an extra), without exchange."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionecho.errors import InputError

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Spectrometer:
    """`larmor_frequency` Hz (magnitude) of `isotope`, `rotor_frequency` Hz (0: static), and the axis in Hz.

    `points` frequencies over `width` around `centre` (Hz from the reference); `broadening` is the full width at half
    maximum of a Lorentzian that every line is given.
    """

    isotope: str
    larmor_frequency: float
    rotor_frequency: float
    width: float
    centre: float
    points: int
    broadening: float

    @property
    def frequencies(self) -> Floats:
        """The axis (F,) Hz from the reference."""
        steps = np.arange(self.points, dtype=float) - self.points // 2
        result: Floats = self.centre + self.width / self.points * steps
        return result


def powder_spectrum(
    spectrometer: Spectrometer,
    spin: float,
    isotropic: ArrayLike,
    *,
    anisotropy: tuple[ArrayLike, ArrayLike] | None = None,
    quadrupole: tuple[ArrayLike, ArrayLike] | None = None,
) -> Floats:
    """Spectrum (F,) 1/Hz of equally many spins with these shifts, of unit area.

    Every transition m -> m - 1 is computed by itself and weighted by I(I+1) - m(m - 1): 3:4:3 for spin 3/2. (The
    transitions of mrsimulator's own BlochDecaySpectrum weigh the same.)

    Parameters
    ----------
    spectrometer
        Field, spinning, axis and broadening.
    spin
        I.
    isotropic
        (n,) ppm.
    anisotropy
        Haeberlen's reduced anisotropy delta_zz - delta_iso of the shift (not the shielding), ppm, and asymmetry, (n,).
    quadrupole
        C_Q in Hz and asymmetry, (n,); orders one and two. Not with an anisotropy, as their axes would matter.

    Raises
    ------
    InputError
        If mrsimulator is not installed.
    """
    try:
        from mrsimulator import Simulator, Site, SpinSystem
        from mrsimulator.method import Method
        from mrsimulator.spin_system.isotope import Isotope
    except ImportError as error:
        raise InputError("spectra need mrsimulator: pip install 'ionecho[spectra]'") from error
    if anisotropy is not None and quadrupole is not None:
        raise InputError("spectrum: expected an anisotropy of the shift or a quadrupole, not both")
    shifts = np.asarray(isotropic, float)
    tensors: list[dict[str, Any]] = [{} for _ in shifts]
    for name, first, pair in (("shielding_symmetric", "zeta", anisotropy), ("quadrupolar", "Cq", quadrupole)):
        if pair is not None:
            values, etas = (np.asarray(each, float) for each in pair)
            sign = -1 if name == "shielding_symmetric" else 1
            for tensor, value, eta in zip(tensors, values, etas, strict=True):
                tensor[name] = {first: sign * float(value), "eta": float(np.clip(eta, 0, 1))}
    systems = [
        SpinSystem(sites=[Site(isotope=spectrometer.isotope, isotropic_chemical_shift=float(shift), **tensor)])
        for shift, tensor in zip(shifts, tensors, strict=True)
    ]
    ratio = abs(Isotope(symbol=spectrometer.isotope).gyromagnetic_ratio) * 1e6  # Hz/T
    axis = {
        "count": spectrometer.points,
        "spectral_width": spectrometer.width,
        "reference_offset": spectrometer.centre,
    }
    starts = np.arange(spin, -spin, -1) if quadrupole is not None else [0.5]
    total = np.zeros(spectrometer.points)
    for m in starts:
        query = {"ch1": {"P": [-1], "D": [float(1 - 2 * m)]}}
        method = Method(
            channels=[spectrometer.isotope],
            magnetic_flux_density=spectrometer.larmor_frequency / ratio,
            rotor_frequency=spectrometer.rotor_frequency,
            spectral_dimensions=[axis | {"events": [{"transition_queries": [query]}]}],
        )
        simulator = Simulator(spin_systems=systems, methods=[method])
        simulator.config.number_of_sidebands = 64 if spectrometer.rotor_frequency == 0 else _sidebands(spectrometer)
        simulator.run()
        line = np.asarray(simulator.methods[0].simulation.y[0].components[0].real, float)
        total += (spin * (spin + 1) - m * (m - 1)) * line / line.sum()
    return _broadened(total, spectrometer)


def _sidebands(spectrometer: Spectrometer) -> int:
    """So many sidebands as fit the axis, a power of two."""
    return int(2 ** np.ceil(np.log2(max(spectrometer.width / spectrometer.rotor_frequency * 1.5, 16))))


def _broadened(line: Floats, spectrometer: Spectrometer) -> Floats:
    """Convolved with a Lorentzian, of unit area."""
    step = spectrometer.width / spectrometer.points
    time = np.fft.rfftfreq(len(line), step)
    decayed = np.fft.irfft(np.fft.rfft(line) * np.exp(-np.pi * spectrometer.broadening * time), len(line))
    result: Floats = decayed / (decayed.sum() * step)
    return result
