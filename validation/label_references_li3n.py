"""Field gradients of crystalline Li3N by GPAW against Elk, all electrons: python -m validation.label_references_li3n.

PBE at the measured lattice, a 4 x 4 x 4 mesh. Elk has Li 1s among its local orbitals, with and without what its
defaults leave out; a few minutes of one core. Its gradients have the other sign.
"""

from __future__ import annotations

from collections.abc import Mapping

import ase
import numpy as np

from ionecho.labelling.paw import ATOMIC_UNIT_OF_EFG, electric_field_gradients
from ionecho.labelling.paw_datasets import use
from validation import elk
from validation.label_references import crystalline, principal

LI3N = ase.Atoms(
    "Li3N",
    scaled_positions=[[0, 0, 0.5], [1 / 3, 2 / 3, 0], [2 / 3, 1 / 3, 0], [0, 0, 0]],
    cell=[3.648, 3.648, 3.875, 90, 90, 120],  # Å
    pbc=True,
)
SITES = {"Li1": 0, "Li2": 1, "N": 3}
MESH = (4, 4, 4)
CUTOFFS = (500.0, 800.0, 1200.0)  # eV
ELK = {
    "tasks": "0\n115",
    "ngridk": " ".join(map(str, MESH)),
    "rgkmax": "8.0",
    "lorbcnd": ".true.",  # local orbitals of the conduction bands
    "nxlo": "1",  # and further ones
    "nrmtscf": "4.0",  # times as many points along the radius
    "nempty": "8",
    "epspot": "1.e-6",
}
COARSER = {  # what Elk's own convergence is seen from
    "default local orbitals and radial points": {"lorbcnd": ".false.", "nxlo": "0", "nrmtscf": "1.0"},
    "default radial points": {"nrmtscf": "1.0"},
    "twice the radial points": {"nrmtscf": "2.0"},
    "rgkmax 7": {"rgkmax": "7.0"},
}


def by_gpaw(cutoff: float) -> np.ndarray:
    """V_zz of every atom in atomic units."""
    calculator = crystalline(LI3N, MESH, use("Li.1s"), cutoff)
    return principal(electric_field_gradients(calculator) / ATOMIC_UNIT_OF_EFG)


def by_elk(settings: Mapping[str, str]) -> np.ndarray:
    """The same."""
    lines = iter((elk.run(LI3N, settings) / "EFG.OUT").read_text().splitlines())
    tensors = [[next(lines).split() for _ in range(3)] for line in lines if line.strip() == "EFG tensor :"]
    return -principal(np.array(tensors, float))


def main() -> None:
    """Print V_zz in atomic units and the ratios to Elk."""
    reference = by_elk(ELK)
    print("Elk", *(f"{site} {reference[index]:.4f}" for site, index in SITES.items()), flush=True)
    for coarser, settings in COARSER.items():
        tell(f"Elk, {coarser}", by_elk(ELK | settings), reference)
    for cutoff in CUTOFFS:
        tell(f"GPAW, {cutoff:g} eV", by_gpaw(cutoff), reference)


def tell(what: str, found: np.ndarray, reference: np.ndarray) -> None:
    """A line: V_zz of every site, and its ratio to the reference."""
    print(what, *(f"{site} {found[i]:.4f} ({found[i] / reference[i]:.2f})" for site, i in SITES.items()), flush=True)


if __name__ == "__main__":
    main()
