"""Nuclear constants of the isotopes met in battery NMR.

Magnetogyric ratios: Harris et al., Pure Appl. Chem. 2001, 73, 1795 (IUPAC), in 1e7 rad s^-1 T^-1.
Quadrupole moments: Pyykko, Mol. Phys. 2008, 106, 1965, in barn.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ionecho.errors import InputError


@dataclass(frozen=True)
class Isotope:
    """One nucleus.

    `spin` in units of hbar, `gyromagnetic_ratio` gamma/2pi in MHz/T (signed), `quadrupole_moment` in barn
    (signed, 0 for spin 1/2).
    """

    name: str
    spin: float
    gyromagnetic_ratio: float
    quadrupole_moment: float

    @property
    def symbol(self) -> str:
        """Of its element."""
        return self.name.lstrip("0123456789")


_TABLE = {
    # name: (spin, gamma / 1e7 rad s^-1 T^-1, Q / barn)
    "1H": (0.5, 26.7522128, 0.0),
    "2H": (1.0, 4.10662791, 0.00286),
    "6Li": (1.0, 3.9371709, -0.000808),
    "7Li": (1.5, 10.3977013, -0.0401),
    "13C": (0.5, 6.728284, 0.0),
    "14N": (1.0, 1.9337792, 0.02044),
    "15N": (0.5, -2.71261804, 0.0),
    "17O": (2.5, -3.62808, -0.02558),
    "19F": (0.5, 25.18148, 0.0),
    "23Na": (1.5, 7.0808493, 0.104),
    "25Mg": (2.5, -1.63887, 0.1994),
    "27Al": (2.5, 6.9762715, 0.1466),
    "29Si": (0.5, -5.3190, 0.0),
    "31P": (0.5, 10.8394, 0.0),
    "33S": (1.5, 2.055685, -0.0678),
    "35Cl": (1.5, 2.624198, -0.08165),
    "39K": (1.5, 1.2500608, 0.0585),
    "51V": (3.5, 7.0455117, -0.052),
    "53Cr": (1.5, -1.5152, -0.15),
    "55Mn": (2.5, 6.6452546, 0.330),
    "59Co": (3.5, 6.332, 0.42),
}

ISOTOPES = {name: Isotope(name, spin, gamma * 10 / (2 * np.pi), q) for name, (spin, gamma, q) in _TABLE.items()}


def isotope(name: str) -> Isotope:
    """Constants of one isotope, named as mass number and element (``23Na``).

    Raises
    ------
    InputError
        If the isotope is not in the table.
    """
    if name not in ISOTOPES:
        raise InputError(f"unknown isotope {name!r}: expected one of {', '.join(ISOTOPES)}; add it to nmr/isotopes.py")
    return ISOTOPES[name]
