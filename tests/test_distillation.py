"""A trained potential as the engine of the label queue."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import p2_crystal

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.schema import voigt_to_tensor
from ionecho.door.config import compose
from ionecho.dynamics.calculator import Potential
from ionecho.errors import InputError
from ionecho.labelling.engine import EngineError, make_engine


def test_labels_are_what_the_checkpoint_gives() -> None:
    choice = ["engine=potential", "engine.checkpoint=uf3-p2_nmmo"]
    teacher = make_engine(compose("label", choice)["engine"])
    atoms = p2_crystal(0)
    labels = teacher.label(atoms)
    checkpoint = load(resolve("uf3-p2_nmmo"))
    atoms.calc = Potential(checkpoint.model)
    assert float(labels.values["energy"]) == atoms.get_potential_energy()
    np.testing.assert_array_equal(labels.values["forces"], atoms.get_forces())
    np.testing.assert_array_equal(labels.values["stress"], voigt_to_tensor(atoms.get_stress()))
    assert teacher.level_of_theory()["checkpoint_sha256"] == checkpoint.sha256
    with pytest.raises(InputError, match="uf3-p2_nmmo does not know Li"):
        teacher.check({"Li", "O"})


def test_a_teacher_that_does_not_know_a_configuration_fails() -> None:
    choice = ["engine=potential", "engine.checkpoint=painn-p2_gpaw", "engine.spread_limit=1.0"]
    teacher = make_engine(compose("label", choice)["engine"])
    atoms = p2_crystal(0)
    teacher.label(atoms)
    atoms.positions[0] += [0.9, 0.0, 0.0]
    with pytest.raises(
        EngineError, match=r"calibrated force spread \d+\.\d+ eV/Å on [A-Z][a-z]? \d+, the limit is 1.0"
    ):
        teacher.label(atoms)
