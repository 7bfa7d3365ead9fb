"""Whether the polyhedra that hold a material together are whole."""

from __future__ import annotations

import ase
import numpy as np
from numpy.typing import NDArray

OCTAHEDRON, PHOSPHATE = 2.6, 1.9  # Å, longest metal-O and P-O
THIOPHOSPHATE, SULPHUR_BOND = 2.7, 2.4  # Å, longest P-S; a shorter S-S is a bond


def coordination(atoms: ase.Atoms, centres: str | list[str], ligand: str, within: float) -> NDArray[np.int64]:
    """Number of ligands within a distance in Å of every atom of the elements `centres`, itself left out."""
    distances = atoms.get_all_distances(mic=True) + np.diag(np.full(len(atoms), np.inf))
    return (distances[np.isin(atoms.symbols, centres)][:, atoms.symbols == ligand] < within).sum(1)


def octahedra_intact(atoms: ase.Atoms) -> bool:
    """Whether every Mg and Mn has six O."""
    return bool((coordination(atoms, ["Mg", "Mn"], "O", OCTAHEDRON) == 6).all())


def thiophosphate_intact(atoms: ase.Atoms) -> bool:
    """Whether every P has four S, and no S is bonded to S."""
    whole = coordination(atoms, "P", "S", THIOPHOSPHATE) == 4
    return bool(whole.all() and not coordination(atoms, "S", "S", SULPHUR_BOND).any())


def thiophosphate_glass(atoms: ase.Atoms) -> bool:
    """Whether every P has four neighbours within P-S or P-P bonds, and no S is bonded to S."""
    bonds = coordination(atoms, "P", "S", THIOPHOSPHATE) + coordination(atoms, "P", "P", THIOPHOSPHATE)
    return bool((bonds == 4).all() and not coordination(atoms, "S", "S", SULPHUR_BOND).any())


def phosphate_intact(atoms: ase.Atoms) -> bool:
    """Whether every P has four O, and every V five or more."""
    whole = coordination(atoms, "P", "O", PHOSPHATE) == 4
    return bool(whole.all() and (coordination(atoms, "V", "O", OCTAHEDRON) >= 5).all())
