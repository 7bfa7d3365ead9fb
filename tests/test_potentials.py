"""The contract every registered potential keeps: energy, forces and stress of a toy fit."""

from __future__ import annotations

from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
import torch
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones
from conftest import graph_of, p2_crystal
from torch import nn

from ionecho.checkpoints.store import FORMAT_VERSION, CheckpointConfig, load, save
from ionecho.data.loader import Batch
from ionecho.data.outputs import named
from ionecho.dynamics.calculator import Potential
from ionecho.errors import InputError
from ionecho.models import build_model
from ionecho.models.ensemble import Ensemble
from ionecho.models.species import Statistics
from ionecho.training.losses import check_terms

NUMBERS = [8, 11, 12, 25]
FORCES = "forces"
POTENTIALS: dict[str, dict[str, Any]] = {
    "deep_pot": {"cutoff": 4.5, "smooth_cutoff": 1.0, "embedding": [4, 8], "axis": 3, "fitting": [12, 12]},
    "painn": {"cutoff": 4.5, "features": 8, "interactions": 2, "radial": 6},
    "uf3": {
        "cutoff": 4.5,
        "three_body_cutoff": 3.2,
        "intervals": 8,
        "three_body_intervals": [4, 4],
        "ridge": [1e-4, 1e-4],
        "curvature": [1e-4, 1e-4],
        "energy_error": 0.001,
        "force_error": 0.1,
        "displaced": 0,
        "displacement": 0.2,
        "displaced_error": 1.0,
    },
}
STATISTICS = {"forces": {z: Statistics(0.0, 1.0) for z in NUMBERS}}


def labelled(structures: list[ase.Atoms], dtype: torch.dtype = torch.float64) -> Batch:
    """Structures with Lennard-Jones energies, far from zero, and forces."""
    energies, forces = [], []
    for atoms in structures:
        copy = atoms.copy()
        copy.calc = LennardJones(sigma=1.7, epsilon=0.3, rc=4.0)
        energies.append(copy.get_potential_energy() - 7.0 * len(atoms))
        forces.append(copy.get_forces())
    labels = {"energy": torch.tensor(energies), "forces": torch.from_numpy(np.concatenate(forces))}
    return Batch(graph_of(structures, 4.5, "atoms", NUMBERS), labels).to(dtype=dtype)


@cache
def fitted(name: str) -> Any:
    torch.manual_seed(0)
    made = build_model(name, {"numbers": NUMBERS, "centres": NUMBERS, **POTENTIALS[name]}).double()
    made.fit(STATISTICS, [labelled([p2_crystal(k) for k in range(4)])])
    for parameter in made.parameters():  # weights that start at zero hide what stands before them
        nn.init.normal_(parameter, std=0.3)
    return made.eval()


def toy(name: str) -> Any:
    return deepcopy(fitted(name))


@pytest.fixture(scope="module", params=sorted(POTENTIALS))
def model(request: pytest.FixtureRequest) -> Any:
    return toy(request.param)


def outputs(model: Any, structures: list[ase.Atoms], dtype: torch.dtype = torch.float64) -> dict[str, np.ndarray]:
    with torch.inference_mode():
        found = model(graph_of(structures, model.cutoff, model.pairs_of, model.centres, dtype))
    return {name: value.numpy() for name, value in found.items()}


def same(found: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float = 1e-9) -> None:
    assert set(found) == set(expected) == {"energy", FORCES, "stress"}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=tolerance, err_msg=name)


def test_outputs_are_named_and_those_needed_have_to_be_learned(model: Any) -> None:
    known = named(model.outputs)
    assert set(outputs(model, [p2_crystal(0)])) == set(known)
    check_terms(dict.fromkeys(model.needed, 1.0), known, model.needed)
    for name in model.needed:
        with pytest.raises(InputError, match=f"has to learn {name} too"):
            check_terms(dict.fromkeys(set(known) - {name}, 1.0), known, model.needed)


def test_outputs_follow_the_structure(model: Any) -> None:
    atoms = p2_crystal(0)
    found, other = outputs(model, [atoms]), outputs(model, [p2_crystal(1)])
    assert found["energy"].shape == (1,)
    assert found[FORCES].shape == (11, 3)
    assert found["stress"].shape == (1, 3, 3)
    for name, value in found.items():
        assert np.abs(value - other[name]).max() > 1e-4


def test_rotations_turn_forces_and_stress_and_leave_the_energy(model: Any) -> None:
    atoms, turned = p2_crystal(0), p2_crystal(0)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turned.set_cell(atoms.cell @ rotation.T)
    turned.positions = atoms.positions @ rotation.T
    expected = outputs(model, [atoms])
    expected[FORCES] = expected[FORCES] @ rotation.T
    expected["stress"] = rotation @ expected["stress"] @ rotation.T
    same(outputs(model, [turned]), expected)
    np.testing.assert_allclose(expected["stress"], expected["stress"].swapaxes(1, 2), atol=1e-12)


def test_translation_wrapping_another_cell_and_a_supercell(model: Any) -> None:
    atoms = p2_crystal(0)
    expected = outputs(model, [atoms])
    moved = atoms.copy()
    moved.positions += [0.3, -7.0, 12.5]
    moved.positions[3] += 2 * np.array(moved.cell)[0] - np.array(moved.cell)[2]
    same(outputs(model, [moved]), expected)
    moved.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ np.array(atoms.cell))
    same(outputs(model, [moved]), expected)
    expected |= {"energy": 2 * expected["energy"], FORCES: np.tile(expected[FORCES], (2, 1))}
    same(outputs(model, [atoms.repeat((2, 1, 1))]), expected)


def test_permutation_permutes_the_forces_and_they_sum_to_zero(model: Any) -> None:
    atoms = p2_crystal(0)
    order = np.random.default_rng(1).permutation(len(atoms))
    expected = outputs(model, [atoms])
    same(outputs(model, [atoms[order]]), expected | {FORCES: expected[FORCES][order]})
    np.testing.assert_allclose(expected[FORCES].sum(0), 0.0, atol=1e-11)


def test_a_batch_is_its_configurations_one_by_one(model: Any) -> None:
    structures = [p2_crystal(0), p2_crystal(1).repeat((2, 1, 1)), p2_crystal(2)[:7]]
    single = [outputs(model, [atoms]) for atoms in structures]
    same(outputs(model, structures), {name: np.concatenate([s[name] for s in single]) for name in single[0]})


def test_forces_and_stress_are_the_derivatives_of_the_energy(model: Any) -> None:
    atoms = p2_crystal(0)
    atoms.calc = Potential(model)
    # central differences of 1e-4 Å err by 1e-8 of the third derivative, which is below 1e3 eV/Å³ here
    picked = [0, 3, 9]
    np.testing.assert_allclose(
        atoms.get_forces()[picked], calculate_numerical_forces(atoms, eps=1e-4, iatoms=picked), atol=1e-5
    )
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-6)


def test_energies_can_be_differentiated_by_the_positions(model: Any) -> None:
    graph = graph_of([p2_crystal(0)], model.cutoff, "atoms", model.centres)
    graph.positions.requires_grad_()
    found = model(graph)
    (gradient,) = torch.autograd.grad(found["energy"].sum(), graph.positions)
    torch.testing.assert_close(found[FORCES], -gradient, atol=1e-10, rtol=0)


def test_energy_and_forces_are_continuous_where_a_neighbour_crosses_the_cutoff(model: Any) -> None:
    found = []
    for step in (-1e-7, 1e-7):
        positions = np.array([[0, 0, 0], [2.3, 0, 0], [1.0, 2.0, 0], [0, 0, model.cutoff + step]]) + 10
        found.append(outputs(model, [ase.Atoms(numbers=[11, 8, 25, 25], positions=positions, cell=30 * np.eye(3))]))
    same(found[0], found[1], 2e-7 * 100.0)  # 100 eV/Å² bounds how fast the forces change here


def test_it_does_not_matter_whether_gradients_are_recorded(model: Any) -> None:
    atoms = p2_crystal(0)
    with torch.inference_mode():
        made_inside = graph_of([atoms], model.cutoff, "atoms", model.centres)
        found = {name: value.numpy() for name, value in model(made_inside).items()}
    with torch.no_grad():
        without = model(graph_of([atoms], model.cutoff, "atoms", model.centres))
    assert not any(value.requires_grad for value in without.values())
    same({name: value.numpy() for name, value in without.items()}, found, 0.0)
    with_gradients = model(graph_of([atoms], model.cutoff, "atoms", model.centres))
    same({name: value.detach().numpy() for name, value in with_gradients.items()}, found)


@pytest.mark.parametrize("name", sorted(POTENTIALS))
def test_precision_is_the_callers(name: str) -> None:
    atoms = p2_crystal(0).repeat((2, 2, 2))
    model = toy(name)
    expected = outputs(model, [atoms])
    found = outputs(model.float(), [atoms], torch.float32)
    assert all(value.dtype == np.float32 for value in found.values())
    assert expected["energy"][0] < -500.0
    same(found, expected, 5e-4)  # 1e-6 of energies of 600 eV: below 0.01 meV/atom
    assert torch.get_default_dtype() == torch.float32


def test_a_lonely_atom_a_tiny_cell_and_an_unknown_element(model: Any) -> None:
    lonely = outputs(model, [ase.Atoms("Na", cell=20 * np.eye(3), pbc=True)])
    assert np.isfinite(lonely["energy"]).all()
    assert not lonely[FORCES].any()
    tiny = ase.Atoms("NaO", positions=[[0, 0, 0], [1.1, 1.2, 1.3]], cell=2.4 * np.eye(3), pbc=True)
    small, large = outputs(model, [tiny]), outputs(model, [tiny.repeat(2)])
    np.testing.assert_allclose(large["energy"], 8 * small["energy"])
    np.testing.assert_allclose(large[FORCES], np.tile(small[FORCES], (8, 1)), atol=1e-8)
    np.testing.assert_allclose(large["stress"], small["stress"], atol=1e-9)
    with pytest.raises(InputError, match="does not know Ni"):
        outputs(model, [ase.Atoms("NiO", positions=[[0, 0, 0], [0, 0, 2]])])


@pytest.mark.parametrize("name", sorted(POTENTIALS))
def test_checkpoint_round_trip(name: str, tmp_path: Path) -> None:
    ensemble = Ensemble([toy(name).float()], {})
    config = CheckpointConfig(
        format_version=FORMAT_VERSION,
        name="toy",
        model=name,
        hyperparameters={"numbers": NUMBERS, "centres": NUMBERS, **POTENTIALS[name]},
        members=1,
        calibration={},
        parameters={},
        dataset={"name": "toy"},
        training={"seed": 0},
    )
    save(tmp_path / "toy", config, ensemble, {}, "card")
    again = load(tmp_path / "toy")
    atoms = [p2_crystal(3)]
    same(outputs(again.model, atoms, torch.float32), outputs(ensemble, atoms, torch.float32), 0.0)
    assert again.config == config


@pytest.mark.parametrize("name", sorted(set(POTENTIALS) - {"uf3"}))  # uf3 has no weights to train
def test_losses_of_energies_forces_and_stress_are_differentiated_by_the_weights(name: str) -> None:
    model = toy(name)
    batch = labelled([p2_crystal(0), p2_crystal(1)])

    def loss() -> torch.Tensor:
        found = model(batch.graph)
        errors = [(found[o] - batch.labels[o]).square().mean() for o in ("energy", FORCES)]
        return errors[0] + errors[1] + found["stress"].square().sum()

    loss().backward()
    step = 1e-5  # central differences err by its square, relative to the third derivatives
    trained = [p for p in model.parameters() if p.grad is not None and p.grad.abs().max() > 1e-3]
    assert len(trained) > 0.5 * len(list(model.parameters()))
    for parameter in trained[:: max(len(trained) // 5, 1)]:
        at = int(parameter.grad.abs().argmax())
        values = []
        with torch.no_grad():
            for sign in (1, -2):
                parameter.view(-1)[at] += sign * step
                values.append(loss().item())
            parameter.view(-1)[at] += step
        expected = (values[0] - values[1]) / (2 * step)
        assert float(parameter.grad.view(-1)[at]) == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_centres_other_than_all_elements_are_refused() -> None:
    for name, hyperparameters in POTENTIALS.items():
        with pytest.raises(InputError, match="a potential predicts for every element"):
            build_model(name, {"numbers": NUMBERS, "centres": [11], **hyperparameters})
