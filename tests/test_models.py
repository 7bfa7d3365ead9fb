"""The contract every registered model keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
import torch
from ase.neighborlist import neighbor_list
from conftest import graph_of, p2_crystal, toy_coupling

from ionecho.checkpoints.store import FORMAT_VERSION, CheckpointConfig, load, save
from ionecho.data.loader import Batch
from ionecho.data.outputs import named
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.models import MODELS, build_model
from ionecho.models.domain import FEATURES
from ionecho.models.ensemble import Ensemble
from ionecho.models.species import Statistics
from ionecho.training.domain import learn_domain

NUMBERS, CENTRES = [8, 11, 12, 25], [11]
POTENTIALS = {"deep_pot", "painn", "uf3"}  # energies, forces and stress instead of couplings: test_potentials.py
DENSITIES = {"density", "deep_dft", "oxidation"}  # fields at points, and states: test_density_models.py
SMALL: dict[str, dict[str, Any]] = {
    "nn_nmr": {
        "descriptor": "factored",
        "cutoffs": [4.5, 4.0, 4.0, 4.5],
        "cutoff_width": 4.5,
        "sigma": 0.6,
        "n_max": [4, 3, 3, 4],
        "l_max": 3,
        "hidden": [16],
        "activation": "SiLU",
        "dropout": 0.0,
        "ridge": 1e-4,
    },
    "spin_transfer": {
        "cutoff": 5.0,
        "surroundings_cutoff": 3.5,
        "bridge_cutoff": 3.5,
        "bond_cutoff": 3.0,
        "radial": 4,
        "l_max": 2,
        "channels": 3,
        "features": 6,
        "width": 12,
        "tensors": 3,
    },
    "painn_nmr": {"cutoff": 4.5, "features": 8, "interactions": 2, "radial": 6},
    "tensor_sum": {
        "cutoff": 5.0,
        "label": "hyperfine_dipolar",
        "surroundings_cutoff": 4.0,
        "radial": 4,
        "l_max": 2,
        "channels": 3,
        "features": 6,
        "width": 12,
        "multipoles": 3,
        "moments": "predicted",
    },
    "sa_gpr": {
        "cutoff": 4.5,
        "cutoff_width": 4.5,
        "sigma": 0.5,
        "label": "hyperfine_dipolar",
        "n_max": 3,
        "l_max": 2,
        "body_order": 3,
        "ridge": 1e-4,
        "bootstrap": False,
    },
}
STATISTICS = {
    label: {z: Statistics(0.1 * z, 1.0 + 0.01 * z) for z in NUMBERS}
    for label in ("hyperfine_contact", "magnetic_moment", "hyperfine_dipolar", "efg")
}


def graph_for(model: Any, structures: list[ase.Atoms], dtype: torch.dtype = torch.float64) -> Graph:
    return graph_of(structures, model.cutoff, model.pairs_of, model.centres, dtype)


def batch_of(model: Any, structures: list[ase.Atoms], dtype: torch.dtype = torch.float64) -> Batch:
    labels = {
        "hyperfine_contact": toy_coupling,
        "hyperfine_dipolar": toy_tensor,
        "efg": toy_tensor,
        "magnetic_moment": lambda atoms: np.where(atoms.numbers == 25, 2.9, 0.01),
    }
    values = {name: np.concatenate([of(atoms) for atoms in structures]) for name, of in labels.items()}
    tensors = {name: torch.from_numpy(value).to(dtype) for name, value in values.items()}
    return Batch(graph_for(model, structures, dtype), tensors)


def toy_tensor(atoms: ase.Atoms) -> np.ndarray:
    """A smooth local traceless tensor that stands in for a dipolar coupling, (N, 3, 3) MHz."""
    i, j, d, vectors = neighbor_list("ijdD", atoms, 4.5)
    weight = np.where(atoms.numbers[j] == 25, 2.0, 1.0) * np.exp(-d) * (1 + np.cos(np.pi * d / 4.5))
    dyads = vectors[:, :, None] * vectors[:, None, :] / d[:, None, None] ** 2 - np.eye(3) / 3
    total = np.zeros((len(atoms), 3, 3))
    np.add.at(total, i, weight[:, None, None] * dyads)
    return total


@pytest.fixture(params=sorted(set(MODELS) - POTENTIALS - DENSITIES))
def model(request: pytest.FixtureRequest) -> Any:
    torch.manual_seed(0)
    made = build_model(request.param, {"numbers": NUMBERS, "centres": CENTRES, **SMALL[request.param]}).double()
    made.fit(STATISTICS, [batch_of(made, [p2_crystal(k) for k in range(4)])])
    return made.eval()


def learned(model: Any) -> str:
    """What it is for."""
    return model.outputs[0].name


def coupling(model: Any, atoms: ase.Atoms) -> np.ndarray:
    with torch.no_grad():
        return model(graph_for(model, [atoms]))[learned(model)].numpy()


def turned(values: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """Numbers (K,) as they are, tensors (K, 3, 3) turned."""
    return values if values.ndim == 1 else rotation @ values @ rotation.T


def test_outputs_are_named(model: Any) -> None:
    found = set(model(graph_for(model, [p2_crystal(0)]))) - {FEATURES}
    assert found == set(named(model.outputs)) >= set(model.needed)


def test_outputs_follow_the_structure(model: Any) -> None:
    atoms = p2_crystal(0)
    found = coupling(model, atoms)
    assert found.shape == (2, *model.outputs[0].array.shape)
    assert np.abs(found - coupling(model, p2_crystal(1))).max() > 1e-6
    with torch.no_grad():
        outputs = model(graph_for(model, [atoms]))
    for name, values in outputs.items():
        assert len(values) == 2 if name == FEATURES else {"atoms": 11, "centres": 2}[named(model.outputs)[name].at]


def test_models_tell_where_they_are_away(model: Any) -> None:
    """With random weights, of crystals whose atoms are displaced three times as far."""
    parts = ((0, 0.1, 40), (100, 0.1, 20), (200, 0.3, 20))
    known, home, away = ([batch_of(model, [p2_crystal(s + k, far) for k in range(n)])] for s, far, n in parts)
    domain = learn_domain(Ensemble([model], {}), known, home)
    if domain is None:
        pytest.skip(f"{type(model).__name__} has no features")
    with torch.no_grad():
        graphs = [batches[0].graph for batches in (home, away)]
        found = [domain(model(graph)[FEATURES], torch.zeros(len(graph.centres))) for graph in graphs]
    assert (found[1][:, None] > found[0]).double().mean() > 0.9
    assert float(domain.quantile(found[0]).mean()) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("determinant", [1, -1])
def test_rotation_and_reflection_turn_couplings(model: Any, determinant: int) -> None:
    atoms = p2_crystal(0)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    rotation *= determinant * np.linalg.det(rotation)
    moved = atoms.copy()
    moved.set_cell(atoms.cell @ rotation.T)
    moved.positions = atoms.positions @ rotation.T
    expected = turned(coupling(model, atoms), rotation)
    np.testing.assert_allclose(coupling(model, moved), expected, atol=1e-10 if expected.ndim > 1 else 1e-8)


def test_tensors_are_symmetric_and_those_without_a_trace_have_none(model: Any) -> None:
    for output in model.outputs:
        if output.kind in ("tensor", "traceless"):
            found = model(graph_for(model, [p2_crystal(0)]))[output.name].detach()
            torch.testing.assert_close(found, found.mT, rtol=0, atol=1e-12)
            if output.kind == "traceless":
                assert found.diagonal(dim1=1, dim2=2).sum(1).abs().max() < 1e-12


def test_translation_wrapping_and_another_cell_leave_couplings_unchanged(model: Any) -> None:
    atoms = p2_crystal(0)
    expected = coupling(model, atoms)
    moved = atoms.copy()
    moved.positions += [0.3, -7.0, 12.5]
    moved.positions[3] += 2 * np.array(moved.cell)[0] - np.array(moved.cell)[2]
    np.testing.assert_allclose(coupling(model, moved), expected, atol=1e-8)
    sheared = atoms.copy()
    sheared.set_cell(np.array([[1, 0, 0], [1, 1, 0], [0, -1, 1]]) @ np.array(atoms.cell))
    np.testing.assert_allclose(coupling(model, sheared), expected, atol=1e-8)


def test_supercell_repeats_the_couplings(model: Any) -> None:
    atoms = p2_crystal(0)
    np.testing.assert_allclose(
        coupling(model, atoms.repeat((2, 1, 2))), np.concatenate([coupling(model, atoms)] * 4), atol=1e-8
    )


def test_permutation_permutes_the_couplings(model: Any) -> None:
    atoms = p2_crystal(0)
    order = np.random.default_rng(1).permutation(len(atoms))
    shuffled = atoms[order]
    place = {int(old): rank for rank, old in enumerate(order[np.isin(order, [0, 1])])}
    found = coupling(model, shuffled)
    np.testing.assert_allclose([found[place[0]], found[place[1]]], coupling(model, atoms), atol=1e-8)


def test_a_batch_is_its_configurations_one_by_one(model: Any) -> None:
    structures = [p2_crystal(0), p2_crystal(1).repeat((2, 1, 1)), p2_crystal(2)]
    with torch.no_grad():
        batched = model(graph_for(model, structures))[learned(model)].numpy()
    np.testing.assert_allclose(batched, np.concatenate([coupling(model, s) for s in structures]), atol=1e-8)


def test_gradients_agree_with_finite_differences(model: Any) -> None:
    atoms = p2_crystal(0)
    graph = graph_for(model, [atoms])
    graph.positions.requires_grad_()
    model(graph)[learned(model)].sum().backward()
    gradient = graph.positions.grad
    assert gradient is not None
    assert gradient.abs().max() > 1e-6
    for atom, axis in ((0, 0), (5, 2), (9, 1)):
        step = 1e-4
        values = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            values.append(coupling(model, moved).sum())
        assert float(gradient[atom, axis]) == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-7)


def test_couplings_are_continuous_when_a_neighbour_crosses_the_cutoff(model: Any) -> None:
    cell = 30 * np.eye(3)
    found = []
    for distance in (model.cutoff - 1e-6, model.cutoff + 1e-6):
        positions = np.array([[0, 0, 0], [2.3, 0, 0], [3.9, 1.0, 0], [0, distance, 0]]) + 10
        atoms = ase.Atoms(numbers=[11, 8, 25, 25], positions=positions, cell=cell, pbc=True)
        found.append(coupling(model, atoms))
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_single_precision_agrees_with_double(model: Any) -> None:
    atoms = p2_crystal(0)
    expected = coupling(model, atoms)
    with torch.no_grad():
        found = model.float()(graph_for(model, [atoms], torch.float32))[learned(model)]
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4, atol=1e-4)
    assert torch.get_default_dtype() == torch.float32


def test_an_isolated_centre_and_a_cell_smaller_than_the_cutoff_are_served(model: Any) -> None:
    lonely = ase.Atoms("Na", cell=20 * np.eye(3), pbc=True)
    assert np.isfinite(coupling(model, lonely)).all()
    tiny = ase.Atoms("NaO", positions=[[0, 0, 0], [1.2, 1.2, 1.2]], cell=2.4 * np.eye(3), pbc=True)
    np.testing.assert_allclose(coupling(model, tiny.repeat(2)), np.concatenate([coupling(model, tiny)] * 8), atol=1e-8)


def test_a_batch_without_centres_has_no_couplings(model: Any) -> None:
    oxide = ase.Atoms("MnO", positions=[[0, 0, 0], [2.2, 2.2, 2.2]], cell=4.4 * np.eye(3), pbc=True)
    assert coupling(model, oxide).shape == (0, *model.outputs[0].array.shape)


def test_an_unknown_element_is_refused(model: Any) -> None:
    atoms = p2_crystal(0)
    atoms.numbers[4] = 28
    with pytest.raises(InputError, match="does not know Ni"):
        coupling(model, atoms)


def test_checkpoint_round_trip(model: Any, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    name = request.node.callspec.params["model"]
    ensemble = Ensemble([model.float()], {learned(model): 1.3})
    hyperparameters = {"numbers": NUMBERS, "centres": CENTRES, **SMALL[name]}
    config = CheckpointConfig(
        format_version=FORMAT_VERSION,
        name="toy",
        model=name,
        hyperparameters=hyperparameters,
        members=1,
        calibration=ensemble.calibration,
        parameters={},
        dataset={"name": "toy"},
        training={"seed": 0},
    )
    save(tmp_path / "toy", config, ensemble, {}, "card")
    again = load(tmp_path / "toy")
    graph = graph_for(model, [p2_crystal(3)], torch.float32)
    with torch.no_grad():
        assert torch.equal(again.model(graph)[learned(model)], ensemble(graph)[learned(model)])
    assert again.config == config


def test_a_model_learns_a_local_function(model: Any) -> None:
    model.float().train()
    batch = batch_of(model, [p2_crystal(k) for k in range(24)], torch.float32)
    graph, name = batch.graph, learned(model)
    target = model.outputs[0].target(batch)
    mean = target.mean() if target.ndim == 1 else torch.zeros(())
    variance = (target - mean).square().mean()
    model.fit(STATISTICS | {name: {11: Statistics(float(mean), float(variance.sqrt()))}}, [batch])
    parameters = list(model.parameters())
    optimizer = torch.optim.Adam(parameters, lr=5e-3) if parameters else None
    for _ in range(150 if optimizer else 1):
        loss = (model(graph)[name] - target).square().mean()
        if optimizer:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    assert loss.item() < 0.1 * variance.item()


def test_ensemble_gives_mean_and_calibrated_spread() -> None:
    torch.manual_seed(1)
    hyperparameters = {"numbers": NUMBERS, "centres": CENTRES, **SMALL["painn_nmr"]}
    members = [build_model("painn_nmr", hyperparameters) for _ in range(3)]
    ensemble = Ensemble(members, {"hyperfine_contact": 2.0})
    graph = graph_for(members[0], [p2_crystal(0)], torch.float32)
    with torch.no_grad():
        outputs = ensemble(graph)
        single = torch.stack([member(graph)["hyperfine_contact"] for member in members])
    torch.testing.assert_close(outputs["hyperfine_contact"], single.mean(0))
    torch.testing.assert_close(outputs["hyperfine_contact_std"], 2 * single.std(0))
    torch.testing.assert_close(outputs["hyperfine_contact_members"], single)


def test_unknown_names_and_hyperparameters_are_refused() -> None:
    with pytest.raises(InputError, match="unknown model 'nmr'"):
        build_model("nmr", {})
    with pytest.raises(InputError, match=r"painn_nmr has no model\.width and needs model\.centres, "):
        build_model("painn_nmr", {"width": 3})


@pytest.mark.parametrize("numbers", [[8, 11, 25], [8, 11, 12, 25, 26]])
def test_neighbours_need_a_cutoff_for_each_element(numbers: list[int]) -> None:
    with pytest.raises(InputError, match=r"expected one of model.cutoffs and of model.n_max for each of model.numbers"):
        build_model("nn_nmr", {"numbers": numbers, "centres": CENTRES, **SMALL["nn_nmr"]})
