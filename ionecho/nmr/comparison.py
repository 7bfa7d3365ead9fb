"""How far predicted tensors are from true ones in what an experiment sees, beyond differences of their components."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionecho.nmr.derived import KILOHERTZ, Parameters, Quadrupole
from ionecho.nmr.isotopes import isotope
from ionecho.nmr.quadrupole import quadrupolar_frequency

Floats = NDArray[np.floating]
DIRECTIONS = 64  # of the magnetic field, evenly over a half sphere


@dataclass(frozen=True)
class Comparison:
    """Differences of predicted and true values of a label.

    Parameters
    ----------
    name, unit
        Of what is compared.
    label
        Of the schema; None: every symmetric tensor of an atom.
    function
        Of predicted values (n, 3, 3), true ones and the parameters; gives differences (n, ...).
    parameters
        Class of the parameters.
    of_nothing
        Whether a prediction of zero can be compared: it has no axes.
    """

    name: str
    label: str | None
    unit: str
    function: Callable[[Floats, Floats, Any], Floats]
    parameters: type[Parameters] | None = None
    of_nothing: bool = True


def field_directions(count: int) -> Floats:
    """Unit vectors evenly over a half sphere, a Fibonacci lattice, (count, 3)."""
    number = np.arange(count)
    z = 1 - (number + 0.5) / count
    angle = np.pi * (1 + 5**0.5) * number
    across = np.sqrt(1 - z**2)
    return np.stack([across * np.cos(angle), across * np.sin(angle), z], axis=-1)


def axis_angle(predicted: Floats, true: Floats) -> Floats:
    """Angle (n,) in degrees, 0 to 90, between the axes of the principal components of largest magnitude."""
    first, second = (_main_axis(tensors) for tensors in (predicted, true))
    cosine = np.abs(np.sum(first * second, axis=-1))
    return np.degrees(np.arccos(np.clip(cosine, 0.0, 1.0)))


def _main_axis(tensors: Floats) -> Floats:
    traceless = tensors - np.trace(tensors, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    values, vectors = np.linalg.eigh(traceless)
    largest = np.abs(values).argmax(axis=1)
    return np.take_along_axis(vectors, largest[:, None, None], axis=2)[..., 0]


def _frequency(predicted: Floats, true: Floats, nucleus: Quadrupole) -> Floats:
    difference = (predicted - true)[:, None]
    field = field_directions(DIRECTIONS)
    return KILOHERTZ * quadrupolar_frequency(difference, field, nucleus.moment, isotope(nucleus.isotope).spin)


COMPARISONS: dict[str, Comparison] = {
    entry.name: entry
    for entry in (
        Comparison("quadrupolar_frequency", "efg", "kHz", _frequency, Quadrupole),
        Comparison("axis_angle", None, "degree", lambda predicted, true, _: axis_angle(predicted, true), None, False),
    )
}
"""Name -> entry. Extensions may add entries."""


def compared(
    label: str, is_tensor: bool, given: Mapping[str, Parameters]
) -> list[tuple[Comparison, Parameters | None]]:
    """What can be compared of a label with the parameters given by key, each with its own."""
    return [
        (entry, None if entry.parameters is None else given[entry.parameters.key])
        for entry in COMPARISONS.values()
        if (entry.label == label or (entry.label is None and is_tensor))
        and (entry.parameters is None or entry.parameters.key in given)
    ]
