"""The worked examples of docs/extending.md, as they stand: a label, a derived quantity, a model, an analysis."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import ase.io
import numpy as np
import pytest
import torch
import zarr
from conftest import REPOSITORY, graph_of, p2_crystal

import ionecho
from ionecho.analysis import ANALYSES, analyze
from ionecho.checkpoints.run import train
from ionecho.data import schema
from ionecho.data.schema import Configuration
from ionecho.data.store import DatasetWriter
from ionecho.door.config import compose
from ionecho.dynamics.settings import SimulationSettings
from ionecho.errors import InputError
from ionecho.models import MODELS
from ionecho.nmr.derived import DERIVED
from ionecho.training.settings import training_settings

WEIGHTS = (0.7, -0.4, 1.1, 0.2)
CUTOFF = 4.0


@pytest.fixture(scope="module")
def examples() -> Iterator[ModuleType]:
    """The code of the page as one module, and what it registers, for as long as the tests run."""
    arrays, labels, derived = dict(schema.ARRAYS), list(schema.LABELS), dict(DERIVED)
    module = ModuleType("examples")
    sys.modules["examples"] = module
    text = (REPOSITORY / "docs" / "extending.md").read_text()
    code = "\n".join(re.findall(r"```python\n(.*?)```", text, re.DOTALL))
    exec(compile(code, "docs/extending.md", "exec"), vars(module))
    MODELS["pair_tensor"], ANALYSES["pair_strength"] = "examples:PairTensor", "examples"
    yield module
    del MODELS["pair_tensor"], ANALYSES["pair_strength"], sys.modules["examples"]
    for known, before in ((schema.ARRAYS, arrays), (DERIVED, derived)):
        known.clear()
        known.update(before)
    schema.LABELS[:] = labels


@pytest.fixture(scope="module")
def run(examples: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training on tensors that the model can represent, but for noise in one cell of ten."""
    folder = tmp_path_factory.mktemp("examples")
    truth = examples.PairTensor((8, 11, 12, 25), (11,), CUTOFF).double()
    truth.weights.data = torch.tensor(WEIGHTS, dtype=torch.float64)
    configurations = []
    for k in range(30):
        atoms = p2_crystal(k)
        values = np.full((len(atoms), 3, 3), np.nan)
        with torch.no_grad():
            values[:2] = truth(graph_of([atoms], CUTOFF, "atoms"))["pair_tensor"]
        cell = np.array(atoms.cell)
        labels = {"pair_tensor": values}
        configurations.append(
            Configuration(atoms.numbers, atoms.positions, cell, atoms.pbc, "a", k, f"a{k}", labels=labels)
        )
    writer = DatasetWriter(folder / "pairs.zarr", ["pair_tensor"])
    writer.append(configurations)
    folds = [{"a": list(range(fold, 30, 5))} for fold in range(5)]
    known = {"name": "pairs", "version": "1.0.0", "content_sha256": "0" * 64, "licence": "mit", "citation": "nobody"}
    writer.group.update_attributes({**known, "conventions": {}, "splits": {"configuration": folds}})
    given = ["dataset=own", f"dataset.name={folder / 'pairs.zarr'}", "+dataset.pair_reference={strength: 0.5}"]
    config = compose("train", [*given, "name=pairs", "logger=csv"])
    config["model"] = {"name": "pair_tensor", "numbers": [8, 11, 12, 25], "centres": [11], "cutoff": CUTOFF}
    recipe = {"losses": {"pair_tensor": 1.0}, "max_epochs": 2, "accelerator": "cpu", "threads": 1}
    config["trainer"] |= {**recipe, "optimizer": {"name": "AdamW", "lr": 1e-6, "weight_decay": 0.0}}
    train(training_settings({**config, "ensemble": 1}), folder / "run")
    return folder / "run"


def test_the_model_is_learned_and_its_tensor_and_strength_are_reported(run: Path) -> None:
    test = json.loads((run / "metrics.json").read_text())["test"]
    assert test["pair_tensor"]["r2"] > 0.9999
    assert test["pair_tensor"]["n"] == 6 * 2 * 9
    assert test["pair_strength"]["rmse"] < 1e-4
    assert test["relative_strength"]["rmse"] == pytest.approx(2 * test["pair_strength"]["rmse"])
    weights = ionecho.load(run).checkpoint.model.members[0].weights
    np.testing.assert_allclose(weights.detach(), WEIGHTS, atol=1e-4)


def test_it_predicts_along_a_trajectory_and_is_analysed(run: Path, tmp_path: Path) -> None:
    model = ionecho.load(run)
    images = [p2_crystal(k) for k in range(40, 52)]
    for atoms in images:
        atoms.wrap()
    ase.io.write(tmp_path / "t.extxyz", images)
    model.predict(tmp_path / "t.extxyz", output=tmp_path / "pred.zarr", dtype="float64")
    group = zarr.open_group(tmp_path / "pred.zarr", mode="r")
    assert group["pair_tensor"].shape == (12, 2, 3, 3)
    assert group["pair_strength"].shape == (12, 2)
    assert group.attrs["units"]["pair_strength"] == "1"
    np.testing.assert_allclose(group["relative_strength"][:], 2 * group["pair_strength"][:])
    report = analyze("pair_strength", tmp_path / "pred.zarr", {"skip": 2})
    assert report.summary["strength"] == pytest.approx(group["pair_strength"][2:].mean())
    report.write(tmp_path / "report")
    assert (tmp_path / "report" / "strength.csv").exists()
    assert "pair_strength" in (run / "checkpoint" / "README.md").read_text()


def test_parameters_of_a_derived_quantity_are_asked_for_by_its_key(run: Path) -> None:
    model, asked = ionecho.load(run), compose("predict", ["+pair_reference={strength: 4.0}"])["pair_reference"]
    found = model.predict(p2_crystal(60), {"pair_reference": asked})
    np.testing.assert_allclose(found["relative_strength"], found["pair_strength"] / 4)
    settings = SimulationSettings("potential", p2_crystal(60), "1ps", run, pair_reference=asked)  # type: ignore[call-arg]
    assert settings.parameters == {"pair_reference": {"strength": 4.0}}
    with pytest.raises(InputError, match=r"pair_reference: expected \{strength\}, found \{'length': 1\}"):
        model.predict(p2_crystal(60), {"pair_reference": {"length": 1}})


def test_rotating_the_structure_rotates_the_tensor(run: Path) -> None:
    model = ionecho.load(run)
    atoms = p2_crystal(60)
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    turned = atoms.copy()
    turned.set_cell(atoms.cell.array @ rotation.T, scale_atoms=True)
    found, expected = (model.predict(each, dtype="float64")["pair_tensor"] for each in (turned, atoms))
    np.testing.assert_allclose(found, rotation @ expected @ rotation.T, atol=1e-10)
