"""Tables of what NMR reports of tensors, a row a site, and CASTEP's `.magres` files of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np
import pandas as pd
from ase.data import atomic_numbers, chemical_symbols
from ase.io.magres import write_magres
from numpy.typing import NDArray

from ionecho.data.importers.magres import ATOMIC_UNIT
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.nmr.isotopes import isotope
from ionecho.nmr.quadrupole import asymmetry, principal_components, quadrupole_coupling
from ionecho.nmr.tensor_convention import chemical_shift, euler_angles, herzfeld_berger, symmetric

LABELS = ("shielding", "efg")
MEGAHERTZ = 1e-6  # per Hz


@dataclass(frozen=True)
class Conventions:
    """What the labels do not say: of each element the isotope, and its line delta = intercept + slope sigma in ppm.

    `tolerance` in V/Å²: of |V_zz|, below which eta is undefined and left out.
    """

    isotopes: Mapping[str, str]
    references: Mapping[str, tuple[float, float]]
    tolerance: float = 1e-3

    @classmethod
    def parse(cls, isotopes: list[str], references: list[str]) -> Conventions:
        """From `23Na` and `Na:551.3:-0.997`; raises InputError where one is not so."""
        known = {isotope(name).symbol: name for name in isotopes}
        lines = {}
        for text in references:
            symbol, *numbers = text.split(":")
            try:
                intercept, slope = (float(number) for number in numbers)
            except ValueError as error:
                raise InputError(f"--reference: expected ELEMENT:intercept:slope in ppm, found {text!r}") from error
            if symbol not in atomic_numbers:
                raise InputError(f"--reference: {symbol!r} is no element")
            lines[symbol] = (intercept, slope)
        return cls(known, lines)


def tensor_table(dataset: Dataset, conventions: Conventions) -> pd.DataFrame:
    """One row a site with a tensor: isotropic values, span and skew (ppm), V_zz (V/Å²), C_Q (MHz), eta, Euler angles.

    Shifts are of elements with a reference line, C_Q of elements with an isotope; empty elsewhere.

    Raises
    ------
    InputError
        If the dataset has no tensors.
    """
    present = [name for name in LABELS if name in dataset.labels]
    if not present:
        raise InputError(f"{dataset.path}: expected {' or '.join(LABELS)}, found {', '.join(dataset.labels)}")
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
        made = _shielding if name == "shielding" else _gradient
        for column, values in made(tensors[rows], symbols[rows], conventions).items():
            columns[column] = np.full(len(owner), np.nan)
            columns[column][rows] = values
    return pd.DataFrame(columns)[known].dropna(axis=1, how="all").reset_index(drop=True)


def _shielding(tensors: NDArray, symbols: NDArray, conventions: Conventions) -> dict[str, NDArray]:
    known = np.isin(symbols, list(conventions.references))
    lines = np.array([conventions.references[symbol] for symbol in symbols[known]]).reshape(-1, 2)
    shifts = chemical_shift(tensors[known], lines[:, 0], lines[:, 1])
    found = {"sigma_iso_ppm": np.trace(tensors, axis1=1, axis2=2) / 3}
    for column, values in zip(("delta_iso_ppm", "span_ppm", "skew"), herzfeld_berger(shifts), strict=True):
        found[column] = np.full(len(tensors), np.nan)
        found[column][known] = values
    return found | _angles(tensors, "shielding")


def _gradient(tensors: NDArray, symbols: NDArray, conventions: Conventions) -> dict[str, NDArray]:
    moments = [isotope(conventions.isotopes[s]).quadrupole_moment if s in conventions.isotopes else 0 for s in symbols]
    moment = np.array(moments, float)
    eta, defined = asymmetry(tensors, conventions.tolerance)
    return {
        "V_zz_V_per_A2": principal_components(tensors)[:, 2],
        "C_Q_MHz": np.where(moment != 0, MEGAHERTZ * quadrupole_coupling(tensors, 1.0) * moment, np.nan),
        "eta": np.where(defined, eta, np.nan),
        **_angles(tensors, "efg"),
    }


def _angles(tensors: NDArray, name: str) -> dict[str, NDArray]:
    columns = [f"{name}_{angle}_deg" for angle in ("alpha", "beta", "gamma")]
    return dict(zip(columns, euler_angles(tensors).T, strict=True))


def write_magres_files(dataset: Dataset, folder: Path) -> int:
    """One `.magres` file a configuration with all its tensors in `folder`; their number."""
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for configuration in dataset.configurations(0, len(dataset), dataset.labels):
        labels = {name: configuration.labels[name] for name in LABELS if name in configuration.labels}
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
