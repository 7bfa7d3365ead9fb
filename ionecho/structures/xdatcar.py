"""XDATCAR of VASP 5 and 6, with one cell or one a frame, read one frame at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import ase
import numpy as np
from numpy.typing import NDArray

from ionecho.errors import InputError
from ionecho.structures.text import element, numbers, open_text, table

CONFIGURATION = "configuration"  # of `Atoms.info`
NUMBER = re.compile(r"configuration=\s*(\d+)")


def is_xdatcar(path: Path, head: str) -> bool:
    """Whether the file is one, by its content or else its name."""
    return "Direct configuration=" in head or "xdatcar" in path.name.lower()


def read_xdatcar(path: Path) -> Iterator[ase.Atoms]:
    """Frames of an XDATCAR; `info["configuration"]` is the number that stands with each.

    A negative scale is the cell's volume in Å³, as in a POSCAR, and three are the axes' own.

    Raises
    ------
    InputError
        If it is cut, names no elements (VASP 4), or a row is not three numbers.
    """
    with open_text(path) as file:
        cell: NDArray[np.floating] = np.eye(3)
        kinds, frame = np.array([], dtype=int), 0
        for line in file:
            where = f"{path}: frame {frame}"
            if not line.strip():
                continue
            if "configuration=" not in line:
                cell, kinds = _header(file, where)
                line = next(_filled(file), "")
                if "configuration=" not in line:
                    raise InputError(f"{where}: expected 'Direct configuration=', found {line.strip()!r}")
            if not len(kinds):
                raise InputError(
                    f"{path}: no cell and elements before its first configuration, which a head of seven lines tells"
                )
            if not line.lstrip().startswith("Direct"):
                raise InputError(f"{where}: expected fractional coordinates ('Direct'), found {line.strip()!r}")
            rows = list(islice(file, len(kinds)))
            if len(rows) < len(kinds):
                raise InputError(f"{where} breaks off after {len(rows)} of {len(kinds)} atoms; leave it out")
            atoms = ase.Atoms(kinds, scaled_positions=table(rows, 3, where), cell=cell, pbc=True)
            if match := NUMBER.search(line):
                atoms.info[CONFIGURATION] = int(match[1])
            yield atoms
            frame += 1


def _filled(file: IO[str]) -> Iterator[str]:
    return (line for line in file if line.strip())


def _header(file: IO[str], where: str) -> tuple[NDArray[np.floating], NDArray[np.integer]]:
    """Cell (3, 3) Å and atomic numbers (N,), after the comment line."""
    lines = list(islice(file, 6))
    if len(lines) < 6:
        raise InputError(f"{where}: its head breaks off")
    scales = numbers(lines[0], 3 if len(lines[0].split()) == 3 else 1, f"{where}, scale")
    cell = table(lines[1:4], 3, f"{where}, cell")
    if 0 in scales or (len(scales) == 3 and min(scales) < 0) or not np.linalg.det(cell):
        raise InputError(f"{where}: a scale of {lines[0].strip()!r} and a cell of {cell.tolist()}, which is none")
    if len(scales) == 1 and scales[0] < 0:
        scales = [(-scales[0] / abs(np.linalg.det(cell))) ** (1 / 3)]
    names, counts = lines[4].split(), lines[5].split()
    if names and all(name.isdigit() for name in names):
        raise InputError(
            f"{where}: a head of VASP 4, with no elements in it; write a line of symbols above {lines[4].strip()!r}"
        )
    if not all(count.isdigit() for count in counts) or len(names) != len(counts):
        found = f"{lines[4].strip()!r} and {lines[5].strip()!r}"
        raise InputError(f"{where}: expected elements and as many counts, found {found}")
    kinds = [element(name, where) for name in names]
    return cell * np.array(scales), np.repeat(kinds, [int(count) for count in counts])
