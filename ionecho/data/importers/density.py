"""Electron and spin densities on grids: VASP's CHGCAR (and CHG) and Gaussian cube files.

Values are stored as float32 in e/Å³ and μB/Å³, point [i, j, k] at the fractional coordinates (i/n1, j/n2, k/n3).
What is read is the density of the file: the pseudo-valence density for a CHGCAR (its augmentation charges are left
out), whatever the code wrote for a cube.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any, Literal

import ase
import numpy as np
from ase.io.cube import read_cube as ase_read_cube
from ase.io.vasp import read_vasp_configuration
from ase.units import Bohr
from numcodecs import BitRound
from numpy.typing import NDArray

from ionecho.data.importers.ase_files import from_atoms
from ionecho.data.schema import Configuration
from ionecho.errors import InputError
from ionecho.structures.text import head, open_text, refuse_endless

Grid = NDArray[np.float32]
LEAST_VOLUME = 1e-6  # Å³
GRIDS = ("charge_density", "spin_density")
ELECTRONS_TOLERANCE = 0.01  # relative; coarse grids miss part of the peaks at the ions


def read_chgcar(path: Path, keepbits: int | None = None) -> Iterator[Configuration]:
    """The one configuration of a CHGCAR, AECCAR or CHG (plain or compressed), read as a stream.

    The file stores n V_cell, first index fastest: the total first, then, of a collinear run, the magnetisation,
    up minus down.

    Parameters
    ----------
    keepbits
        Bits of the mantissa to keep, see `rounded`; not given, all.

    Raises
    ------
    InputError
        If the file is cut, non-collinear, or holds more than one configuration.
    """
    refuse_endless(path)
    with open_text(path) as file:
        try:
            atoms = read_vasp_configuration(file)
        except Exception as error:
            raise InputError(f"{path}: not a CHGCAR ({type(error).__name__}: {error})") from error
        if not len(atoms) or abs(np.linalg.det(atoms.cell)) < LEAST_VOLUME:
            raise InputError(f"{path}: expected atoms in a cell, found {len(atoms)} in {atoms.cell.lengths()} Å")
        file.readline()
        blocks = _vasp_blocks(file, path)
    if len(blocks) > len(GRIDS):
        raise InputError(f"{path}: {len(blocks)} grids, so a non-collinear run; only collinear densities are read")
    grids = {name: block / atoms.get_volume() for name, block in zip(GRIDS, blocks, strict=False)}
    yield _configuration(path, atoms, grids, keepbits)


def _vasp_blocks(file: IO[Any], path: Path) -> list[NDArray[np.floating]]:
    """Every grid (n1, n2, n3) of the file; what stands between them is augmentation charges and moments."""
    header = file.readline().split()
    blocks = [_vasp_block(file, header, path)]
    owed = spare = 0  # occupancies that are to come; numbers behind them, the moments that stand before the next grid
    for line in file:
        words = line.split()
        if words == header and owed == 0:
            blocks.append(_vasp_block(file, header, path))
            spare = 0
        elif line.startswith("augmentation"):
            owed += int(words[-1])
        elif all(_is_number(word) for word in words):
            owed, spare = max(owed - len(words), 0), spare + max(len(words) - owed, 0)
        else:
            raise InputError(f"{path}: {line.strip()!r} after a grid; a file with one configuration expected")
    if owed or spare:
        raise InputError(f"{path}: it ends after {len(blocks)} grids, in what stands before another")
    return blocks


def _vasp_block(file: IO[Any], header: list[str], path: Path) -> NDArray[np.floating]:
    try:
        n1, n2, n3 = (int(word) for word in header)
    except ValueError as error:
        raise InputError(f"{path}: expected three grid dimensions, found {' '.join(header)!r}") from error
    if min(n1, n2, n3) < 1:
        raise InputError(f"{path}: expected grid dimensions above zero, found {' '.join(header)!r}")
    size = n1 * n2 * n3
    first = file.readline()
    lines = -(-size // max(len(first.split()), 1))
    return _numbers(chain([first], islice(file, lines - 1)), size, path).reshape(n3, n2, n1).transpose(2, 1, 0)


def _numbers(lines: Iterator[str], size: int, path: Path) -> NDArray[np.floating]:
    try:
        values = np.fromiter((word for line in lines for word in line.split()), dtype=float)
    except ValueError as error:
        raise InputError(f"{path}: among {size} grid values: {error}") from error
    if len(values) < size or values[size:].any():  # some tools fill the last line up with zeros
        raise InputError(f"{path}: {size} grid values expected, found {len(values)}")
    return values[:size]


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def read_cube(
    path: Path,
    label: Literal["charge_density", "spin_density"] = "charge_density",
    pbc: bool = True,
    electrons: float | None = None,
    keepbits: int | None = None,
) -> Iterator[Configuration]:
    """The one configuration of a cube file in bohr and e/bohr³ (plain or compressed).

    The cell is that of the grid, n voxels along each vector, and the origin of the grid becomes that of the
    coordinates. A cube written with a stride (CP2K's default is 2) that does not divide the grid of the run comes out
    with too long a cell, and nothing in the file tells: write it with stride 1, or give `electrons`.

    Parameters
    ----------
    label
        What the file holds; a cube does not say.
    pbc
        Whether the cell is periodic, which a cube does not say either.
    electrons
        What the density should integrate to, within 1 %; not given, that is not checked.
    keepbits
        Bits of the mantissa to keep, see `rounded`; not given, all.

    Raises
    ------
    InputError
        If the file is cut, in Å, holds orbitals or more than one value a point, or another number of electrons.
    """
    if label not in GRIDS:
        raise InputError(f"{path}: label {label!r} is none of {', '.join(GRIDS)}")
    header = head(path).splitlines()
    if any(line.lstrip().startswith("-") for line in header[2:6]):
        raise InputError(f"{path}: a negative count (orbitals, or lengths in Å); a density in bohr expected")
    try:
        with open_text(path) as file:
            content = ase_read_cube(file)
    except Exception as error:
        raise InputError(f"{path}: not a whole cube file ({type(error).__name__}: {error})") from error
    if len(content["datas"]) != 1:
        raise InputError(f"{path}: {len(content['datas'])} values a point; a file with one density expected")
    if content["origin"].shape != (3,):
        raise InputError(f"{path}: line 3: expected a count and an origin of 3 numbers, found {header[2].strip()!r}")
    atoms = content["atoms"]
    atoms.positions -= content["origin"]
    atoms.pbc = pbc
    found = content["data"].mean() * atoms.get_volume() / Bohr**3
    if electrons is not None and abs(found - electrons) > ELECTRONS_TOLERANCE * electrons:
        told = f"{electrons} electrons expected, found {found:.2f}"
        raise InputError(f"{path}: {told}; a stride that does not divide the grid does that: write it with 1")
    yield _configuration(path, atoms, {label: content["data"] / Bohr**3}, keepbits)


def rounded(values: NDArray[np.floating], keepbits: int | None) -> Grid:
    """Values as float32 with `keepbits` (0..23) bits of mantissa, the rest zero so that they compress well.

    The relative error of a value is at most 2^-(keepbits + 1): 1.2e-4 for 12 bits, 9.8e-4 for 9. None keeps all.
    """
    single = np.ascontiguousarray(values, dtype=np.float32)
    if keepbits is None:
        return single
    codec = BitRound(keepbits)
    return np.asarray(codec.decode(codec.encode(single.copy()))).reshape(single.shape)


def _configuration(
    path: Path, atoms: ase.Atoms, grids: dict[str, NDArray[np.floating]], keepbits: int | None
) -> Configuration:
    if keepbits is not None and keepbits not in range(24):
        raise InputError(f"{path}: keepbits should be 0 to 23 (float32 has 23), found {keepbits}")
    configuration = from_atoms(atoms, {}, source=f"{path.name}#0", frame=0)
    configuration.labels |= {name: rounded(values, keepbits) for name, values in grids.items()}
    return configuration
