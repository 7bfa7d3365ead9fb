"""What a training says on the screen, and the constant that it stands beside."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ionecho.data.outputs import Output
from ionecho.door.results import leading, show
from ionecho.models.species import Statistics
from ionecho.training import baseline
from ionecho.training.evaluate import Predictions, part_metrics


def predictions(output: Output, true: np.ndarray, element: np.ndarray | None) -> Predictions:
    return Predictions(output, np.ones_like(true), true, None, 1, np.zeros(len(true), int), element)


def test_the_constant_of_a_shielding_is_isotropic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "statistics", lambda *_: {"shielding": {11: Statistics(500.0, 3.0)}})
    given = predictions(Output("shielding", "centres"), np.zeros((2, 3, 3)), np.array([11, 11]))
    constant = baseline.mean_of_training(given, None, np.arange(1))  # type: ignore[arg-type]
    np.testing.assert_array_equal(constant.predicted, np.broadcast_to(500.0 * np.eye(3), (2, 3, 3)))


def test_the_constant_of_a_field_is_its_mean_over_the_grids(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "grid_statistics", lambda *_: Statistics(0.25, 1.0))
    given = predictions(Output("charge_density", "points"), np.zeros(4), None)
    constant = baseline.mean_of_training(given, None, np.arange(1))  # type: ignore[arg-type]
    np.testing.assert_array_equal(constant.predicted, np.full(4, 0.25))


def test_a_tensor_of_zero_has_no_axis_to_compare() -> None:
    dataset: Any = SimpleNamespace(offsets=np.array([0, 2]), group=np.array(["a"]))
    given = predictions(Output("efg", "centres"), np.ones((2, 3, 3)), np.array([3, 3]))
    assert "axis_angle" in part_metrics(given, dataset)
    zero = Predictions(given.output, 0 * given.true, given.true, None, 1, given.configuration, given.element)
    assert "axis_angle" not in part_metrics(zero, dataset)


def test_errors_of_tensors_are_shown_with_their_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = {"rmse": 2.0, "mae": 1.0, "r2": None}
    tested = {"efg": one | {"baseline": 9.0}, "quadrupolar_frequency": one | {"baseline": 30.0}, "axis_angle": one}
    assert leading(tested) == "quadrupolar_frequency"
    potential = {name: {"rmse": 1.0, "baseline": 2.0} for name in ("energy_per_atom", "forces", "pressure_GPa")}
    assert leading(potential) == "forces"
    assert leading({"energy_per_atom": {"rmse": 1.0, "baseline": 2.0}}) == "energy_per_atom"
    show({"data": {}, "validation": tested}, tmp_path)
    shown = capsys.readouterr().out
    for unit in ("V/Å²", "kHz", "degree"):
        assert unit in shown
