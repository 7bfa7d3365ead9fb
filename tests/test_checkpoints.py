"""Checkpoint folders: older formats are upgraded, newer and damaged ones refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from ionecho.checkpoints import store
from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.errors import InputError


@pytest.fixture
def copy(toy_checkpoint: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(toy_checkpoint, tmp_path / "checkpoint"))


def edit(folder: Path, **changes: object) -> None:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))


def test_an_older_format_is_upgraded(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = yaml.safe_load((copy / "config.yaml").read_text())
    config["architecture"] = config.pop("model")
    (copy / "config.yaml").write_text(yaml.safe_dump(config | {"format_version": 0}))

    def rename(raw: dict, weights: store.Weights) -> tuple[dict, store.Weights]:
        raw = raw | {"model": raw["architecture"], "format_version": 1}
        raw.pop("architecture")
        return raw, weights

    monkeypatch.setitem(store.UPGRADES, 0, rename)
    assert load(copy).config.model == "painn_nmr"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 99}, "checkpoint format 99, this IonEcho reads up to 1; update IonEcho"),
        ({"members": 3}, "weights do not fit model painn_nmr"),
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
    with pytest.raises(InputError, match=r"is 1\.5 GPa \(bias -1 GPa\).*the limit 1 GPa"):
        load(copy).pressure_error(1.0)
    assert "1.5 GPa" in load(copy).pressure_error(2.0)
