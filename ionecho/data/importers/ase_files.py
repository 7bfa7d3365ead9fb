"""Any file ASE reads (extended XYZ first of all), with explicit maps from the file's keys to the schema's labels."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ase
import numpy as np
from numpy.typing import NDArray

from ionecho.data.schema import ARRAYS, LABELS, Configuration, voigt_to_tensor
from ionecho.errors import InputError, IonEchoWarning
from ionecho.structures.read import images

CALCULATOR_KEYS = {  # the first that there is: the free energy is the one whose derivative the forces are
    "energy": ("free_energy", "energy"),
    "stress": ("stress",),
    "forces": ("forces",),
    "magnetic_moment": ("magmoms",),
}
VIRIALS = ("virial", "virials")  # of DeePMD's and libAtoms' sign, in any case, which do without a key
LIKE_A_LABEL = re.compile(r"(?i)energ|force|stress|virial|mag_?mom|hyperfine|shielding|efg")


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
        calculator need no entry; of its energies the free one is taken where there is one. A `virial` (eV) becomes
        the stress, -virial / volume, where `keys` does not say which is.

    Raises
    ------
    InputError
        If the file cannot be read, its sites are partly occupied, or a key in `keys` is in none of a configuration's
        arrays.
    """
    keys = dict(keys or {})
    if unknown := set(keys) - set(LABELS):
        raise InputError(f"{path}: unknown labels {sorted(unknown)} in keys; the schema knows {', '.join(LABELS)}")
    unread: set[str] = set()
    try:
        for step, atoms in enumerate(images(path, format, index=index)):
            unread |= _like_labels(atoms) - set(keys.values())
            yield from_atoms(atoms, keys, source=f"{path.name}#{step}", frame=step)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: ASE cannot read it ({type(error).__name__}: {error})") from error
    if unread:
        told = f"{', '.join(sorted(unread))} left out; if these are labels, say so with keys: {{LABEL: KEY}}"
        warnings.warn(told, IonEchoWarning, stacklevel=2)


def _like_labels(atoms: ase.Atoms) -> set[str]:
    """Keys that are named like labels and that nothing reads which is not told to."""
    named = {key for key in (*atoms.info, *atoms.arrays) if isinstance(key, str) and LIKE_A_LABEL.search(key)}
    return {key for key in named if key.lower() not in VIRIALS and key not in LABELS}


def from_atoms(atoms: ase.Atoms, keys: Mapping[str, str], source: str, frame: int) -> Configuration:
    """The configuration held by an ASE Atoms object; constraints never touch the forces."""
    labels = {name: _lookup(atoms, name, key, source) for name, key in keys.items()}
    results = atoms.calc.results if atoms.calc is not None else {}
    for name, names in CALCULATOR_KEYS.items():
        found = next((results[key] for key in names if results.get(key) is not None), None)
        if name not in labels and found is not None:
            labels[name] = _shaped(_numbers(found, name, source), name, len(atoms))
    if (
        "stress" not in keys
        and (virial := next((atoms.info[key] for key in atoms.info if key.lower() in VIRIALS), None)) is not None
    ):
        _join_virial(labels, _numbers(virial, "virial", source), atoms, source)
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


def _join_virial(labels: dict[str, NDArray], virial: NDArray, atoms: ase.Atoms, source: str) -> None:
    """The stress that a virial (eV) is, -virial / volume; one that stands beside it has to be the same."""
    if virial.shape == (6,):
        virial = voigt_to_tensor(virial)
    if virial.size != 9 or not atoms.pbc.all() or not atoms.cell.volume:
        raise InputError(
            f"{source}: a virial of {virial.size} numbers, expected 3 x 3 and a cell periodic in three ways"
        )
    stress = -virial.reshape(3, 3) / atoms.cell.volume
    if "stress" in labels and not np.allclose(stress, labels["stress"], rtol=0.01, atol=1e-4):
        raise InputError(
            f"{source}: its virial is not minus its stress times the volume ({stress[0, 0]:.4g} against "
            f"{labels['stress'].flat[0]:.4g} eV/Å³ along xx): say which is meant with keys: {{stress: stress}}"
        )
    labels.setdefault("stress", stress)


def _lookup(atoms: ase.Atoms, name: str, key: str, source: str) -> NDArray[np.floating]:
    store = atoms.arrays if ARRAYS[name].per == "atom" else atoms.info
    results = atoms.calc.results if atoms.calc is not None else {}
    value = store.get(key, results.get(key))
    if value is None:
        available = ", ".join(sorted({*store, *results}))
        raise InputError(f"{source}: no key {key!r} for {name}; the file has {available}")
    return _shaped(_numbers(value, name, source), name, len(atoms))


def _numbers(value: Any, name: str, source: str) -> NDArray[np.floating]:
    try:
        return np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}: {name}: expected numbers, found {value!r}") from error


def _shaped(value: NDArray[np.floating], name: str, n_atoms: int) -> NDArray[np.floating]:
    """In the shape of the schema; one that does not fit stays as it is, to be refused or left out (--without)."""
    spec = ARRAYS[name]
    shape = (n_atoms, *spec.shape) if spec.per == "atom" else spec.shape
    if name == "stress" and value.shape == (6,):
        return voigt_to_tensor(value)
    return value.reshape(shape) if value.size == np.prod(shape) else value
