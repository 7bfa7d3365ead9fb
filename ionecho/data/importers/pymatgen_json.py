"""JSON lists of structures of pymatgen or JARVIS, labels beside them: [{"structure": {...}, "efg": [...]}, ...]."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ionecho.data.importers.arrays import OF_FRAMES
from ionecho.data.schema import ARRAYS, Configuration
from ionecho.errors import InputError
from ionecho.structures.text import open_text

Structure = tuple[NDArray[np.integer], NDArray[np.floating], NDArray[np.floating], NDArray[np.bool_]]
ROUNDING = 3e-3  # of the larger of one unit and the largest component: codes print three decimals


def read(path: Path, keys: Mapping[str, str], structure: str = "structure") -> Iterator[Configuration]:
    """Configurations of a JSON list of records (plain or compressed), one a record.

    Parameters
    ----------
    keys
        Label of the schema -> key of the record, in the schema's units and shapes, null or absent where a record has
        none. Numbers that codes print under another convention (VASP's valence-only shift tensors, for one) are not
        the schema's labels: leave them out.
    structure
        Key of the structure, as pymatgen's `Structure.as_dict()` or JARVIS's `Atoms.to_dict()` writes it, every site
        held by one element.

    Raises
    ------
    InputError
        If the file is no such list, a site is disordered, a label has another shape, or no record has it.
    """
    if unknown := set(keys) - set(OF_FRAMES):
        raise InputError(f"{path}: unknown labels {sorted(unknown)} in keys; known: {', '.join(OF_FRAMES)}")
    try:
        with open_text(path) as file:
            records = json.load(file)
    except ValueError as error:
        raise InputError(f"{path}: not a whole JSON file ({error})") from error
    if not isinstance(records, list) or not all(isinstance(record, dict) for record in records):
        raise InputError(f"{path}: expected a list of records, found {type(records).__name__}")
    for label, key in keys.items():
        if all(record.get(key) is None for record in records):
            available = ", ".join(sorted({name for record in records for name in record}))
            raise InputError(f"{path}: no record has a key {key!r} for {label}; they have {available}")
    for number, record in enumerate(records):
        labels = {label: record[key] for label, key in keys.items() if record.get(key) is not None}
        yield _configuration(record, structure, labels, f"{path.name}#{number}", number)


def _configuration(
    record: Mapping[str, Any], structure: str, labels: Mapping[str, Any], source: str, frame: int
) -> Configuration:
    try:
        numbers, positions, cell, pbc = _jarvis(record[structure]) or _pymatgen(record[structure], source)
        return Configuration(
            numbers=numbers,
            positions=positions,
            cell=cell,
            pbc=pbc,
            group="",
            frame=frame,
            source=source,
            labels={label: _value(label, value, source) for label, value in labels.items()},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source}: not a structure of pymatgen or JARVIS with numeric labels ({error!r})") from error


def _pymatgen(given: Mapping[str, Any], source: str) -> Structure:
    lattice, sites = given["lattice"], given["sites"]
    if any(len(site["species"]) != 1 or site["species"][0]["occu"] != 1 for site in sites):
        raise InputError(f"{source}: a site holds more than one element, or part of one; DFT structures expected")
    cell = np.array(lattice["matrix"], dtype=float)
    numbers = np.array([atomic_numbers[site["species"][0]["element"]] for site in sites])
    positions = np.array([site["abc"] for site in sites], dtype=float) @ cell
    return numbers, positions, cell, np.array(lattice.get("pbc", (True, True, True)), dtype=bool)


def _jarvis(given: Mapping[str, Any]) -> Structure | None:
    """None where it is not JARVIS's."""
    if "lattice_mat" not in given:
        return None
    cell = np.array(given["lattice_mat"], dtype=float)
    coordinates = np.array(given["coords"], dtype=float)
    numbers = np.array([atomic_numbers[str(element).strip()] for element in given["elements"]])
    return numbers, coordinates if given["cartesian"] else coordinates @ cell, cell, np.ones(3, dtype=bool)


def _value(label: str, value: Any, source: str) -> NDArray[np.floating]:
    """A label as numbers; a traceless one is made so where it is but for the rounding of what was printed."""
    found = np.asarray(value, dtype=float)
    if ARRAYS[label].kind != "traceless" or found.shape[1:] != (3, 3):
        return found
    symmetric = (found + found.swapaxes(1, 2)) / 2
    clean = symmetric - np.trace(symmetric, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    off = np.abs(clean - found).max(axis=(1, 2))
    if (bad := off > ROUNDING * np.maximum(1.0, np.abs(found).max(axis=(1, 2)))).any():
        atom = int(np.argmax(bad))
        raise InputError(f"{source}: {label} of atom {atom} is off symmetric and traceless by {off[atom]:.2g}")
    return clean
