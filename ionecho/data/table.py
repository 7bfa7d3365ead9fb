"""Tables of what NMR reports of tensors, a row a site, and CASTEP's `.magres` files of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ionecho.data.magres_file import write_magres_file
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.nmr.site_table import COLUMNS, UNITS, Conventions

ENDINGS = {"ppm": "_ppm", "V/Å²": "_V_per_A2", "MHz": "_MHz", "degree": "_deg", "": ""}  # of columns, by unit


def tensor_table(dataset: Dataset, conventions: Conventions) -> pd.DataFrame:
    """One row a site with a tensor: isotropic values, span and skew (ppm), V_zz (V/Å²), C_Q (MHz), eta, Euler angles.

    Shifts are of elements with a reference line, C_Q of elements with an isotope; empty elsewhere.

    Raises
    ------
    InputError
        If the dataset has no tensors.
    """
    present = [name for name in COLUMNS if name in dataset.labels]
    if not present:
        raise InputError(f"{dataset.path}: expected {' or '.join(COLUMNS)}, found {', '.join(dataset.labels)}")
    numbers = dataset.rows("numbers", 0, len(dataset))
    symbols = np.array(chemical_symbols)[numbers]
    owner = np.repeat(np.arange(len(dataset)), np.diff(dataset.offsets))
    columns: dict[str, NDArray] = {
        "group": dataset.group[owner],
        "frame": dataset.frame[owner],
        "atom": np.arange(len(owner)) - dataset.offsets[owner],
        "element": symbols,
    }
    known = np.zeros(len(owner), bool)
    for name in present:
        tensors = dataset.rows(name, 0, len(dataset)).astype(float)
        rows = np.isfinite(tensors).all((1, 2))
        known |= rows
        for quantity, values in COLUMNS[name](tensors[rows], symbols[rows], conventions).items():
            column = quantity + ENDINGS[UNITS[quantity]]
            columns[column] = np.full(len(owner), np.nan)
            columns[column][rows] = values
    return pd.DataFrame(columns)[known].dropna(axis=1, how="all").reset_index(drop=True)


def write_magres_files(dataset: Dataset, folder: Path) -> int:
    """One `.magres` file in `folder` of every configuration of which an atom has a tensor; their number."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for configuration in dataset.configurations(0, len(dataset), dataset.labels):
        tensors = {name: configuration.labels[name] for name in COLUMNS if name in configuration.labels}
        if any(np.isfinite(values).all((1, 2)).any() for values in tensors.values()):
            name = f"{configuration.group}-{configuration.frame}".replace("/", "_")
            write_magres_file(configuration.atoms, tensors, folder / f"{name}.magres")
            count += 1
    return count
