"""Quantities that are made of labels: what of which label, in which unit, by which parameters.

An entry here is all that a derived quantity needs: training reports its errors, prediction writes it beside the label,
cards and units know it. Its parameters are a class made of `Parameters`, whose instances are found in configs and
checkpoints under its `key`; physics without parameters is computed always.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from ase.units import GPa
from numpy.typing import NDArray

from ionecho.errors import InputError
from ionecho.nmr.hyperfine import ContactShift
from ionecho.nmr.isotopes import isotope
from ionecho.nmr.parameters import Parameters
from ionecho.nmr.quadrupole import asymmetry, quadrupole_coupling

Floats = NDArray[np.floating]
KILOHERTZ = 1e-3  # per Hz
FERMI = ", delta_total = delta_FC only"


@dataclass(frozen=True)
class Quadrupole(Parameters):
    """The nucleus whose quadrupole feels the gradient; below `tolerance` (V/Å²) of |V_zz|, eta is undefined and 0."""

    key: ClassVar[str] = "quadrupole"
    isotope: str
    tolerance: float

    def __post_init__(self) -> None:
        if isotope(self.isotope).spin < 1 or not self.tolerance >= 0:
            raise InputError(f"quadrupole: expected a nucleus of spin 1 or more and a tolerance of 0 or more, {self}")

    @property
    def moment(self) -> float:
        """Quadrupole moment, barn."""
        return isotope(self.isotope).quadrupole_moment


@dataclass(frozen=True)
class Derived:
    """One quantity made of one label.

    Parameters
    ----------
    name, unit
        Of the quantity.
    label
        Of the schema; values (n, ...) in its unit.
    function
        Of the values, the parameters (None where there are none) and the number of atoms (n,) of the configuration
        that each row belongs to; gives (n, ...).
    parameters
        Class of the parameters.
    linear
        Whether the quantity is a number times the label, so that spreads and members are converted as it is.
    note
        What else a reader should know, after the name.
    in_place
        Whether errors are told in it instead of in the label; predictions then hold the label alone.
    """

    name: str
    label: str
    unit: str
    function: Callable[[Floats, Any, Floats], Floats]
    parameters: type[Parameters] | None = None
    linear: bool = False
    in_place: bool = False
    note: str = ""


def _contact_shift(values: Floats, shift: ContactShift, _: Floats) -> Floats:
    return shift.ppm_per_mhz * values


def _coupling(values: Floats, nucleus: Quadrupole, _: Floats) -> Floats:
    return KILOHERTZ * quadrupole_coupling(values, nucleus.moment)


def _asymmetry(values: Floats, nucleus: Quadrupole, _: Floats) -> Floats:
    return asymmetry(values, nucleus.tolerance)[0]


def _by_atom(values: Floats, _: None, atoms: Floats) -> Floats:
    return values / atoms


def _gigapascal(values: Floats, _: None, __: Floats) -> Floats:
    return values / GPa


def _pressure(values: Floats, _: None, __: Floats) -> Floats:
    return -np.trace(values, axis1=-2, axis2=-1) / 3 / GPa


_ENTRIES = (
    Derived("hyperfine_contact_shift", "hyperfine_contact", "ppm", _contact_shift, ContactShift, True, note=FERMI),
    Derived("quadrupolar_coupling", "efg", "kHz", _coupling, Quadrupole),
    Derived("asymmetry", "efg", "", _asymmetry, Quadrupole),
    Derived("energy_per_atom", "energy", "eV/atom", _by_atom, linear=True, in_place=True),
    Derived("stress_GPa", "stress", "GPa", _gigapascal, linear=True, in_place=True),
    Derived("pressure_GPa", "stress", "GPa", _pressure, in_place=True),
)
DERIVED: dict[str, Derived] = {entry.name: entry for entry in _ENTRIES}
"""Name -> entry. Tests and extensions may add entries."""


def parameter_classes() -> dict[str, type[Parameters]]:
    """Key in configs and checkpoints -> class of parameters."""
    return {entry.parameters.key: entry.parameters for entry in DERIVED.values() if entry.parameters is not None}


def derived_from(label: str, given: Mapping[str, Parameters]) -> list[tuple[Derived, Parameters | None]]:
    """The quantities that can be made of a label with the parameters that are given by key, each with its own."""
    return [
        (entry, None if entry.parameters is None else given[entry.parameters.key])
        for entry in DERIVED.values()
        if entry.label == label and (entry.parameters is None or entry.parameters.key in given)
    ]


def told_in(label: str) -> Derived | None:
    """The quantity, component by component, in which errors of a label are told; None: in the label's own unit."""
    found = (entry for entry in DERIVED.values() if entry.label == label and entry.in_place and entry.linear)
    return next(found, None)


def made_by(key: str) -> list[Derived]:
    """The quantities whose parameters go by this key."""
    return [entry for entry in DERIVED.values() if entry.parameters is not None and entry.parameters.key == key]


def parse_parameters(given: Mapping[str, Any], stored: Mapping[str, Any] | None = None) -> dict[str, Parameters]:
    """Parameters by key from plain mappings, None standing for none; `stored` are those the labels were made for.

    Raises
    ------
    InputError
        If a key is unknown, or a mapping does not hold just the parameters of its class.
    """
    classes = parameter_classes()
    if unknown := sorted(set(given) - set(classes)):
        raise InputError(f"parameters: expected some of {', '.join(classes)}, found {', '.join(unknown)}")
    known = stored or {}
    return {key: classes[key].parse(value, known.get(key)) for key, value in given.items() if value is not None}


def gathered(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings with the parameters that stand beside the other keys under `parameters`, by key."""
    classes = parameter_classes()
    beside = {key: value for key, value in settings.items() if key in classes}
    rest = {key: value for key, value in settings.items() if key not in classes}
    return {**rest, "parameters": {**rest.get("parameters", {}), **beside}}


def units() -> dict[str, str]:
    """Unit of every derived quantity."""
    return {entry.name: entry.unit for entry in DERIVED.values()}
