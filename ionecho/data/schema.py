"""The dataset schema: which arrays a dataset holds, their shapes, types and units, and one configuration of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntFlag
from typing import Any, Literal

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from ionecho.errors import InputError

SCHEMA_VERSION = 1


Kind = Literal["scalar", "vector", "traceless", "tensor"]
"""How a label turns with the structure; `traceless` and `tensor` are symmetric, of shape (3, 3)."""


@dataclass(frozen=True)
class Array:
    """One array of the schema: a leading axis over configurations, atoms or grid points, then `shape`.

    Labels have a `kind`, the arrays of the structure have none.
    """

    name: str
    per: str  # "configuration", "atom" or "grid"
    shape: tuple[int, ...]
    dtype: str  # "str" is variable-length UTF-8
    unit: str
    description: str
    kind: Kind | None = None
    limit: float = np.inf
    """No honest component is larger in magnitude; of an energy, an atom."""

    @property
    def stored_dtype(self) -> Any:
        """What zarr is told."""
        return np.dtypes.StringDType() if self.dtype == "str" else self.dtype

    @property
    def is_label(self) -> bool:
        """Labels may be missing (NaN, or the whole array absent); the rest of a configuration may not."""
        return self.kind is not None


_ARRAYS = (
    Array("cell", "configuration", (3, 3), "float64", "Å", "lattice vectors as rows"),
    Array("pbc", "configuration", (3,), "bool", "", "periodic along each lattice vector"),
    Array("group", "configuration", (), "str", "", "trajectory or family the configuration belongs to"),
    Array("frame", "configuration", (), "int64", "", "index within the group, in time order"),
    Array("source", "configuration", (), "str", "", "file and step the configuration was read from"),
    Array("quality", "configuration", (), "int64", "", "bit flags of the quality gate, 0 is good"),
    Array("numbers", "atom", (), "int16", "", "atomic numbers"),
    Array("positions", "atom", (3,), "float64", "Å", "Cartesian coordinates"),
    Array("energy", "configuration", (), "float64", "eV", "total energy of the configuration", "scalar", 3e6),
    Array("stress", "configuration", (3, 3), "float64", "eV/Å³", "stress tensor, tensile positive", "tensor", 100.0),
    Array("forces", "atom", (3,), "float64", "eV/Å", "forces", "vector", 1e3),
    Array("magnetic_moment", "atom", (), "float64", "μB", "atomic spin moment, up minus down", "scalar", 20.0),
    Array(
        "hyperfine_contact",
        "atom",
        (),
        "float64",
        "MHz",
        "Fermi-contact coupling, true gyromagnetic ratio",
        "scalar",
        1e6,
    ),
    Array(
        "hyperfine_dipolar", "atom", (3, 3), "float64", "MHz", "dipolar coupling, traceless symmetric", "traceless", 1e6
    ),
    Array("efg", "atom", (3, 3), "float64", "V/Å²", "electric-field gradient, traceless symmetric", "traceless", 1e5),
    Array("shielding", "atom", (3, 3), "float64", "ppm", "absolute magnetic shielding", "tensor", 1e6),
    Array(
        "bader_charge",
        "atom",
        (),
        "float64",
        "e",
        "nuclear charge less the electrons of the atom's Bader basin",
        "scalar",
    ),
    Array(
        "bader_moment", "atom", (), "float64", "μB", "spin moment of the atom's Bader basin, up minus down", "scalar"
    ),
    Array(
        "charge_density",
        "grid",
        (),
        "float32",
        "e/Å³",
        "electron density, positive; point ijk at i/n1, j/n2, k/n3",
        "scalar",
    ),
    Array("spin_density", "grid", (), "float32", "μB/Å³", "spin density, up minus down, on the same points", "scalar"),
)
ARRAYS: dict[str, Array] = {array.name: array for array in _ARRAYS}
LABELS = [array.name for array in _ARRAYS if array.is_label]


def add_label(array: Array) -> None:
    """Make a label of one's own known, as an entry above would."""
    if not array.is_label or array.name in ARRAYS:
        raise InputError(f"label {array.name}: expected a kind, and a name that is not taken")
    ARRAYS[array.name] = array
    LABELS.append(array.name)


ASE_RESULTS = {"energy": "energy", "stress": "stress", "forces": "forces", "magnetic_moment": "magmoms"}


class Quality(IntFlag):
    """Why a configuration is out of the default splits."""

    ELECTRONIC_STEPS_EXHAUSTED = 1
    ENERGY_OUTLIER = 2
    UNEXPECTED_MOMENT = 4
    MISSING_LABEL = 8
    ABSURD_VALUE = 16


GOOD = Quality(0)


@dataclass
class Configuration:
    """One labelled configuration of N atoms, in the units of the schema; a label that is absent is missing.

    Grids (`charge_density`, `spin_density`) are labels of shape (n1, n2, n3), the same for both: the value [i, j, k]
    is that at the fractional coordinates (i/n1, j/n2, k/n3).
    """

    numbers: NDArray[np.integer]  # (N,)
    positions: NDArray[np.floating]  # (N, 3) Å
    cell: NDArray[np.floating]  # (3, 3) Å
    pbc: NDArray[np.bool_]  # (3,)
    group: str
    frame: int
    source: str
    quality: Quality = GOOD
    labels: dict[str, NDArray[np.floating]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.numbers)

    @property
    def grid_shape(self) -> tuple[int, ...]:
        """Points of its grids along each lattice vector; (0, 0, 0) without grids."""
        for name, value in self.labels.items():
            if ARRAYS[name].per == "grid":
                if np.ndim(value) != 3:
                    raise InputError(f"{self.source}: {name} should have shape (n1, n2, n3), found {np.shape(value)}")
                return np.shape(value)
        return (0, 0, 0)

    @property
    def atoms(self) -> ase.Atoms:
        """For ASE, with its labels: by `get_forces()` and the like, others in `arrays[label]`; grids are left out.

        Tensors are nine columns, row by row, as ASE writes arrays of no more than two axes.
        """
        atoms = ase.Atoms(numbers=self.numbers, positions=self.positions, cell=self.cell, pbc=self.pbc)
        results = {ASE_RESULTS[name]: value for name, value in self.labels.items() if name in ASE_RESULTS}
        if results:
            atoms.calc = SinglePointCalculator(atoms, **_as_ase_has_them(results))
        for name, value in self.labels.items():
            if name not in ASE_RESULTS and ARRAYS[name].per == "atom":
                values = np.asarray(value)
                atoms.arrays[name] = values.reshape(len(self), -1) if values.ndim > 2 else values
        return atoms

    def array(self, name: str) -> NDArray:
        """The array `name` of this configuration with its schema shape; a missing label is NaN."""
        spec = ARRAYS[name]
        leading = {"configuration": (), "atom": (len(self),), "grid": self.grid_shape}[spec.per]
        shape = (*leading, *spec.shape)
        if spec.is_label:
            value = self.labels.get(name)
            value = np.full(shape, np.nan) if value is None else np.asarray(value)
            value = value.astype(spec.dtype, copy=False)
        else:
            value = np.asarray(int(self.quality) if name == "quality" else getattr(self, name))
        if value.shape != shape:
            raise InputError(f"{self.source}: {name} should have shape {shape}, found {value.shape}")
        return value


def _as_ase_has_them(results: dict[str, NDArray]) -> dict[str, Any]:
    """Energy as a number, stress as six components; what is missing is left out."""
    known: dict[str, Any] = {name: value for name, value in results.items() if np.isfinite(value).all()}
    if "energy" in known:
        known["energy"] = float(known["energy"])
    if "stress" in known:
        known["stress"] = full_3x3_to_voigt_6_stress(known["stress"])
    return known


def voigt_to_tensor(voigt: NDArray[np.floating]) -> NDArray[np.floating]:
    """Symmetric tensors (..., 3, 3) from their components (..., 6) in the order xx, yy, zz, yz, xz, xy."""
    xx, yy, zz, yz, xz, xy = np.moveaxis(np.asarray(voigt, dtype=float), -1, 0)
    return np.stack([np.stack([xx, xy, xz], -1), np.stack([xy, yy, yz], -1), np.stack([xz, yz, zz], -1)], -2)
