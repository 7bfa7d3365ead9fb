"""Shared fixtures: synthetic crystals and datasets, and the upstream data where a mirror is set."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import ase
import numpy as np
import pytest
import torch
from ase.build import bulk
from ase.neighborlist import neighbor_list
from hydra import compose, initialize_config_dir

from ionecho.checkpoints.run import train
from ionecho.data.build import build, build_from
from ionecho.data.card import DatasetBlock, DatasetCard, ImportRecipe
from ionecho.data.fetch import home as cache
from ionecho.data.lock import locked
from ionecho.data.quality import QualityGate
from ionecho.data.schema import Configuration
from ionecho.data.splits import SplitRecipe
from ionecho.data.store import Dataset
from ionecho.door.config import content
from ionecho.entry import guarded  # which registers the resolver run_id too
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import PairsOf, build_graph
from ionecho.training.settings import TrainingSettings, training_settings

REPOSITORY = Path(__file__).resolve().parents[1]
torch.set_num_threads(1)  # the structures are small, and other work may use the cores
NA, MG, MN, O = 11, 12, 25, 8  # noqa: E741
EMT_ENGINE = (
    "engine=ase",
    "engine.calculator._target_=ase.calculators.emt.EMT",
    "+engine.settings.code=EMT",
)


@pytest.fixture(scope="session")
def mirror() -> Path:
    """The folder of upstream data; tests that need it skip without one, which CI does not allow."""
    location = os.environ.get("IONECHO_MIRROR")
    if location is None:
        reason = "needs upstream data: set IONECHO_MIRROR to a folder that holds it"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return Path(location)


@pytest.fixture(scope="session")
def p2_nmmo(mirror: Path) -> Dataset:
    """The real set, built once into the cache."""
    with locked(cache() / "tests", wait=True):  # which run in several processes
        return Dataset(build("p2_nmmo"))


def p2_crystal(seed: int, rattle: float = 0.1) -> ase.Atoms:
    """A P2-like cell, Na2 Mg Mn2 O6 (11 atoms), with displaced ions."""
    lattice = 2.9 * np.sqrt(3)
    first = np.array([lattice, 0, 0])
    second = np.array([-lattice / 2, lattice * np.sqrt(3) / 2, 0])
    b1, b2 = (2 * first + second) / 3, (second - first) / 3
    lower, upper = (b1 + 2 * b2) / 3, (2 * b1 + b2) / 3
    third = upper - lower + np.array([0, 0, 5.6])
    up = np.array([0, 0, 0.97])
    sites = [(lower + n * b1 + np.array([0, 0, 2.8]), NA) for n in range(2)]
    for n, metal in enumerate((MG, MN, MN)):
        sites += [(n * b1, metal), (n * b1 + lower - up, O), (n * b1 + upper + up, O)]
    sites.sort(key=lambda site: (NA, MG, MN, O).index(site[1]))
    positions, numbers = zip(*sites, strict=True)
    atoms = ase.Atoms(list(numbers), positions=np.array(positions), cell=[first, second, third], pbc=True)
    atoms.positions += np.random.default_rng(seed).normal(scale=rattle, size=atoms.positions.shape)
    return atoms


def graph_of(
    structures: Sequence[ase.Atoms],
    cutoff: float,
    pairs_of: PairsOf,
    centres: Sequence[int] = (NA,),
    dtype: torch.dtype = torch.float64,
) -> Graph:
    """The graph of these structures."""
    return build_graph(
        [atoms.positions for atoms in structures],
        [np.array(atoms.cell) for atoms in structures],
        [atoms.numbers for atoms in structures],
        [atoms.pbc for atoms in structures],
        cutoff=cutoff,
        centres=centres,
        pairs_of=pairs_of,
        dtype=dtype,
    )


def toy_coupling(atoms: ase.Atoms) -> np.ndarray:
    """A smooth local function of the structure that stands in for a contact coupling, (N,) MHz."""
    i, j, d = neighbor_list("ijd", atoms, 4.5)
    weight = np.where(atoms.numbers[j] == MN, 2.0, np.where(atoms.numbers[j] == O, 1.0, 0.3))
    pair = weight * np.exp(-d) * 0.5 * (1 + np.cos(np.pi * d / 4.5))
    return np.bincount(i, pair, minlength=len(atoms))


def toy_configuration(seed: int, group: str = "a", **labels: np.ndarray) -> Configuration:
    """A labelled P2-like configuration."""
    atoms = p2_crystal(seed)
    rng = np.random.default_rng(seed + 10_000)
    given = {
        "energy": np.array(-100.0 + rng.normal(scale=0.1)),
        "forces": rng.normal(size=(len(atoms), 3)),
        "magnetic_moment": np.where(atoms.numbers == MN, 2.9, 0.01),
        "hyperfine_contact": toy_coupling(atoms),
    }
    return Configuration(
        numbers=atoms.numbers,
        positions=atoms.positions,
        cell=np.array(atoms.cell),
        pbc=atoms.pbc,
        group=group,
        frame=seed,
        source=f"{group}/{seed}#0",
        labels=given | labels,
    )


def write_toy_xyz(folder: Path, count: int, seed: int = 0) -> None:
    """Extended XYZ files of labelled configurations, one a file."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        atoms = p2_crystal(seed + number)
        atoms.arrays["coupling"] = toy_coupling(atoms)
        atoms.write(folder / f"frame_{number}.extxyz", format="extxyz")


def toy_card(name: str = "toy", **changes: object) -> DatasetCard:
    """Card of a dataset made from `write_toy_xyz`."""
    block: dict[str, object] = {
        "name": name,
        "version": "1.0.0",
        "elements": ["Na", "Mg", "Mn", "O"],
        "level_of_theory": {"code": "toy"},
        "conventions": {},
        "citation": "nobody",
        "build": ImportRecipe(
            importer="extxyz",
            pattern="*/frame_*.extxyz",
            frames=(0, 10_000, 1),
            options={"keys": {"hyperfine_contact": "coupling"}},
        ),
        "quality_gate": QualityGate(),
        "splits": {"configuration": SplitRecipe(kind="configuration", folds=5)},
    }
    return DatasetCard(
        pretty_name=name,
        license="mit",
        tags=["test"],
        size_categories=["n<1K"],
        ionecho=DatasetBlock(**(block | changes)),
    )


TINY_MODEL = [
    "model=painn_nmr",
    "model.centres=[11]",
    "model.cutoff=4.0",
    "model.features=8",
    "model.interactions=1",
    "model.radial=6",
    "trainer.batch_size=4",
    "trainer.threads=1",
    "trainer.accelerator=cpu",
    "logger=csv",
]


@pytest.fixture(scope="session")
def toy_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built dataset of 40 P2-like configurations."""
    folder = tmp_path_factory.mktemp("toy")
    write_toy_xyz(folder / "files" / "run", 40)
    return build_from(folder / "files", toy_card(), folder / "toy-1.0.0.zarr.zip", lambda _: None)


def train_config(dataset: Path, *overrides: str) -> TrainingSettings:
    """The settings of a training of a tiny model on the toy dataset."""
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base="1.3"):
        given = ["dataset=own", f"dataset.name={dataset}", "name=toy", *TINY_MODEL, *overrides]
        return training_settings(content(compose("train", overrides=given)))


def run_entry(script: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an entry point as a user does."""
    command = [sys.executable, str(REPOSITORY / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment}, check=False)


def refused(capsys: pytest.CaptureFixture[str], work: Callable[[], None]) -> str:
    """The one line with which an entry point refuses the work, with exit code 2."""
    with pytest.raises(SystemExit) as end:
        guarded("ionecho", work)
    assert end.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text


@pytest.fixture(scope="session")
def toy_checkpoint(toy_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained ensemble of two tiny members."""
    folder = tmp_path_factory.mktemp("run")
    curie_weiss = "effective_moment:3.87,temperature:320,weiss_constant:-14.8"
    shift = f"dataset.contact_shift={{gyromagnetic_ratio:11.27,{curie_weiss},sz_cell:24,s_formal:1.5}}"
    train(train_config(toy_dataset, "trainer.max_epochs=3", "ensemble=2", shift), folder)
    return folder / "checkpoint"


def vacancy_hop(folder: Path) -> list[str]:
    """Overrides that name the ends: an atom of copper hops into the vacancy beside it."""
    first = bulk("Cu", cubic=True).repeat((2, 2, 1))
    last = first.copy()
    last.positions[1] = first.positions[0]
    for name, atoms in {"initial": first, "final": last}.items():
        del atoms[0]
        atoms.write(folder / f"{name}.xyz")
    return [f"{name}={folder / name}.xyz" for name in ("initial", "final")]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache, and a folder to work in, of their own."""
    monkeypatch.setenv("IONECHO_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Label in this process."""

    @contextmanager
    def thread(_: object) -> Iterator[Executor]:
        with ThreadPoolExecutor(1) as pool:
            yield pool

    monkeypatch.setattr("ionecho.labelling.job.executor", thread)
