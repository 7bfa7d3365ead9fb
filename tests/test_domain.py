"""Home and away: the distance from what was learned, and errors that grow with it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import p2_crystal, train_config
from scipy.stats import rankdata

import ionecho
from ionecho.checkpoints.run import train
from ionecho.models.domain import Domain
from ionecho.training.domain import fit_dispersion


def roc_area(home: np.ndarray, away: np.ndarray) -> float:
    """Probability that a value away is above one at home."""
    ranks = rankdata(np.concatenate([home, away]))[len(home) :]
    return float((ranks.sum() - len(away) * (len(away) + 1) / 2) / (len(home) * len(away)))


def test_distances_of_normal_features_are_of_their_own_normal_distribution() -> None:
    """By element of the centre, however the features are mixed and scaled; the mean of d² is one."""
    rng = np.random.default_rng(0)
    mixing, centre = rng.normal(size=(2, 6, 6)) * 10.0 ** rng.integers(-4, 4, size=6), rng.normal(size=(2, 6))
    element = torch.arange(8000) % 2
    drawn = rng.normal(size=(8000, 6))
    features = torch.from_numpy(np.einsum("kf,kfg->kg", drawn, mixing[element]) + centre[element])
    domain = Domain(2, 6).double()
    domain.learn((features[part], element[part]) for part in (slice(0, 5000), slice(5000, 8000)))
    found = domain(features, element)
    torch.testing.assert_close(found, torch.from_numpy(np.sqrt((drawn**2).mean(1))), rtol=0.1, atol=0.02)
    assert float(found.square().mean()) == pytest.approx(1.0, rel=1e-4)
    domain.settle(found)
    assert float(domain.quantile(found).mean()) == pytest.approx(0.5, abs=0.02)
    swapped = domain(features, 1 - element)
    assert roc_area(found.numpy(), swapped.numpy()) > 0.99


@pytest.mark.parametrize(("growth", "with_members"), [(1.0, 0.0), (1.5, 0.0), (0.3, 0.8)])
def test_spreads_learned_at_home_hold_away(growth: float, with_members: float) -> None:
    """Errors are drawn by the law; 700 of them at home tell its exponents, and so the errors four times as far away."""
    ratios = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        home, members = rng.lognormal(0.0, 0.25, 700), rng.chisquare(3, 700) ** 0.5
        error = np.abs(30 * home**growth * members**with_members * rng.normal(size=700))
        dispersion = fit_dispersion(error, home, members)
        assert np.mean((error / dispersion(home, members)) ** 2) == pytest.approx(1.0, abs=0.02)
        away, apart = 4 * rng.lognormal(0.0, 0.25, 4000), rng.chisquare(3, 4000) ** 0.5
        drawn = 30 * away**growth * apart**with_members * rng.normal(size=4000)
        ratios.append(np.sqrt(np.mean((drawn / dispersion(away, apart)) ** 2)))
    assert np.exp(np.mean(np.log(ratios))) == pytest.approx(1.0, rel=0.1)
    assert max(ratios) < 1.5
    assert min(ratios) > 1 / 1.5


def test_errors_of_few_labels_grow_as_those_of_a_linear_model() -> None:
    found = fit_dispersion(np.array([1.0, 2.0, 1.0]), np.array([1.0, 1.1, 0.9]), None)
    assert found.distance == pytest.approx(1.0, abs=0.2)
    assert found.members == 0


def test_a_checkpoint_knows_where_it_is_away(toy_dataset: Path, tmp_path: Path) -> None:
    """On crystals like those of training, and on others with atoms displaced three times as far."""
    train(train_config(toy_dataset, "trainer.max_epochs=1"), tmp_path)
    loaded = ionecho.load(tmp_path)
    home, away = ([p2_crystal(100 + k, rattle) for k in range(20)] for rattle in (0.1, 0.3))
    found = [loaded.predict(frames) for frames in (home, away)]
    distance = [each["distance"].ravel() for each in found]
    assert roc_area(*distance) > 0.9
    assert np.median(found[0]["distance_quantile"]) < 0.9 < np.median(found[1]["distance_quantile"])
    spread = np.concatenate([each["hyperfine_contact_std"].ravel() for each in found])
    dispersion = loaded.checkpoint.model.dispersion["hyperfine_contact"]
    np.testing.assert_allclose(spread, dispersion(np.concatenate(distance)), rtol=1e-5)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    told = metrics["validation"]["hyperfine_contact_calibration"]
    assert told["rmse_over_spread"] == pytest.approx(1.0, abs=0.3)
    assert told["expected_within"] == pytest.approx([0.6827, 0.9545], abs=1e-3)
