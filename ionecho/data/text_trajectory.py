"""Trajectories in the files of MD codes, read frame by frame."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import ase
import numpy as np
from numpy.typing import NDArray

from ionecho.data.frames import Frames, Trajectory
from ionecho.errors import InputError, IonEchoWarning
from ionecho.structures.lammps_dump import TIME
from ionecho.structures.read import images
from ionecho.structures.xdatcar import CONFIGURATION

CLOCKS = (
    TIME,
    "timestep",
    CONFIGURATION,
    "step",
    "md_step",
    "i",
    "time",
)  # of `Atoms.info`: what tells where in time it is
EVEN = 1e-4  # relative difference of steps that are the same
SAME = 1e-3  # Å, within which a frame that a restart writes again is the one before


class TextTrajectory(Trajectory):
    """Any format that `images` reads, frame by frame.

    Parameters
    ----------
    species
        Element of every LAMMPS type, where the dump has no element column.
    cell
        Cell (3, 3) Å for files that hold no periodic one; the trajectory is then periodic.
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
        first = next(self._images(), None)
        if first is None:
            raise InputError(f"{path}: holds no frame")
        if time_step is not None and TIME in first.info:
            raise InputError(f"{path}: it tells the time of its frames; leave out time_step={time_step:g}")
        self.numbers, self.pbc = first.numbers.astype(np.int64), first.pbc.copy()

    def _images(self) -> Iterator[ase.Atoms]:
        for atoms in self._read():
            if self.cell is not None:
                if atoms.pbc.any():
                    raise InputError(f"{self.path}: it holds a periodic cell; leave out cell=..")
                atoms.set_cell(self.cell)
                atoms.pbc = True
            yield atoms

    def _read(self) -> Iterator[ase.Atoms]:
        """What the file holds."""
        return images(self.path, self.format, self.species)

    def _distinct(self) -> Iterator[ase.Atoms]:
        """Frames each once, in the order of time, and evenly spaced where `time_step` says that they are."""
        before, spacing = None, None
        for number, atoms in enumerate(self._images()):
            if not np.array_equal(atoms.numbers, self.numbers):
                raise InputError(f"{self.path}: frame {number} holds other atoms than frame 0")
            if not np.array_equal(atoms.pbc, self.pbc):
                told = f"{atoms.pbc.tolist()}, not {self.pbc.tolist()} as frame 0"
                raise InputError(f"{self.path}: frame {number} is periodic along {told}")
            name, now = clock(atoms)
            then = clock(before)[1] if before is not None else None
            if before is not None and now is not None and then is not None:
                gap = now - then
                if gap <= 0 and _same_place(before, atoms):
                    told = (
                        f"{self.path}: frame {number} stands twice ({name} {now:g}), as a restart writes it; once used"
                    )
                    warnings.warn(told, IonEchoWarning, stacklevel=2)
                    continue
                if gap == 0 or (gap < 0 and name != CONFIGURATION):  # XDATCARs of a run in parts count anew in each
                    raise InputError(
                        f"{self.path}: {name} goes from {then:g} to {now:g} at frame {number}: runs that overlap, or "
                        "frames out of order; cut it there"
                    )
                if gap > 0:
                    spacing = gap if spacing is None else spacing
                    if self.time_step is not None and abs(gap - spacing) > EVEN * spacing:
                        raise InputError(
                            f"{self.path}: {name} is {spacing:g} apart up to frame {number - 1}, then {gap:g}: frames "
                            f"are not time_step={self.time_step:g} fs apart throughout; cut it there"
                        )
            before = atoms
            yield atoms

    def _blocks(self, start: int, size: int, names: Sequence[str]) -> Iterator[Frames]:
        frames = islice(self._distinct(), start, None)
        first = start
        while block := list(islice(frames, size)):
            positions = np.stack([atoms.positions for atoms in block])
            cell = np.stack([np.array(atoms.cell) for atoms in block])
            yield Frames(positions, cell, self._times(block, first))
            first += len(block)

    def _times(self, block: Sequence[ase.Atoms], first: int) -> NDArray[np.floating] | None:
        if self.time_step is not None:
            return self.time_step * np.arange(first, first + len(block))
        if all(TIME in atoms.info for atoms in block):
            return np.array([atoms.info[TIME] for atoms in block])
        return None


def clock(atoms: ase.Atoms) -> tuple[str, float | None]:
    """What tells where in time a frame is, by its name in the file, in a unit of the file's own; None if nothing."""
    for key in CLOCKS:
        for name, value in atoms.info.items():
            if name.lower() == key:
                try:
                    return name, float(str(value).rstrip(","))
                except ValueError:
                    continue
    return "", None


def _same_place(one: ase.Atoms, other: ase.Atoms) -> bool:
    return bool(np.abs(one.positions - other.positions).max(initial=0.0) <= SAME)
