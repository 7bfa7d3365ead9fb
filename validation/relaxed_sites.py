"""Sites of a crystal of Li3PS4 relaxed with DFT at its measured lengths: python -m validation.relaxed_sites beta.

Begins with the sites of `ionecho.structures.lps`, keeps the space group, ends where no force exceeds 0.01 eV/Å, and
prints how far the atoms moved and the fractional sites. A killed run goes on from outputs/relaxed_sites.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import ase.io
import numpy as np
from ase.constraints import FixSymmetry
from ase.geometry import find_mic
from ase.optimize import BFGS

from ionecho.labelling.calculator import EngineCalculator
from ionecho.labelling.engine import make_engine
from ionecho.structures.lps import BETA, GAMMA, lps_crystal
from validation.label_convergence import engine_config

SITES = {"gamma": GAMMA, "beta": BETA}
FORCE = 0.01  # eV/Å


def main(phase: str) -> None:
    """Relax, a line a step, then the sites."""
    first, atoms = lps_crystal(phase, 0), lps_crystal(phase, 0)
    path = Path("outputs/relaxed_sites") / f"{phase}.extxyz"
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        atoms.positions = ase.io.read(path).positions
    atoms.set_constraint(FixSymmetry(atoms))
    atoms.calc = EngineCalculator(make_engine(engine_config("lps_gpaw", ["engine.labels=[energy,forces]"])))
    optimiser = BFGS(atoms)
    optimiser.attach(lambda: ase.io.write(path, atoms, write_results=False))
    optimiser.run(fmax=FORCE)
    moved, _ = find_mic(atoms.positions - first.positions, atoms.cell)
    print(f"{phase}: atoms moved by {np.linalg.norm(moved, axis=1).max():.3f} Å at most")
    places = atoms.get_scaled_positions()
    for name, site in SITES[phase].items():
        index = np.linalg.norm(first.get_scaled_positions() - np.mod(site, 1), axis=1).argmin()
        print(f"{name}: " + ", ".join(f"{x:.4f}" for x in places[index]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("phase", choices=SITES)
    main(**vars(parser.parse_args()))
