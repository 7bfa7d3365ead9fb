"""What NMR reports of a site's tensor, a column each, in one convention for labels and for predictions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ionecho.errors import InputError
from ionecho.nmr.isotopes import isotope
from ionecho.nmr.quadrupole import asymmetry, principal_components, quadrupole_coupling
from ionecho.nmr.tensor_convention import chemical_shift, euler_angles, herzfeld_berger

Columns = dict[str, NDArray]
MEGAHERTZ = 1e-6  # per Hz
ANGLES = ("alpha", "beta", "gamma")
UNITS = {
    "sigma_iso": "ppm",
    "delta_iso": "ppm",
    "span": "ppm",
    "skew": "",
    "V_zz": "V/Å²",
    "C_Q": "MHz",
    "eta": "",
} | {f"{label}_{angle}": "degree" for label in ("shielding", "efg") for angle in ANGLES}
"""Column -> unit."""


@dataclass(frozen=True)
class Conventions:
    """What the labels do not say: of each element the isotope, and its line delta = intercept + slope sigma in ppm.

    `tolerance` in V/Å²: of |V_zz|, below which eta is undefined and left out.
    """

    isotopes: Mapping[str, str]
    references: Mapping[str, tuple[float, float]]
    tolerance: float

    @classmethod
    def of(
        cls, isotopes: Sequence[str], references: Mapping[str, tuple[float, float]], tolerance: float = 1e-3
    ) -> Conventions:
        """From isotopes such as `23Na` and the lines by element; raises InputError where one is not so."""
        if unknown := [symbol for symbol in references if symbol not in atomic_numbers]:
            raise InputError(f"reference: {', '.join(map(repr, unknown))} is no element")
        return cls({isotope(name).symbol: name for name in isotopes}, references, tolerance)

    @classmethod
    def parse(cls, isotopes: Sequence[str], references: Sequence[str]) -> Conventions:
        """From `23Na` and `Na:551.3:-0.997`; raises InputError where one is not so."""
        lines = {}
        for text in references:
            symbol, *numbers = text.split(":")
            try:
                intercept, slope = (float(number) for number in numbers)
            except ValueError as error:
                raise InputError(f"--reference: expected ELEMENT:intercept:slope in ppm, found {text!r}") from error
            lines[symbol] = (intercept, slope)
        return cls.of(isotopes, lines)


def shielding_columns(tensors: NDArray, symbols: NDArray, conventions: Conventions) -> Columns:
    """Of shielding tensors (n, 3, 3) in ppm at elements (n,): isotropic value, span, skew, Euler angles.

    Shifts are of elements with a reference line, NaN elsewhere.
    """
    known = np.isin(symbols, list(conventions.references))
    lines = np.array([conventions.references[symbol] for symbol in symbols[known]]).reshape(-1, 2)
    shifts = chemical_shift(tensors[known], lines[:, 0], lines[:, 1])
    found = {"sigma_iso": np.trace(tensors, axis1=1, axis2=2) / 3}
    for column, values in zip(("delta_iso", "span", "skew"), herzfeld_berger(shifts), strict=True):
        found[column] = np.full(len(tensors), np.nan)
        found[column][known] = values
    return found | _angles(tensors, "shielding")


def gradient_columns(tensors: NDArray, symbols: NDArray, conventions: Conventions) -> Columns:
    """Of field gradients (n, 3, 3) in V/Å² at elements (n,): V_zz, C_Q, eta, Euler angles.

    C_Q is of elements with an isotope, NaN elsewhere.
    """
    moments = [isotope(conventions.isotopes[s]).quadrupole_moment if s in conventions.isotopes else 0 for s in symbols]
    moment = np.array(moments, float)
    eta, defined = asymmetry(tensors, conventions.tolerance)
    return {
        "V_zz": principal_components(tensors)[:, 2],
        "C_Q": np.where(moment != 0, MEGAHERTZ * quadrupole_coupling(tensors, 1.0) * moment, np.nan),
        "eta": np.where(defined, eta, np.nan),
        **_angles(tensors, "efg"),
    }


def _angles(tensors: NDArray, name: str) -> Columns:
    return dict(zip([f"{name}_{angle}" for angle in ANGLES], euler_angles(tensors).T, strict=True))


COLUMNS: Mapping[str, Callable[[NDArray, NDArray, Conventions], Columns]] = {
    "shielding": shielding_columns,
    "efg": gradient_columns,
}
"""Label -> what is told of it."""
