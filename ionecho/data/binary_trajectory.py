"""Binary trajectories of MD codes, through MDAnalysis, frame by frame; a structure file names their elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from ionecho.data.text_trajectory import TextTrajectory
from ionecho.errors import InputError
from ionecho.structures.lammps_dump import TIME
from ionecho.structures.read import last_image

NANOMETRE, PICOSECOND = 10.0, 1e3  # Å, fs
ENDINGS = (".xtc", ".trr", ".dcd", ".nc", ".ncdf", ".h5md")
TURNED = 1e-3  # relative
INSTALL = "pip install 'ionecho[trajectories]'"
Frame = tuple[NDArray[np.floating], NDArray[np.floating], float | None]  # positions Å, cell Å (zeros: none), time fs


class BinaryTrajectory(TextTrajectory):
    """XTC, TRR, DCD, AMBER NetCDF and H5MD.

    Cells that a format keeps as lengths and angles (DCD, NetCDF, H5MD) have a along x and b in the plane of x and y.
    The times of a DCD are left out: codes write them in units of their own.

    Parameters
    ----------
    topology
        File that ASE reads, of the same atoms in the same order.
    cell
        Cell (3, 3) Å, for files that hold none.
    time_step
        fs between frames, for files that hold no time.

    Raises
    ------
    InputError
        If MDAnalysis is not installed, there is no topology, it is of other atoms, or a frame cannot be read.
    """

    def __init__(
        self, path: Path, topology: str | None, cell: NDArray[np.floating] | None, time_step: float | None
    ) -> None:
        if topology is None:
            raise InputError(f"{path}: its format names no elements; give topology=FILE, a structure of the same atoms")
        self.kinds = last_image(topology).numbers
        self.topology = topology
        super().__init__(path, None, None, cell, time_step)

    def _read(self) -> Iterator[ase.Atoms]:
        try:
            for frame, (positions, cell, time) in enumerate(_frames(self.path)):
                if len(positions) != len(self.kinds):
                    told = f"{len(positions)} atoms, {self.topology} has {len(self.kinds)}"
                    raise InputError(f"{self.path}: frame {frame} has {told}")
                periodic = bool(np.abs(cell).any())
                atoms = ase.Atoms(self.kinds, positions=positions, cell=cell, pbc=periodic)
                if time is not None:
                    atoms.info[TIME] = time
                yield atoms
        except InputError:
            raise
        except ModuleNotFoundError as error:
            raise InputError(f"{self.path}: {error.name} is not installed, which reads it; {INSTALL}") from error
        except Exception as error:  # of any of MDAnalysis' readers
            told = f"{type(error).__name__}: {' '.join(str(error).split())}"
            raise InputError(f"{self.path}: cannot be read ({told})") from error


def _frames(path: Path) -> Iterator[Frame]:
    kind = path.suffix.lower()
    if kind in (".xtc", ".trr"):
        return _gromacs(path, kind)
    return {".dcd": _dcd, ".h5md": _h5md}.get(kind, _netcdf)(path)


def _gromacs(path: Path, kind: str) -> Iterator[Frame]:
    from MDAnalysis.lib.formats.libmdaxdr import TRRFile, XTCFile

    with {".xtc": XTCFile, ".trr": TRRFile}[kind](str(path)) as file:
        for frame in file:
            if not getattr(frame, "hasx", True):
                continue  # velocities or forces alone
            positions, cell = (NANOMETRE * np.asarray(part, float) for part in (frame.x, frame.box))
            yield positions, cell, PICOSECOND * float(frame.time)


def _dcd(path: Path) -> Iterator[Frame]:
    from MDAnalysis.coordinates.DCD import DCDReader

    with path.open("rb") as file:
        said = np.frombuffer(file.read(12)[8:], "<i4")
    with DCDReader(str(path), dt=1.0) as reader:
        if len(said) and reader.n_frames < said[0] < 1 << 24:
            raise InputError(f"{path}: holds {reader.n_frames} of the {said[0]} frames that its head counts")
        for step in reader:
            yield np.array(step.positions, float), _standard_cell(step.dimensions), None


def _netcdf(path: Path) -> Iterator[Frame]:
    from MDAnalysis.coordinates.TRJ import NCDFReader

    with NCDFReader(str(path)) as reader:
        for step in reader:
            yield np.array(step.positions, float), _standard_cell(step.dimensions), PICOSECOND * float(step.time)


def _h5md(path: Path) -> Iterator[Frame]:
    from MDAnalysis.coordinates.H5MD import H5MDReader

    with H5MDReader(str(path)) as reader:
        for step in reader:
            box: Any = reader._particle_group.get("box/edges")
            moving = box["value"] if hasattr(box, "keys") else None
            cell = _standard_cell(step.dimensions)
            edges = np.empty(0) if box is None else np.asarray(box if moving is None else moving[step.frame], float)
            if cell.any() and edges.shape == (3, 3) and _turned(edges, cell):
                raise InputError(f"{path}: frame {step.frame}: its cell does not have a along x; turn it, or write XTC")
            yield np.array(step.positions, float), cell, PICOSECOND * float(step.time)


def _turned(edges: NDArray[np.floating], cell: NDArray[np.floating]) -> bool:
    """Whether the cell of the file, in a unit of its own, is not that of its lengths and angles."""
    return bool(np.abs(edges / np.linalg.norm(edges) - cell / np.linalg.norm(cell)).max() > TURNED)


def _standard_cell(parameters: Sequence[float] | None) -> NDArray[np.floating]:
    """From three lengths and three angles, a along x; zeros where there is none."""
    if parameters is None or not np.asarray(parameters, float)[:3].any():
        return np.zeros((3, 3))
    return np.array(ase.cell.Cell.new(np.asarray(parameters, float)))
