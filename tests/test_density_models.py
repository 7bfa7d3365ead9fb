"""The contract of models that give densities at points, and of the arrangements of holes."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
import torch
from conftest import graph_of
from density_cells import batch_of, build, crystal, graph_for, moments, some_points, with_points

from ionecho.data.outputs import named
from ionecho.data.schema import Configuration
from ionecho.errors import InputError
from ionecho.geometry.ewald import COULOMB, potentials
from ionecho.geometry.graph import Graph

FIELDS = ("charge_density", "spin_density")


@pytest.fixture(scope="module", params=["density", "deep_dft"])
def model(request: pytest.FixtureRequest) -> Any:
    return build(request.param)


def fields(model: Any, graph: Graph) -> np.ndarray:
    with torch.no_grad():
        outputs = model(graph)
    return np.stack([outputs[name].numpy() for name in FIELDS], 1)


def at(model: Any, atoms: ase.Atoms, places: np.ndarray) -> np.ndarray:
    return fields(model, with_points(graph_for(model, [atoms]), places))


def test_outputs_are_named_and_densities_need_points(model: Any) -> None:
    graph = graph_for(model, [crystal(0)])
    everything = set(named(model.outputs))
    assert set(model(with_points(graph, some_points(crystal(0))))) == everything
    assert set(model(graph)) == everything - set(FIELDS)


def test_densities_turn_with_the_structure(model: Any) -> None:
    atoms = crystal(0)
    places = some_points(atoms)
    expected = at(model, atoms, places)
    assert expected.std(0).min() > 1e-3
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    for matrix in (rotation, -np.eye(3)):
        turned = atoms.copy()
        turned.set_cell(atoms.cell @ matrix.T)
        turned.positions = atoms.positions @ matrix.T
        np.testing.assert_allclose(at(model, turned, places @ matrix.T), expected, atol=1e-9)


def test_densities_are_periodic_and_move_with_the_atoms(model: Any) -> None:
    atoms = crystal(0)
    places = some_points(atoms)
    expected = at(model, atoms, places)
    elsewhere = places + np.random.default_rng(1).integers(-2, 3, places.shape) @ atoms.cell.array
    np.testing.assert_allclose(at(model, atoms, elsewhere), expected, atol=1e-9)
    moved = atoms.copy()
    moved.positions += [0.3, -7.0, 12.5]
    moved.positions[3] += 2 * atoms.cell.array[0] - atoms.cell.array[2]
    np.testing.assert_allclose(at(model, moved, places + np.array([0.3, -7.0, 12.5])), expected, atol=1e-9)
    sheared = atoms.copy()
    sheared.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ atoms.cell.array)
    np.testing.assert_allclose(at(model, sheared, places), expected, atol=1e-9)


def test_the_order_of_the_atoms_does_not_matter(model: Any) -> None:
    atoms = crystal(0)
    order = np.random.default_rng(1).permutation(len(atoms))
    places = some_points(atoms)
    np.testing.assert_allclose(at(model, atoms[order], places), at(model, atoms, places), atol=1e-9)


def test_a_supercell_told_the_states_repeats_the_densities(model: Any) -> None:
    atoms = crystal(0)
    places, own = some_points(atoms), torch.from_numpy(moments(atoms))
    expected = fields(model, replace(with_points(graph_for(model, [atoms]), places), states=own))
    doubled = with_points(graph_for(model, [atoms.repeat((2, 1, 1))]), places + atoms.cell.array[0])
    np.testing.assert_allclose(fields(model, replace(doubled, states=own.repeat(2))), expected, atol=1e-9)


def test_a_probe_does_not_feel_the_others(model: Any) -> None:
    atoms = crystal(0)
    places = some_points(atoms)
    np.testing.assert_allclose(at(model, atoms, places[7:9]), at(model, atoms, places)[7:9], atol=1e-12)


def test_a_batch_is_its_configurations_one_by_one(model: Any) -> None:
    structures = [crystal(0), crystal(1)]
    places = [some_points(atoms, 30, seed) for seed, atoms in enumerate(structures)]
    expected = [at(model, *pair) for pair in zip(structures, places, strict=True)]
    owner = np.repeat([1, 0], 30)
    together = with_points(graph_for(model, structures), np.concatenate(places[::-1]), owner)
    np.testing.assert_allclose(fields(model, together), np.concatenate(expected[::-1]), atol=1e-9)


def test_the_state_decides_the_spin(model: Any) -> None:
    atoms = crystal(0)
    graph = with_points(graph_for(model, [atoms]), atoms.positions[:2] + 0.2)
    one, other = (torch.zeros(len(atoms)).double().index_copy(0, torch.tensor([0, 1]), own) for own in
                  (torch.tensor([1.0, 1.8]).double(), torch.tensor([1.8, 1.0]).double()))  # fmt: skip
    change = fields(model, replace(graph, states=one)) - fields(model, replace(graph, states=other))
    assert np.abs(change[:, 1]).max() > 1e-3


def test_single_precision_agrees_with_double(model: Any) -> None:
    atoms = crystal(0)
    graph = with_points(graph_for(model, [atoms]), some_points(atoms))
    expected = fields(model, graph)
    found = fields(model.float(), graph.to(dtype=torch.float32))
    model.double()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=2e-4 * np.abs(expected).max())


def test_an_unknown_element_is_refused(model: Any) -> None:
    atoms = crystal(0)
    atoms.numbers[4] = 28
    with pytest.raises(InputError, match="does not know Ni"):
        at(model, atoms, some_points(atoms))


def test_gradients_with_respect_to_positions_agree_with_finite_differences() -> None:
    model, atoms = build("density"), crystal(0)
    places = some_points(atoms, 10)
    graph = with_points(graph_for(model, [atoms]), places)
    graph = replace(graph, states=torch.from_numpy(moments(atoms)))
    graph.positions.requires_grad_()
    model(graph)["charge_density"].sum().backward()
    gradient = graph.positions.grad
    assert gradient is not None
    for atom, axis in ((0, 0), (5, 2)):
        values = []
        for step in (1e-4, -1e-4):
            moved = replace(graph, positions=graph.positions.detach().clone())
            moved.positions[atom, axis] += step
            values.append(float(model(moved)["charge_density"].sum()))
        assert float(gradient[atom, axis]) == pytest.approx((values[0] - values[1]) / 2e-4, rel=1e-4, abs=1e-6)


def test_the_potential_of_rock_salt_is_madelungs() -> None:
    cell = 2.0 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    atoms = ase.Atoms("NaO", scaled_positions=[[0, 0, 0], [0.5, 0.5, 0.5]], cell=cell, pbc=True)
    charges = torch.tensor([[1.0], [-1.0]]).double()
    for cutoff in (5.0, 8.0):
        graph = graph_of([atoms], cutoff, "atoms", [11], torch.float64)
        found = potentials(graph, charges, 0, cutoff)[:, 0]
        np.testing.assert_allclose(found, [-1.7475646 * COULOMB / 2.0, 1.7475646 * COULOMB / 2.0], rtol=2e-5)


def test_holes_are_counted_listed_and_weighed() -> None:
    model = build("oxidation")
    atoms = crystal(0).repeat((2, 1, 1))
    (holes,) = model.holes(graph_for(model, [atoms]))
    assert holes.number == 2
    states = model.arrangements(holes)
    assert {tuple(np.flatnonzero(state)) for state in states.numpy()} == set(combinations(range(4), 2))
    share = model.share(graph_for(model, [atoms]), likeliest=False)
    assert float(share.sum()) == pytest.approx(2)
    weights = torch.softmax(-model.energies(holes, states) / model.width, 0)
    np.testing.assert_allclose(share, weights @ states)


def test_of_too_many_arrangements_the_lowest_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("oxidation")
    graph = graph_for(model, [crystal(3).repeat((2, 2, 1))])
    expected = model.share(graph, likeliest=True)
    monkeypatch.setattr("ionecho.models.oxidation.MOST", 1)
    np.testing.assert_array_equal(model.share(graph, likeliest=True), expected)


def test_arrangements_are_learned_from_moments_and_from_energies() -> None:
    model = build("oxidation")
    structures = [crystal(seed) for seed in range(40)]
    batches = [batch_of(model, atoms, seed) for seed, atoms in enumerate(structures)]
    model.fit({}, batches[:30])
    told = np.stack([model.likeliest(batch.graph).numpy() for batch in batches[30:]])
    true = np.stack([moments(atoms)[:2] for atoms in structures[30:]])
    assert np.mean((told < 1.5) == (true < 1.5)) >= 0.8
    np.testing.assert_allclose(np.sort(told, 1), [[1.0, 1.8]] * 10)
    teacher = build("oxidation")
    teacher.weights.copy_(torch.linspace(-0.2, 0.3, len(teacher.weights)))
    for batch in batches:
        (holes,) = teacher.holes(batch.graph)
        states = teacher.arrangements(holes)
        energies = teacher.energies(holes, states)
        own = batch.labels["magnetic_moment"][batch.graph.centres] < 1.5
        at = int((states == own.double()).all(1).nonzero())
        batch.labels["arrangement_energy"] = (energies[at] - energies.min())[None]
    model.fit({}, batches)
    errors = []
    for batch in batches[30:]:
        (mine,), (its,) = model.holes(batch.graph), teacher.holes(batch.graph)
        a, b = (each.energies(h, each.arrangements(h)) for each, h in ((model, mine), (teacher, its)))
        errors.append(float(((a[1] - a[0]) - (b[1] - b[0])).abs()))
    assert np.mean(errors) < 0.1


def test_moments_do_not_depend_on_how_the_crystal_is_described() -> None:
    model, atoms = build("oxidation"), crystal(0)

    def found(structure: ase.Atoms) -> np.ndarray:
        return model(graph_for(model, [structure]))["magnetic_moment"].numpy()

    expected = found(atoms)
    assert abs(expected[0] - expected[1]) > 1e-3
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turned, sheared = atoms.copy(), atoms.copy()
    turned.set_cell(atoms.cell @ rotation.T)
    turned.positions = atoms.positions @ rotation.T + [0.3, -7.0, 12.5]
    sheared.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ atoms.cell.array)
    for same in (turned, sheared):
        np.testing.assert_allclose(found(same), expected, atol=1e-4)
    np.testing.assert_allclose(found(atoms[[1, 0, *range(2, 9)]]), expected[::-1], atol=1e-9)
    structures = [crystal(1), crystal(2)]
    together = model(graph_for(model, structures))["magnetic_moment"]
    np.testing.assert_allclose(together, np.concatenate([found(each) for each in structures]), atol=1e-9)


def test_a_composition_that_no_number_of_holes_allows_is_refused() -> None:
    model = build("oxidation")
    atoms = crystal(0)
    atoms.numbers[3:6] = 11
    with pytest.raises(InputError, match=r"^Na3O3PV2: its composition asks for -8 holes on 2 V; expected 0 to 2"):
        model(graph_for(model, [atoms]))


def test_the_command_that_overfits_one_density_trains_and_evaluates(tmp_path: Path) -> None:
    from validation.density_overfit import overfitted

    wave = np.cos(2 * np.pi * np.arange(8) / 8)[:, None, None] * np.ones((8, 8, 8))
    labels = {"charge_density": 0.1 + 0.05 * wave, "spin_density": 0.02 * wave, "magnetic_moment": np.ones(1)}
    one = Configuration(np.array([3]), np.zeros((1, 3)), 3 * np.eye(3), np.ones(3, bool), "one", 0, "", labels=labels)
    small = ["model.features=8", "model.interactions=1", "trainer.max_epochs=2", "trainer.points.count=20"]
    assert overfitted("deep_dft", one, small, tmp_path).shape == (2, 8, 8, 8)
