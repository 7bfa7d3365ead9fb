"""PaiNN: equal to SchNetPack, batched members, the loss, the spread; the contract: test_potentials.py."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import ase
import numpy as np
import pytest
import torch
from ase.calculators.fd import calculate_numerical_forces, calculate_numerical_stress
from ase.calculators.lj import LennardJones
from conftest import REPOSITORY, graph_of, p2_crystal, toy_card
from hydra import compose, initialize_config_dir
from schnetpack import properties
from torch import nn

from ionecho.checkpoints.run import train
from ionecho.checkpoints.store import load
from ionecho.data.build import build_from
from ionecho.data.card import ImportRecipe
from ionecho.data.loader import Batch
from ionecho.data.metrics import calibration, calibration_factor
from ionecho.data.outputs import POTENTIAL
from ionecho.door.config import content
from ionecho.dynamics.calculator import Potential
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.models import build_model, painn_batched
from ionecho.models.ensemble import Ensemble
from ionecho.models.painn_batched import Blocks
from ionecho.training.elements import of_elements
from ionecho.training.losses import EnergyForces
from ionecho.training.registry import OPTIMIZERS, SCHEDULES, make
from ionecho.training.settings import training_settings

NUMBERS = [8, 11, 12, 25]
FORCES = "forces"
CUTOFF = 4.5


def painn(seed: int, features: int = 8, interactions: int = 2, radial: int = 6) -> Any:
    """A model with random weights, biases included."""
    torch.manual_seed(seed)
    sizes = {"features": features, "interactions": interactions, "radial": radial}
    model = build_model("painn", {"numbers": NUMBERS, "centres": NUMBERS, "cutoff": CUTOFF, **sizes}).double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    model.one_body[:] = torch.tensor([-7.0, -2.0, -3.0, -9.0])
    return model.eval()


def graph(structures: list[ase.Atoms], dtype: torch.dtype = torch.float64, cutoff: float = CUTOFF) -> Graph:
    return graph_of(structures, cutoff, "atoms", NUMBERS, dtype)


def test_a_wall_stands_at_short_distances_that_the_training_part_does_not_hold() -> None:
    model, atoms = painn(0), p2_crystal(0)
    free = model(graph([atoms]))
    labels = {"energy": torch.zeros(1, dtype=torch.float64), "forces": torch.ones(len(atoms), 3, dtype=torch.float64)}
    fitted = deepcopy(model)
    fitted.fit({}, [Batch(graph([atoms]), labels)])
    model.shortest.copy_(fitted.shortest)
    torch.testing.assert_close(model(graph([atoms]))[FORCES], free[FORCES])
    pair = ase.Atoms("MnO", [[0, 0, 0], [1.5, 0, 0]])
    foot = min(float(model.shortest[0, 3]), 0.9 * (1.39 + 0.66))
    apart = ase.Atoms("Mg2", [[0, 0, 0], [float(model.shortest[2, 2]) - 0.5, 0, 0]])  # not seen, but no contact
    walled = [float(model(graph([structure]))["energy"]) for structure in (pair, apart)]
    model.shortest.zero_()
    bare = [float(model(graph([structure]))["energy"]) for structure in (pair, apart)]
    assert walled[0] - bare[0] == pytest.approx(50.0 * (foot - 1.5) ** 3)
    assert walled[1] == bare[1]


def schnetpack_outputs(model: Any, graph: Graph) -> dict[str, torch.Tensor]:
    """Energies and forces by SchNetPack's own forward pass."""
    graph.positions.requires_grad_()
    inputs = {
        properties.Z: graph.numbers,
        properties.Rij: graph.vectors(),
        properties.idx_i: graph.pairs[0],
        properties.idx_j: graph.pairs[1],
    }
    atomic = model.scale * model.head(model.representation(inputs)["scalar_representation"]).squeeze(-1)
    atomic = atomic + model.one_body[model.species(graph.numbers)]
    energy = torch.zeros(len(graph.cell)).double().index_add(0, graph.configuration, atomic)
    (gradient,) = torch.autograd.grad(energy.sum(), graph.positions)
    return {"energy": energy.detach(), FORCES: -gradient}


TINY = ase.Atoms("NaO", positions=[[0, 0, 0], [1.1, 1.2, 1.3]], cell=2.4 * np.eye(3), pbc=True)
STRUCTURES = {
    "one cell, neighbours in several images": ([p2_crystal(0)], False),
    "a cell of few atoms and many images": ([TINY], False),
    "a molecule": ([p2_crystal(0)[:7]], False),
    "cells of different sizes": ([p2_crystal(0), p2_crystal(1).repeat((2, 1, 1)), p2_crystal(2)], False),
    "a cell larger than the cut-off": ([p2_crystal(0).repeat((4, 2, 2))], True),
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_one_model_and_members_of_other_sizes_equal_schnetpack(kind: str) -> None:
    structures, by_atom = STRUCTURES[kind]
    if kind == "a molecule":
        structures[0].pbc = False
    members = [painn(0), painn(1, features=6, interactions=3), painn(2, features=10, interactions=1, radial=4)]
    given = graph(structures)
    assert (Blocks.of(given).shape[1] == 1) is by_atom
    with torch.inference_mode():
        together = Ensemble(members, {})(given)
    for number, model in enumerate(members):
        expected = schnetpack_outputs(model, graph(structures))
        with torch.no_grad():
            single = model(given)
        for name, value in expected.items():
            tolerance = 1e-10 * float(value.abs().max())
            torch.testing.assert_close(single[name], value, rtol=0, atol=tolerance)
            torch.testing.assert_close(together[name + "_members"][number], value, rtol=0, atol=tolerance)
        torch.testing.assert_close(together["stress_members"][number], single["stress"], rtol=1e-10, atol=1e-12)


def test_members_evaluated_in_parts_equal_those_evaluated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    given, members = graph([p2_crystal(0)]), Ensemble([painn(seed) for seed in range(3)], {})
    outputs = {}
    for at_once in (1, 2, 3):
        values = Blocks.of(given).values(7, 8)
        monkeypatch.setattr(painn_batched, "CACHED", at_once * values)
        with torch.no_grad():
            outputs[at_once] = members(given)
    for name, expected in outputs[3].items():
        for at_once in (1, 2):
            torch.testing.assert_close(outputs[at_once][name], expected, rtol=1e-10, atol=1e-12)


def test_an_ensemble_follows_the_weights_it_is_given() -> None:
    given = graph([p2_crystal(0)])
    ensemble, other = Ensemble([painn(0), painn(1)], {}), Ensemble([painn(2), painn(3)], {})
    assert set(ensemble.state_dict()) == {f"members.{n}.{name}" for n in (0, 1) for name in painn(0).state_dict()}
    ensemble.load_state_dict(other.state_dict())
    with torch.no_grad():
        for model in (ensemble, deepcopy(ensemble), ensemble.float().double()):
            torch.testing.assert_close(model(given)["energy"], other(given)["energy"], rtol=1e-6, atol=0)
        assert ensemble.float()(given.to(dtype=torch.float32))["energy"].dtype == torch.float32


def test_the_mean_force_is_the_gradient_of_the_mean_energy() -> None:
    atoms = p2_crystal(0)
    atoms.calc = Potential(Ensemble([painn(0), painn(1, features=6, interactions=1)], {}))
    # central differences of 1e-4 Å err by 1e-8 of the third derivative, which is below 1e3 eV/Å³ here
    np.testing.assert_allclose(
        atoms.get_forces()[:3], calculate_numerical_forces(atoms, eps=1e-4, iatoms=[0, 1, 2]), atol=1e-5
    )
    np.testing.assert_allclose(atoms.get_stress(), calculate_numerical_stress(atoms, eps=1e-5), atol=1e-6)


def test_gradients_of_the_force_error_by_the_weights_equal_schnetpacks() -> None:
    model = painn(0)
    given = graph([p2_crystal(0), p2_crystal(1)])
    model(given)[FORCES].square().sum().backward()
    found = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    given.positions.requires_grad_()
    inputs = {
        properties.Z: given.numbers,
        properties.Rij: given.vectors(),
        properties.idx_i: given.pairs[0],
        properties.idx_j: given.pairs[1],
    }
    energy = model.head(model.representation(inputs)["scalar_representation"]).sum()
    torch.autograd.grad(energy, given.positions, create_graph=True)[0].square().sum().backward()
    assert set(found) == {name for name, _ in model.named_parameters()} - {"head.1.bias"}
    for name, parameter in model.named_parameters():
        if name in found:
            assert parameter.grad is not None
            tolerance = 1e-9 * float(parameter.grad.abs().max())
            torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=tolerance, msg=name)


def test_totals_of_thousands_of_ev_keep_single_precision() -> None:
    """0.01 meV/atom: 7e-6 eV; the last bit of single precision at 10 000 eV is 1e-3 eV, of 1408 atoms 7e-7 each."""
    model = painn(0)
    structures = [p2_crystal(0).repeat((4, 4, 8))]
    with torch.no_grad():
        exact = model(graph(structures))["energy"].item()
        single = model.float()(graph(structures, torch.float32))["energy"].item()
    assert exact < -5000
    assert abs(single - exact) / len(structures[0]) < 1e-5


def test_the_fit_takes_energies_of_the_elements_and_the_scale_of_the_forces() -> None:
    model = painn(0).float()
    rng = np.random.default_rng(0)
    structures = []
    for seed in range(12):
        atoms = p2_crystal(seed)
        atoms.numbers = rng.choice(NUMBERS, len(atoms))
        structures.append(atoms)
    bodies = np.array([-700.0, -20.0, -30.0, -900.0])
    energy = torch.tensor([bodies[np.searchsorted(NUMBERS, atoms.numbers)].sum() for atoms in structures])
    energy[3] = torch.nan
    forces = 2.5 * torch.ones(12 * 11, 3)
    forces[5] = torch.nan
    model.fit({}, [Batch(graph(structures), {"energy": energy, "forces": forces})])
    np.testing.assert_allclose(model.one_body, bodies, rtol=1e-6)
    assert model.scale.item() == pytest.approx(2.5)


# The loss of Energy Storage Mater. 2023, 63, 103023


def errors_of(offset: float, force: list[float]) -> tuple[dict[str, torch.Tensor], Batch]:
    """Three configurations of different sizes with constant errors."""
    batch_graph = graph([p2_crystal(0), p2_crystal(1)[:7], p2_crystal(2).repeat((2, 1, 1))])
    torch.manual_seed(0)
    labels = {"energy": torch.randn(3).double(), "forces": torch.randn(len(batch_graph.numbers), 3).double()}
    outputs = {"energy": labels["energy"] + offset, FORCES: labels["forces"] + torch.tensor(force)}
    return outputs, Batch(batch_graph, labels)


def test_the_loss_of_constant_errors() -> None:
    rho = [[0.0, 0.99], [0.5, 0.9]]
    b = [0.3, -0.1, 0.2]
    square = 0.14  # |b|²
    for progress, weight in ((0.0, 0.99), (0.49, 0.99), (0.5, 0.9), (1.0, 0.9)):
        loss = EnergyForces(rho, "total")
        assert loss(*errors_of(0.7, [0, 0, 0]), progress).item() == pytest.approx((1 - weight) * 0.49)
        assert loss(*errors_of(0, b), progress).item() == pytest.approx(weight * square)
    per_atom = np.mean(0.49 / np.array([11, 7, 22]) ** 2)
    assert EnergyForces(rho, "per_atom")(*errors_of(0.7, [0, 0, 0]), 0.0).item() == pytest.approx(0.01 * per_atom)


def test_missing_labels_do_not_count_in_the_loss() -> None:
    outputs, batch = errors_of(0.7, [0.3, -0.1, 0.2])
    batch.labels["energy"][1] = torch.nan
    batch.labels["forces"][11:18] = torch.nan  # of the second configuration, all
    batch.labels["forces"][2] = torch.nan
    for output in outputs.values():
        output.requires_grad_()
    loss = EnergyForces([[0.0, 0.9]], "total")(outputs, batch, 0.0)
    assert loss.item() == pytest.approx(0.1 * 0.49 + 0.9 * 0.14)
    loss.backward()
    assert all(output.grad.isfinite().all() for output in outputs.values())


@pytest.mark.parametrize(
    ("rho", "energy", "message"),
    [
        ([], "total", "rho: expected"),
        ([[0.1, 0.9]], "total", "increasing from 0"),
        ([[0.0, 0.9], [0.7, 0.8], [0.5, 0.9]], "total", "increasing from 0"),
        ([[0.0, 1.1]], "total", "between 0 and 1"),
        ([[0.0, 0.9]], "both", "energy: expected one of total, per_atom, found both"),
    ],
)
def test_losses_refused(rho: list[list[float]], energy: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        EnergyForces(rho, energy)


def test_a_loss_of_energies_and_forces_learns_both_and_the_stress_where_it_weighs() -> None:
    assert EnergyForces([[0.0, 0.9]], "total").learns == ("energy", "forces")
    assert EnergyForces([[0.0, 0.9]], "total", virial=1.0).learns == ("energy", "forces", "stress")


# The spread, of the same work


class Noise(nn.Module):
    """A member whose forces are normal noise of 0.5 eV/Å a component."""

    numbers, centres, cutoff, pairs_of, outputs = (11,), (11,), 4.0, "atoms", POTENTIAL
    given, finds_states = None, False

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.forces = 0.5 * torch.randn(20_000, 3, generator=torch.Generator().manual_seed(seed)).double()

    def forward(self, _: Graph) -> dict[str, torch.Tensor]:
        return {FORCES: self.forces}


def test_the_spread_of_four_members_is_unbiased_and_the_norm_of_its_components() -> None:
    members = [Noise(seed) for seed in range(4)]
    found = Ensemble(members, {})(graph([p2_crystal(0)]))
    sigma = found[FORCES + "_std"]
    forces = torch.stack([member.forces for member in members])
    direct = ((forces - forces.mean(0)).square().sum(2).sum(0) / 3).sqrt()
    torch.testing.assert_close(sigma, direct)
    # 60 000 variances of 3 degrees of freedom: standard error 0.25 (2/3/60000)^½ = 8e-4
    assert sigma.square().mean().item() / 3 == pytest.approx(0.25, abs=4e-3)
    assert sigma.square().mean().sqrt().item() == pytest.approx(0.866, abs=7e-3)


def test_calibrated_force_errors_are_found_calibrated() -> None:
    rng = np.random.default_rng(1)
    size = rng.uniform(0.5, 2.0, 20_000)
    error = 1.3 * np.linalg.norm(size[:, None] * rng.normal(size=(20_000, 3)), axis=1)
    spread = np.sqrt(3) * size
    assert calibration_factor(error, spread) == pytest.approx(1.3, rel=0.01)
    found = calibration(error, 1.3 * spread, members=1000, components=3)
    normal = found["expected_within"]
    assert normal == pytest.approx([0.6084, 0.9926], abs=1e-3)  # P(χ²_3 < 3), P(χ²_3 < 12)
    assert [found["within_1"], found["within_2"]] == pytest.approx(normal, abs=0.01)
    assert found["rank_correlation"] > 0.5


def test_members_must_share_cutoff_and_elements() -> None:
    other = build_model(
        "painn", {"numbers": NUMBERS, "centres": NUMBERS, "cutoff": 5.0, "features": 4, "interactions": 1, "radial": 4}
    )
    with pytest.raises(InputError, match="expected the same cutoff"):
        Ensemble([painn(0), other], {})


# The calculator and the training command


@pytest.mark.parametrize("structure", [p2_crystal(0), p2_crystal(0).repeat((4, 2, 2))])
def test_a_neighbour_list_kept_with_a_skin_gives_the_same_forces(structure: ase.Atoms) -> None:
    atoms, rng = structure.copy(), np.random.default_rng(0)
    ensemble = Ensemble([painn(0), painn(1)], {})
    kept, fresh = Potential(ensemble, skin=0.6), Potential(ensemble, skin=0.0)
    searches = set()
    for step in range(8):
        atoms.positions += rng.normal(scale=0.04, size=atoms.positions.shape)
        if step == 6:
            atoms.set_cell(1.01 * np.array(atoms.cell), scale_atoms=True)
        found = []
        for calculator in (kept, fresh):
            calculator.calculate(atoms)
            found.append(calculator.results)
        searches.add(id(kept._searched[1]) if kept._searched else None)
        for name in ("energy", "forces", "stress", "forces_std"):
            np.testing.assert_allclose(found[0][name], found[1][name], rtol=1e-10, atol=1e-10, err_msg=name)
    assert 1 < len(searches) < 8


def test_the_published_ensemble_is_four_members_of_two_widths_and_depths() -> None:
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = training_settings(content(compose("train", overrides=["experiment=paper_painn", "dataset=nvp_gpaw"])))
    config = of_elements(config, [8, 11, 15, 23])
    members = [build_model("painn", config.of_member(number)) for number in range(4)]
    sizes = [(member.representation.n_atom_basis, member.interactions) for member in members]
    assert sizes == [(128, 3), (148, 3), (128, 4), (148, 4)]
    optimizer = make(OPTIMIZERS, config.trainer.optimizer, "")(members[0].parameters())
    schedule = make(SCHEDULES, config.trainer.schedule, "")(optimizer, total_steps=10)
    assert isinstance(optimizer, torch.optim.Adam)
    assert {schedule.lr_lambdas[0](step) for step in range(10)} == {1.0}


def test_training_an_ensemble_of_different_members(tmp_path: Path) -> None:
    (tmp_path / "files" / "run").mkdir(parents=True)
    for k in range(40):
        atoms = p2_crystal(k)
        atoms.calc = LennardJones(sigma=1.7, epsilon=0.3, rc=4.0)
        atoms.get_forces()
        atoms.write(tmp_path / "files" / "run" / f"frame_{k}.extxyz")
    recipe = ImportRecipe(importer="extxyz", pattern="*/frame_*.extxyz", frames=(0, 40, 1))
    dataset = build_from(tmp_path / "files", toy_card(build=recipe), tmp_path / "toy-1.0.0.zarr.zip", lambda _: None)
    given = ["model=painn", "dataset=own", f"dataset.name={dataset}", "name=toy", "logger=csv", "trainer.threads=1"]
    given += ["model.cutoff=4.0", "model.features=6", "model.radial=4", "model.interactions=1", "ensemble=2"]
    given += ["trainer.max_epochs=3", "trainer.accelerator=cpu", "dataset.validation=0.2"]
    members = ["member_overrides=[{features: 8}, {interactions: 2}]"]
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config, wrong = (
            training_settings(content(compose("train", overrides=[*given, own])))
            for own in (*members, "member_overrides=[{features: 8}]")
        )
    metrics = train(config, tmp_path / "run")
    assert metrics["test"]["forces_calibration"]["expected_within"][0] == pytest.approx(0.5)  # F(3, 3) below 1
    assert metrics["validation"]["forces_calibration"]["rmse_over_spread"] == pytest.approx(1.0)
    assert metrics["test"]["stress_GPa"]["n"] == 9 * metrics["test"]["pressure_GPa"]["n"] == 9 * 8
    assert "axis_angle" not in metrics["test"]  # which compares tensors of atoms
    assert metrics["test"]["forces"]["r2"] > 0.1
    checkpoint = load(tmp_path / "run" / "checkpoint")
    assert [member.interactions for member in checkpoint.model.members] == [1, 2]
    assert json.loads(json.dumps(checkpoint.config.member_overrides)) == [{"features": 8}, {"interactions": 2}]
    assert "member_overrides" in (tmp_path / "run" / "checkpoint" / "README.md").read_text()
    atoms = p2_crystal(3)
    atoms.calc = Potential(checkpoint.model)
    assert atoms.get_forces().shape == (11, 3)
    assert atoms.calc.results["forces_std"].shape == (11,)
    with pytest.raises(InputError, match="one set of hyperparameters for each of 2 members, found 1"):
        train(wrong, tmp_path / "wrong")
