"""Predictions in the form that the name of the output says: zarr, extended XYZ or a table."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ionecho.data.convert import write_xyz
from ionecho.data.files import remove_folder
from ionecho.data.outputs import MEMBERS
from ionecho.data.store import open_zarr
from ionecho.data.trajectory import open_trajectory
from ionecho.errors import InputError

BLOCK = 64  # frames read at once
STRUCTURE = ("positions", "cell", "numbers", "centres", "time", "group", "frame")
CARTESIAN = "xyz"


def in_zarr(output: Path) -> Path:
    """Where predictions are streamed to: the output itself, or a zarr folder beside a file of another form.

    Raises
    ------
    InputError
        If nothing writes a file of that ending, or the file is there already.
    """
    if output.suffix in ("", ".zarr"):
        return output
    if output.suffix not in WRITERS:
        raise InputError(f"output={output}: expected an ending .zarr, {', '.join(WRITERS)}, found {output.suffix}")
    streamed = output.with_name(output.name + ".zarr")
    if output.exists() and not streamed.exists():
        raise InputError(f"{output} exists; remove it or choose another output")
    return streamed


def write_as_named(streamed: Path, output: Path) -> Path:
    """Write the predictions at `streamed` as the ending of `output` says, complete or not at all; they go then."""
    if streamed == output:
        return output
    partial = output.with_name(output.name + ".partial")
    WRITERS[output.suffix](streamed, partial)
    partial.replace(output)
    remove_folder(streamed)
    return output


def _write_xyz(streamed: Path, target: Path) -> None:
    """As `ionecho data write` does."""
    write_xyz(open_trajectory(streamed), target)


def _write_csv(streamed: Path, target: Path) -> None:
    """A row for each centre of each frame; units in brackets, tensors by component."""
    group = open_zarr(streamed, "r")
    numbers, centres, units = group["numbers"][:], group["centres"][:], group.attrs["units"]
    names = _predicted(group)
    beside = [name for name in ("time", "group") if name in group]
    with target.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        columns = [
            f"{name}{part} ({units.get(name, '')})" for name in names for part in _parts(group[name], centres, numbers)
        ]
        writer.writerow(
            ["frame", *(f"{name} (fs)" if name == "time" else name for name in beside), "atom", "element", *columns]
        )
        for frame, values in _frames(group):
            rows = [_by_centre(np.asarray(values[name]), centres, len(numbers)) for name in names]
            for place, atom in enumerate(centres):
                cells = [value for row in rows for value in np.ravel(row[place])]
                told = [frame, *(values[name] for name in beside), int(atom), chemical_symbols[numbers[atom]]]
                writer.writerow([*told, *(float(value) for value in cells)])


def _frames(group: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of every frame, with all that is stored of it."""
    count = int(group["positions"].shape[0])
    names = ["positions", *(name for name in ("time", "group", "frame") if name in group), *_predicted(group)]
    cell = group["cell"]
    for start in range(0, count, BLOCK):
        stop = min(start + BLOCK, count)
        block = {name: group[name][start:stop] for name in names}
        block["cell"] = np.broadcast_to(cell[:], (stop - start, 3, 3)) if cell.shape[0] == 1 else cell[start:stop]
        for place in range(stop - start):
            yield start + place, {name: values[place] for name, values in block.items()}


def _predicted(group: Any) -> list[str]:
    """Names of what was predicted, without the members of ensembles, whose spread stands beside their mean."""
    return sorted(name for name in group.array_keys() if name not in STRUCTURE and not name.endswith(MEMBERS))


def _by_centre(value: NDArray, centres: NDArray, atoms: int) -> NDArray:
    """Rows for the centres; a value of the whole frame stands in each."""
    if value.ndim and len(value) == len(centres):
        return value
    if value.ndim and len(value) == atoms:
        return value[centres]
    return np.broadcast_to(value, (len(centres), *value.shape))


def _parts(array: Any, centres: NDArray, numbers: NDArray) -> list[str]:
    """Endings of the columns of an array (T, ...)."""
    shape = array.shape[1:]
    inner = shape[1:] if shape and shape[0] in (len(centres), len(numbers)) else shape
    return ["".join(["_", *(CARTESIAN[i] for i in index)]) for index in np.ndindex(*inner)] if inner else [""]


WRITERS: dict[str, Callable[[Path, Path], None]] = {".extxyz": _write_xyz, ".xyz": _write_xyz, ".csv": _write_csv}
