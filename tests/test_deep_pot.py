"""DeepPot-SE against DeePMD-kit's own numbers, and its statistics; the contract is in test_potentials.py."""

from __future__ import annotations

import json
from typing import Any

import ase
import numpy as np
import pytest
import torch
from conftest import REPOSITORY, graph_of, p2_crystal
from test_potentials import FORCES, NUMBERS, POTENTIALS, labelled

from ionecho.data.loader import Batch
from ionecho.errors import InputError
from ionecho.models import build_model

# Energies, forces, virials and statistics that DeePMD-kit (version in the file) gives for random weights in three
# triclinic cells smaller than the cut-off; `sel` by its rule "auto".
DEEPMD = json.loads((REPOSITORY / "tests" / "data" / "deep_pot_deepmd.json").read_text())
STRUCTURES = [
    ase.Atoms(numbers=DEEPMD["numbers"], positions=positions, cell=cell, pbc=True)
    for positions, cell in zip(DEEPMD["positions"], DEEPMD["cells"], strict=True)
]


WEIGHTS = {name: torch.tensor(value, dtype=torch.float64) for name, value in DEEPMD["weights"].items()}


@pytest.fixture
def deepmd() -> Any:
    """The model of DeePMD-kit's weights."""
    elements = DEEPMD["elements"]
    model = build_model("deep_pot", {"numbers": elements, "centres": elements, **DEEPMD["hyperparameters"]}).double()
    left = model.load_state_dict(WEIGHTS, strict=False)
    assert left.missing_keys == ["descriptor_mean", "descriptor_size"]  # DeePMD-kit has no such constants
    assert not left.unexpected_keys
    return model


def graph(model: Any, structures: list[ase.Atoms]) -> Any:
    return graph_of(structures, model.cutoff, "atoms", model.centres)


def test_energies_forces_and_virials_are_those_of_deepmd_kit(deepmd: Any) -> None:
    with torch.inference_mode():
        found = deepmd(graph(deepmd, STRUCTURES))
    virial = [-atoms.get_volume() * stress.numpy() for atoms, stress in zip(STRUCTURES, found["stress"], strict=True)]
    np.testing.assert_allclose(found["energy"], DEEPMD["energy"], rtol=0, atol=1e-11)
    np.testing.assert_allclose(found[FORCES], np.concatenate(DEEPMD["forces"]), rtol=0, atol=1e-12)
    np.testing.assert_allclose(virial, DEEPMD["virial"], rtol=0, atol=1e-12)
    assert np.abs(DEEPMD["forces"]).max() > 0.5  # eV/Å


def test_slots_and_statistics_are_those_of_deepmd_kit(deepmd: Any) -> None:
    labels = {"energy": torch.zeros(3), "forces": torch.ones(18, 3)}
    half = [Batch(graph(deepmd, STRUCTURES[:1]), {"energy": labels["energy"][:1], "forces": labels["forces"][:6]})]
    half += [Batch(graph(deepmd, STRUCTURES[1:]), {"energy": labels["energy"][1:], "forces": labels["forces"][6:]})]
    deepmd.fit({}, half)
    assert deepmd.slots.tolist() == DEEPMD["weights"]["slots"]
    np.testing.assert_allclose(deepmd.mean, WEIGHTS["mean"], rtol=0, atol=1e-14)
    np.testing.assert_allclose(deepmd.deviation, WEIGHTS["deviation"], rtol=0, atol=1e-14)


def test_the_first_layer_can_take_up_the_constants_of_the_descriptors(deepmd: Any) -> None:
    labels = {"energy": torch.zeros(3), "forces": torch.ones(18, 3)}
    deepmd.fit({}, [Batch(graph(deepmd, STRUCTURES), labels)])
    expected = deepmd(graph(deepmd, STRUCTURES))
    assert (deepmd.descriptor_mean.abs().amax(1) > 1e-3).all()
    for a, (hidden, _) in enumerate(deepmd.fittings):
        layer = hidden.layers[0]
        with torch.no_grad():
            layer.weight /= deepmd.descriptor_size[a]
            layer.bias -= layer.weight @ deepmd.descriptor_mean[a]
    deepmd.descriptor_mean.zero_()
    deepmd.descriptor_size.fill_(1.0)
    found = deepmd(graph(deepmd, STRUCTURES))
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, atol=1e-12, rtol=0)


def test_descriptors_are_measured_over_all_batches(deepmd: Any) -> None:
    with torch.no_grad():
        one = graph(deepmd, STRUCTURES)
        descriptors = [d for _, d in deepmd.descriptors(one, one.vectors(), deepmd.species(one.numbers))]
    deepmd.measure_descriptors([Batch(graph(deepmd, part), {}) for part in (STRUCTURES[:1], STRUCTURES[1:])])
    for a, descriptor in enumerate(descriptors):
        torch.testing.assert_close(deepmd.descriptor_mean[a], descriptor.mean(0))
        torch.testing.assert_close(deepmd.descriptor_size[a], descriptor.square().mean().sqrt())


def test_more_neighbours_than_slots_change_nothing_but_the_sum(deepmd: Any) -> None:
    crowded = STRUCTURES[0].copy()
    crowded.set_cell(0.7 * np.array(crowded.cell), scale_atoms=True)
    assert len(graph(deepmd, [crowded]).pairs[0]) > len(crowded) * deepmd.slots.sum()
    neighbour, supercell = crowded.copy(), crowded.repeat((1, 1, 2))
    with torch.inference_mode():
        together = deepmd(graph(deepmd, [neighbour, STRUCTURES[1]]))
        alone = deepmd(graph(deepmd, [STRUCTURES[1]]))
        twice = deepmd(graph(deepmd, [supercell]))
    torch.testing.assert_close(together["energy"][1:], alone["energy"], atol=1e-11, rtol=0)
    torch.testing.assert_close(twice["energy"], 2 * together["energy"][:1], atol=1e-10, rtol=0)


def test_the_switch_falls_with_two_continuous_derivatives(deepmd: Any) -> None:
    inner, outer = deepmd.smooth_cutoff, deepmd.cutoff
    step = 1e-4
    for edge in (inner, outer):
        r = edge + step * torch.arange(-3, 4, dtype=torch.float64)
        s = deepmd.rows(torch.stack([r, 0 * r, 0 * r], dim=1))[:, 0] * r
        assert float(s[3]) == pytest.approx(1.0 if edge == inner else 0.0, abs=1e-12)
        for order in (1, 2):
            # the third derivative, 60/(r_c - r_s)³ = 2.2 Å⁻³, over 6 steps
            assert (s.diff(n=order) / step**order).abs().max() < 2.3 * 6 * step + 1e-7
    middle = deepmd.rows(torch.tensor([[0.0, 0.0, 0.5 * (inner + outer)]], dtype=torch.float64))
    assert float(middle[0, 0]) == pytest.approx(0.5 / (0.5 * (inner + outer)))
    assert middle[0].tolist() == pytest.approx([float(middle[0, 0]), 0, 0, float(middle[0, 0])])


def test_one_body_energies_are_the_least_squares_of_the_composition() -> None:
    structures = [p2_crystal(k) for k in range(6)]
    for k, atoms in enumerate(structures):
        del atoms[k : 2 * k]
    batch = labelled(structures)
    expected = torch.tensor([-3000.25, -1.5, 2.0, -31.0], dtype=torch.float64)
    counts = np.array([[np.sum(atoms.numbers == z) for z in NUMBERS] for atoms in structures])
    batch.labels["energy"] = torch.from_numpy(counts).double() @ expected
    batch.labels["energy"][2] = torch.nan
    batch.labels["forces"][:5] = torch.nan
    model = build_model("deep_pot", {"numbers": NUMBERS, "centres": NUMBERS, **POTENTIALS["deep_pot"]}).double()
    model.fit({}, [batch])
    torch.testing.assert_close(model.one_body, expected, atol=1e-8, rtol=0)
    assert float(model.scale) == pytest.approx(float(batch.labels["forces"][5:].square().mean().sqrt()))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"smooth_cutoff": 4.5}, "smooth_cutoff: expected a length in Å below the cutoff 4.5, found 4.5"),
        ({"axis": 9}, "axis: expected 1 to 8, the width of the embedding, found 9"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_model("deep_pot", {"numbers": NUMBERS, "centres": NUMBERS, **POTENTIALS["deep_pot"], **changes})
