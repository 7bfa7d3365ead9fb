"""VASP OUTCAR: the labels of its ionic steps, in the schema's units."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from itertools import chain, pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ionecho.data.importers.ase_files import from_atoms
from ionecho.data.schema import Configuration, Quality, voigt_to_tensor
from ionecho.errors import InputError, IonEchoWarning
from ionecho.nmr.isotopes import isotope
from ionecho.structures.outcar import END, IonicStep, Run, read_outcar

CONTACT_COLUMNS = ("A_pw", "A_1PS", "A_1AE", "A_1c", "A_tot")
VASP_ORDER = [0, 1, 2, 5, 4, 3]  # xx yy zz xy xz yz -> xx yy zz yz xz xy


def read(
    path: Path,
    isotopes: Mapping[str, str] | None = None,
    gyromagnetic_ratio: float | Mapping[str, float] | None = None,
    contact_column: str = "A_tot",
) -> Iterator[Configuration]:
    """Ionic steps of an OUTCAR (plain or .gz), one at a time.

    Of an OUTCAR that does not end as VASP ends one the last step is refused: blocks after its forces may be missing.
    Steps of VASP's machine-learned force field are left out with a warning, as are those that NWRITE hides.
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
    run, learned, number = Run(), 0, 0
    try:
        for step, following in pairwise(chain(read_outcar(path, run), [None])):
            assert step is not None
            if step.learned:
                learned += 1
                continue
            if step.energy is None or (following is None and not run.finished):
                raise InputError(f"{path}: cut or killed in step {number + 1}, for it does not end with {END!r}")
            source = f"{path.name}#{number}"
            configuration = from_atoms(step.atoms, {}, source, number)
            configuration.labels |= _nmr_labels(step, source)
            if step.contact is not None:
                scale = _hyperfine_scale(step.atoms.get_chemical_symbols(), isotopes, gyromagnetic_ratio, source)
                contact = step.contact[:, [CONTACT_COLUMNS.index(column) for column in columns]].sum(axis=1)
                configuration.labels["hyperfine_contact"] = contact * scale
                if step.dipolar is not None:
                    tensors = voigt_to_tensor(step.dipolar[:, VASP_ORDER])
                    configuration.labels["hyperfine_dipolar"] = tensors * scale[:, None, None]
            if run.nelm is not None and step.electronic_steps >= run.nelm:
                configuration.quality |= Quality.ELECTRONIC_STEPS_EXHAUSTED
            yield configuration
            number += 1
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: not a complete OUTCAR ({type(error).__name__}: {error})") from error
    if not number:
        what = "only steps of VASP's machine-learned force field" if learned else "no finished configuration"
        raise InputError(f"{path}: holds {what}")
    if learned:
        told = f"{path}: {learned} steps of VASP's machine-learned force field left out, which are no DFT"
        warnings.warn(told, IonEchoWarning, stacklevel=2)
    if run.energies > number > 0:
        told = f"{path}: {run.energies - number} steps left out, whose positions are not printed (NWRITE)"
        warnings.warn(told, IonEchoWarning, stacklevel=2)


def _nmr_labels(step: IonicStep, source: str) -> dict[str, NDArray[np.floating]]:
    labels = {} if step.efg is None else {"efg": voigt_to_tensor(step.efg[:, VASP_ORDER])}
    if step.shift is not None:
        if step.shift_g0 is None or step.isotropic_shift is None:
            raise InputError(f"{source}: a shielding block without its G=0 or core part, which follow it")
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
