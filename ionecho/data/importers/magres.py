"""CASTEP's `.magres`: shielding and electric-field gradients through ASE, in the schema's units."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import numpy as np
from ase.io.magres import read_magres
from numpy.typing import NDArray
from scipy import constants

from ionecho.data.importers.ase_files import from_atoms
from ionecho.data.schema import Configuration
from ionecho.errors import InputError
from ionecho.structures.text import open_text

ATOMIC_UNIT = constants.value("atomic unit of electric field gradient") * constants.angstrom**2  # V/Å² an e/(4πε₀a₀³)
KEYS = {"shielding": "ms", "efg": "efg"}
NOTHING = 1e-6  # a.u., what is left of the gradient of a cubic site
ROUNDING = 1e-3  # of the largest component; CASTEP prints ten significant digits or more


def read(path: Path) -> Iterator[Configuration]:
    """The one configuration of a `.magres` file, version 1.0 (plain or compressed).

    A row of the file is a tensor in row-major order, and ASE keeps that order. Shielding `ms` is absolute, in ppm, and
    not symmetric in general. The gradient `efg` is in atomic units, of the sign that gives C_Q = e Q V_zz / h; it is
    made exactly symmetric and traceless where it is so within rounding.

    Raises
    ------
    InputError
        If the file is not a `.magres` file, has neither `ms` nor `efg`, or has them for some atoms only, or if a
        gradient is not symmetric and traceless.
    """
    try:
        with open_text(path) as file:
            text = file.read()
        _refuse_missing(text, path)
        atoms = read_magres(StringIO(text))
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not a whole .magres file ({type(error).__name__}: {error})") from error
    configuration = from_atoms(atoms, {}, source=f"{path.name}#0", frame=0)
    for name, key in KEYS.items():
        if (rows := len(re.findall(rf"^\s*{key}\s", text, re.MULTILINE))) > len(atoms):
            raise InputError(f"{path}: {rows} rows of {key} for {len(atoms)} atoms, expected one each")
        if rows and key not in atoms.arrays:
            raise InputError(
                f"{path}: no line `units {key}` in it, without which ASE leaves out its {rows} rows of {key}"
            )
        if rows:
            configuration.labels[name] = _tensors(atoms.arrays[key], key, path)
    if not configuration.labels:
        raise InputError(f"{path}: neither ms nor efg in the file; run CASTEP with magres_task nmr or efg")
    if "efg" in configuration.labels:
        configuration.labels["efg"] = _symmetric_traceless(configuration.labels["efg"], path) * ATOMIC_UNIT
    yield configuration


def _refuse_missing(text: str, path: Path) -> None:
    """Raise InputError where not every atom has one row of its own, which ASE has no word for."""
    atoms = re.findall(r"^\s*atom\s+\S+\s+(\S+\s+\d+)\s", text, re.MULTILINE)
    blocks = re.findall(r"^\s*[\[<](\w+)[\]>]", text, re.MULTILINE)
    if unclosed := [name for name in blocks if not re.search(rf"^\s*[\[<]/{name}[\]>]", text, re.MULTILINE)]:
        raise InputError(f"{path}: ends within its block {unclosed[0]}, before a line [/{unclosed[0]}]")
    for key in KEYS.values():
        rows = re.findall(rf"^\s*{key}\s+(\S+\s+\d+)\s", text, re.MULTILINE)
        if strangers := sorted({*map(_words, rows)} - {*map(_words, atoms)}):
            raise InputError(f"{path}: {key} of {', '.join(strangers)}, expected some of its atoms {', '.join(atoms)}")
        if 0 < len(rows) < len(atoms):
            raise InputError(f"{path}: {key} is not there for every atom: {len(rows)} rows for {len(atoms)} atoms")
        if twice := [row for row, often in Counter(map(_words, rows)).items() if often > 1]:
            raise InputError(f"{path}: {key} stands twice with {', '.join(twice)}")


def _words(row: str) -> str:
    return " ".join(row.split())


def _tensors(values: NDArray, key: str, path: Path) -> NDArray[np.floating]:
    try:
        return np.asarray(values, dtype=float).reshape(len(values), 3, 3)
    except (TypeError, ValueError) as error:
        raise InputError(f"{path}: {key} is not there for every atom ({error})") from error


def _symmetric_traceless(tensors: NDArray[np.floating], path: Path) -> NDArray[np.floating]:
    symmetric = (tensors + tensors.swapaxes(1, 2)) / 2
    clean = symmetric - np.trace(symmetric, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    error = np.abs(clean - tensors).max((1, 2))
    if (bad := error > NOTHING + ROUNDING * np.abs(tensors).max((1, 2))).any():
        atom = int(np.argmax(bad))
        raise InputError(f"{path}: the efg of atom {atom} is off symmetric and traceless by {error[atom]:.2g} a.u.")
    return clean
