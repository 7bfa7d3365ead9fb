"""The real set: the published numbers, the quality gate, the splits."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import REPOSITORY

from ionecho.data.card import read_card
from ionecho.data.quality import Quality
from ionecho.data.splits import leakage_report
from ionecho.data.store import Dataset
from ionecho.data.verify import verify


def test_set_is_sound_and_the_one_the_card_describes(p2_nmmo: Dataset) -> None:
    assert verify(p2_nmmo.path) == []
    card = read_card(REPOSITORY / "datasets" / "p2_nmmo" / "README.md")
    assert p2_nmmo.attrs["content_sha256"] == card.ionecho.content_sha256
    assert len(p2_nmmo) == 900
    assert set(np.diff(p2_nmmo.offsets)) == {88}


def test_gate_finds_the_unconverged_and_the_wrong_state_by_rule(p2_nmmo: Dataset) -> None:
    exhausted = p2_nmmo.quality & Quality.ELECTRONIC_STEPS_EXHAUSTED > 0
    assert exhausted.sum() == 20
    wrong = Quality.ENERGY_OUTLIER | Quality.UNEXPECTED_MOMENT
    (index,) = np.flatnonzero(p2_nmmo.quality & wrong)
    assert (p2_nmmo.group[index], p2_nmmo.frame[index]) == ("p6322", 50)
    assert p2_nmmo.quality[index] == wrong
    assert len(p2_nmmo.good) == 879


def test_splits_do_not_leak(p2_nmmo: Dataset) -> None:
    for name in ("configuration", "block", "phase"):
        report = leakage_report(p2_nmmo, name)
        assert report["configurations_in_two_folds"] == report["identical_structures_across_folds"] == 0


def test_labels_are_physical(p2_nmmo: Dataset) -> None:
    moments = p2_nmmo.rows("magnetic_moment", 0, 900).reshape(900, 88)
    good = p2_nmmo.good
    assert moments[good, 24:40].min() > 2.5
    assert np.abs(moments[good, :16]).max() < 0.05
    forces = p2_nmmo.rows("forces", 0, 900).reshape(900, 88, 3)
    assert np.abs(forces[good].sum(1)).max() < 0.5
    assert p2_nmmo.rows("stress", 0, 900)[good, 0, 0].mean() == pytest.approx(0.04, abs=0.02)
