"""Field gradients of crystalline Li3N by GPAW against Elk, all electrons: python -m benchmarks.label_references_li3n.

PBE at the measured lattice. Elk (`apt install elk-lapw`): APW and local orbitals, rgkmax 8, a 4 x 4 x 4 mesh, Li 1s as
a local orbital; some ten minutes of one core. Its gradients have the other sign.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import ase
import numpy as np
from ase import units
from gpaw import PW, FermiDirac
from gpaw.old.calculator import GPAW

from benchmarks.label_references import principal
from ionecho.labelling.paw import ATOMIC_UNIT_OF_EFG, electric_field_gradients
from ionecho.labelling.paw_datasets import RECIPES, use

LI3N = ase.Atoms(
    "Li3N",
    scaled_positions=[[0, 0, 0.5], [1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0], [0, 0, 0]],
    cell=[3.648, 3.648, 3.875, 90, 90, 120],  # Å
    pbc=True,
)
SITES = {"Li1": 0, "Li2": 1, "N": 3}
MESH = (4, 4, 4)
SETTINGS = (("Li.1s", 500.0), ("Li.1s", 800.0), ("Li.1s", 1200.0), ("Li.small", 800.0))  # dataset and cut-off in eV
SMALL = replace(RECIPES["Li.1s"], tag="small", radius=1.3)  # bohr, instead of 1.6
SPECIES = Path("/usr/share/elk-lapw/species")
ELK = {
    "tasks": "0\n115",
    "xctype": "20",
    "ngridk": " ".join(map(str, MESH)),
    "rgkmax": "8.0",
    "gmaxvr": "24.0",
    "lmaxapw": "10",
    "lmaxo": "8",
    "lmaxi": "2",
    "nempty": "8",
    "epspot": "1.e-6",
    "sppath": f"'{SPECIES}/'",
}


def by_gpaw(dataset: str, cutoff: float) -> np.ndarray:
    """V_zz of every atom in atomic units."""
    atoms = LI3N.copy()
    atoms.calc = GPAW(
        mode=PW(cutoff),
        xc="PBE",
        kpts={"size": MESH, "gamma": True},
        setups=use(dataset),
        occupations=FermiDirac(0.02),
        convergence={"density": 1e-6, "eigenstates": 1e-8},
        txt=None,
    )
    atoms.get_potential_energy()
    return principal(electric_field_gradients(atoms.calc) / ATOMIC_UNIT_OF_EFG)


def by_elk(folder: Path) -> np.ndarray:
    """The same, of a run in `folder`; what is there already is read."""
    if not (folder / "EFG.OUT").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "elk.in").write_text(elk_input())
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        subprocess.run(["elk-lapw"], cwd=folder, env=os.environ | one_thread, check=True, stdout=subprocess.DEVNULL)
    lines = iter((folder / "EFG.OUT").read_text().splitlines())
    tensors = [[next(lines).split() for _ in range(3)] for line in lines if line.strip() == "EFG tensor :"]
    return -principal(np.array(tensors, float))


def elk_input() -> str:
    """The blocks that Elk reads, lengths in bohr."""
    cell = "\n".join(" ".join(f"{x:.8f}" for x in vector) for vector in np.array(LI3N.cell) / units.Bohr)
    atoms = [str(len(set(LI3N.symbols)))]
    for symbol in dict.fromkeys(LI3N.symbols):
        places = LI3N.get_scaled_positions()[LI3N.symbols == symbol]
        atoms += [f"'{symbol}.in'", str(len(places)), *(" ".join(f"{x:.10f}" for x in place) for place in places)]
    blocks = {**ELK, "avec": cell, "atoms": "\n".join(atoms)}
    return "\n\n".join(f"{name}\n{content}" for name, content in blocks.items()) + "\n"


def main() -> None:
    """Print V_zz in atomic units and the ratios to Elk."""
    if shutil.which("elk-lapw") is None:
        raise SystemExit("elk-lapw is not installed: apt install elk-lapw")
    reference = by_elk(Path("outputs/elk_li3n"))
    print("Elk", *(f"{site} {reference[index]:.4f}" for site, index in SITES.items()))
    RECIPES["Li.small"] = SMALL
    for dataset, cutoff in SETTINGS:
        found = by_gpaw(dataset, cutoff)
        told = (f"{site} {found[index]:.4f} ({found[index] / reference[index]:.2f})" for site, index in SITES.items())
        print(f"GPAW, {dataset}, {cutoff:g} eV", *told, flush=True)


if __name__ == "__main__":
    main()
