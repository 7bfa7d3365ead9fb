"""Energies of stackings and of a metal swap above P6_322 in P2-Na2/3(M1/3Mn2/3)O2, M = Mg or Ni.

    python -m validation.stackings [CHECKPOINT] [--divalent Ni] [--seeds N] [--dft]

Beside DFT of the Ni material (Chem. Sci. 2022, 13, 7863, Fig. 4c). Sites are relaxed by a potential at the lengths of
P2, in cells of 22 atoms, with a swap of 88; energies are for 88 atoms. O2 has its Na on octahedral sites. With --dft
the engine of the material's dataset labels the relaxed cells of 22 atoms too, some minutes of CPU an arrangement of Na.
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

PUBLISHED = {"P6322": 0.0, "P63/mcm": 0.04, "one swap": 0.40, "O2": 2.74}  # eV, of the Ni material
ENGINES = {"Mg": "p2_gpaw", "Ni": "p2_nnmo_gpaw"}
ATOMS, SUPERCELL = 88, (2, 2, 1)
GLIDE = np.array([1 / 3, 0, 0])  # of the second layer from P2 to O2, fractional
FORCE, STEPS = 0.05, 500  # eV/Å


def structures(seed: int, divalent: str) -> dict[str, ase.Atoms]:
    """The four, with the arrangement of Na that this seed draws."""
    return {
        "P6322": p2_layered("p6322", seed, divalent),
        "P63/mcm": p2_layered("p63mcm", seed, divalent),
        "one swap": swapped(p2_layered("p6322", seed, divalent) * SUPERCELL, divalent),
        "O2": o2(seed, divalent),
    }


def swapped(atoms: ase.Atoms, divalent: str) -> ase.Atoms:
    """With one divalent ion and the nearest Mn in each other's place."""
    first = int(np.flatnonzero(atoms.symbols == divalent)[0])
    manganese = np.flatnonzero(atoms.symbols == "Mn")
    nearest = int(manganese[atoms.get_distances(first, manganese, mic=True).argmin()])
    atoms.positions[[first, nearest]] = atoms.positions[[nearest, first]]
    return atoms


def o2(seed: int, divalent: str) -> ase.Atoms:
    """P6_322 after its second layer has glided by an edge of an O triangle; Na in two of three octahedra of a layer."""
    rng = np.random.default_rng(seed)
    atoms = p2_layered("p6322", seed, divalent)
    sodium = atoms.symbols == "Na"
    fractional = atoms.get_scaled_positions()
    fractional[~sodium & (fractional[:, 2] > 0.5)] += GLIDE
    fractional[sodium] = [
        [*site, height] for height, over in ((0.5, GLIDE), (0.0, 0 * GLIDE)) for site in _two(METAL + over[:2], rng)
    ]
    return ase.Atoms(atoms.symbols, scaled_positions=fractional, cell=P2_CELL, pbc=True)


def _two(sites: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(sites)[:2]


def main(checkpoint: str = "painn-p2_gpaw", divalent: str = "Mg", seeds: int = 1, dft: bool = False) -> None:
    """Relax, and print the mean and the standard deviation over arrangements of Na."""
    calculator = Potential(load(resolve(checkpoint)).model, torch.float64)
    engine = make_engine(engine_config(ENGINES[divalent])) if dft else None
    energies: dict[str, list[float]] = defaultdict(list)
    labels: dict[str, list[float]] = defaultdict(list)
    spreads: dict[str, list[float]] = defaultdict(list)
    for seed in range(seeds):
        for name, atoms in structures(seed, divalent).items():
            atoms.calc, share = calculator, ATOMS // len(atoms)
            if not LBFGS(atoms, logfile=None).run(FORCE, STEPS):
                raise SystemExit(f"{name}, seed {seed}: not relaxed to {FORCE:g} eV/Å in {STEPS} steps")
            energies[name].append(share * atoms.get_potential_energy())
            spreads[name].append(float(np.max(calculator.results.get("forces_std", np.nan))))
            if engine and share > 1:
                labels[name].append(share * float(engine.label(atoms).values["energy"]))
            print(f"seed {seed}  {name:8s}  {energies[name][-1]:.3f} eV", flush=True)
    print(f"eV per {ATOMS} atoms above P6322; published: DFT of the Ni material; spread: of the forces, at most")
    for name, published in PUBLISHED.items():
        row = f"{name:8s}  {_above(energies, name)}  published {published:4.2f}  spread {max(spreads[name]):.2f} eV/Å"
        print(f"{row}  DFT {_above(labels, name)}" if name in labels else row)


def _above(energies: dict[str, list[float]], name: str) -> str:
    above = np.subtract(energies[name], energies["P6322"])
    return f"{above.mean():5.2f} ± {above.std():.2f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="painn-p2_gpaw")
    parser.add_argument("--divalent", choices=ENGINES, default="Mg")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--dft", action="store_true")
    main(**vars(parser.parse_args()))
