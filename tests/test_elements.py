"""A set of one's own trains without a word about its elements: the data tell them."""

from __future__ import annotations

from pathlib import Path

import ase
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator
from conftest import toy_card

from ionecho.checkpoints.run import train
from ionecho.checkpoints.store import load
from ionecho.data.build import build_from
from ionecho.data.card import ImportRecipe
from ionecho.data.store import Dataset
from ionecho.door.config import compose, unknown_settings
from ionecho.errors import InputError
from ionecho.models import build_model
from ionecho.training.elements import elements_of, of_elements
from ionecho.training.settings import training_settings

LI, F, FE = 3, 9, 26
COUPLED = {LI: 0.3, F: np.nan, FE: np.nan}  # MHz: what was computed for lithium alone
TRAINED = {
    "nn_nmr": ["model.cutoffs={other: 3.5}", "model.n_max={3: 2, other: 3}", "model.l_max=2", "model.hidden=[8]"],
    "painn_nmr": ["model.features=8", "model.interactions=1", "model.radial=4"],
    "spin_transfer": ["model.channels=4", "model.features=8", "model.width=8", "model.tensors=2", "model.radial=4"],
    "sa_gpr": ["model.n_max=2", "model.l_max=2"],
    "tensor_sum": ["model.channels=4", "model.features=8", "model.width=8", "model.multipoles=2", "model.radial=4"],
    "painn": ["model.features=8", "model.interactions=1"],
    "deep_pot": ["model.embedding=[4]", "model.axis=2", "model.fitting=[8]"],
    "uf3": ["model.intervals=6", "model.three_body_intervals=[3,3]", "model.displaced=0"],
}
POTENTIALS = {"painn", "deep_pot", "uf3"}


def fluoride(seed: int) -> ase.Atoms:
    """LiFeF2, rattled, with labels that are no physics: a set of elements that no published one has."""
    rng = np.random.default_rng(seed)
    sites = [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
    atoms = ase.Atoms("LiFeF2", scaled_positions=sites, cell=[4.0, 4.0, 4.1], pbc=True)
    atoms.positions += rng.normal(scale=0.1, size=(4, 3))
    atoms.arrays["coupling"] = np.array([COUPLED[z] for z in atoms.numbers]) + rng.normal(scale=0.1, size=4)
    gradient = rng.normal(size=(4, 3, 3))
    gradient += gradient.swapaxes(1, 2)
    gradient -= np.trace(gradient, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3
    gradient[atoms.numbers != LI] = np.nan
    atoms.arrays["gradient"] = gradient.reshape(4, 9)
    moments = np.where(atoms.numbers == FE, 3.6, 0.0)
    atoms.calc = SinglePointCalculator(atoms, energy=rng.normal(), forces=rng.normal(size=(4, 3)), magmoms=moments)
    return atoms


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    (folder / "files" / "run").mkdir(parents=True)
    for number in range(10):
        fluoride(number).write(folder / "files" / "run" / f"frame_{number}.extxyz", format="extxyz")
    keys = {"hyperfine_contact": "coupling", "efg": "gradient"}
    recipe = ImportRecipe(importer="extxyz", pattern="*/frame_*.extxyz", options={"keys": keys})
    card = toy_card("own", build=recipe, elements=["Li", "Fe", "F"])
    return build_from(folder / "files", card, folder / "own-1.0.0.zarr.zip", lambda _: None)


def asked(own: Path, *words: str) -> dict:
    fast = ["trainer.threads=1", "trainer.accelerator=cpu", "logger=csv", "dataset.validation=0.25"]
    return compose("train", ["dataset=own", f"dataset.name={own}", "name=own", *fast, *words])


@pytest.mark.parametrize("name", TRAINED)
def test_a_training_needs_no_elements(own: Path, tmp_path: Path, name: str) -> None:
    words = [f"model={name}", *TRAINED[name]]
    if name != "nn_nmr":
        words.append("model.cutoff=3.5")
    if name in ("spin_transfer", "tensor_sum"):
        words.append("model.surroundings_cutoff=3.5")
    if name == "spin_transfer":
        words += ["model.bridge_cutoff=3.0", "~trainer.losses", "+trainer.losses={hyperfine_contact: 1.0}"]
    if name == "uf3":
        words.append("model.three_body_cutoff=3.0")
    if name not in ("sa_gpr", "uf3"):
        words.append("trainer.max_epochs=1")
    metrics = train(training_settings(asked(own, *words)), tmp_path)
    model = load(tmp_path / "checkpoint").model
    assert model.numbers == (LI, F, FE)
    assert model.centres == ((LI, F, FE) if name in POTENTIALS else (LI,))
    assert metrics["test"]


def test_what_the_data_do_not_tell_is_asked_for_at_once(own: Path) -> None:
    data = Dataset(own)
    elements = elements_of(data)
    redox = training_settings(asked(own, "model=oxidation"))
    with pytest.raises(InputError, match=r"model\.centres: say which ions oxidation is of, some of 3 Li, 9 F, 26 Fe"):
        of_elements(redox, elements, data)
    chosen = of_elements(training_settings(asked(own, "model=oxidation", "dataset.centres=[26]")), elements, data)
    assert chosen.model["centres"] == [FE]
    with pytest.raises(InputError, match=r"no model\.valences of 3 \(Li\), 9 \(F\), 26 \(Fe\)"):
        build_model("oxidation", chosen.hyperparameters)
    field = training_settings(asked(own, "model=density", "dataset.centres=[26]"))
    wanted = r"no model\.electrons of 3 .*26 \(Fe\), no model\.oxidation\.valences of 3 .*26 \(Fe\)"
    with pytest.raises(InputError, match=wanted):
        build_model("density", of_elements(field, elements, data).hyperparameters)


def test_what_is_said_stands_and_goes_by_element(own: Path) -> None:
    words = ["model=nn_nmr", "model.numbers=[26,9,3]", "model.centres=[3,9]", "model.cutoffs={3: 4.0, other: 3.0}"]
    settings = of_elements(training_settings(asked(own, *words, "model.n_max=[5,4,3]")), [LI, F, FE])
    assert settings.model["numbers"] == [FE, F, LI]
    assert settings.model["centres"] == [LI, F]
    assert settings.model["cutoffs"] == [3.0, 3.0, 4.0]
    assert settings.model["n_max"] == [5, 4, 3]


def test_all_mistakes_of_a_kind_are_named_at_once(own: Path, tmp_path: Path) -> None:
    words = ["model=painn_nmr", "model.numbers=[3,9,11]", "model.centres=[11]", "trainer.max_epochs=1"]
    told = (
        r"it holds elements \[26\] that the model does not know.*holds elements \[11\] of model\.numbers.*"
        r"none of model\.centres \[11\]; choose some of \[3, 9, 26\]"
    )
    with pytest.raises(InputError, match=told):
        train(training_settings(asked(own, *words)), tmp_path / "elements")
    words = ["+model.widht=3", "+model.depth=2", "~model.radial", "model=painn_nmr"]
    with pytest.raises(InputError, match=r"painn_nmr has no model\.depth, model\.widht and needs model\.radial; its"):
        train(training_settings(asked(own, *words)), tmp_path / "settings")
    words = ["+trainer.losses={efg: 1, energy: 2}", "~trainer.losses.hyperfine_contact", "model=painn_nmr"]
    with pytest.raises(InputError, match=r"trainer\.losses: expected some of .*, found efg, energy"):
        train(training_settings(asked(own, *words)), tmp_path / "losses")
    words = ["model=painn", "model.feature=8", "trainer.max_epoch=3", "+new.key=1", "seed=1", "fold=2"]
    told = [
        "model.feature (is it model.features?)",
        "trainer.max_epoch (is it trainer.max_epochs?)",
        "fold (is it dataset.fold?)",
    ]
    assert unknown_settings("train", words) == told
    words = ["checkpoint=x", "temprature=300", "time=1ns"]
    assert unknown_settings("simulate/simulate", words) == ["temprature (is it temperature?)"]
    assert not unknown_settings("analyze", ["analysis=diffusion", "input=x", "analysis.settings.read.time_step=1"])
