"""Densities of a configuration in the files of other codes: VASP's CHGCAR, Gaussian's cube."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import numpy as np
from ase.io.vasp import write_vasp
from ase.units import Bohr
from numpy.typing import NDArray

from ionecho.data.schema import ARRAYS, Configuration
from ionecho.errors import InputError

FIELDS = ("charge_density", "spin_density")


def export_density(configuration: Configuration, path: Path, field: str) -> Path:
    """Write a CHGCAR with all densities, or, where the name ends in .cube, a cube of `field`.

    Raises
    ------
    InputError
        If the configuration has no such grid, or one that is not known everywhere.
    """
    grids = {name: grid for name, grid in configuration.labels.items() if ARRAYS[name].per == "grid"}
    needed = field if path.suffix == ".cube" else FIELDS[0]
    if needed not in grids:
        held = ", ".join(grids) or "no grids"
        raise InputError(f"{configuration.source}: expected a grid {needed}, found {held}")
    if not all(np.isfinite(grid).all() for grid in grids.values()):
        raise InputError(f"{configuration.source}: its grids hold a region only; predict whole grids to export them")
    with _whole(path) as file:
        if path.suffix == ".cube":
            _write_cube(file, configuration, needed)
        else:
            _write_chgcar(file, configuration)
    return path


@contextmanager
def _whole(path: Path) -> Iterator[TextIO]:
    """A file that appears when it is written."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        yield file
    partial.replace(path)


def _write_chgcar(file: TextIO, configuration: Configuration) -> None:
    """n V_cell, the first index fastest: the total, then, where it is known, up minus down."""
    atoms = configuration.atoms
    atoms.calc = None
    write_vasp(file, atoms, direct=True)
    for name in FIELDS:
        if name in configuration.labels:
            grid = np.asarray(configuration.labels[name], dtype=float)
            file.write("\n" + " ".join(f"{count:4d}" for count in grid.shape) + "\n")
            _write_numbers(file, (grid * atoms.get_volume()).transpose(2, 1, 0).ravel(), 5, " %.11E")


def _write_cube(file: TextIO, configuration: Configuration, name: str) -> None:
    """Bohr and bohr⁻³, the last index fastest, a new line behind each of its runs."""
    grid, cell = configuration.labels[name], configuration.cell / Bohr
    file.write(f"{configuration.source}\n{name} in 1/bohr³\n{len(configuration):5d}" + 3 * f"{0.0:14.8f}" + "\n")
    for count, vector in zip(grid.shape, cell, strict=True):
        file.write(f"{count:5d}" + "".join(f"{x / count:14.8f}" for x in vector) + "\n")
    for number, position in zip(configuration.numbers, configuration.positions / Bohr, strict=True):
        file.write(f"{number:5d}{float(number):14.8f}" + "".join(f"{x:14.8f}" for x in position) + "\n")
    for run in np.asarray(grid, dtype=float).reshape(-1, grid.shape[2]) * Bohr**3:
        _write_numbers(file, run, 6, " %.8E")


def _write_numbers(file: TextIO, values: NDArray[np.floating], columns: int, format: str) -> None:
    lines, rest = divmod(len(values), columns)
    whole = format * columns + "\n"
    for first in range(0, lines, 4096):
        block = values[first * columns : min(first + 4096, lines) * columns]
        file.write(whole * (len(block) // columns) % tuple(block))
    if rest:
        file.write((format * rest + "\n") % tuple(values[-rest:]))
