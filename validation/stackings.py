"""Energies of stackings and of a metal swap above P6_322 in P2-Na2/3(Mg1/3Mn2/3)O2: python -m validation.stackings.

Science.md A20, whose DFT is of the Ni material. Sites are relaxed by a potential at the lengths of P2, in cells of 22
atoms, with a swap of 88; energies are for 88 atoms. O2 has its Na on octahedral sites. With --dft the engine of p2_gpaw
labels the relaxed cells of 22 atoms too, four CPU minutes an arrangement of Na.
"""

from __future__ import annotations

import argparse
from collections import defaultdict

import ase
import numpy as np
import torch
from ase.optimize import LBFGS

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.dynamics.calculator import Potential
from ionecho.labelling.engine import make_engine
from ionecho.structures.prototypes import METAL, P2_CELL, p2_layered
from validation.label_convergence import engine_config

PUBLISHED = {"P6322": 0.0, "P63/mcm": 0.04, "one swap": 0.40, "O2": 2.74}  # eV, Ni in place of Mg
ATOMS, SUPERCELL = 88, (2, 2, 1)
GLIDE = np.array([1 / 3, 0, 0])  # of the second layer from P2 to O2, fractional
FORCE, STEPS = 0.05, 500  # eV/Å


def structures(seed: int) -> dict[str, ase.Atoms]:
    """The four, with the arrangement of Na that this seed draws."""
    return {
        "P6322": p2_layered("p6322", seed),
        "P63/mcm": p2_layered("p63mcm", seed),
        "one swap": swapped(p2_layered("p6322", seed) * SUPERCELL),
        "O2": o2(seed),
    }


def swapped(atoms: ase.Atoms) -> ase.Atoms:
    """With one Mg and the nearest Mn in each other's place."""
    magnesium = int(np.flatnonzero(atoms.symbols == "Mg")[0])
    manganese = np.flatnonzero(atoms.symbols == "Mn")
    nearest = int(manganese[atoms.get_distances(magnesium, manganese, mic=True).argmin()])
    atoms.positions[[magnesium, nearest]] = atoms.positions[[nearest, magnesium]]
    return atoms


def o2(seed: int) -> ase.Atoms:
    """P6_322 after its second layer has glided by an edge of an O triangle; Na in two of three octahedra of a layer."""
    rng = np.random.default_rng(seed)
    atoms = p2_layered("p6322", seed)
    sodium = atoms.symbols == "Na"
    fractional = atoms.get_scaled_positions()
    fractional[~sodium & (fractional[:, 2] > 0.5)] += GLIDE
    fractional[sodium] = [
        [*site, height] for height, over in ((0.5, GLIDE), (0.0, 0 * GLIDE)) for site in _two(METAL + over[:2], rng)
    ]
    return ase.Atoms(atoms.symbols, scaled_positions=fractional, cell=P2_CELL, pbc=True)


def _two(sites: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(sites)[:2]


def main(checkpoint: str = "painn-p2_gpaw", seeds: int = 1, dft: bool = False) -> None:
    """Relax, and print the mean and the standard deviation over arrangements of Na."""
    calculator = Potential(load(resolve(checkpoint)).model, torch.float64)
    engine = make_engine(engine_config("p2_gpaw")) if dft else None
    energies: dict[str, list[float]] = defaultdict(list)
    labels: dict[str, list[float]] = defaultdict(list)
    spreads: dict[str, list[float]] = defaultdict(list)
    for seed in range(seeds):
        for name, atoms in structures(seed).items():
            atoms.calc, share = calculator, ATOMS // len(atoms)
            if not LBFGS(atoms, logfile=None).run(FORCE, STEPS):
                raise SystemExit(f"{name}, seed {seed}: not relaxed to {FORCE:g} eV/Å in {STEPS} steps")
            energies[name].append(share * atoms.get_potential_energy())
            spreads[name].append(float(np.max(calculator.results.get("forces_std", np.nan))))
            if engine and share > 1:
                labels[name].append(share * float(engine.label(atoms).values["energy"]))
            print(f"seed {seed}  {name:8s}  {energies[name][-1]:.3f} eV", flush=True)
    print(f"eV per {ATOMS} atoms above P6322; Ni: published DFT of the Ni material; spread: of the forces, at most")
    for name, published in PUBLISHED.items():
        row = f"{name:8s}  {_above(energies, name)}  Ni {published:4.2f}  spread {max(spreads[name]):.2f} eV/Å"
        print(f"{row}  DFT {_above(labels, name)}" if name in labels else row)


def _above(energies: dict[str, list[float]], name: str) -> str:
    above = np.subtract(energies[name], energies["P6322"])
    return f"{above.mean():5.2f} ± {above.std():.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="painn-p2_gpaw")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--dft", action="store_true")
    main(**vars(parser.parse_args()))
