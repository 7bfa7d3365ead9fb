"""UF3: the splines, the fit, the training command and the ASE calculator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
import torch
from ase.calculators.fd import calculate_numerical_stress
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from conftest import REPOSITORY, graph_of, p2_crystal, toy_card
from hydra import compose, initialize_config_dir
from scipy.interpolate import BSpline

from ionecho.checkpoints.run import train
from ionecho.checkpoints.store import load
from ionecho.data.build import build_from
from ionecho.data.card import ImportRecipe
from ionecho.data.loader import Batch
from ionecho.door.config import content
from ionecho.dynamics.calculator import Potential
from ionecho.errors import InputError
from ionecho.geometry.splines import cubic_splines
from ionecho.geometry.triplets import triplets
from ionecho.models import build_model
from ionecho.models.continuation import harmonic_continuation
from ionecho.models.ensemble import Ensemble
from ionecho.models.least_squares import NormalEquations, unknowns
from ionecho.training.settings import training_settings

NUMBERS = [8, 11, 12, 25]
SMALL: dict[str, Any] = {
    "cutoff": 4.5,
    "three_body_cutoff": 3.2,
    "intervals": 8,
    "three_body_intervals": [4, 4],
    "ridge": [1e-10, 1e-10],
    "curvature": [0.0, 0.0],
    "energy_error": 0.001,
    "force_error": 0.1,
    "displaced": 0,
    "displacement": 0.2,
    "displaced_error": 1.0,
}
FORCES = "forces"


def random_potential(seed: int, inner: float = 1.6, **changes: Any) -> Any:
    """A potential with random coefficients that keep its symmetries."""
    model = build_model("uf3", {"numbers": NUMBERS, "centres": NUMBERS, **SMALL, **changes}).double()
    model.inner[:] = inner
    columns = unknowns(model)
    values = np.append(np.random.default_rng(seed).normal(scale=0.3, size=columns.count), [0.0, 0.0])
    for name in ("one_body", "two_body", "three_body"):
        getattr(model, name)[:] = torch.from_numpy(values)[getattr(columns, name)]
    model.tabulate()
    return model


@pytest.fixture(scope="module")
def model() -> Any:
    return random_potential(0)


def outputs(model: Any, structures: list[ase.Atoms], dtype: torch.dtype = torch.float64) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        found = model(graph_of(structures, model.cutoff, "atoms", model.centres, dtype))
    return {name: value.numpy() for name, value in found.items()}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float = 1e-9) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance, err_msg=name)


# The splines


def test_splines_are_those_of_scipy_sum_to_one_and_four_at_most_are_not_zero() -> None:
    start, stop, intervals = 1.3, 4.1, 7
    knots = start + (stop - start) / intervals * np.arange(-3, intervals + 4)
    r = np.append(np.random.default_rng(0).uniform(start, stop, 200), knots[3:-4])
    expected = BSpline.design_matrix(r, knots, 3).toarray()
    first, values, slopes = cubic_splines(torch.from_numpy(r), start, stop, intervals)
    found = np.zeros_like(expected)
    np.put_along_axis(found, first.numpy()[:, None] + np.arange(4), values.T.numpy(), axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-13)
    np.testing.assert_allclose(values.sum(0), 1.0, atol=1e-13)
    assert ((found > 0).sum(1) <= 4).all()
    expected = BSpline(knots, np.eye(intervals + 3), 3).derivative()(r)
    found = np.take_along_axis(expected, first.numpy()[:, None] + np.arange(4), axis=1)
    np.testing.assert_allclose(slopes.T, found, atol=1e-12)


def test_points_outside_continue_the_ends() -> None:
    r = torch.tensor([0.2, 1.0, 4.0, 7.0], dtype=torch.float64)
    first, values, slopes = cubic_splines(r, 1.0, 4.0, 6)
    coefficients = torch.tensor([2.5, 2.5, 2.5, 1, -1, 3, 0, 0, 0], dtype=torch.float64).unfold(0, 4, 1)[first].T
    torch.testing.assert_close((coefficients * values).sum(0), torch.tensor([2.5, 2.5, 0, 0]).double())
    torch.testing.assert_close((coefficients * slopes).sum(0), torch.zeros(4).double())


def test_triplets_are_all_pairs_of_near_neighbours() -> None:
    first = torch.tensor([0, 0, 0, 2, 2, 2, 2, 5])
    near = torch.tensor([True, False, True, True, True, False, True, True])
    p, q = triplets(first, near)
    assert list(zip(p.tolist(), q.tolist(), strict=True)) == [(0, 2), (3, 4), (3, 6), (4, 6)]


# Beyond what test_potentials.py asks of every potential


@pytest.mark.parametrize("distance", [4.5, 3.2])
def test_energy_and_forces_are_continuous_where_a_neighbour_crosses_a_cutoff(model: Any, distance: float) -> None:
    found = []
    for step in (-1e-7, 1e-7):
        positions = np.array([[0, 0, 0], [2.3, 0, 0], [1.0, 2.0, 0], [0, 0, distance + step]]) + 10
        found.append(outputs(model, [ase.Atoms(numbers=[11, 8, 25, 25], positions=positions, cell=30 * np.eye(3))]))
    same(found[0], found[1], 2e-7 * 100.0)  # 100 eV/Å² bounds how fast the forces change here


def test_the_wall_begins_at_the_shortest_distance_seen_or_at_contact(model: Any) -> None:
    contact = 0.9 * 2 * 0.66  # of two O; 1.6 Å over 0.9 was seen
    for kind, foot in ((0, contact), (3, 1.6 / 0.9)):
        r = torch.tensor([foot + 1e-9, foot - 0.1], dtype=torch.float64)
        of_pair = torch.tensor([kind, kind])
        height, slope = model.wall(r, of_pair, of_pair)
        torch.testing.assert_close(height, torch.tensor([0.0, 50 * 0.1**3]).double(), atol=1e-6, rtol=0)
        torch.testing.assert_close(slope, torch.tensor([0.0, -150 * 0.1**2]).double(), atol=1e-5, rtol=0)


def test_short_distances_are_repulsive_whatever_was_fitted(model: Any) -> None:
    forces = []
    for r in (1.5, 1.0, 0.5, 0.1):
        pair = ase.Atoms("NaO", positions=[[0, 0, 0], [0, 0, r]])
        forces.append(outputs(model, [pair])[FORCES][1, 2])
    assert forces[0] > 0
    assert (np.diff(forces) > 0).all()


# The fit


def labelled(model: Any, structures: list[ase.Atoms]) -> Batch:
    """A batch with the energies and forces of a potential."""
    graph = graph_of(structures, model.cutoff, "atoms", model.centres)
    found = model(graph)
    return Batch(graph, {"energy": found["energy"], "forces": found[FORCES]})


def mixed(seed: int) -> ase.Atoms:
    """A P2-like cell of varied composition and volume."""
    rng = np.random.default_rng(seed)
    atoms = p2_crystal(seed, rattle=0.25)
    atoms.set_cell(np.array(atoms.cell) * rng.uniform(0.92, 1.15), scale_atoms=True)
    atoms.numbers[:5] = rng.choice([11, 12, 25], 5)
    return atoms[sorted(rng.permutation(len(atoms))[: rng.integers(8, 12)])]


@pytest.fixture(scope="module")
def recovered(model: Any) -> tuple[Any, list[Batch]]:
    """A fit to a known potential, and the batches it was fitted to, the labels of some missing."""
    batches = [labelled(model, [mixed(5 * k + n) for n in range(5)]) for k in range(30)]
    batches[0].labels["energy"][:2] = torch.nan
    batches[1].labels["forces"][:] = torch.nan
    fitted = build_model("uf3", {"numbers": NUMBERS, "centres": NUMBERS, **SMALL}).double()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ionecho.models.least_squares.inner_radii", lambda *_: model.inner)
        fitted.fit({}, batches)
    return fitted, batches


def test_a_known_potential_is_recovered(model: Any, recovered: tuple[Any, list[Batch]]) -> None:
    fitted, batches = recovered
    for batch in batches:
        found, expected = fitted(batch.graph), model(batch.graph)
        torch.testing.assert_close(found["energy"], expected["energy"], atol=1e-6, rtol=0)
        torch.testing.assert_close(found[FORCES], expected[FORCES], atol=1e-6, rtol=0)
    torch.testing.assert_close(fitted.one_body, model.one_body, atol=1e-5, rtol=0)


def test_the_fit_does_not_depend_on_the_batches(model: Any) -> None:
    structures = [mixed(k) for k in range(6)]
    stiff = {"ridge": [1e-2, 1e-2], "curvature": [1e-2, 1e-2]}
    found = []
    for parts in (structures[:2], structures[2:]), (structures,):
        fitted = random_potential(1, **stiff)
        fitted.fit({}, [labelled(model, part) for part in parts])
        found.append(outputs(fitted, [mixed(7)]))
    same(found[0], found[1], 1e-5)  # rounding, times the condition of the normal equations


def test_copies_go_on_harmonically() -> None:
    torch.manual_seed(0)
    model = random_potential(0, inner=1.4)
    batch = labelled(model, [p2_crystal(k) for k in range(3)])
    copies = harmonic_continuation(model, batch, displacement=1e-3)
    step = (copies.graph.positions - batch.graph.positions).abs().max()
    assert 1e-4 < step < 5e-3
    # to second order in the displacement; 1e3 eV/Å³ bounds the third derivatives here
    torch.testing.assert_close(
        copies.labels["forces"], model(copies.graph)[FORCES], atol=1e3 * float(step) ** 2, rtol=0
    )
    assert (batch.labels["forces"] - copies.labels["forces"]).abs().max() > 1e2 * step**2
    assert copies.labels["energy"].isnan().all()
    squeezed = labelled(model, [ase.Atoms("NaOO", positions=[[0, 0, 0], [0, 0, 1.3], [0, 0, -3.0]])])
    left_out = harmonic_continuation(model, squeezed, displacement=1e-3).labels["forces"].isnan().all(dim=1)
    assert left_out.tolist() == [True, True, False]


def test_displaced_copies_draw_the_fit_to_the_harmonic_solid(model: Any) -> None:
    batches = [labelled(model, [p2_crystal(k)]) for k in range(6)]
    free, drawn = (random_potential(1, ridge=[1e-2] * 2, displaced=count) for count in (0, 6))
    for fitted in (free, drawn):
        torch.manual_seed(0)
        fitted.fit({}, batches)
    torch.manual_seed(0)
    copies = [harmonic_continuation(free, batch, SMALL["displacement"]) for batch in batches]
    errors = [
        np.nanmean(torch.cat([fitted(c.graph)[FORCES] - c.labels["forces"] for c in copies]).square().numpy())
        for fitted in (free, drawn)
    ]
    assert errors[1] < 0.1 * errors[0]


def test_curvature_is_penalised() -> None:
    smooth, rough = (random_potential(1, ridge=[1e-3] * 2, curvature=[weight] * 2) for weight in (1e3, 0.0))
    batch = labelled(random_potential(0), [mixed(k) for k in range(10)])
    for fitted in (smooth, rough):
        fitted.fit({}, [batch])
    bend = [fitted.two_body.diff(n=2, dim=2).square().sum() for fitted in (smooth, rough)]
    assert bend[0] < 0.1 * bend[1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"centres": [11]}, "a potential predicts for every element"),
        ({"three_body_cutoff": 5.0}, "three_body_cutoff: expected a length in Å up to the cutoff 4.5, found 5.0"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model("uf3", {"numbers": NUMBERS, "centres": NUMBERS, **SMALL, **changes})


# Training and the calculator


def test_training_needs_no_gradient_steps(tmp_path: Path) -> None:
    pairs = random_potential(0)
    pairs.three_body.zero_()
    pairs.tabulate()
    (tmp_path / "files" / "run").mkdir(parents=True)
    for k in range(40):
        atoms = p2_crystal(k)
        found = outputs(pairs, [atoms])
        atoms.calc = SinglePointCalculator(atoms, energy=found["energy"][0], forces=found[FORCES])
        atoms.write(tmp_path / "files" / "run" / f"frame_{k}.extxyz")
    recipe = ImportRecipe(importer="extxyz", pattern="*/frame_*.extxyz", frames=(0, 40, 1))
    dataset = build_from(tmp_path / "files", toy_card(build=recipe), tmp_path / "toy-1.0.0.zarr.zip", lambda _: None)
    settings = [f"model.{name}={value}" for name, value in SMALL.items()]
    given = ["model=uf3", "dataset=own", f"dataset.name={dataset}", "name=toy", "model.ridge=[1e-2,1e-2]", "ensemble=2"]
    differing = "member_overrides=[{ridge: [1e-2,1e-2]},{ridge: [3e-2,3e-2]}]"
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        alike, config = (
            training_settings(content(compose("train", overrides=[*settings, *given, *more])))
            for more in ([], [differing])
        )
    with pytest.raises(InputError, match="members agree exactly"):
        train(alike, tmp_path / "alike")
    test = train(config, tmp_path / "run")["test"]
    assert set(test) >= {"energy_per_atom", "forces", "forces_by_element"}
    assert test["energy_per_atom"]["n"] == 8
    assert test["forces"]["n"] == sum(part["n"] for part in test["forces_by_element"].values())
    assert test["forces"]["r2"] > 0.9
    checkpoint = load(tmp_path / "run" / "checkpoint")
    assert json.loads((tmp_path / "run" / "checkpoint" / "metrics.json").read_text())["test"] == test
    atoms = p2_crystal(3)
    atoms.calc = Potential(checkpoint.model)
    assert atoms.calc.get_property("forces", atoms).shape == (len(atoms), 3)
    assert atoms.calc.results["forces_std"].shape == (len(atoms),)
    assert not list((tmp_path / "run").rglob("*.ckpt"))


def test_the_calculators_stress_has_ases_sign() -> None:
    atoms = ase.Atoms("NaO", positions=[[0, 0, 0], [1.1, 1.1, 1.1]], cell=2.2 * np.eye(3), pbc=True)
    stresses = []
    for calculator in (Potential(random_potential(0)), LennardJones(sigma=2.5, rc=6.0)):
        atoms.calc = calculator
        stresses.append(atoms.get_stress())
        np.testing.assert_allclose(stresses[-1], calculate_numerical_stress(atoms, eps=1e-5), rtol=1e-4, atol=1e-5)
    assert (np.array(stresses)[:, :3] < 0).all()  # compressed: both push outward


def test_the_calculator_keeps_its_precision_refuses_what_it_cannot_and_follows_the_atoms(model: Any) -> None:
    atoms = p2_crystal(0)
    atoms.calc = Potential(Ensemble([random_potential(0)], {}), dtype=torch.float32)
    energy = atoms.get_potential_energy()
    assert energy == pytest.approx(outputs(model, [atoms])["energy"][0], rel=1e-5)
    assert atoms.get_potential_energy(force_consistent=True) == energy
    assert atoms.get_forces().dtype == np.float64
    assert torch.get_default_dtype() == torch.float32
    atoms.rattle(0.01)
    assert atoms.get_potential_energy() != energy
    atoms.numbers[0] = 28
    with pytest.raises(InputError, match="does not know Ni"):
        atoms.get_potential_energy()
    molecule = ase.Atoms("NaO", positions=[[0, 0, 0], [0, 0, 2.0]], calculator=Potential(model))
    assert molecule.get_forces()[1, 2] == pytest.approx(-molecule.get_forces()[0, 2])


def test_more_coefficients_than_memory_holds_are_refused() -> None:
    with pytest.raises(InputError, match=r"180600 coefficients .* expected 40000 at most"):
        NormalEquations(180_600)
