"""PAW field gradients and hyperfine couplings against all-electron ones: python -m validation.label_references [names].

Molecules of fixed geometry, PBE: GPAW (`ionecho.labelling.paw`) against PySCF in uncontracted Gaussians with added
tight functions. PySCF is not relativistic, GPAW scalar-relativistic: `relativity` is what that does to an s density.

The images of a polar molecule make a field in its cell; the gradient at a soft anion follows it (F in NaF: half its
value in a cubic 7.5 Å cell). So the dipole lies along z of a tetragonal cell whose c/a makes the field of the images
vanish; what is left falls as the fourth power of the edge and faster.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import ase
import numpy as np
import scipy.constants as si
from gpaw import PW, FermiDirac
from gpaw.atom.aeatom import AllElectronAtom
from gpaw.hyperfine import alpha, integrate
from gpaw.old.calculator import GPAW
from numpy.typing import NDArray
from pyscf import dft, gto

from ionecho.labelling.paw import (
    ATOMIC_UNIT_OF_EFG,
    contact_and_dipolar,
    electric_field_gradients,
    hyperfine_tensors,
)
from ionecho.labelling.paw_datasets import RECIPES, use
from ionecho.nmr.isotopes import isotope
from ionecho.nmr.quadrupole import principal_components

CELL_RATIO = 1.39880  # Ewald sum of the field of a lattice of dipoles at one of them, zero at this c/a
CUTOFF = 600.0  # eV
BASES = ("aug-pcseg-2", "aug-pcseg-3")
TIGHT = (6, 1, 2, 1)  # added functions of s, p, d, f, each exponent three times the last
TOLERANCE = 0.05
_NUCLEI = ("1H", "7Li", "13C", "17O", "19F", "23Na", "25Mg", "31P", "53Cr", "55Mn")
ISOTOPES = {isotope(name).symbol: name for name in _NUCLEI}
MOMENT = -si.value("electron g factor") * si.value("Bohr magneton")
SMALLEST = 1.0  # MHz; smaller dipolar couplings, as of atoms and of s electrons, are noise
EXPERIMENT = {"H": 1420.4, "Li": 401.75, "Na": 885.81}  # MHz, free atoms: Beckmann et al., Z. Phys. 1974, 270, 173


@dataclass(frozen=True)
class Molecule:
    """Geometry as `symbol x y z; ...` in Å; GPAW's short cell edge, Å; bases, the last the reference."""

    geometry: str
    unpaired: int = 0
    charge: int = 0
    box: float = 9.0
    bases: tuple[str, ...] = BASES[:1]

    @property
    def atoms(self) -> ase.Atoms:
        """The same for ASE."""
        rows = [row.split() for row in self.geometry.split(";")]
        return ase.Atoms([row[0] for row in rows], [[float(x) for x in row[1:]] for row in rows])


MOLECULES = {
    "LiH": Molecule("Li 0 0 0; H 0 0 1.5957", bases=BASES),
    "LiF": Molecule("Li 0 0 0; F 0 0 1.5639", bases=BASES),
    "LiSH": Molecule("S 0 0 0; Li 0 0 2.146; H 1.3511 0 -0.0708", bases=BASES),
    "NaF": Molecule("Na 0 0 0; F 0 0 1.926", box=10.5, bases=BASES),
    "NaOH": Molecule("Na 0 0 0; O 0 0 1.95; H 0 0 2.905", box=10.5, bases=BASES),
    "NaCl": Molecule("Na 0 0 0; Cl 0 0 2.361"),
    "H2O": Molecule("O 0 0 0; H 0.75695 0 0.58588; H -0.75695 0 0.58588", bases=BASES),
    "PH3": Molecule("P 0 0 0; H 1.1932 0 0.7717; H -0.5966 1.0333 0.7717; H -0.5966 -1.0333 0.7717"),
    "VOF3": Molecule(
        "V 0 0 0; O 0 0 1.570; F 1.6472 0 -0.5254; F -0.8236 1.4265 -0.5254; F -0.8236 -1.4265 -0.5254",
    ),
    "H": Molecule("H 0 0 0", 1, bases=BASES),
    "Li": Molecule("Li 0 0 0", 1, box=12.0, bases=BASES),
    "Na": Molecule("Na 0 0 0", 1, box=12.0, bases=BASES),
    "NaLi+": Molecule("Na 0 0 0; Li 0 0 3.4", 1, charge=1, bases=BASES),
    "MgF": Molecule("Mg 0 0 0; F 0 0 1.75", 1),
    "NaO2": Molecule("Na 0 0 0; O 0.668 0 1.962; O -0.668 0 1.962", 1, bases=BASES),
    "NaCrO2": Molecule("Na 0 0 2.90; O 1.32 0 1.16; O -1.32 0 1.16; Cr 0 0 0", 3),
    "CH3": Molecule("C 0 0 0; H 1.079 0 0; H -0.5395 0.9344 0; H -0.5395 -0.9344 0", 1, bases=BASES),
    "Mn": Molecule("Mn 0 0 0", 5),
    "MnF2": Molecule("Mn 0 0 0; F 0 0 1.811; F 0 0 -1.811", 5),
    "PO2": Molecule("P 0 0 0; O 1.3526 0 0.5861; O -1.3526 0 0.5861", 1),
}


def all_electron(molecule: Molecule, basis: str) -> dft.rks.RKS:
    """Converged PBE in that basis, uncontracted, with tight functions."""
    symbols = set(molecule.atoms.symbols)
    place = gto.M(
        atom=molecule.geometry,
        basis={symbol: _with_tight_functions(basis, symbol) for symbol in symbols},
        spin=molecule.unpaired,
        charge=molecule.charge,
        verbose=0,
    )
    field = (dft.UKS if molecule.unpaired else dft.RKS)(place)
    field.xc, field.grids.level, field.conv_tol, field.max_cycle = "pbe,pbe", 4, 1e-10, 200
    field.kernel()
    if not field.converged:
        raise SystemExit(f"PySCF did not converge {molecule.geometry} in {basis}")
    return field


def _with_tight_functions(basis: str, symbol: str) -> list:
    shells: dict[int, set[float]] = {}
    for shell in gto.uncontract(gto.basis.load(basis, symbol)):
        shells.setdefault(shell[0], set()).add(shell[1][0])
    for momentum, count in enumerate(TIGHT):
        if momentum in shells:
            largest = max(shells[momentum])
            shells[momentum] |= {largest * 3.0**step for step in range(1, count + 1)}
    return [[momentum, [exponent, 1.0]] for momentum, exponents in shells.items() for exponent in sorted(exponents)]


def gradients_of_density(place: gto.Mole, matrix: NDArray) -> NDArray:
    """Second derivatives of the potential at every nucleus, (N, 3, 3) in atomic units, of nuclei and density."""
    charges, positions = place.atom_charges(), place.atom_coords()
    gradients = -dipoles_of_density(place, matrix)
    for atom, origin in enumerate(positions):
        for charge, position in zip(charges, positions, strict=True):
            if (distance := np.linalg.norm(vector := position - origin)) > 0:
                gradients[atom] += charge * (3 * np.outer(vector, vector) / distance**5 - np.eye(3) / distance**3)
    return gradients


def dipoles_of_density(place: gto.Mole, matrix: NDArray) -> NDArray:
    """Mean of (3 r r - r²) / r⁵ about every nucleus over a density, (N, 3, 3) in atomic units."""
    found = np.zeros((place.natm, 3, 3))
    for atom, origin in enumerate(place.atom_coords()):
        with place.with_rinv_origin(origin):
            half = place.intor("int1e_ipiprinv", 9) + place.intor("int1e_iprinvip", 9)
        half = half.reshape(3, 3, place.nao, place.nao)
        second = np.einsum("xyij, ij -> xy", half + half.transpose(0, 1, 3, 2), matrix)
        found[atom] = (second + second.T) / 2 - np.eye(3) * np.trace(second) / 3
    return found


def contact_couplings(field: dft.uks.UKS) -> NDArray:
    """A_iso of every nucleus in MHz: (2/3) mu0 g_e mu_B gamma/2pi (up minus down at the nucleus) / 2 <S_z>."""
    place, (up, down) = field.mol, field.make_rdm1()
    orbitals = dft.numint.eval_ao(place, place.atom_coords())
    density = np.einsum("ai, ij, aj -> a", orbitals, up - down, orbitals) / si.value("Bohr radius") ** 3
    return 2 / 3 * si.mu_0 * MOMENT * _gyromagnetic_ratios(place.elements) * density / place.spin


def dipolar_couplings(field: dft.uks.UKS) -> NDArray:
    """Of every nucleus in MHz, (N, 3, 3): (mu0 / 4 pi) g_e mu_B gamma/2pi <(3 r r - r²) / r⁵> of the spin / 2 <S_z>."""
    place, (up, down) = field.mol, field.make_rdm1()
    dipoles = dipoles_of_density(place, up - down) / si.value("Bohr radius") ** 3
    ratios = _gyromagnetic_ratios(place.elements)[:, None, None]
    return si.mu_0 / (4 * np.pi) * MOMENT * ratios * dipoles / place.spin


def _gyromagnetic_ratios(symbols: list[str]) -> NDArray:
    return np.array([isotope(ISOTOPES[symbol]).gyromagnetic_ratio for symbol in symbols])


@cache
def relativistic_enhancement(symbol: str) -> float:
    """Of the density at the nucleus of the free atom's highest s state: GPAW's average over the Thomson radius, PBE."""
    densities = []
    for relativistic in (True, False):
        atom = AllElectronAtom(symbol, "PBE", scalar_relativistic=relativistic, log=io.StringIO())
        atom.initialize()
        atom.run()
        atom.refine()
        density = atom.channels[0].phi_ng[-1] ** 2
        charge = atom.Z * alpha
        exponent = 2 * (1 - np.sqrt(1 - charge**2)) if relativistic else 0.0
        radius = atom.Z * alpha**2 if relativistic else 1e-9
        densities.append(integrate(density, atom.rgd, radius, exponent) if relativistic else density[0])
    return float(densities[0] / densities[1])


def projector_augmented(
    molecule: Molecule, dipole: NDArray, box: float, setups: dict[str, str], cutoff: float = CUTOFF
) -> GPAW:
    """Converged GPAW with the dipole along the long edge of a cell in which its images make no field."""
    atoms = molecule.atoms
    if np.linalg.norm(dipole) > 1e-3:
        atoms.rotate(dipole, "z")
    atoms.set_cell([box, box, box * CELL_RATIO])
    atoms.center()
    atoms.pbc = True
    if molecule.unpaired:
        atoms.set_initial_magnetic_moments([molecule.unpaired / len(atoms)] * len(atoms))
    atoms.calc = GPAW(
        mode=PW(cutoff),
        xc="PBE",
        charge=molecule.charge,
        setups=setups,
        occupations=FermiDirac(0.0, fixmagmom=bool(molecule.unpaired)),
        convergence={"density": 1e-6, "eigenstates": 1e-9, "energy": 1e-6},
        symmetry="off",
        maxiter=300,
        txt=None,
    )
    atoms.get_potential_energy()
    return atoms.calc


def crystalline(atoms: ase.Atoms, mesh: tuple[int, int, int], setups: dict[str, str], cutoff: float = CUTOFF) -> GPAW:
    """Converged GPAW of a crystal, with the moments that the atoms begin with."""
    atoms = atoms.copy()
    atoms.calc = GPAW(
        mode=PW(cutoff),
        xc="PBE",
        kpts={"size": mesh, "gamma": True},
        setups=setups,
        occupations=FermiDirac(0.02),
        convergence={"density": 1e-6, "eigenstates": 1e-8},
        txt=None,
    )
    atoms.get_potential_energy()
    return atoms.calc


def principal(tensors: NDArray) -> NDArray:
    """The eigenvalue of largest magnitude of each, with its sign."""
    return principal_components(tensors)[..., 2]


def compare(name: str, lithium: str) -> list[dict[str, object]]:
    """Rows of quantities of inequivalent nuclei: reference, its change with the basis, GPAW, with the box, ratio."""
    molecule = MOLECULES[name]
    fields = [all_electron(molecule, basis) for basis in molecule.bases]
    dipole = fields[-1].dip_moment(verbose=0) if molecule.charge == 0 else np.zeros(3)
    edges, setups = (molecule.box - 1.5, molecule.box), use(lithium)
    calculators = [projector_augmented(molecule, dipole, edge, setups=setups) for edge in edges]
    if molecule.unpaired:
        ratios = _gyromagnetic_ratios(list(molecule.atoms.symbols))
        tensors = [hyperfine_tensors(each, ratios) for each in calculators]
        contact, dipolar = zip(*map(contact_and_dipolar, tensors), strict=True)
        compared = {"A_iso / MHz": ([contact_couplings(field) for field in fields], list(contact))}
        references = [principal(dipolar_couplings(field)) for field in fields]
        compared["T_zz / MHz"] = references, [principal(each) for each in dipolar]
    else:
        gradients = [gradients_of_density(f.mol, f.make_rdm1()) for f in fields]
        labels = [electric_field_gradients(each) / ATOMIC_UNIT_OF_EFG for each in calculators]
        compared = {"V_zz / a.u.": ([principal(v) for v in gradients], [principal(v) for v in labels])}
    first = [list(molecule.atoms.symbols).index(symbol) for symbol in dict.fromkeys(molecule.atoms.symbols)]
    return [
        _row(name, quantity, atom, *values)
        for quantity, values in compared.items()
        for atom in first
        if not quantity.startswith("T_zz") or abs(values[0][-1][atom]) > SMALLEST
    ]


def _row(name: str, quantity: str, atom: int, references: list[NDArray], labels: list[NDArray]) -> dict[str, object]:
    """The last of the references (bases) and of the labels (boxes) are compared."""
    symbol, contact = MOLECULES[name].atoms.symbols[atom], quantity.startswith("A_iso")
    reference, label = references[-1][atom], labels[-1][atom]
    return {
        "molecule": name,
        "nucleus": symbol,
        "quantity": quantity,
        "all-electron": f"{reference:.5g}",
        "basis": f"{reference - references[0][atom]:+.2g}" if len(references) > 1 else "not tested",
        "GPAW": f"{label:.5g}",
        "box": f"{label - labels[0][atom]:+.2g}",
        "ratio": f"{label / reference:.3f}",
        "relativity": f"{relativistic_enhancement(symbol):.3f}" if contact else "",
        "experiment": EXPERIMENT.get(name, "") if contact else "",
        "verdict": "" if abs(label / reference - 1) <= TOLERANCE else "MISSES",
    }


def main(names: Sequence[str], lithium: str) -> None:
    """Compute the rows of these molecules, or of all; print them and write outputs/label_references.csv."""
    target = Path("outputs/label_references.csv")
    target.parent.mkdir(exist_ok=True)
    with target.open("w", newline="") as file:
        writer = csv.writer(file)
        for number, name in enumerate(names or MOLECULES):
            rows = compare(name, lithium)
            if number == 0:
                print("| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0]), sep="\n")
                writer.writerow(rows[0])
            for row in rows:
                print("| " + " | ".join(map(str, row.values())) + " |", flush=True)
                writer.writerow(row.values())
            file.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*MOLECULES, []], metavar="NAME", help=", ".join(MOLECULES))
    parser.add_argument("--lithium", default="Li.1s", choices=RECIPES, help="PAW dataset of Li")
    main(**vars(parser.parse_args()))
