"""Checkpoint folders: older formats are upgraded, newer and damaged ones refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from conftest import graph_of, p2_crystal

from ionecho.checkpoints import store
from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.checkpoints.upgrades import UNSCALED, UPGRADES
from ionecho.errors import InputError

FROZEN = Path(__file__).parent / "checkpoints"


@pytest.fixture
def copy(toy_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_checkpoint, tmp_path / "checkpoint"))


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
    store.write_manifest(folder)


def test_a_checkpoint_of_format_1_predicts_what_it_did() -> None:
    """Two members of PaiNN, written and evaluated by 0.1.0."""
    checkpoint = load(FROZEN / "painn_of_format_1")
    expected = json.loads((FROZEN / "expected.json").read_text())
    assert checkpoint.config.format_version == store.FORMAT_VERSION
    assert list(checkpoint.config.training["losses"]) == ["energy_forces"]
    assert set(checkpoint.config.calibration) == {"energy", "forces"}
    model = checkpoint.model.double()
    with torch.no_grad():
        found = model(graph_of([p2_crystal(0)], model.cutoff, model.pairs_of, model.centres))
    for name, values in expected.items():
        torch.testing.assert_close(found[name], torch.tensor(values, dtype=torch.float64), rtol=1e-10, atol=1e-12)


def test_a_conversion_of_format_1_becomes_parameters() -> None:
    shift = {"temperature": 300.0}
    raw = {"format_version": 1, "contact_shift": shift, "calibration": {"a": 1.0}}
    raw |= {"training": {"losses": {"hyperfine_contact": 1.0, "magnetic_moment@atoms": 0.1}}}
    found, _ = UPGRADES[1](raw, {})
    assert found["parameters"] == {"contact_shift": shift}
    assert found["training"]["losses"] == {"hyperfine_contact": 1.0, "auxiliary_magnetic_moment": 0.1}


@pytest.mark.parametrize(("model", "size"), [("nn_nmr", 1), ("painn_nmr", 3)])
def test_scaling_of_format_2_goes_by_label_and_element(model: str, size: int) -> None:
    given = torch.arange(1.0, size + 1)
    raw = {"format_version": 2, "model": model, "members": 2, "hyperparameters": {"numbers": [8, 11, 25]}}
    raw["hyperparameters"]["centres"] = [11]
    found, weights = UPGRADES[2](raw, {f"members.{k}.{name}": given for k in range(2) for name in ("mean", "std")})
    assert found["format_version"] == 3
    expected = {"mean": [0.0, 1.0, 0.0], "std": [1.0, 1.0, 1.0]} if size == 1 else {key: [1, 2, 3] for key in UNSCALED}
    for name, values in expected.items():
        for member in range(2):
            assert weights[f"members.{member}.{name}"].tolist() == [values]


@pytest.mark.parametrize("name", store.FILES)
def test_a_flipped_byte_is_noticed_wherever_it_is(copy: Path, name: str) -> None:
    content = (copy / name).read_bytes()
    rng = np.random.default_rng(0)
    for place in {0, len(content) - 1, *rng.integers(len(content), size=20).tolist()}:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(rng.integers(8))
        (copy / name).write_bytes(flipped)
        with pytest.raises(InputError, match=r"fetch the checkpoint anew|not a checkpoint"):
            load(copy)
    (copy / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        load(copy)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "checkpoint format 99, this IonEcho reads up to 3; update IonEcho"),
        ({"members": 3}, "config.yaml tells of 3 members, the weights are those of 2"),
        ({"model": "unheard_of"}, "unknown model 'unheard_of'"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_what_does_not_fit_is_refused(copy: Path, changes: dict, message: str) -> None:
    edit(copy, **changes)
    with pytest.raises(InputError, match=message):
        load(copy)


def test_damaged_weights_are_refused(copy: Path) -> None:
    weights = copy / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(InputError, match="fetch the checkpoint anew"):
        load(copy)
    weights.unlink()
    with pytest.raises(InputError, match=r"weights\.safetensors is missing"):
        load(copy)


def test_weights_keep_the_precision_they_were_stored_in(copy: Path) -> None:
    found = load(copy)
    double = found.model.double()
    with torch.no_grad():
        for parameter in double.parameters():
            parameter.mul_(1 + 1e-12)
    store.save(copy, found.config, double, {}, "card")
    again = load(copy).model.state_dict()
    for name, tensor in double.state_dict().items():
        torch.testing.assert_close(again[name], tensor, rtol=0, atol=0)


def test_a_run_folder_names_its_checkpoint(copy: Path) -> None:
    assert resolve(str(copy.parent)) == copy
    assert resolve(str(copy)) == copy


def test_constant_pressure_needs_a_pressure_that_was_measured(copy: Path) -> None:
    """Of potentials only: the toy, which is none, has none."""
    with pytest.raises(InputError, match=r"of the pressure of toy is not known.*pressure_error_limit=null"):
        load(copy).pressure_error(1.0)
    assert "not known" in load(copy).pressure_error(None)
    metrics = json.loads((copy / "metrics.json").read_text())
    metrics["test"]["pressure_GPa"] = {"rmse": 1.5, "bias": -1.0}
    (copy / "metrics.json").write_text(json.dumps(metrics))
    store.write_manifest(copy)
    with pytest.raises(InputError, match=r"is 1\.5 GPa \(bias -1 GPa\).*the limit 1 GPa"):
        load(copy).pressure_error(1.0)
    assert "1.5 GPa" in load(copy).pressure_error(2.0)
