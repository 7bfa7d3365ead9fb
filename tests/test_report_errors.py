"""Errors of a training run as a report: known offsets, energies an atom, stresses in GPa, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ase.units import GPa
from conftest import REPOSITORY
from hydra import compose, initialize_config_dir

from ionecho.analysis import analyze
from ionecho.analysis.errors import read_predictions
from ionecho.analysis.errors_scene import worst
from ionecho.data.store import Dataset
from ionecho.door.config import content
from ionecho.errors import InputError


def report(folder: Path, *overrides: str) -> dict[str, object]:
    """What `analyze.py analysis=errors` does."""
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        config = compose("analyze", overrides=["analysis=errors", f"input={folder}", "output=unused", *overrides])
    found = analyze("errors", str(folder), content(config)["analysis"]["settings"])
    found.write(folder / "report")
    return found.summary


def test_errors_by_element_and_energies_an_atom(tmp_path: Path) -> None:
    true = np.random.default_rng(0).normal(size=600)
    element = np.repeat([11, 8], 300)
    offset = np.where(element == 11, 0.3, -0.4)
    forces = {"predicted": true + offset, "true": true, "spread": 0.5, "configuration": 0, "element": element}
    pd.DataFrame(forces).to_csv(tmp_path / "test_forces.csv", index=False)
    atoms = np.array([10, 20, 40])
    energies = {
        "predicted": -2.0 * atoms + 0.1 * atoms,
        "true": -2.0 * atoms,
        "configuration": range(3),
        "atoms": atoms,
    }
    pd.DataFrame(energies).to_csv(tmp_path / "test_energy.csv", index=False)
    pressed = np.array([0.0, GPa])
    stress = {"predicted": pressed + 0.2 * GPa, "true": pressed, "configuration": 0, "atoms": 10}
    pd.DataFrame(stress).to_csv(tmp_path / "test_stress.csv", index=False)
    report(tmp_path)
    summary = json.loads((tmp_path / "report" / "summary.json").read_text())
    found = {(row["label"], row["element"]): row for row in summary["errors"]}
    assert found["forces", "Na"]["bias"] == pytest.approx(0.3)
    assert found["forces", "O"]["bias"] == pytest.approx(-0.4)
    assert found["forces", "all"]["rmse"] == pytest.approx(np.sqrt((0.3**2 + 0.4**2) / 2))
    assert found["energy", "all"]["mae"] == pytest.approx(0.1)
    assert found["energy", "all"]["unit"] == "eV/atom"
    assert found["stress", "all"]["bias"] == pytest.approx(0.2)
    assert found["stress", "all"]["unit"] == "GPa"
    assert "energy: RMSE 0.1 eV/atom on the test part (3 values)." in summary["headline"]
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        *("summary.json", "errors.csv", "report.html", "energy.png", "forces.png", "stress.png"),
    }


def test_a_folder_without_predictions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected validation_LABEL\.csv of a finished training run"):
        report(tmp_path, "analysis.settings.part=validation")


def test_atoms_of_the_worst_configurations_are_coloured_by_their_error(
    toy_checkpoint: Path, toy_dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, data = toy_checkpoint.parent, Dataset(toy_dataset)
    found = read_predictions(run, "test")
    assert worst(run, found, {"hyperfine_contact": "MHz"}) is None  # the dataset is not at hand
    monkeypatch.setattr("ionecho.analysis.errors_scene.find_dataset", lambda _: toy_dataset)
    scene = worst(run, found, {"hyperfine_contact": "MHz"})
    values = found["hyperfine_contact"]
    error = values.predicted - values["true"]
    size = (error**2).groupby(values.configuration).mean().pow(0.5)
    assert scene is not None
    first = int(size.idxmax())
    np.testing.assert_array_equal(scene.positions[0], data[first].positions)
    coloured = np.isfinite(scene.values[0])
    assert set(scene.numbers[coloured]) == {11}
    np.testing.assert_allclose(scene.values[0][coloured], error[values.configuration == first])
    assert np.sqrt(np.nanmean(scene.values**2, axis=1)).tolist() == pytest.approx(sorted(size, reverse=True)[:24])
