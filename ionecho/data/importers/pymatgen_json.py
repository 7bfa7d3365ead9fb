"""JSON lists of pymatgen structures with labels beside them: [{"structure": {...}, "efg": [...]}, ...]."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from ionecho.data.importers.arrays import OF_FRAMES
from ionecho.data.schema import Configuration
from ionecho.errors import InputError
from ionecho.structures.text import open_text


def read(path: Path, keys: Mapping[str, str], structure: str = "structure") -> Iterator[Configuration]:
    """Configurations of a JSON list of records (plain or compressed), one a record.

    Parameters
    ----------
    keys
        Label of the schema -> key of the record, in the schema's units and shapes, null or absent where a record has
        none. Numbers that codes print under another convention (VASP's valence-only shift tensors, for one) are not
        the schema's labels: leave them out.
    structure
        Key of the structure, as pymatgen's `Structure.as_dict()` writes it, every site held by one element.

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
        lattice, sites = record[structure]["lattice"], record[structure]["sites"]
        if any(len(site["species"]) != 1 or site["species"][0]["occu"] != 1 for site in sites):
            raise InputError(f"{source}: a site holds more than one element, or part of one; DFT structures expected")
        cell = np.array(lattice["matrix"], dtype=float)
        return Configuration(
            numbers=np.array([atomic_numbers[site["species"][0]["element"]] for site in sites]),
            positions=np.array([site["abc"] for site in sites], dtype=float) @ cell,
            cell=cell,
            pbc=np.array(lattice.get("pbc", (True, True, True)), dtype=bool),
            group="",
            frame=frame,
            source=source,
            labels={label: np.asarray(value, dtype=float) for label, value in labels.items()},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{source}: not a pymatgen structure with numeric labels ({error!r})") from error
