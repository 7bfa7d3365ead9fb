"""One structure from a file, and how it is known."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import ase
import ase.io
import numpy as np
from numpy.typing import NDArray

from ionecho.errors import InputError


def last_image(name: str) -> ase.Atoms:
    """The last structure of a file that ASE reads; raises InputError where it cannot, or sites are partly occupied."""
    try:
        atoms = ase.io.read(name, index=-1)
    except Exception as error:
        raise InputError(f"{name}: ASE cannot read it ({type(error).__name__}: {error})") from error
    assert isinstance(atoms, ase.Atoms)
    refuse_disorder(atoms, name)
    return atoms


def refuse_disorder(atoms: ase.Atoms, where: object) -> None:
    """Raise InputError for sites that a CIF says are partly occupied: ASE fills each with its first element."""
    sites = atoms.info.get("occupancy", {})
    for shares in sites.values() if isinstance(sites, Mapping) else ():
        if isinstance(shares, Mapping) and (len(shares) > 1 or min(shares.values(), default=1.0) < 1.0):
            told = ", ".join(f"{element} {share:g}" for element, share in shares.items())
            raise InputError(f"{where}: a site is partly occupied ({told}); give an ordered cell in its place")


def structure_sha256(numbers: NDArray, positions: NDArray, cell: NDArray) -> str:
    """SHA-256 of elements, positions and cell, bit by bit."""
    parts = (np.asarray(numbers, "<i8"), np.asarray(positions, "<f8"), np.asarray(cell, "<f8"))
    return hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()


def describe(atoms: ase.Atoms) -> dict[str, Any]:
    """Formula, a hash of elements, positions and cell, what is periodic, and masses that are the structure's own."""
    digest = structure_sha256(atoms.numbers, atoms.positions, np.array(atoms.cell))
    masses = {"masses": atoms.get_masses().tolist()} if atoms.has("masses") else {}
    known = {"formula": atoms.get_chemical_formula(), "structure_sha256": digest, "pbc": atoms.pbc.tolist()}
    return known | masses
