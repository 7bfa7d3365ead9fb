"""Field gradients of crystalline Li3N by GPAW against Elk, all electrons: python -m benchmarks.label_references_li3n.

PBE at the measured lattice, a 4 x 4 x 4 mesh. Elk (`apt install elk-lapw`): APW and local orbitals, with Li 1s among
them, with and without what its defaults leave out; a few minutes of one core. Its gradients have the other sign.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import ase
import numpy as np
from ase import units
from gpaw import PW, FermiDirac
from gpaw.old.calculator import GPAW

from benchmarks.label_references import principal
from ionecho.labelling.paw import ATOMIC_UNIT_OF_EFG, electric_field_gradients
from ionecho.labelling.paw_datasets import use

LI3N = ase.Atoms(
    "Li3N",
    scaled_positions=[[0, 0, 0.5], [1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0], [0, 0, 0]],
    cell=[3.648, 3.648, 3.875, 90, 90, 120],  # Å
    pbc=True,
)
SITES = {"Li1": 0, "Li2": 1, "N": 3}
MESH = (4, 4, 4)
SETTINGS = (("Li.1s", 500.0), ("Li.1s", 800.0), ("Li.1s", 1200.0), ("Li.hard", 800.0))  # dataset and cut-off in eV
SPECIES = Path("/usr/share/elk-lapw/species")
ELK = {
    "tasks": "0\n115",
    "xctype": "20",
    "ngridk": " ".join(map(str, MESH)),
    "rgkmax": "8.0",
    "gmaxvr": "24.0",
    "lorbcnd": ".true.",  # local orbitals of the conduction bands
    "nxlo": "1",  # and further ones
    "nrmtscf": "4.0",  # times as many points along the radius
    "lmaxapw": "10",
    "lmaxo": "8",
    "lmaxi": "2",
    "nempty": "8",
    "epspot": "1.e-6",
    "sppath": f"'{SPECIES}/'",
}
COARSER = {  # what Elk's own convergence is seen from
    "default local orbitals and radial points": {"lorbcnd": ".false.", "nxlo": "0", "nrmtscf": "1.0"},
    "default radial points": {"nrmtscf": "1.0"},
    "twice the radial points": {"nrmtscf": "2.0"},
    "rgkmax 7": {"rgkmax": "7.0"},
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


def by_elk(settings: Mapping[str, str]) -> np.ndarray:
    """The same, of a run under outputs/elk_li3n; what is there already is read."""
    text = elk_input(settings)
    folder = Path("outputs/elk_li3n") / hashlib.sha256(text.encode()).hexdigest()[:8]
    if not (folder / "EFG.OUT").exists():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "elk.in").write_text(text)
        one_thread = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        subprocess.run(["elk-lapw"], cwd=folder, env=os.environ | one_thread, check=True, stdout=subprocess.DEVNULL)
    lines = iter((folder / "EFG.OUT").read_text().splitlines())
    tensors = [[next(lines).split() for _ in range(3)] for line in lines if line.strip() == "EFG tensor :"]
    return -principal(np.array(tensors, float))


def elk_input(settings: Mapping[str, str]) -> str:
    """The blocks that Elk reads, lengths in bohr."""
    cell = "\n".join(" ".join(f"{x:.8f}" for x in vector) for vector in np.array(LI3N.cell) / units.Bohr)
    atoms = [str(len(set(LI3N.symbols)))]
    for symbol in dict.fromkeys(LI3N.symbols):
        places = LI3N.get_scaled_positions()[LI3N.symbols == symbol]
        atoms += [f"'{symbol}.in'", str(len(places)), *(" ".join(f"{x:.10f}" for x in place) for place in places)]
    blocks = {**settings, "avec": cell, "atoms": "\n".join(atoms)}
    return "\n\n".join(f"{name}\n{content}" for name, content in blocks.items()) + "\n"


def main() -> None:
    """Print V_zz in atomic units and the ratios to Elk."""
    if shutil.which("elk-lapw") is None:
        raise SystemExit("elk-lapw is not installed: apt install elk-lapw")
    reference = by_elk(ELK)
    print("Elk", *(f"{site} {reference[index]:.4f}" for site, index in SITES.items()), flush=True)
    for coarser, settings in COARSER.items():
        tell(f"Elk, {coarser}", by_elk(ELK | settings), reference)
    for dataset, cutoff in SETTINGS:
        tell(f"GPAW, {dataset}, {cutoff:g} eV", by_gpaw(dataset, cutoff), reference)


def tell(what: str, found: np.ndarray, reference: np.ndarray) -> None:
    """A line: V_zz of every site, and its ratio to the reference."""
    print(what, *(f"{site} {found[i]:.4f} ({found[i] / reference[i]:.2f})" for site, i in SITES.items()), flush=True)


if __name__ == "__main__":
    main()
