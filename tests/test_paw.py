"""Hyperfine couplings and field gradients from GPAW: known answers, symmetry, and all-electron references."""

from __future__ import annotations

from typing import Any

import ase
import numpy as np
import pytest
from ase.build import bulk

pytest.importorskip("gpaw", reason="the labels of GPAW need gpaw: see docs/label-references.md")

from gpaw import PW, FermiDirac
from gpaw.old.calculator import GPAW
from gpaw.rotation import rotation
from gpaw.setup import create_setup
from gpaw.xc import XC
from scipy.linalg import block_diag
from scipy.spatial.transform import Rotation

from ionecho.data import fetch
from ionecho.errors import InputError
from ionecho.geometry.bader import bader, valence_bader
from ionecho.labelling import paw_contact, paw_datasets
from ionecho.labelling.paw import ATOMIC_UNIT_OF_EFG, electric_field_gradients, hyperfine_tensors
from ionecho.labelling.paw_density import core_electrons, valence_densities
from ionecho.nmr.isotopes import isotope

ALL_ELECTRON_LIH = {"Li": -0.0401, "H": 0.0509}  # V_zz in a.u., PySCF aug-pcseg-3: validation.label_references LiH


@pytest.fixture(autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path_factory.getbasetemp() / "home"))


def converged(atoms: ase.Atoms, cutoff: float, **settings: Any) -> GPAW:
    atoms = atoms.copy()
    atoms.pbc = True
    atoms.calc = GPAW(
        mode=PW(cutoff),
        xc="PBE",
        convergence={"density": 1e-6, "eigenstates": 1e-9, "energy": 1e-6},
        symmetry="off",
        txt=None,
        **{"occupations": FermiDirac(0.0), **settings},
    )
    atoms.get_potential_energy()
    return atoms.calc


def test_contact_coupling_of_the_hydrogen_atom() -> None:
    """PBE gives 1480 MHz in a 9 Å box (exact theory 1420): validation.label_references H. 400 eV would lose 5 %."""
    atom = ase.Atoms("H", cell=[6.5, 6.5, 6.5], magmoms=[1])
    atom.center()
    calculator = converged(atom, 600, occupations=FermiDirac(0.0, fixmagmom=True))
    tensor = hyperfine_tensors(calculator, np.array([isotope("1H").gyromagnetic_ratio]))[0]
    assert np.trace(tensor) / 3 == pytest.approx(1480, rel=0.02)
    np.testing.assert_allclose(tensor, np.eye(3) * np.trace(tensor) / 3, atol=2)  # a sphere in a cubic box
    half = hyperfine_tensors(calculator, np.array([isotope("1H").gyromagnetic_ratio / 2]))[0]
    np.testing.assert_allclose(half, tensor / 2)


def test_contact_coupling_does_not_hang_on_the_partial_waves() -> None:
    """Li with two s waves and a wide sphere, and with three and a narrow one: 4.8 % apart without the correction."""
    couplings = []
    for name in ("Li.1s", "Li.hard"):
        atom = ase.Atoms("Li", cell=[7.0, 7.0, 7.0], magmoms=[1])
        atom.center()
        settings = {"setups": paw_datasets.use(name), "occupations": FermiDirac(0.0, fixmagmom=True)}
        calculator = converged(atom, 600, **settings)
        couplings.append(np.trace(hyperfine_tensors(calculator, np.array([isotope("7Li").gyromagnetic_ratio]))[0]) / 3)
    assert couplings[0] == pytest.approx(couplings[1], rel=0.015)


def carbon() -> Any:
    """Setup of C and random occupations of its projections, spin up and down."""
    setup = create_setup("C", "PBE")
    size = sum(2 * momentum + 1 for momentum in setup.l_j)
    mixed = np.random.default_rng(3).normal(size=(2, size, size))
    return setup, np.einsum("sij, skj -> sik", mixed, mixed) * np.array([0.10, 0.07])[:, None, None]


def test_contact_correction_is_odd_in_the_spin_and_the_same_in_all_orientations() -> None:
    """To what 50 directions leave."""
    setup, occupations = carbon()
    found = paw_contact.contact_correction(occupations, setup, XC("PBE"))
    assert abs(found) > 0.01
    assert paw_contact.contact_correction(occupations[::-1], setup, XC("PBE")) == pytest.approx(-found)
    assert paw_contact.contact_correction(occupations[[0, 0]], setup, XC("PBE")) == pytest.approx(0, abs=1e-9)
    turn = Rotation.random(random_state=1).as_matrix()
    blocks = block_diag(*(rotation(momentum, turn) for momentum in setup.l_j))
    turned = blocks @ occupations @ blocks.T
    assert paw_contact.contact_correction(turned, setup, XC("PBE")) == pytest.approx(found, rel=2e-3)


def test_potential_of_a_spherical_density_is_that_of_radial_exchange_and_correlation() -> None:
    setup, occupations = carbon()
    multipoles = np.array([paw_contact._multipoles(part, np.array(setup.data.phi_jg), setup) for part in occupations])
    multipoles[:, 1:] = 0.0
    functional, grid, edge = XC("PBE"), setup.rgd, setup.rgd.ceil(max(setup.data.rcut_j))
    potentials = paw_contact._potentials(multipoles, np.zeros((2, grid.N)), setup, functional, edge)
    density = (multipoles[:, 0] + setup.data.nc_g / 2) / np.sqrt(4 * np.pi)
    exchange = np.zeros_like(density)
    functional.calculate_spherical(grid, density, exchange)
    np.testing.assert_allclose(
        (potentials[0] - potentials[1])[: edge + 1], ((exchange[0] - exchange[1]) * grid.r_g)[: edge + 1], atol=1e-6
    )


def test_core_of_carbon_is_polarised_by_the_whole_spin_density() -> None:
    """CH3: with all electrons 68.9 MHz at C, -64.4 at H (PySCF, aug-pcseg-3)."""
    turns = np.deg2rad([0, 120, 240])
    radical = ase.Atoms("CH3", [[0, 0, 0], *(1.079 * np.column_stack([np.cos(turns), np.sin(turns), 0 * turns]))])
    radical.set_initial_magnetic_moments([1, 0, 0, 0])
    radical.cell = [7.0, 7.0, 7.0]
    radical.center()
    calculator = converged(radical, 500, occupations=FermiDirac(0.0, fixmagmom=True))
    ratios = np.array([isotope(name).gyromagnetic_ratio for name in ("13C", "1H", "1H", "1H")])
    contact = np.trace(hyperfine_tensors(calculator, ratios), axis1=1, axis2=2) / 3
    assert contact[0] == pytest.approx(68.9, rel=0.09)
    np.testing.assert_allclose(contact[1:], -64.4, rtol=0.04)


def test_dipolar_coupling_to_a_neighbour_is_that_of_its_whole_moment() -> None:
    """The nucleus of He 3 Å from the five electrons of Mn2+, of which the smooth waves hold 1.5: points and images."""
    from validation.dipolar_points import FIELD, field_of_points

    atoms = ase.Atoms("MnHe", [[0, 0, 0], [0, 0, 3.0]], cell=[5, 5, 7], magmoms=[5, 0])
    calculator = converged(atoms, 400, charge=2, occupations=FermiDirac(0.0, fixmagmom=True))
    tensor = hyperfine_tensors(calculator, np.ones(2))[1]
    points = FIELD * field_of_points(atoms.cell.array, -atoms.positions[1:])
    assert 1.0 < points[2, 2] / (2 * FIELD / 3.0**3) < 1.5  # images add a third
    np.testing.assert_allclose(tensor - np.eye(3) * np.trace(tensor) / 3, points, atol=0.01 * points[2, 2])


def test_gradients_of_lithium_hydride_against_all_electrons() -> None:
    """In a box of 6 x 6 x 8.4 Å and at 400 eV the labels keep within 7 % of the isolated molecule's."""
    molecule = ase.Atoms("LiH", [[0, 0, 0], [0, 0, 1.5957]], cell=[6, 6, 8.4])
    molecule.center()
    gradients = electric_field_gradients(converged(molecule, 400, setups=paw_datasets.use("Li.1s")))
    assert gradients[:, 2, 2] / ATOMIC_UNIT_OF_EFG == pytest.approx(list(ALL_ELECTRON_LIH.values()), rel=0.07)


def test_gradients_are_traceless_and_turn_with_the_structure() -> None:
    """A skew water molecule in a box; atoms and cell turn together, so that the error of the grid turns with them."""
    molecule = ase.Atoms("OH2", [[0, 0, 0], [0.9, 0.2, 0.3], [-0.2, 0.1, 0.95]], cell=[4, 4.4, 4.8])
    gradients = electric_field_gradients(converged(molecule, 300))
    np.testing.assert_allclose(np.trace(gradients, axis1=1, axis2=2), 0, atol=1e-10)
    np.testing.assert_allclose(gradients, gradients.transpose(0, 2, 1))
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]
    molecule.set_cell(molecule.cell.array @ turn.T, scale_atoms=True)
    turned = electric_field_gradients(converged(molecule, 300))
    np.testing.assert_allclose(turned, turn @ gradients @ turn.T, atol=1e-3 * np.abs(gradients).max())


def test_no_gradient_at_a_cubic_site() -> None:
    """Rock salt, both sites; an error of the one-centre l = 2 terms or phases would show (0.08 V/Å² at 340 eV)."""
    calculator = converged(bulk("MgO", "rocksalt", a=4.21), 500, kpts={"size": (1, 1, 1), "gamma": True})
    np.testing.assert_allclose(electric_field_gradients(calculator), 0, atol=0.01)


def test_gradient_of_lithium_with_a_frozen_core_is_refused() -> None:
    molecule = ase.Atoms("LiH", [[0, 0, 0], [0, 0, 1.6]], cell=[4, 4, 5])
    with pytest.raises(InputError, match=r"Li freezes 1s.*Li\.1s"):
        electric_field_gradients(converged(molecule, 250))


def test_sodium_is_within_five_per_cent_of_all_electrons() -> None:
    """The coupling of the free atom, MHz, and the gradient in NaF, a.u.: docs/label-references.md, PySCF."""
    atom = ase.Atoms("Na", cell=[10.0, 10.0, 10.0], magmoms=[1])  # 5 % less in 9 Å
    atom.center()
    calculator = converged(atom, 250, occupations=FermiDirac(0.0, fixmagmom=True))
    tensor = hyperfine_tensors(calculator, np.array([isotope("23Na").gyromagnetic_ratio]))[0]
    assert np.trace(tensor) / 3 == pytest.approx(906.4, rel=0.05)
    molecule = ase.Atoms("NaF", [[0, 0, 0], [0, 0, 1.926]], cell=[7.5, 7.5, 10.4])
    molecule.center()
    gradients = electric_field_gradients(converged(molecule, 500)) / ATOMIC_UNIT_OF_EFG
    assert gradients[0, 2, 2] == pytest.approx(-0.3040, rel=0.05)


def test_frozen_core_of_sodium_is_polarised() -> None:
    """Na next to O in a periodic cell: the core solve binds, and it moves the coupling by per cents, not more."""
    cell = ase.Atoms("NaO", [[0.1, 0, 0], [0, 0, 2.05]], cell=[4.2, 4.2, 4.8], magmoms=[0, 1])
    calculator = converged(cell, 340, occupations=FermiDirac(0.05, fixmagmom=True))
    assert len(paw_contact._core_energies(calculator.wfs.setups[0])) == 2  # 1s and 2s; 2p is in the valence
    valence, polarised = (
        np.trace(hyperfine_tensors(calculator, np.array([1.0, 1.0]), core_polarisation)[0])
        for core_polarisation in (False, True)
    )
    assert 1e-4 < abs(polarised - valence) / abs(valence) < 0.3


@pytest.mark.parametrize("name", paw_datasets.RECIPES)
def test_recipes_give_the_same_bytes_and_no_half_files(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    hashes: list[bytes] = []
    for place in ("one", "two"):
        monkeypatch.setenv("IONECHO_HOME", str(tmp_path / place))
        path = paw_datasets.generate(paw_datasets.RECIPES[name])
        assert path == tmp_path / place / "paw" / f"{name}.PBE"
        assert [file.name for file in path.parent.iterdir()] == [path.name]
        hashes.append(path.read_bytes())
    assert hashes[0] == hashes[1]


def test_a_recipe_that_makes_no_sound_dataset_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path))
    recipe = paw_datasets.Recipe("Li", "bad", "PBE", "2s", 1.0)
    with pytest.raises(InputError, match="recipe"):
        paw_datasets.generate(recipe)
    assert not list((tmp_path / "paw").iterdir())
    with pytest.raises(InputError, match=r"'Li\.2s': expected one of Li\.1s"):
        paw_datasets.use("Li.2s")


def test_provenance_of_the_datasets_used() -> None:
    molecule = ase.Atoms("LiH", [[0, 0, 0], [0, 0, 1.6]], cell=[4, 4, 5], pbc=True)
    calculator = GPAW(mode=PW(250), xc="PBE", setups=paw_datasets.use("Li.1s"), txt=None)
    calculator.initialize(molecule)
    found = paw_datasets.datasets_of(calculator)
    assert {symbol: entry["file"] for symbol, entry in found.items()} == {"Li": "Li.1s.PBE", "H": "H.PBE.gz"}
    assert found["Li"]["sha256"] == fetch.sha256(paw_datasets.generate(paw_datasets.RECIPES["Li.1s"]))


def test_the_all_electron_reference_gives_textbook_gradients() -> None:
    """An electron in a Gaussian p_z: -(4/5) <r^-3>; a proton 12 bohr away: 2/R³; a distant neutral atom: nothing."""
    gto = pytest.importorskip("pyscf", reason="the references need pyscf").gto
    from validation.label_references import gradients_of_density

    exponent = 1.0
    atom = gto.M(atom="H 0 0 0", basis={"H": [[1, [exponent, 1.0]]]}, spin=1, verbose=0)
    gradient = gradients_of_density(atom, np.diag([0.0, 0.0, 1.0]))[0]  # orbitals x, y, z
    inverse_cube = 8 * (2 * exponent) ** 2.5 / (12 * exponent * np.sqrt(np.pi))
    np.testing.assert_allclose(gradient, np.diag([0.4, 0.4, -0.8]) * inverse_cube, rtol=1e-8, atol=1e-8)

    distance = 12.0
    pair = gto.M(atom=f"H 0 0 0; H 0 0 {distance}", unit="bohr", basis={"H": [[0, [1.0, 1.0]]]}, verbose=0)
    bare, screened = gradients_of_density(pair, np.diag([1.0, 0.0]))
    assert bare[2, 2] == pytest.approx(2 / distance**3, rel=1e-6)
    np.testing.assert_allclose(screened, 0, atol=1e-8)


def test_the_stored_valence_density_keeps_electrons_and_the_bader_charge_of_the_metal() -> None:
    """21 valence electrons, 13 of them up; charges and moments against a finer grid and GPAW's all-electron density.

    GPAW takes the partial waves at the points of its grid: its charges scatter by 0.01 e between grids and cut-offs.
    """
    crystal = bulk("MnO", "rocksalt", a=4.44)
    crystal.rattle(0.05, seed=1)
    crystal.set_initial_magnetic_moments([5, 0])
    calculator = converged(
        crystal, 400, kpts={"size": [2, 2, 2], "gamma": False}, occupations=FermiDirac(0.05, fixmagmom=True)
    )
    cell, cores = crystal.cell.array, core_electrons(calculator)
    assert cores.tolist() == [10, 2]
    found = []
    for spacing in (0.18, 0.11):
        shape = tuple(np.ceil(crystal.cell.lengths() / spacing).astype(int))
        up, down = valence_densities(calculator, shape, 0.7)
        volume = crystal.get_volume() / up.size
        assert up.sum() * volume == pytest.approx(13, abs=2e-3)  # the splines of the partial waves have 400 points
        assert down.sum() * volume == pytest.approx(8, abs=2e-3)
        found.append(valence_bader(up + down, cell, crystal.positions, cores, up - down))
    assert found[0].electrons.sum() == pytest.approx(33, abs=5e-3)
    np.testing.assert_allclose(found[0].electrons, found[1].electrons, atol=0.01)
    np.testing.assert_allclose(found[0].moment, found[1].moment, atol=0.01)
    spins = [calculator.get_all_electron_density(spin=spin, gridrefinement=4) for spin in range(2)]
    np.testing.assert_allclose(bader(sum(spins), cell, crystal.positions).electrons, found[1].electrons, atol=0.03)
