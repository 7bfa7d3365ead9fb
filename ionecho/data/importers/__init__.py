"""Importers: one function a format, `read(path, **options)`, yielding configurations one at a time.

An importer leaves `group` empty and numbers `frame` by the step within its file; the build names them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ionecho.data.importers import arrays, ase_files, deepmd, density, magres, pymatgen_json, vasp
from ionecho.data.schema import Configuration
from ionecho.errors import InputError

Importer = Callable[..., Iterator[Configuration]]
IMPORTERS: Mapping[str, Importer] = {
    "vasp_outcar": vasp.read,
    "chgcar": density.read_chgcar,
    "cube": density.read_cube,
    "magres": magres.read,
    "deepmd": deepmd.read,
    "npz": arrays.read,
    "pymatgen_json": pymatgen_json.read,
    "extxyz": ase_files.read,
    "ase": ase_files.read,
}


def importer(name: str, options: Mapping[str, Any]) -> Importer:
    """The importer registered under `name`, after checking that it takes these options."""
    if name not in IMPORTERS:
        raise InputError(f"unknown importer {name!r}; known: {', '.join(IMPORTERS)}")
    signature = inspect.signature(IMPORTERS[name])
    known = set(signature.parameters) - {"path"}
    if unknown := set(options) - known:
        raise InputError(f"importer {name}: unknown options {sorted(unknown)}; known: {', '.join(sorted(known))}")
    try:
        signature.bind("path", **options)
    except TypeError as error:
        raise InputError(f"importer {name}: {error}; give it with --options") from error
    return IMPORTERS[name]
