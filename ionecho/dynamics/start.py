"""The structure a simulation starts from: a file or a prototype."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase

from ionecho.data.trajectory import ZarrTrajectory
from ionecho.errors import InputError
from ionecho.structures.prototypes import PROTOTYPES
from ionecho.structures.read import last_image


def read_structure(given: str | ase.Atoms, arrangement: int, repeat: Sequence[int]) -> ase.Atoms:
    """The last frame of a trajectory or of a file that ASE reads, or a prototype with its arrangement of mobile ions.

    It is repeated along the lattice vectors. Atoms are taken as they are, if they could stand in a file.

    Raises
    ------
    InputError
        If there is no such structure, or it is not periodic, has no volume, or holds constraints.
    """
    three_numbers(repeat)
    if isinstance(given, ase.Atoms):
        return _sound(given, str(given.symbols)).repeat(tuple(repeat))
    if given in PROTOTYPES:
        if arrangement < 0:
            raise InputError(f"arrangement: expected a seed of 0 or more, found {arrangement}")
        return PROTOTYPES[given](arrangement).repeat(tuple(repeat))
    if not Path(given).exists():
        raise InputError(f"structure: no file {given!r} and no prototype of that name ({', '.join(PROTOTYPES)})")
    atoms = _last_state(Path(given)) if Path(given, "zarr.json").exists() else last_image(given)
    return _sound(atoms, given).repeat(tuple(repeat))


def _sound(atoms: ase.Atoms, name: str) -> ase.Atoms:
    """The atoms; refused where they cannot move as a crystal."""
    if not atoms.pbc.any():
        raise InputError(f"{name}: not periodic; give a structure with a cell")
    if atoms.pbc.all() and not atoms.cell.volume:
        raise InputError(f"{name}: periodic along three vectors of a cell without volume, {atoms.cell.array.tolist()}")
    if atoms.constraints:
        fixed = ", ".join(sorted({type(constraint).__name__ for constraint in atoms.constraints}))
        raise InputError(f"{name}: holds constraints ({fixed}), here all atoms move; write it without them")
    return atoms


def three_numbers(repeat: Any) -> Any:
    """Refuse what is no number of cells along each of the three lattice vectors."""
    if not isinstance(repeat, Sequence) or len(repeat) != 3 or any(type(n) is not int or n < 1 for n in repeat):
        raise InputError(f"repeat: expected three numbers of cells such as [2,2,1], found {repeat}")
    return repeat


def _last_state(path: Path) -> ase.Atoms:
    """Where a simulation ended, with its velocities; of one that stopped, and of others, the last frame without."""
    trajectory = ZarrTrajectory(path)
    state = trajectory.zarr.attrs.get("state")
    if not state:
        (last,) = trajectory.blocks((trajectory.n_frames or 1) - 1, 1)
        return ase.Atoms(trajectory.numbers, last.positions[0], cell=last.cell[0], pbc=trajectory.pbc)
    atoms = ase.Atoms(trajectory.numbers, state["positions"], cell=state["cell"], pbc=trajectory.pbc)
    if "masses" in state:
        atoms.set_masses(state["masses"])
    atoms.set_momenta(state["momenta"])
    return atoms
