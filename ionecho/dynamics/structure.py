"""The structure a simulation starts from: a file or a prototype."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import ase.io
import numpy as np

from ionecho.data.schema import structure_sha256
from ionecho.dynamics.prototypes import PROTOTYPES
from ionecho.errors import InputError


def read_structure(name: str, arrangement: int, repeat: tuple[int, int, int]) -> ase.Atoms:
    """The last structure of a file that ASE reads, or a prototype with its arrangement of mobile ions, repeated."""
    if name in PROTOTYPES:
        return PROTOTYPES[name](arrangement).repeat(repeat)
    if not Path(name).exists():
        raise InputError(f"structure: no file {name!r} and no prototype of that name ({', '.join(PROTOTYPES)})")
    try:
        atoms = ase.io.read(name, index=-1)
    except Exception as error:
        raise InputError(f"{name}: ASE cannot read it ({type(error).__name__}: {error})") from error
    assert isinstance(atoms, ase.Atoms)
    if not atoms.pbc.any():
        raise InputError(f"{name}: not periodic; give a structure with a cell")
    if atoms.constraints:
        fixed = ", ".join(sorted({type(constraint).__name__ for constraint in atoms.constraints}))
        raise InputError(f"{name}: holds constraints ({fixed}), here all atoms move; write it without them")
    return atoms.repeat(repeat)


def describe(atoms: ase.Atoms) -> dict[str, Any]:
    """Formula, a hash of elements, positions and cell, and masses where they are the structure's own."""
    digest = structure_sha256(atoms.numbers, atoms.positions, np.array(atoms.cell))
    masses = {"masses": atoms.get_masses().tolist()} if atoms.has("masses") else {}
    return {"formula": atoms.get_chemical_formula(), "structure_sha256": digest, **masses}
