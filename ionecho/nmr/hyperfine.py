"""From hyperfine couplings to paramagnetic shifts (Fermi contact) and from spin density to couplings.

A contact coupling comes in one of two normalisations, and a shift needs the first:

(a) *per centre*: A multiplies the spin S of one paramagnetic ion, H = A I.S;
(b) *per cell*: what plane-wave codes print, A multiplies the <S_z> of the whole cell.

`per_centre` turns (b) into (a) by the factor <S_z>_cell / S_formal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants

from ionecho.errors import InputError
from ionecho.nmr.parameters import Parameters

Floats = NDArray[np.float64]

MU_B = constants.value("Bohr magneton")  # J/T
G_E = abs(constants.value("electron g factor"))
MEGAHERTZ = 1e6
PPM = 1e6


def rescale(coupling: ArrayLike, from_ratio: float, to_ratio: float) -> Floats:
    """Couplings computed with one gyromagnetic ratio (VASP's ``NGYROMAG``) expressed for another, both in MHz/T."""
    return np.asarray(coupling, float) * (to_ratio / from_ratio)


def per_centre(coupling: ArrayLike, sz_cell: float, s_formal: float) -> Floats:
    """Per-cell couplings (normalised by <S_z> of the cell) as per-centre ones of spin `s_formal`."""
    return np.asarray(coupling, float) * (sz_cell / s_formal)


def contact_shift(
    coupling: ArrayLike, gyromagnetic_ratio: float, effective_moment: float, temperature: float, weiss_constant: float
) -> Floats:
    """Fermi-contact shift in ppm, positive towards high frequency.

    delta = A / (hbar gamma) * mu_eff^2 / (3 g_e mu_B k (T - Theta)); Chem. Sci. 2022, 13, 7863, eqn 1.

    Parameters
    ----------
    coupling
        Isotropic coupling A/h of one centre, MHz, any shape.
    gyromagnetic_ratio
        gamma/2pi, MHz/T, the one `coupling` was computed for.
    effective_moment
        Curie moment of one centre, in Bohr magnetons.
    temperature, weiss_constant
        Kelvin; the Weiss constant is negative for antiferromagnetic interactions.

    Raises
    ------
    InputError
        If T - Theta is not positive: the Curie-Weiss law does not hold there.
    """
    if temperature <= weiss_constant:
        raise InputError(
            f"contact shift: temperature {temperature} K must lie above the Weiss constant {weiss_constant} K; "
            "the Curie-Weiss law holds in the paramagnetic state only"
        )
    field_per_spin = np.asarray(coupling, float) / gyromagnetic_ratio  # A / (hbar gamma) in tesla
    susceptibility = (effective_moment * MU_B) ** 2 / (3 * constants.k * (temperature - weiss_constant))  # J/T^2
    return field_per_spin * susceptibility / (G_E * MU_B) * PPM


DIVISORS = ("gyromagnetic_ratio", "sz_cell", "s_formal")


@dataclass(frozen=True)
class ContactShift(Parameters):
    """The conversion from per-cell contact couplings (MHz) to shifts (ppm), with every parameter written out.

    `gyromagnetic_ratio` in MHz/T, `effective_moment` in Bohr magnetons, `temperature` and `weiss_constant` in K,
    `sz_cell` the <S_z> the couplings are normalised by, `s_formal` the spin of one centre. Couplings already
    per centre have ``sz_cell == s_formal``.
    """

    key: ClassVar[str] = "contact_shift"
    gyromagnetic_ratio: float
    effective_moment: float
    temperature: float
    weiss_constant: float
    sz_cell: float
    s_formal: float

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not np.isfinite(value) or (value == 0 and name in DIVISORS):
                raise InputError(f"contact_shift.{name}: expected a number, of a divisor not 0, found {value}")

    @classmethod
    def parse(cls, parameters: object, stored: Mapping[str, Any] | None = None) -> Self:
        """The conversion; its ratio must be the one the couplings are stored for."""
        shift = super().parse(parameters, stored)
        if stored is not None and not np.isclose(shift.gyromagnetic_ratio, stored["gyromagnetic_ratio"], rtol=1e-6):
            raise InputError(
                f"contact_shift: the couplings are for {stored['gyromagnetic_ratio']} MHz/T, found "
                f"{shift.gyromagnetic_ratio}; a shift does not depend on the ratio, so leave it as it is"
            )
        return shift

    def __call__(self, coupling: ArrayLike) -> Floats:
        """Shifts in ppm of couplings in MHz, any shape."""
        centre = per_centre(coupling, self.sz_cell, self.s_formal)
        return contact_shift(
            centre, self.gyromagnetic_ratio, self.effective_moment, self.temperature, self.weiss_constant
        )

    @property
    def ppm_per_mhz(self) -> float:
        """Shift of a per-cell coupling of 1 MHz."""
        return float(self(1.0))


def contact_coupling(spin_density: ArrayLike, gyromagnetic_ratio: float, sz: float) -> Floats:
    """Contact coupling A/h in MHz from the spin density at the nucleus.

    A = (2/3) mu_0 g_e mu_B hbar gamma * (rho_up - rho_down)(R) / (2 <S_z>); Chem. Sci. 2022, 13, 7863, eqn 2, whose
    spin density integrates to <S_z>, half of the unpaired electrons given here.

    Parameters
    ----------
    spin_density
        rho_up - rho_down at the nucleus, electrons (Bohr magnetons) per cubic angstrom.
    gyromagnetic_ratio
        gamma/2pi, MHz/T.
    sz
        <S_z> by which the coupling is normalised: half of the integral of the spin density over the cell.
    """
    density = np.asarray(spin_density, float) / constants.angstrom**3
    nuclear = constants.h * gyromagnetic_ratio * MEGAHERTZ  # hbar gamma, J/T
    energy = (2 / 3) * constants.mu_0 * G_E * MU_B * nuclear * density / (2 * sz)
    return energy / constants.h / MEGAHERTZ
