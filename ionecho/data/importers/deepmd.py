"""DeePMD-kit systems: a folder of `type.raw`, `type_map.raw` and `set.*/*.npy`; the pattern matches `type.raw`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ionecho.data.importers.arrays import frames, stress_of
from ionecho.data.schema import Configuration
from ionecho.errors import InputError

MIXED = "real_atom_types.npy"


def read(path: Path, type_map: Sequence[str] | None = None) -> Iterator[Configuration]:
    """Frames of the DeePMD system whose `type.raw` is at `path`, set after set.

    Coordinates and cells are in Å, energies and virials in eV, forces in eV/Å. The virial is that of DeePMD-kit,
    -dE/dstrain, positive under compression, so that stress = -virial / volume. A file `nopbc` beside `type.raw` makes
    the system not periodic.

    Parameters
    ----------
    type_map
        Element of every type; by default that of `type_map.raw`.

    Raises
    ------
    InputError
        If a file is missing, has another shape than the atoms and frames ask for, or mixes compositions.
    """
    folder = path.parent
    symbols = list(type_map) if type_map is not None else _words(folder / "type_map.raw")
    numbers = _numbers(_words(path), symbols, path)
    sets = sorted(folder.glob("set.*"))
    if not sets:
        raise InputError(f"{folder}: no set.* folder beside {path.name}")
    first = 0
    for part in sets:
        if (part / MIXED).exists():
            raise InputError(f"{part / MIXED}: mixed types; convert to one composition a folder (dpdata does)")
        positions = _array(part / "coord.npy", None, (len(numbers), 3))
        n_frames = len(positions)
        cell = None if (folder / "nopbc").exists() else _array(part / "box.npy", n_frames, (3, 3))
        labels = {}
        for name, (file, shape) in {"energy": ("energy.npy", ()), "forces": ("force.npy", (len(numbers), 3))}.items():
            if (part / file).exists():
                labels[name] = _array(part / file, n_frames, shape)
        if (part / "virial.npy").exists() and cell is not None:
            labels["stress"] = stress_of(_array(part / "virial.npy", n_frames, (3, 3)), cell, str(part))
        yield from frames(path.name, np.broadcast_to(numbers, (n_frames, len(numbers))), positions, cell, labels, first)
        first += n_frames


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read ({error}); add it, or give type_map") from error


def _numbers(types: Sequence[str], symbols: Sequence[str], path: Path) -> NDArray[np.integer]:
    if unknown := sorted(set(symbols) - set(atomic_numbers)):
        raise InputError(f"{path}: type map names {', '.join(unknown)}, which are no elements; give type_map")
    index = {str(kind): atomic_numbers[symbol] for kind, symbol in enumerate(symbols)}
    if bad := sorted(set(types) - set(index)):
        raise InputError(f"{path}: types should be 0 to {len(symbols) - 1} ({', '.join(symbols)}), found {bad[0]!r}")
    return np.array([index[kind] for kind in types])


def _array(path: Path, n_frames: int | None, shape: tuple[int, ...]) -> NDArray[np.floating]:
    """The array in a file, (F, *shape); DeePMD stores one flat row a frame."""
    try:
        values = np.load(path, allow_pickle=False)
    except Exception as error:  # of numpy's headers
        raise InputError(f"{path}: not a whole .npy file ({type(error).__name__}: {error})") from error
    width = int(np.prod(shape))
    found = len(values) if values.ndim else 0
    if values.size != found * width or n_frames not in (None, found):
        expected = ("frames" if n_frames is None else n_frames, width)
        raise InputError(f"{path}: expected shape {expected}, found {values.shape}")
    return values.reshape(found, *shape)
