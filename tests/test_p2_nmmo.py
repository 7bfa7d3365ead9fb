"""The real set: the published numbers, the quality gate, the splits."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import REPOSITORY
from scipy import constants

from ionecho.data.card import read_card
from ionecho.data.quality import Quality
from ionecho.data.splits import leakage_report
from ionecho.data.store import Dataset
from ionecho.data.verify import verify
from ionecho.nmr.hyperfine import G_E, MU_B, ContactShift


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


def test_published_shifts_are_reproduced(p2_nmmo: Dataset) -> None:
    """The first shifts and the means of the published work, to 1e-3 ppm with its rounded constants."""
    card = read_card(REPOSITORY / "datasets" / "p2_nmmo" / "README.md")
    conversion = ContactShift(**card.ionecho.conventions["contact_shift"])
    published_rounding = (9.274e-24 / MU_B) * (constants.k / 1.381e-23) * (G_E / 2.0023)
    coupling = p2_nmmo.rows("hyperfine_contact", 0, 900).reshape(900, 88)[:, :16]
    shift = conversion(coupling) * published_rounding
    (first,) = np.flatnonzero((p2_nmmo.group == "p63mcm") & (p2_nmmo.frame == 2))
    np.testing.assert_allclose(shift[first, :5], [707.346, 2132.439, 1019.410, 2206.855, 488.901], atol=1e-3)
    for group, published in (("p63mcm", 1636), ("p6322", 1771)):
        frames = shift[p2_nmmo.group == group].mean(1)
        # 50 of the published 500 frames are not in this set: agreement within the error of the mean
        assert frames.mean() == pytest.approx(published, abs=frames.std() / np.sqrt(len(frames)))
