"""Tables of what NMR reports of tensors, a row a site, and CASTEP's `.magres` files of them."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import pandas as pd
from ase.data import chemical_symbols
from ase.io.magres import write_magres
from numpy.typing import NDArray

from ionecho.data.importers.magres import ATOMIC_UNIT
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.nmr.site_table import COLUMNS, UNITS, Conventions
from ionecho.nmr.tensor_convention import symmetric

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
    """One `.magres` file a configuration with all its tensors in `folder`; their number."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for configuration in dataset.configurations(0, len(dataset), dataset.labels):
        labels = {name: configuration.labels[name] for name in COLUMNS if name in configuration.labels}
        whole = {name: np.asarray(value, float) for name, value in labels.items() if np.isfinite(value).all()}
        if not whole:
            continue
        atoms = ase.Atoms(configuration.numbers, configuration.positions, cell=configuration.cell, pbc=True)
        atoms.new_array("labels", np.array(atoms.get_chemical_symbols()))
        indices = [np.count_nonzero(atoms.numbers[: k + 1] == number) for k, number in enumerate(atoms.numbers)]
        atoms.new_array("indices", np.array(indices))
        if "shielding" in whole:
            atoms.new_array("ms", symmetric(whole["shielding"]))
            atoms.info.setdefault("magres_units", {})["ms"] = "ppm"
        if "efg" in whole:
            atoms.new_array("efg", whole["efg"] / ATOMIC_UNIT)
            atoms.info.setdefault("magres_units", {})["efg"] = "au"
        name = f"{configuration.group}-{configuration.frame}".replace("/", "_")
        partial = folder / f"{name}.magres.partial"
        with partial.open("w") as file:
            write_magres(file, atoms)
        partial.replace(folder / f"{name}.magres")
        count += 1
    return count
