"""VASP's OUTCAR, read one ionic step at a time, in VASP's units and orders."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import IO

import ase
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from ase.units import GPa
from numpy.typing import NDArray

from ionecho.errors import InputError
from ionecho.structures.text import element, numbers, open_text, table

Floats = NDArray[np.floating]
END = "General timing and accounting"
ITERATION = re.compile(r"Iteration\s+\d+\(\s*(\d+)\)")
TOTAL_ENERGY = re.compile(r"free  energy\s+TOTEN\s*=\s*(\S+)")  # with one blank, of an electronic step
SIGMA_ZERO = re.compile(r"energy\(sigma->0\)\s*=\s*(\S+)")
KILOBAR_ORDER = [0, 1, 2, 4, 5, 3]  # xx yy zz xy yz zx -> xx yy zz yz xz xy
WITHOUT = "w/o"  # stands with energies that leave a part out, such as dispersion
LEARNED = re.compile(r"\bML")  # stands with what VASP's machine-learned force field gives


@dataclass
class IonicStep:
    """One ionic step of N atoms; what it lacks is None.

    `energy` eV is the free energy TOTEN, `energy_zero` that of no smearing; `stress` (6,) eV/Å³ tensile positive in
    ASE's order; `moments` (N,) μB, (N, 3) of a non-collinear run. `learned`: of VASP's force field, not of DFT.
    """

    numbers: NDArray[np.integer]
    cell: Floats  # (3, 3) Å
    positions: Floats  # (N, 3) Å
    forces: Floats  # (N, 3) eV/Å
    electronic_steps: int
    learned: bool = False
    energy: float | None = None
    energy_zero: float | None = None
    stress: Floats | None = None
    moments: Floats | None = None
    contact: Floats | None = None  # (N, 5) MHz
    dipolar: Floats | None = None  # (N, 6) MHz, xx yy zz xy xz yz
    efg: Floats | None = None  # (N, 6) V/Å², xx yy zz xy xz yz
    shift: Floats | None = None  # (N, 3, 3) ppm, valence only, without G = 0
    shift_g0: Floats | None = None  # (3, 3) ppm
    isotropic_shift: Floats | None = None  # (N,) ppm, valence and core, with G = 0

    @property
    def atoms(self) -> ase.Atoms:
        """For ASE, with energies, forces, stress and collinear moments."""
        atoms = ase.Atoms(self.numbers, positions=self.positions, cell=self.cell, pbc=True)
        energies = {"free_energy": self.energy, "energy": self.energy_zero}
        found = {**energies, "forces": self.forces, "stress": self.stress, "magmoms": self.moments}
        atoms.calc = SinglePointCalculator(atoms, **{name: value for name, value in found.items() if value is not None})
        return atoms


@dataclass
class Run:
    """What is told of the whole run: `nelm` the most electronic steps, `finished` whether VASP ended it itself.

    `energies` counts the ionic steps by their energies: NWRITE = 0 prints the positions of few of them.
    """

    nelm: int | None = None
    finished: bool = False
    energies: int = 0
    names: list[str] = field(default_factory=list)
    titles: list[str] = field(default_factory=list)
    counts: str = ""
    ions: int | None = None

    def numbers(self, path: Path) -> NDArray[np.integer]:
        """Atomic numbers (N,)."""
        names = self.names or self.titles[: (len(self.titles) + 1) // 2]  # the titles stand twice
        counts = [int(word) for word in self.counts.split()]
        if self.ions is not None and sum(counts) != self.ions:  # four columns a type: 1000 and more run together
            text = self.counts.rstrip()
            text = text.rjust(-(-len(text) // 4) * 4)
            counts = [
                int(text[start : start + 4]) for start in range(0, len(text), 4) if text[start : start + 4].strip()
            ]
        if not names or len(names) != len(counts) or (self.ions is not None and sum(counts) != self.ions):
            found = f"{', '.join(names) or 'none'} and ions per type {self.counts.strip() or 'none'}"
            raise InputError(f"{path}: expected elements and a count for each, found {found}")
        return np.repeat([element(name, str(path)) for name in names], counts)


def read_outcar(path: Path, run: Run) -> Iterator[IonicStep]:
    """The ionic steps whose positions are printed, each once all that belongs to it is read; `run` is filled.

    Raises
    ------
    InputError
        If it is cut within a table, or a table holds something else than numbers.
    """
    step: IonicStep | None = None
    cell: Floats = np.zeros((3, 3))
    atoms = np.array([], dtype=int)
    electronic, stress, moments = 0, None, []
    learned = False  # what the last title of a stress told
    total = False  # whether the energies that follow are those of the ionic step
    with open_text(path) as file:
        for line in file:
            where = f"{path}: step {run.energies + 1}"
            if "Iteration" in line and (match := ITERATION.search(line)):
                electronic = int(match[1])
            elif line.startswith("   VRHFIN ="):
                run.names.append(line.split("=")[1].split(":")[0].strip())
            elif line.startswith(" POTCAR:"):
                run.titles.append((line.split()[2:3] or line.split()[1:2] or [""])[0])
            elif "ions per type" in line:
                run.counts = line.split("=")[1].rstrip("\n")
                atoms = run.numbers(path)
            elif "NIONS =" in line:
                run.ions = int(numbers(line.split("NIONS =")[1], 1, where)[0])
            elif line.startswith("   NELM   ="):
                run.nelm = int(numbers(line.split("=")[1].split(";")[0], 1, where)[0])
            elif END in line:
                run.finished = True
            elif line.startswith(" vasp.") and step is not None:
                raise InputError(f"{path}: holds two runs one after the other; split it")
            elif "direct lattice vectors" in line:
                cell = table(_rows(file, 3, where), 3, f"{where}, cell")
            elif "FORCE on cell" in line:
                learned = bool(LEARNED.search(line))
            elif line.startswith("  in kB"):
                stress = None if learned else _stress(line)
            elif "magnetization (" in line:
                rows = _rows(file, len(atoms) + 3, where)[3:]
                moments.append([numbers(row.split()[-1], 1, f"{where}, moments")[0] for row in rows])
            elif "POSITION" in line and "TOTAL-FORCE" in line:
                if not len(atoms):
                    raise InputError(f"{path}: no line 'ions per type' before its forces: its head is cut off")
                next(file, "")
                values = table(_rows(file, len(atoms), where), 6, f"{where}, positions and forces")
                found = IonicStep(atoms, cell, values[:, :3], values[:, 3:], electronic, bool(LEARNED.search(line)))
                again = step is not None and np.array_equal(step.positions, found.positions)
                if step is not None and again and found.learned and not step.learned:
                    continue  # what the force field says of a step that was labelled by DFT
                if step is not None and not (again and step.learned and not found.learned):
                    yield step
                step = found
                step.stress, stress = stress, None
                step.moments, moments = np.array(moments).T if moments else None, []
                if step.moments is not None and step.moments.shape[1] == 1:
                    step.moments = step.moments[:, 0]
            elif "FREE ENERGIE OF THE ION-ELECTRON SYSTEM" in line:
                total = WITHOUT not in line and not LEARNED.search(line)
                run.energies += total
            elif total and step is not None and WITHOUT not in line and (match := TOTAL_ENERGY.search(line)):
                step.energy = numbers(match[1], 1, f"{path}: step {run.energies}, TOTEN")[0]
            elif total and step is not None and WITHOUT not in line and (match := SIGMA_ZERO.search(line)):
                step.energy_zero, total = numbers(match[1], 1, f"{path}: step {run.energies}, energy")[0], False
            elif step is not None:
                _read_nmr(line, file, step, where)
        if step is not None:
            yield step


def _rows(file: IO[str], count: int, where: str) -> list[str]:
    rows = list(islice(file, count))
    if len(rows) < count:
        raise InputError(f"{where}: the file ends in row {len(rows) + 1} of a table of {count}")
    return rows


def _stress(line: str) -> Floats | None:
    """Stress (6,) of a line in kB; None where a number did not fit its columns."""
    if "*" in line:
        return None
    return -np.array(numbers(line.split("kB")[1], 6, "stress"))[KILOBAR_ORDER] * 0.1 * GPa


def _read_nmr(line: str, file: IO[str], step: IonicStep, where: str) -> None:
    """The blocks of hyperfine couplings, field gradients and shifts, which follow the forces."""
    count = len(step.numbers)
    if line.startswith(" Fermi contact (isotropic)"):
        step.contact = _numbered(file, count, 3, 5, where)
    elif line.startswith(" Dipolar hyperfine"):
        step.dipolar = _numbered(file, count, 3, 6, where)
    elif line.startswith(" Electric field gradients (V/A^2)"):
        step.efg = _numbered(file, count, 3, 6, where)
    elif line.startswith("  SYMMETRIZED TENSORS"):
        rows = [row for row in _rows(file, 4 * count, where) if row.split()[:1] != ["ion"]]
        step.shift = table(rows, 3, f"{where}, shifts").reshape(count, 3, 3)
    elif "G=0 CONTRIBUTION TO CHEMICAL SHIFT" in line:
        step.shift_g0 = _numbered(file, 3, 3, 3, where)
    elif "(absolute, valence and core)" in line:
        step.isotropic_shift = _numbered(file, count, 0, 4, where)[:, 3]


def _numbered(file: IO[str], rows: int, header: int, width: int, where: str) -> Floats:
    """The next `rows` lines after `header` lines, without the number they begin with."""
    return table(_rows(file, header + rows, where)[header:], width + 1, where)[:, 1:]
