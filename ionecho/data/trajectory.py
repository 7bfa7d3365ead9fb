"""The one reader of trajectories of the same atoms, streamed in blocks: zarr (Format 2), datasets, text of MD codes."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from ase.cell import Cell
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ionecho.data.archives import WHOLE, refuse_lost, refuse_swollen
from ionecho.data.binary_trajectory import ENDINGS, BinaryTrajectory
from ionecho.data.frames import Frames, Trajectory
from ionecho.data.schema import ARRAYS
from ionecho.data.store import Dataset, damage_told, open_zarr
from ionecho.data.text_trajectory import TextTrajectory
from ionecho.errors import InputError

__all__ = [
    "DatasetTrajectory",
    "Frames",
    "TextTrajectory",
    "Trajectory",
    "ZarrTrajectory",
    "cell_of",
    "early_end",
    "is_dataset",
    "open_trajectory",
]
STRUCTURE = ("positions", "cell", "numbers", "time", "group", "frame")


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


class ZarrTrajectory(Trajectory):
    """Format 2: `positions` (T, N, 3), `cell` (T or 1, 3, 3), `numbers` (N,), and perhaps `time`, `group`, `frame`.

    Everything else over its frames, such as predictions at its `centres`, comes with the blocks if asked for.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with damage_told(path):
            self.zarr = open_zarr(path, "r")
            if json.loads((path / "zarr.json").read_text(encoding="utf-8")).get("node_type") != "group":
                raise InputError(f"{path}: damaged, zarr.json describes no group; make it anew")
            refuse_swollen(self.zarr, path)
            held = set(self.zarr.array_keys())
            if missing := {"positions", "cell", "numbers"} - held:
                raise InputError(f"{path}: not a trajectory, it has no {', '.join(sorted(missing))}")
            self.attrs = self.zarr.attrs.asdict()
            self.numbers = self.zarr["numbers"][:].astype(np.int64)
            self.pbc = np.asarray(self.attrs.get("pbc", [True] * 3), dtype=bool)
            if self.pbc.shape != (3,):
                raise InputError(f"{path}: pbc should hold three of true and false, found {self.attrs['pbc']}")
            self.n_frames = int(self.zarr["positions"].shape[0])
            self.temperature = simulated_temperature(self.zarr)
            ensemble = _ensemble(self.zarr)
            self.friction_time = ensemble.get("thermostat_time") if ensemble.get("kind") == "nvt_langevin" else None
            self.stopped = self.attrs.get("stopped")
            self.centres = self.zarr["centres"][:] if "centres" in held else None
            self.group = self.zarr["group"][:].astype(object) if "group" in held else None
            self.frame = self.zarr["frame"][:] if "frame" in held else None
            self.stored = tuple(sorted(held - {*STRUCTURE, "centres"}))
            _check_shapes(self.zarr, held & {*STRUCTURE, "centres"}, len(self.numbers), path)

    def _blocks(self, start: int, size: int, names: Sequence[str]) -> Iterator[Frames]:
        assert self.n_frames is not None
        with damage_told(self.path):
            refuse_lost(self.zarr, [name for name in names if self._whole(name)], self.path)
        for first in range(start, self.n_frames, size):
            stop = min(first + size, self.n_frames)
            with damage_told(self.path):
                cell = self.zarr["cell"]
                cells = np.broadcast_to(cell[:], (stop - first, 3, 3)) if cell.shape[0] == 1 else cell[first:stop]
                extra = {name: self.zarr[name][first:stop] for name in ("time", "group", "frame") if name in self.zarr}
                arrays = {name: self.zarr[name][first:stop] for name in names}
                positions = self.zarr["positions"][first:stop]
            yield Frames(positions, cells, **extra, arrays=arrays)

    def _whole(self, name: str) -> bool:
        """Whether all parts of an array have to be on disk: earlier versions left out counts and flags of 0."""
        array = self.zarr[name]
        return array.nchunks_initialized > 0 or WHOLE in array.attrs or array.dtype.kind == "f"


def _check_shapes(group: zarr.Group, names: Collection[str], atoms: int, path: Path) -> None:
    """Raise InputError where arrays do not belong together, or parts of the structure are not on disk."""
    found: dict[str, tuple[int, ...]] = {name: group[name].shape for name in names}  # type: ignore[union-attr]
    frames = found["positions"][0] if found["positions"] else 0
    expected = {"positions": (frames, atoms, 3), "numbers": (atoms,), "cell": (frames, 3, 3)}
    expected |= dict.fromkeys(("time", "group", "frame"), (frames,))
    for name, shape in found.items():
        if name in expected and shape != expected[name] and not (name == "cell" and shape == (1, 3, 3)):
            raise InputError(f"{path}: {name} should have shape {expected[name]}, found {shape}")
    some = {"numbers": True, "positions": atoms > 1, "cell": any(group.attrs.get("pbc", [True]))}  # type: ignore[arg-type]
    refuse_lost(group, [name for name, never_zero in some.items() if never_zero], path)
    kinds = group["numbers"][:]  # type: ignore[index]
    if not ((np.asarray(kinds) >= 1) & (np.asarray(kinds) <= 118)).all():  # type: ignore[operator]
        raise InputError(f"{path}: numbers outside 1..118")


class DatasetTrajectory(Trajectory):
    """The configurations of a dataset, or of these groups of it, in its order; all of them hold the same atoms.

    Labels by atom are (T, N, ...), as every atom is a centre.
    """

    def __init__(self, path: Path, groups: Sequence[str] | None = None) -> None:
        self.path, self.dataset = path, Dataset(path)
        names = self.dataset.group.astype(str)
        if absent := set(groups or ()) - set(names):
            known = ", ".join(sorted(set(names)))
            raise InputError(f"{path}: no group {', '.join(sorted(absent))}, expected some of {known}")
        self.chosen = np.arange(len(names)) if groups is None else np.flatnonzero(np.isin(names, groups))
        if not len(self.chosen):
            raise InputError(f"{path}: expected some groups, found none in groups={list(groups or ())}")
        numbers = np.split(self.dataset.rows("numbers", 0, len(names)), self.dataset.offsets[1:-1])
        self.numbers = numbers[self.chosen[0]].astype(np.int64)
        if not all(np.array_equal(numbers[index], self.numbers) for index in self.chosen):
            raise InputError(f"{path}: configurations differ in their atoms, expected the same atoms throughout")
        self.pbc = self.dataset.rows("pbc", self.chosen[0], self.chosen[0] + 1)[0]
        self.n_frames = len(self.chosen)
        self.group, self.frame = self.dataset.group[self.chosen], self.dataset.frame[self.chosen]
        self.centres, self.attrs = np.arange(len(self.numbers)), self.dataset.attrs
        self.stored = [name for name in self.dataset.names if name not in STRUCTURE and ARRAYS[name].per != "grid"]

    def _blocks(self, start: int, size: int, names: Sequence[str]) -> Iterator[Frames]:
        data, rest = self.dataset, self.chosen[start:]
        if not len(rest):
            return
        for together in np.split(rest, np.flatnonzero(np.diff(rest) > 1) + 1):
            for block in np.split(together, range(size, len(together), size)):
                first, stop = int(block[0]), int(block[-1]) + 1
                arrays = {}
                for name in ("positions", *names):
                    rows = data.rows(name, first, stop)
                    by_atom = ARRAYS[name].per == "atom"
                    arrays[name] = rows.reshape(len(block), -1, *rows.shape[1:]) if by_atom else rows
                cell, group = data.rows("cell", first, stop), data.group[first:stop]
                yield Frames(arrays.pop("positions"), cell, None, group, data.frame[first:stop], arrays)


def cell_of(parameters: Sequence[float]) -> NDArray[np.floating]:
    """Cell (3, 3) Å from three lengths, or three lengths and three angles in degrees."""
    try:
        numbers = np.array([float(parameter) for parameter in parameters])
    except (TypeError, ValueError):
        numbers = np.empty(0)
    if len(numbers) not in (3, 6) or not (numbers > 0).all():
        raise InputError(f"cell={parameters}: expected 3 lengths (Å), or 3 lengths and 3 angles (degrees)")
    return np.array(Cell.new(numbers))


def is_dataset(path: Path) -> bool:
    """Whether `path` is a dataset (Format 1)."""
    return path.suffix == ".zip" or (path / "atom_offsets").exists()


def open_trajectory(
    path: Path,
    format: str | None = None,
    species: Sequence[str] | None = None,
    cell: NDArray[np.floating] | None = None,
    time_step: float | None = None,
    groups: Sequence[str] | None = None,
    topology: str | None = None,
) -> Trajectory:
    """Open a zarr trajectory, a dataset (all of it or `groups`), or a file of an MD code.

    The options are those of `TextTrajectory` and `BinaryTrajectory`; zarr holds its own.

    Raises
    ------
    InputError
        If there is no such file, it cannot be read, or it is given what it says itself.
    """
    if not path.exists():
        raise InputError(f"no input at {path}")
    if time_step is not None and (not isinstance(time_step, int | float) or not time_step > 0):
        raise InputError(f"time_step={time_step}: expected fs between frames, more than 0")
    if not isinstance(species, Sequence | None) or isinstance(species, str):
        raise InputError(f"species={species}: expected a list of elements such as [Na,Mn,O]")
    if unknown := set(species or ()) - set(atomic_numbers):
        raise InputError(f"species: {sorted(unknown)} are no elements")
    if is_dataset(path) or (path / "zarr.json").exists():
        if (format, species, cell, time_step, topology) != (None,) * 5:
            raise InputError(f"{path}: format, species, cell and time_step are for text files; zarr holds its own")
        return DatasetTrajectory(path, groups) if is_dataset(path) else ZarrTrajectory(path)
    if path.is_dir() and not any(path.glob("metadata.*")):  # as ASE's bundles have
        raise InputError(f"{path}: a folder without zarr.json; expected a file, or a trajectory or dataset in zarr")
    if format is None and path.suffix.lower() in ENDINGS:
        return BinaryTrajectory(path, topology, cell, time_step)
    if topology is not None:
        raise InputError(f"{path}: its format names the elements; topology= is for {', '.join(ENDINGS)}")
    return TextTrajectory(path, format, species, cell, time_step)
