"""Any file ASE reads (extended XYZ first of all), with explicit maps from the file's keys to the schema's labels."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import ase
import ase.io
import numpy as np
from numpy.typing import NDArray

from ionecho.data.schema import ARRAYS, LABELS, Configuration, voigt_to_tensor
from ionecho.errors import InputError
from ionecho.structures.read import refuse_disorder

CALCULATOR_KEYS = {  # the first that there is: the free energy is the one whose derivative the forces are
    "energy": ("free_energy", "energy"),
    "stress": ("stress",),
    "forces": ("forces",),
    "magnetic_moment": ("magmoms",),
}


def read(
    path: Path, keys: Mapping[str, str] | None = None, format: str | None = None, index: str = ":"
) -> Iterator[Configuration]:
    """Configurations of a file that ASE reads, one at a time.

    Parameters
    ----------
    path
        The file; may be compressed.
    keys
        Label of the schema -> key in the file's `info` or `arrays`. Values must be in the schema's units, tensors
        as 9 numbers or 3 x 3, stress also as 6 in ASE's order. Energy, forces, stress and moments held by ASE's
        calculator need no entry; of its energies the free one is taken where there is one.

    Raises
    ------
    InputError
        If the file cannot be read, its sites are partly occupied, or a key in `keys` is in none of a configuration's
        arrays.
    """
    keys = dict(keys or {})
    if unknown := set(keys) - set(LABELS):
        raise InputError(f"{path}: unknown labels {sorted(unknown)} in keys; the schema knows {', '.join(LABELS)}")
    try:
        for step, atoms in enumerate(ase.io.iread(path, index=index, format=format)):
            refuse_disorder(atoms, path)
            yield from_atoms(atoms, keys, source=f"{path.name}#{step}", frame=step)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: ASE cannot read it ({type(error).__name__}: {error})") from error


def from_atoms(atoms: ase.Atoms, keys: Mapping[str, str], source: str, frame: int) -> Configuration:
    """The configuration held by an ASE Atoms object; constraints never touch the forces."""
    labels = {name: _lookup(atoms, name, key, source) for name, key in keys.items()}
    results = atoms.calc.results if atoms.calc is not None else {}
    for name, names in CALCULATOR_KEYS.items():
        found = next((results[key] for key in names if results.get(key) is not None), None)
        if name not in labels and found is not None:
            labels[name] = _shaped(np.asarray(found, dtype=float), name, len(atoms), source)
    return Configuration(
        numbers=atoms.numbers.copy(),
        positions=atoms.positions.copy(),
        cell=np.array(atoms.cell),
        pbc=atoms.pbc.copy(),
        group="",
        frame=frame,
        source=source,
        labels=labels,
    )


def _lookup(atoms: ase.Atoms, name: str, key: str, source: str) -> NDArray[np.floating]:
    store = atoms.arrays if ARRAYS[name].per == "atom" else atoms.info
    results = atoms.calc.results if atoms.calc is not None else {}
    value = store.get(key, results.get(key))
    if value is None:
        available = ", ".join(sorted({*store, *results}))
        raise InputError(f"{source}: no key {key!r} for {name}; the file has {available}")
    return _shaped(np.asarray(value, dtype=float), name, len(atoms), source)


def _shaped(value: NDArray[np.floating], name: str, n_atoms: int, source: str) -> NDArray[np.floating]:
    spec = ARRAYS[name]
    shape = (n_atoms, *spec.shape) if spec.per == "atom" else spec.shape
    if name == "stress" and value.shape == (6,):
        return voigt_to_tensor(value)
    if value.size != np.prod(shape):
        raise InputError(f"{source}: {name} should have shape {shape}, found {value.shape}")
    return value.reshape(shape)
