"""Energy against volume of a crystal of Li3PS4, DFT beside potentials: python -m validation.equation_of_state gamma.

The cell is scaled evenly and its fractional sites are kept. DFT has the settings of lps_gpaw; a killed run goes on from
outputs/equation_of_state. Prints energies less that at the measured lengths, and fits of Birch and Murnaghan.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import ase
import ase.io
import numpy as np
from ase.calculators.calculator import Calculator
from ase.eos import EquationOfState
from ase.units import GPa

import ionecho
from ionecho.labelling.calculator import EngineCalculator
from ionecho.labelling.engine import make_engine
from ionecho.structures.lps import lps_crystal
from validation.label_convergence import engine_config

STRAINS = np.linspace(-0.03, 0.03, 7)  # of the lengths


def energies(cells: Sequence[ase.Atoms], calculator: Calculator) -> list[float]:
    """Energy (eV/atom) of every cell."""
    found = []
    for cell in cells:
        atoms = cell.copy()
        atoms.calc = calculator
        found.append(atoms.get_potential_energy() / len(atoms))
    return found


def reference(phase: str, cells: Sequence[ase.Atoms]) -> list[float]:
    """The same with DFT, kept on disk one by one."""
    folder = Path("outputs/equation_of_state")
    folder.mkdir(parents=True, exist_ok=True)
    engine = EngineCalculator(make_engine(engine_config("lps_gpaw", ["engine.labels=[energy,forces]"])))
    found = []
    for strain, cell in zip(STRAINS, cells, strict=True):
        path = folder / f"{phase}_{strain:+.3f}.txt"
        if not path.exists():
            path.with_suffix(".partial").write_text(repr(energies([cell], engine)[0]))
            path.with_suffix(".partial").replace(path)
        found.append(float(path.read_text()))
    return found


def main(phase: str, checkpoints: Sequence[str]) -> None:
    """Measure and print."""
    cells = []
    for strain in STRAINS:
        cells.append(lps_crystal(phase, 0))
        cells[-1].set_cell((1 + strain) * cells[-1].cell, scale_atoms=True)
    columns = {"DFT": reference(phase, cells)}
    columns |= {name: energies(cells, ionecho.load(name).calculator()) for name in checkpoints}
    volumes = [cell.get_volume() / len(cell) for cell in cells]
    print(f"{'Å³/atom':>10}" + "".join(f"{name:>14}" for name in columns) + "   meV/atom")
    middle = len(cells) // 2
    for row, volume in enumerate(volumes):
        print(
            f"{volume:10.3f}" + "".join(f"{1000 * (column[row] - column[middle]):14.1f}" for column in columns.values())
        )
    for name, column in columns.items():
        volume, _, bulk = EquationOfState(volumes, column, eos="birchmurnaghan").fit()
        print(f"{name}: volume of least energy {volume:.2f} Å³/atom, bulk modulus {bulk / GPa:.1f} GPa")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase", choices=("gamma", "beta"))
    parser.add_argument("checkpoints", nargs="*", default=("painn-lps", "uf3-lps"))
    main(**vars(parser.parse_args()))
