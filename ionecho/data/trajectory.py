"""Trajectories of the same atoms, streamed in blocks: zarr (Format 2), datasets, and the text formats of MD codes."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Protocol

import ase
import ase.io
import numpy as np
import zarr
from ase.cell import Cell
from ase.data import atomic_numbers
from ase.io.formats import open_with_compression
from ase.io.lammpsrun import iread_lammps_dump_text
from ase.io.vasp import iread_vasp_out
from numpy.typing import NDArray

from ionecho.data.store import Dataset, open_zarr
from ionecho.errors import InputError
from ionecho.structures.read import refuse_disorder

LAMMPS_SUFFIXES = (".lammpstrj", ".dump")


@dataclass(frozen=True)
class Frames:
    """Consecutive frames: positions (T, N, 3) Å, cell (T, 3, 3) Å, time (T,) fs if known, group (T,) if there are."""

    positions: NDArray[np.floating]
    cell: NDArray[np.floating]
    time: NDArray[np.floating] | None = None
    group: NDArray | None = None
    frame: NDArray[np.integer] | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def part(self, start: int, stop: int) -> Frames:
        """The frames start..stop."""
        arrays = (self.positions, self.cell, self.time, self.group, self.frame)
        return Frames(*(None if array is None else array[start:stop] for array in arrays))  # type: ignore[arg-type]


class Trajectory(Protocol):
    """`numbers` (N,), `pbc` (3,), the number of frames and the temperature (K) where known, and blocks of frames.

    `friction_time` is the relaxation time (fs) of Langevin dynamics, None for others and where it is not known;
    `stopped` why the simulation ended early, if it did.
    """

    numbers: NDArray[np.integer]
    pbc: NDArray[np.bool_]
    n_frames: int | None
    temperature: float | None
    friction_time: float | None
    stopped: str | None

    def blocks(self, start: int, size: int) -> Iterator[Frames]: ...


def early_end(stopped: object) -> list[str]:
    """What a reader of numbers from a simulation should know if it stopped early."""
    return [] if stopped is None else [f"the simulation stopped early, {stopped}; judge its last frames."]


def simulated_temperature(group: zarr.Group) -> float | None:
    """Temperature (K) of the simulation that a trajectory, or predictions along one, come from; None if unknown.

    That of the thermostat; without one the mean over the run.
    """
    ensemble = _ensemble(group)
    if ensemble.get("kind") == "nve":
        return float(np.mean(group["temperature"][:]))  # type: ignore[index, arg-type]
    return ensemble.get("temperature", group.attrs.get("simulated_at"))


def _ensemble(group: zarr.Group) -> Mapping[str, Any]:
    """What a simulation kept constant, and how; empty if unknown."""
    request: Mapping[str, Any] = group.attrs.get("request") or {}  # type: ignore[assignment]
    return request.get("ensemble") or {}


class ZarrTrajectory:
    """Format 2: `positions` (T, N, 3), `cell` (T or 1, 3, 3), `numbers` (N,), and perhaps `time`, `group`, `frame`."""

    def __init__(self, path: Path) -> None:
        self.zarr = open_zarr(path, "r")
        if missing := {"positions", "cell", "numbers"} - set(self.zarr.array_keys()):
            raise InputError(f"{path}: not a trajectory, it has no {', '.join(sorted(missing))}")
        self.numbers = self.zarr["numbers"][:].astype(np.int64)
        self.pbc = np.asarray(self.zarr.attrs.get("pbc", [True] * 3), dtype=bool)
        self.n_frames: int | None = int(self.zarr["positions"].shape[0])
        self.temperature = simulated_temperature(self.zarr)
        ensemble = _ensemble(self.zarr)
        self.friction_time = ensemble.get("thermostat_time") if ensemble.get("kind") == "nvt_langevin" else None
        self.stopped: str | None = self.zarr.attrs.get("stopped")  # type: ignore[assignment]

    def blocks(self, start: int, size: int) -> Iterator[Frames]:
        """Blocks of frames from `start` on."""
        assert self.n_frames is not None
        cell = self.zarr["cell"]
        for first in range(start, self.n_frames, size):
            stop = min(first + size, self.n_frames)
            cells = np.broadcast_to(cell[:], (stop - first, 3, 3)) if cell.shape[0] == 1 else cell[first:stop]
            extra = {name: self.zarr[name][first:stop] for name in ("time", "group", "frame") if name in self.zarr}
            yield Frames(self.zarr["positions"][first:stop], cells, **extra)


class DatasetTrajectory:
    """The configurations of a dataset, or of these groups of it, in its order; group and frame are passed on.

    All of them hold the same atoms.
    """

    temperature: float | None = None
    friction_time: float | None = None
    stopped: str | None = None

    def __init__(self, path: Path, groups: Sequence[str] | None = None) -> None:
        self.dataset = Dataset(path)
        names = self.dataset.group.astype(str)
        if absent := set(groups or ()) - set(names):
            known = ", ".join(sorted(set(names)))
            raise InputError(f"{path}: no group {', '.join(sorted(absent))}, expected some of {known}")
        self.chosen = np.arange(len(names)) if groups is None else np.flatnonzero(np.isin(names, groups))
        if not len(self.chosen):
            raise InputError(f"{path}: expected some groups, found none in groups={list(groups or ())}")
        numbers = np.split(self.dataset.rows("numbers", 0, len(names)), self.dataset.offsets[1:-1])
        self.numbers: NDArray[np.integer] = numbers[self.chosen[0]].astype(np.int64)
        if not all(np.array_equal(numbers[index], self.numbers) for index in self.chosen):
            raise InputError(f"{path}: configurations differ in their atoms, expected the same atoms throughout")
        self.pbc = self.dataset.rows("pbc", self.chosen[0], self.chosen[0] + 1)[0]
        self.n_frames: int | None = len(self.chosen)

    def blocks(self, start: int, size: int) -> Iterator[Frames]:
        """Blocks of at most `size` configurations from `start` on."""
        data, rest = self.dataset, self.chosen[start:]
        if not len(rest):
            return
        for together in np.split(rest, np.flatnonzero(np.diff(rest) > 1) + 1):
            for block in np.split(together, range(size, len(together), size)):
                first, stop = int(block[0]), int(block[-1]) + 1
                positions = data.rows("positions", first, stop).reshape(len(block), -1, 3)
                group = data.group[first:stop]
                yield Frames(positions, data.rows("cell", first, stop), None, group, data.frame[first:stop])


class TextTrajectory:
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

    temperature: float | None = None
    friction_time: float | None = None
    stopped: str | None = None

    def __init__(
        self,
        path: Path,
        format: str | None,
        species: Sequence[str] | None,
        cell: NDArray[np.floating] | None,
        time_step: float | None,
    ) -> None:
        self.path, self.format, self.species, self.cell, self.time_step = path, format, species, cell, time_step
        self.n_frames: int | None = None
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

    def blocks(self, start: int, size: int) -> Iterator[Frames]:
        """Blocks of frames from `start` on."""
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


def cell_of(parameters: Sequence[float]) -> NDArray[np.floating]:
    """Cell (3, 3) Å from three lengths, or three lengths and three angles in degrees."""
    try:
        numbers = np.array([float(parameter) for parameter in parameters])
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if len(numbers) not in (3, 6) or not (numbers > 0).all():
        raise InputError(f"cell={parameters}: expected 3 lengths (Å), or 3 lengths and 3 angles (degrees)")
    return np.array(Cell.new(numbers))


def open_trajectory(
    path: Path,
    format: str | None = None,
    species: Sequence[str] | None = None,
    cell: NDArray[np.floating] | None = None,
    time_step: float | None = None,
    groups: Sequence[str] | None = None,
) -> Trajectory:
    """Open a zarr trajectory, a dataset (all of it or `groups`), or a file of an MD code (see `TextTrajectory`)."""
    if not path.exists():
        raise InputError(f"no input at {path}")
    if time_step is not None and (not isinstance(time_step, int | float) or not time_step > 0):
        raise InputError(f"time_step={time_step}: expected fs between frames, more than 0")
    if not isinstance(species, Sequence | None) or isinstance(species, str):
        raise InputError(f"species={species}: expected a list of elements such as [Na,Mn,O]")
    if unknown := set(species or ()) - set(atomic_numbers):
        raise InputError(f"species: {sorted(unknown)} are no elements")
    is_dataset = path.suffix == ".zip" or (path / "atom_offsets").exists()
    if is_dataset or (path / "zarr.json").exists():
        if (format, species, cell, time_step) != (None,) * 4:
            raise InputError(f"{path}: format, species, cell and time_step are for text files; zarr holds its own")
        return DatasetTrajectory(path, groups) if is_dataset else ZarrTrajectory(path)
    return TextTrajectory(path, format, species, cell, time_step)


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
