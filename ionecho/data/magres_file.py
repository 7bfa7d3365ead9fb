"""CASTEP's `.magres` files of shielding and field gradients, written for datasets and predictions alike."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO
from pathlib import Path

import ase
import numpy as np
from ase.io.magres import write_magres
from numpy.typing import NDArray

from ionecho.data.importers.magres import ATOMIC_UNIT, KEYS
from ionecho.errors import InputError

UNITS = {"shielding": ("ppm", 1.0), "efg": ("au", 1 / ATOMIC_UNIT)}


def write_magres_file(atoms: ase.Atoms, tensors: Mapping[str, NDArray[np.floating]], target: Path) -> None:
    """Write the tensors (N, 3, 3) of the atoms, in the schema's units, as they are: of those that have one (no NaN).

    Every number is written with all its digits; the file appears when it is whole.

    Raises
    ------
    InputError
        If no atom has a shielding or a gradient.
    """
    plain = ase.Atoms(atoms.numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)
    plain.info["magres_units"] = units = {}
    for name, (unit, factor) in UNITS.items():
        values = factor * np.asarray(tensors.get(name, ()), float).reshape(-1, 3, 3)
        known = np.isfinite(values).all((1, 2))
        if known.any():
            units[KEYS[name]] = unit
            plain.set_array(KEYS[name], np.where(known[:, None, None], values, np.nan))
    if not units:
        raise InputError(f"{target}: no atom has a shielding or an efg, which a magres file holds")
    text = StringIO()
    write_magres(text, plain)
    partial = target.with_name(target.name + ".partial")
    partial.write_text("".join(line for line in text.getvalue().splitlines(keepends=True) if " nan" not in line))
    partial.replace(target)
