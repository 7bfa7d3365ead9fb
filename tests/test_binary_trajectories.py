"""Binary trajectories against the same frames in text."""

from __future__ import annotations

import warnings
from pathlib import Path

import ase.io
import numpy as np
import pytest
from ase.build import bulk

from ionecho.data.trajectory import open_trajectory
from ionecho.errors import InputError

mda = pytest.importorskip("MDAnalysis")
FRAMES, SPACING = 7, 20.0  # fs
PRECISION = {".xtc": 6e-3, ".traj": 1e-7}  # Å; XTC keeps thousandths of a nanometre


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[ase.Atoms]:
    """A crystal in a sheared cell that grows, a along x."""
    found = []
    for seed in range(FRAMES):
        atoms = bulk("NaCl", "rocksalt", 5.6, cubic=True)
        atoms.set_cell([[6.0, 0, 0], [1.0, 5.5, 0], [-0.5, 0.4, 5.8 + 0.1 * seed]], scale_atoms=True)
        atoms.rattle(0.2, seed=seed)
        found.append(atoms)
    return found


@pytest.fixture(scope="module")
def folder(frames: list[ase.Atoms], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same frames in every format."""
    place = tmp_path_factory.mktemp("binary")
    ase.io.write(place / "run.extxyz", frames)
    ase.io.write(place / "run.traj", frames)
    ase.io.write(place / "POSCAR", frames[0], format="vasp")
    universe = mda.Universe.empty(len(frames[0]), trajectory=True, forces=True, velocities=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for ending in (".xtc", ".trr", ".dcd", ".nc", ".h5md"):
            options = {"velocities": False, "forces": False} if ending == ".h5md" else {}
            options |= {"timeunit": "ps", "lengthunit": "Angstrom"} if ending == ".h5md" else {}
            with mda.Writer(str(place / f"run{ending}"), len(frames[0]), **options) as writer:
                for number, atoms in enumerate(frames):
                    universe.atoms.positions = atoms.positions
                    universe.dimensions = atoms.cell.cellpar()
                    universe.trajectory.ts.time = 1e-3 * SPACING * number
                    universe.trajectory.ts.frame = universe.trajectory.ts.data["step"] = number
                    writer.write(universe)
    return place


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("ending", [".xtc", ".trr", ".dcd", ".nc", ".h5md", ".traj"])
def test_the_frames_are_those_of_the_text(folder: Path, ending: str) -> None:
    options = {} if ending == ".traj" else {"topology": str(folder / "POSCAR")}
    if ending in (".dcd", ".traj"):
        options["time_step"] = SPACING
    trajectory = open_trajectory(folder / f"run{ending}", **options)
    text = open_trajectory(folder / "run.extxyz", time_step=SPACING)
    np.testing.assert_array_equal(trajectory.numbers, text.numbers)
    assert trajectory.pbc.all()
    found, expected = (list(each.blocks(2, 2)) for each in (trajectory, text))
    assert [len(block) for block in found] == [2, 2, 1]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one.positions, other.positions, atol=PRECISION.get(ending, 1e-5))
        np.testing.assert_allclose(one.cell, other.cell, atol=PRECISION.get(ending, 1e-5))
        np.testing.assert_allclose(one.time, other.time, rtol=1e-5)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_elements_are_asked_for_and_damage_is_told(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.xtc: its format names no elements; give topology=FILE"):
        open_trajectory(folder / "run.xtc")
    ase.io.write(tmp_path / "other.xyz", bulk("Cu"))
    with pytest.raises(InputError, match=r"frame 0 has 8 atoms, .*other\.xyz has 1"):
        open_trajectory(folder / "run.trr", topology=str(tmp_path / "other.xyz"))
    with pytest.raises(InputError, match="topology= is for"):
        open_trajectory(folder / "run.extxyz", topology=str(folder / "POSCAR"))
    with pytest.raises(InputError, match="it tells the time of its frames"):
        open_trajectory(folder / "run.xtc", topology=str(folder / "POSCAR"), time_step=1.0)
    for ending in (".xtc", ".trr", ".dcd", ".nc", ".h5md"):
        whole = (folder / f"run{ending}").read_bytes()
        for length in (10, len(whole) // 2):
            (tmp_path / f"cut{ending}").write_bytes(whole[:length])
            with pytest.raises(InputError, match=rf"cut\{ending}"):
                list(open_trajectory(tmp_path / f"cut{ending}", topology=str(folder / "POSCAR")).blocks(0, 4))
