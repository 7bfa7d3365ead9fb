"""Trajectories in the text formats of MD codes, read line by line."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.data import atomic_numbers
from ase.io.formats import open_with_compression
from ase.io.lammpsrun import iread_lammps_dump_text
from ase.io.vasp import iread_vasp_out
from numpy.typing import NDArray

from ionecho.data.frames import Frames, Trajectory
from ionecho.errors import InputError
from ionecho.structures.read import refuse_disorder

LAMMPS_SUFFIXES = (".lammpstrj", ".dump")


class TextTrajectory(Trajectory):
    """Any format ASE reads (XDATCAR through a reader of our own, as ASE's holds the whole file), read line by line.

    Parameters
    ----------
    species
        Element of every LAMMPS type, where the dump has no element column.
    cell
        Cell (3, 3) Å for files that hold none; the trajectory is then periodic.
    time_step
        fs between frames, for formats that hold no time.
    """

    def __init__(
        self,
        path: Path,
        format: str | None,
        species: Sequence[str] | None,
        cell: NDArray[np.floating] | None,
        time_step: float | None,
    ) -> None:
        self.path, self.format, self.species, self.cell, self.time_step = path, format, species, cell, time_step
        self.n_frames = None
        if species is not None and not self._is_dump:
            raise InputError(f"{path}: its format names the elements; species= is for the types of LAMMPS dumps")
        first = next(self._images(), None)
        if first is None:
            raise InputError(f"{path}: holds no frame")
        self.numbers, self.pbc = first.numbers.astype(np.int64), first.pbc.copy()

    @property
    def _is_dump(self) -> bool:
        name = self.path.name.lower().removesuffix(".gz")
        return self.format == "lammps-dump-text" or (self.format is None and name.endswith(LAMMPS_SUFFIXES))

    def _images(self) -> Iterator[ase.Atoms]:
        try:
            for atoms in self._read():
                if self.cell is not None:
                    if atoms.cell.rank:
                        raise InputError(f"{self.path}: it holds a cell; leave out cell=")
                    atoms.set_cell(self.cell)
                    atoms.pbc = True
                yield atoms
        except InputError:
            raise
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise InputError(f"{self.path}: cannot be read ({what}); is it complete?") from error

    def _read(self) -> Iterator[ase.Atoms]:
        """Frames one at a time; `ase.io.iread` would hold the whole of an XDATCAR, OUTCAR or LAMMPS dump."""
        name, format = self.path.name.lower(), self.format
        if format == "vasp-xdatcar" or (format is None and "xdatcar" in name):
            yield from _read_xdatcar(self.path)
        elif self._is_dump:
            options = {} if self.species is None else {"specorder": list(self.species)}
            with open_with_compression(str(self.path)) as file:
                yield from iread_lammps_dump_text(file, index=":", **options)
        elif format == "vasp-out" or (format is None and "outcar" in name):
            with open_with_compression(str(self.path)) as file:
                yield from iread_vasp_out(file, index=":")
        else:
            for atoms in ase.io.iread(self.path, index=":", format=format):
                refuse_disorder(atoms, self.path)
                yield atoms

    def blocks(self, start: int, size: int, names: Sequence[str] = ()) -> Iterator[Frames]:
        """Blocks of frames from `start` on; there are no arrays to name."""
        self.refuse_missing(names)
        images = islice(self._images(), start, None)
        first = start
        while block := list(islice(images, size)):
            for number, atoms in enumerate(block, start=first):
                if not np.array_equal(atoms.numbers, self.numbers):
                    raise InputError(f"{self.path}: frame {number} holds other atoms than frame 0")
            time = None if self.time_step is None else self.time_step * np.arange(first, first + len(block))
            positions = np.stack([atoms.positions for atoms in block])
            yield Frames(positions, np.stack([np.array(atoms.cell) for atoms in block]), time)
            first += len(block)


def _read_xdatcar(path: Path) -> Iterator[ase.Atoms]:
    """Frames of an XDATCAR, with a fixed cell or one a frame, one at a time."""
    with gzip.open(path, "rt") if path.suffix == ".gz" else path.open() as file:
        cell, numbers = np.eye(3), np.array([], dtype=int)
        for line in file:
            if "configuration=" not in line:
                if not line.strip() and not len(numbers):
                    continue
                scale = float(next(file))
                cell = scale * np.array([next(file).split() for _ in range(3)], dtype=float)
                symbols, counts = next(file).split(), [int(word) for word in next(file).split()]
                numbers = np.repeat([atomic_numbers[symbol] for symbol in symbols], counts)
                next(file)
            rows = [row.split()[:3] for row in islice(file, len(numbers))]
            if len(rows) < len(numbers):
                raise InputError(f"{path}: the last frame breaks off after {len(rows)} of {len(numbers)} atoms")
            yield ase.Atoms(numbers, scaled_positions=np.array(rows, dtype=float), cell=cell, pbc=True)
