"""Shared fixtures: synthetic crystals and datasets, and the upstream data where a mirror is set."""

from __future__ import annotations

import os
from pathlib import Path

import ase
import numpy as np
import pytest
from ase.neighborlist import neighbor_list

from ionecho.data.build import build
from ionecho.data.card import DatasetBlock, DatasetCard, ImportRecipe
from ionecho.data.quality import QualityGate
from ionecho.data.schema import Configuration
from ionecho.data.splits import SplitRecipe
from ionecho.data.store import Dataset

NA, MG, MN, O = 11, 12, 25, 8  # noqa: E741


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
