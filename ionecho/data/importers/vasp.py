"""VASP OUTCAR: structure, energy, forces, stress and moments through ASE; the NMR blocks and electronic steps here."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import IO, Any

import ase
import numpy as np
from ase.io.formats import open_with_compression
from ase.io.vasp import iread_vasp_out
from numpy.typing import NDArray

from ionecho.data.importers.ase_files import from_atoms
from ionecho.data.schema import Configuration, Quality, voigt_to_tensor
from ionecho.errors import InputError, IonEchoWarning
from ionecho.nmr.isotopes import isotope

CONTACT_COLUMNS = ("A_pw", "A_1PS", "A_1AE", "A_1c", "A_tot")
VASP_ORDER = [0, 1, 2, 5, 4, 3]  # xx yy zz xy xz yz -> xx yy zz yz xz xy
END = "General timing and accounting"
ITERATION = re.compile(r"Iteration\s+\d+\(\s*(\d+)\)")


@dataclass
class IonicStep:
    """What ASE does not read of one ionic step; tensors in VASP's units."""

    electronic_steps: int
    contact: NDArray[np.floating] | None = None  # (N, 5) MHz
    dipolar: NDArray[np.floating] | None = None  # (N, 3, 3) MHz
    efg: NDArray[np.floating] | None = None  # (N, 3, 3) V/Å²
    shift: NDArray[np.floating] | None = None  # (N, 3, 3) ppm, valence only, without G = 0
    shift_g0: NDArray[np.floating] | None = None  # (3, 3) ppm
    isotropic_shift: NDArray[np.floating] | None = None  # (N,) ppm, valence and core, with G = 0


def read(
    path: Path,
    isotopes: Mapping[str, str] | None = None,
    gyromagnetic_ratio: float | Mapping[str, float] | None = None,
    contact_column: str = "A_tot",
) -> Iterator[Configuration]:
    """Ionic steps of an OUTCAR (plain or .gz), one at a time.

    Of an OUTCAR that does not end as VASP ends one the last step is refused: blocks after its forces may be missing.
    The energy is VASP's free energy (TOTEN), the one whose derivative the forces are. The EFG is as VASP prints
    it. The shielding is absolute: minus the symmetrised valence shift tensor with its G = 0 term, its isotropic part
    that of the table "absolute, valence and core" with G = 0.

    Parameters
    ----------
    isotopes
        Element -> isotope whose couplings the dataset holds, needed where the file has hyperfine blocks.
    gyromagnetic_ratio
        The gamma/2pi in MHz/T that the run used (VASP's NGYROMAG), one for all nuclei or by element. Hyperfine
        numbers are rescaled from it to each isotope's own. Not given: VASP's default of 1 is taken, with a warning.
    contact_column
        Column of the Fermi-contact block, or columns to add. `A_tot` leaves out the polarised core, which is `A_1c`:
        the whole coupling is `A_tot+A_1c`.

    Raises
    ------
    InputError
        If the file is not a finished OUTCAR, or its blocks do not match its atoms.
    """
    columns = contact_column.split("+")
    if unknown := set(columns) - set(CONTACT_COLUMNS):
        raise InputError(f"{path}: contact_column {', '.join(unknown)} is none of {', '.join(CONTACT_COLUMNS)}")
    with open_with_compression(str(path)) as file:
        steps, nelm, finished = _scan(file, path)
    try:
        for number, (atoms, step) in enumerate(zip_longest(_images(path), steps)):
            if atoms is None or step is None:
                raise InputError(f"{path}: step {number + 1} has no matching forces block; is the run unfinished?")
            if not finished and number == len(steps) - 1:
                raise InputError(f"{path}: cut or killed in step {number + 1}, for it does not end with {END!r}")
            source = f"{path.name}#{number}"
            configuration = from_atoms(atoms, {}, source, number)
            configuration.labels |= _nmr_labels(step, source)
            if step.contact is not None:
                scale = _hyperfine_scale(atoms.get_chemical_symbols(), isotopes, gyromagnetic_ratio, source)
                contact = step.contact[:, [CONTACT_COLUMNS.index(column) for column in columns]].sum(axis=1)
                configuration.labels["hyperfine_contact"] = contact * scale
                if step.dipolar is not None:
                    configuration.labels["hyperfine_dipolar"] = step.dipolar * scale[:, None, None]
            if nelm is not None and step.electronic_steps >= nelm:
                configuration.quality |= Quality.ELECTRONIC_STEPS_EXHAUSTED
            yield configuration
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not a complete OUTCAR ({type(error).__name__}: {error})") from error


def _images(path: Path) -> Iterator[ase.Atoms]:
    with open_with_compression(str(path)) as file:
        yield from iread_vasp_out(file, index=":")


def _scan(file: IO[Any], path: Path) -> tuple[list[IonicStep], int | None, bool]:
    """One pass: what ASE leaves out (a step ends with its forces, its NMR blocks follow), NELM, whether VASP ended.

    VASP 5.4 prints "EDIFF is reached" even when it stopped at NELM, so electronic steps are counted.
    """
    steps: list[IonicStep] = []
    nelm: int | None = None
    n_atoms = electronic = 0
    finished = False
    for line in file:
        if "ions per type" in line:
            n_atoms = sum(int(word) for word in line.split("=")[1].split())
        elif line.startswith("   NELM   ="):
            nelm = int(line.split("=")[1].split(";")[0])
        elif match := ITERATION.search(line):
            electronic = int(match[1])
        elif END in line:
            finished = True
        elif "TOTAL-FORCE (eV/Angst)" in line:
            steps.append(IonicStep(electronic))
        elif not steps:
            continue
        elif line.startswith(" Fermi contact (isotropic)"):
            steps[-1].contact = _table(file, n_atoms, 3, path)
        elif line.startswith(" Dipolar hyperfine"):
            steps[-1].dipolar = voigt_to_tensor(_table(file, n_atoms, 3, path)[:, VASP_ORDER])
        elif line.startswith(" Electric field gradients (V/A^2)"):
            steps[-1].efg = voigt_to_tensor(_table(file, n_atoms, 3, path)[:, VASP_ORDER])
        elif line.startswith("  SYMMETRIZED TENSORS"):
            rows = [row.split() for row in islice(file, 4 * n_atoms)]
            steps[-1].shift = np.array([row for row in rows if row[0] != "ion"], dtype=float).reshape(n_atoms, 3, 3)
        elif "G=0 CONTRIBUTION TO CHEMICAL SHIFT" in line:
            steps[-1].shift_g0 = _table(file, 3, 3, path)
        elif "(absolute, valence and core)" in line:
            steps[-1].isotropic_shift = _table(file, n_atoms, 0, path)[:, 3]
    return steps, nelm, finished


def _table(file: IO[Any], rows: int, header: int, path: Path) -> NDArray[np.floating]:
    """The next `rows` lines after `header` lines, without their first column."""
    lines = list(islice(file, header, header + rows))
    try:
        return np.array([line.split()[1:] for line in lines], dtype=float).reshape(rows, -1)
    except ValueError as error:
        raise InputError(f"{path}: a table of {rows} rows breaks off; is the file cut?") from error


def _nmr_labels(step: IonicStep, source: str) -> dict[str, NDArray[np.floating]]:
    labels = {} if step.efg is None else {"efg": step.efg}
    if step.shift is not None:
        if step.shift_g0 is None or step.isotropic_shift is None:
            raise InputError(f"{source}: a shielding block without its G=0 or core part; is the run unfinished?")
        shift = step.shift + step.shift_g0.T
        isotropic = np.trace(shift, axis1=1, axis2=2) / 3
        labels["shielding"] = -(shift + (step.isotropic_shift - isotropic)[:, None, None] * np.eye(3))
    return labels


def _hyperfine_scale(
    symbols: list[str],
    isotopes: Mapping[str, str] | None,
    ratio: float | Mapping[str, float] | None,
    source: str,
) -> NDArray[np.floating]:
    """Factor (N,) from the run's gyromagnetic ratio to each isotope's own."""
    if missing := sorted(set(symbols) - set(isotopes or {})):
        raise InputError(f"{source}: hyperfine blocks need an isotope for {', '.join(missing)}; set isotopes")
    if ratio is None:
        message = f"{source.rpartition('#')[0]}: no gyromagnetic_ratio given; VASP's default of 1 MHz/T is taken"
        warnings.warn(message, IonEchoWarning, stacklevel=2)
        ratio = 1.0
    used = ratio if isinstance(ratio, Mapping) else dict.fromkeys(symbols, ratio)
    if missing := sorted(set(symbols) - set(used)):
        raise InputError(f"{source}: gyromagnetic_ratio names {', '.join(used)}, not {', '.join(missing)}")
    if wrong := [value for value in used.values() if not isinstance(value, int | float) or value == 0]:
        raise InputError(f"{source}: gyromagnetic_ratio: expected numbers other than 0, found {wrong[0]!r}")
    assert isotopes is not None
    return np.array([isotope(isotopes[symbol]).gyromagnetic_ratio / used[symbol] for symbol in symbols])
