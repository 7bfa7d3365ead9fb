"""Frames held as numpy arrays: one `.npz` file, with explicit maps from its keys to the schema's labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionecho.data.schema import ARRAYS, LABELS, Configuration
from ionecho.errors import InputError

OF_FRAMES = tuple(name for name in LABELS if ARRAYS[name].per != "grid")


def read(
    path: Path,
    keys: Mapping[str, str],
    virial: str | None = None,
    numbers: str = "numbers",
    positions: str = "positions",
    cell: str | None = "cell",
) -> Iterator[Configuration]:
    """The F frames of N atoms of a `.npz` file.

    Parameters
    ----------
    keys
        Label of the schema -> key in the file: (F, N, ...) for labels of atoms, (F, ...) for those of configurations,
        in the schema's units, NaN where missing.
    virial
        Key of virials (F, 3, 3) in eV, of DeePMD's sign: they become the stress, -virial / volume.
    numbers, positions
        Keys of the atomic numbers, (N,) or (F, N), and of the Cartesian coordinates (F, N, 3) in Å.
    cell
        Key of the cells, (3, 3) or (F, 3, 3) in Å, vectors as rows, periodic. None: not periodic.

    Raises
    ------
    InputError
        If a key is not in the file, or an array has another shape.
    """
    if unknown := set(keys) - set(OF_FRAMES):
        raise InputError(f"{path}: unknown labels {sorted(unknown)} in keys; known: {', '.join(OF_FRAMES)}")
    if virial is not None and (cell is None or "stress" in keys):
        raise InputError(f"{path}: a virial needs a cell, and no other key for the stress")
    labels = _load(path, keys)
    structure = _load(path, {"numbers": numbers, "positions": positions} | ({"cell": cell} if cell else {}))
    if structure["positions"].ndim != 3:
        raise InputError(f"{path}: {positions} should have shape (F, N, 3), found {structure['positions'].shape}")
    n_frames, n_atoms = structure["positions"].shape[:2]
    for name, shape in {"numbers": (n_atoms,), "cell": (3, 3)}.items():
        if name in structure and structure[name].shape == shape:
            structure[name] = np.broadcast_to(structure[name], (n_frames, *shape))
    if virial is not None:
        labels["stress"] = stress_of(_load(path, {"virial": virial})["virial"], structure["cell"], str(path))
    return frames(path.name, structure["numbers"], structure["positions"], structure.get("cell"), labels)


def frames(
    source: str,
    numbers: NDArray,
    positions: NDArray,
    cell: NDArray | None,
    labels: Mapping[str, NDArray],
    first: int = 0,
) -> Iterator[Configuration]:
    """Configurations of arrays with a leading axis over frames, numbered from `first`; `cell` None: not periodic."""
    n_frames, n_atoms = positions.shape[:2]
    structure = {"numbers": (numbers, (n_atoms,)), "positions": (positions, (n_atoms, 3))}
    if cell is not None:
        structure["cell"] = (cell, (3, 3))
    expected = structure | {
        name: (value, (n_atoms, *ARRAYS[name].shape) if ARRAYS[name].per == "atom" else ARRAYS[name].shape)
        for name, value in labels.items()
    }
    for name, (value, shape) in expected.items():
        if value.shape != (n_frames, *shape):
            raise InputError(f"{source}: {name} should have shape {(n_frames, *shape)}, found {value.shape}")
    for step in range(n_frames):
        yield Configuration(
            numbers=np.array(numbers[step], dtype=int),
            positions=np.array(positions[step], dtype=float),
            cell=np.zeros((3, 3)) if cell is None else np.array(cell[step], dtype=float),
            pbc=np.full(3, cell is not None),
            group="",
            frame=first + step,
            source=f"{source}#{first + step}",
            labels={name: np.array(value[step], dtype=float) for name, value in labels.items()},
        )


def stress_of(virial: NDArray, cell: NDArray, source: str) -> NDArray[np.floating]:
    """Stress (F, 3, 3) in eV/Å³, tensile positive, of virials in eV of DeePMD's sign: -virial / volume."""
    if virial.shape != cell.shape:
        raise InputError(f"{source}: virial should have shape {cell.shape}, found {virial.shape}")
    return -virial.astype(float) / np.abs(np.linalg.det(cell.astype(float)))[:, None, None]


def _load(path: Path, keys: Mapping[str, str]) -> dict[str, NDArray]:
    """Arrays of the file, named as in the schema."""
    try:
        with np.load(path, allow_pickle=False) as file:
            for name, key in keys.items():
                if key not in file.files:
                    raise InputError(f"{path}: no key {key!r} for {name}; the file has {', '.join(file.files)}")
            return {name: file[key] for name, key in keys.items()}
    except InputError:
        raise
    except Exception as error:  # of a zip file, its headers and its compression
        raise InputError(f"{path}: not a whole .npz file ({type(error).__name__}: {error})") from error
