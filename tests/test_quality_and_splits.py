"""The gate flags by rule; splits never share a configuration between folds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import MN, toy_configuration

from ionecho.data.quality import QualityGate, describe, flag
from ionecho.data.schema import Quality
from ionecho.data.splits import SplitRecipe, fold_indices, hold_out, leakage_report, make_split
from ionecho.data.store import Dataset, DatasetWriter
from ionecho.errors import InputError

HELD = ("energy", "forces", "magnetic_moment", "hyperfine_contact")


def dataset_of(path: Path, configurations: list) -> Dataset:
    DatasetWriter(path, HELD).append(configurations)
    return Dataset(path)


def with_splits(dataset: Dataset, **recipes: SplitRecipe) -> Dataset:
    dataset.attrs["splits"] = {name: make_split(dataset, recipe) for name, recipe in recipes.items()}
    return dataset


@pytest.fixture
def two_groups(tmp_path: Path) -> Dataset:
    frames = [toy_configuration(k, "a") for k in range(30)] + [toy_configuration(100 + k, "b") for k in range(20)]
    return dataset_of(tmp_path / "set.zarr", frames)


def test_gate_flags_what_the_rules_say(tmp_path: Path) -> None:
    frames = [toy_configuration(k) for k in range(40)]
    frames[3].labels["energy"] = frames[3].labels["energy"] + 3.9
    frames[5].labels["magnetic_moment"] = np.where(frames[5].numbers == MN, 2.9, 0.13)
    frames[8].labels["hyperfine_contact"] = np.full(11, np.nan)
    frames[9].quality = Quality.ELECTRONIC_STEPS_EXHAUSTED
    frames[11].labels["hyperfine_contact"] = np.where(np.arange(11) < 5, 1.0, np.nan)
    dataset = dataset_of(tmp_path / "set.zarr", frames)
    gate = QualityGate(max_moment={"Na": 0.05}, required_labels=["hyperfine_contact"])
    flags = flag(dataset, gate)
    assert {int(i): Quality(int(flags[i])) for i in np.flatnonzero(flags)} == {
        3: Quality.ENERGY_OUTLIER,
        5: Quality.UNEXPECTED_MOMENT,
        8: Quality.MISSING_LABEL,
        9: Quality.ELECTRONIC_STEPS_EXHAUSTED,
    }
    assert describe(flags).startswith("4 of 40 configurations flagged")
    assert flag(dataset, QualityGate(required_labels=["efg"])).all()


def test_energies_of_a_few_are_not_judged(tmp_path: Path) -> None:
    """Of three two may agree by chance; the fifth makes a median absolute deviation."""
    for count, flagged in ((3, []), (5, [2])):
        frames = [toy_configuration(k) for k in range(count)]
        for k, configuration in enumerate(frames):
            configuration.labels["energy"] = np.array(-100.0 + 1e-3 * k + (k == 2))
        flags = flag(dataset_of(tmp_path / f"{count}.zarr", frames), QualityGate())
        assert np.flatnonzero(flags).tolist() == flagged


@pytest.mark.parametrize(
    ("recipe", "folds"),
    [
        (SplitRecipe(kind="configuration", folds=5, seed=1), 5),
        (SplitRecipe(kind="block", folds=5), 5),
        (SplitRecipe(kind="group"), 2),
    ],
)
def test_folds_cover_every_good_configuration_once(two_groups: Dataset, recipe: SplitRecipe, folds: int) -> None:
    two_groups.quality[[4, 40]] = 1
    dataset = with_splits(two_groups, s=recipe)
    parts = fold_indices(dataset, "s")
    assert len(parts) == folds
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), dataset.good)
    report = leakage_report(dataset, "s")
    assert report["configurations_in_two_folds"] == 0
    assert report["identical_structures_across_folds"] == 0
    assert make_split(dataset, recipe) == dataset.attrs["splits"]["s"]


def test_blocks_are_contiguous_in_time(two_groups: Dataset) -> None:
    dataset = with_splits(two_groups, s=SplitRecipe(kind="block", folds=5))
    for part in fold_indices(dataset, "s"):
        for group in "ab":
            frames = dataset.frame[part][dataset.group[part] == group]
            assert np.ptp(frames) == len(frames) - 1


def test_leakage_is_reported(tmp_path: Path) -> None:
    frames = [toy_configuration(k) for k in range(10)]
    frames[7].positions = frames[2].positions.copy()
    dataset = dataset_of(tmp_path / "set.zarr", frames)
    dataset.attrs["splits"] = {"s": [{"a": [0, 1, 2, 3, 4]}, {"a": [4, 5, 6, 7, 8, 9]}]}
    assert leakage_report(dataset, "s") == {
        "configurations_in_two_folds": 1,
        "identical_structures_across_folds": 2,  # frame 4 itself, and 7 which is 2
        "nearest_frames_across_folds": 0,
    }


def held_out(dataset: Dataset, recipe: SplitRecipe, fraction: float, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation part beside the first fold."""
    folds = fold_indices(with_splits(dataset, s=recipe), "s")
    return hold_out(dataset, folds, np.setdiff1d(np.concatenate(folds), folds[0]), fraction, seed)


def test_hold_out_is_disjoint_and_seeded(two_groups: Dataset) -> None:
    recipe = SplitRecipe(kind="configuration", folds=5)
    train, held = held_out(two_groups, recipe, 0.1)
    assert [len(train), len(held)] == [36, 4]
    assert not set(train) & set(held)
    assert [len(part) for part in held_out(two_groups, recipe, 0.001)] == [39, 1]
    assert [len(part) for part in held_out(two_groups, recipe, 0.0)] == [40, 0]
    np.testing.assert_array_equal(held_out(two_groups, recipe, 0.1)[1], held)


def test_validation_leaves_out_what_testing_leaves_out(two_groups: Dataset, tmp_path: Path) -> None:
    """Runs for a group split, an end in time for blocks; else it is chosen on neighbours of what was learned."""
    runs = []
    for k in range(60):
        runs.append(toy_configuration(k))
        runs[-1].group = f"run_{k // 10}"
    several = dataset_of(tmp_path / "runs.zarr", runs)
    for fraction, count in ((0.01, 10), (0.2, 10), (0.3, 20), (0.99, 40)):
        train, held = held_out(several, SplitRecipe(kind="group"), fraction)
        assert len(held) == count
        assert not set(several.group[train]) & set(several.group[held])
    assert [len(part) for part in held_out(several, SplitRecipe(kind="group"), 0.0)] == [50, 0]
    train, held = held_out(two_groups, SplitRecipe(kind="block", folds=5), 0.25)
    for group, count in (("a", 6), ("b", 4)):
        learned, kept = (two_groups.frame[part][two_groups.group[part] == group] for part in (train, held))
        assert len(kept) == count
        assert learned.max() < kept.min()
    train, held = held_out(two_groups, SplitRecipe(kind="group"), 0.2)  # a single group is left
    assert [len(train), len(held)] == [16, 4]


def test_relatives_stay_together(tmp_path: Path) -> None:
    """Runs of two phases that begin alike, by their seed; `other` is of no family."""
    runs = []
    for k in range(60):
        runs.append(toy_configuration(k))
        runs[-1].group = f"md_{'ab'[k % 2]}_300K_{k // 10}" if k < 50 else "other"
    dataset = dataset_of(tmp_path / "runs.zarr", runs)
    family = r"^md_[ab]_\d+K_(\d+)$"
    recipe = SplitRecipe(kind="group", folds=3, family=family)
    folds = fold_indices(with_splits(dataset, s=recipe), "s")
    seeds = [{group[-1] for group in dataset.group[fold]} for fold in folds]
    assert sum(map(len, seeds)) == len(set.union(*seeds)) == 6
    rest = np.setdiff1d(np.arange(60), folds[0])
    train, held = hold_out(dataset, folds, rest, 0.2, 0, family)
    assert len(held) == 10
    assert not {group[-1] for group in dataset.group[train]} & {group[-1] for group in dataset.group[held]}
    with pytest.raises(InputError, match="needs 2 to 6 folds, found 7"):
        make_split(dataset, SplitRecipe(kind="group", folds=7, family=family))


def test_every_fold_holds_of_all_kinds(tmp_path: Path) -> None:
    """Nine runs of one kind, six of another, three of a third: each fold has 3, 2 and 1, whatever the seed."""
    runs = [toy_configuration(k) for k in range(18)]
    for k, run in enumerate(runs):
        run.group = f"{'glass' if k < 9 else 'md_beta' if k < 15 else 'md_gamma'}_{k}"
    dataset = dataset_of(tmp_path / "runs.zarr", runs)
    for seed in range(5):
        folds = make_split(dataset, SplitRecipe(kind="group", folds=3, seed=seed, stratum=r"^(.*?)_\d"))
        kinds = [sorted(group.rpartition("_")[0] for group in fold) for fold in folds]
        assert kinds == [["glass"] * 3 + ["md_beta"] * 2 + ["md_gamma"]] * 3
    related = SplitRecipe(kind="group", folds=3, family="^md_.*_(\\d)", stratum=r"^(.*?)_\d")
    assert sum(map(len, make_split(dataset, related))) == 18


def test_validation_holds_out_whole_what_a_grown_set_added_whole(tmp_path: Path) -> None:
    configurations = []
    for k in range(80):
        configurations.append(toy_configuration(k))
        configurations[-1].group = "parent" if k < 40 else f"added_{(k - 40) // 5}"
    grown = dataset_of(tmp_path / "grown.zarr", configurations)
    scattered = np.random.default_rng(0).permutation(40)
    folds = [np.concatenate([scattered[k::4], np.arange(40 + 10 * k, 50 + 10 * k)]) for k in range(4)]
    train, held = hold_out(grown, folds, np.setdiff1d(np.arange(80), folds[0]), 0.2, 0)
    assert set(grown.group[train]) & set(grown.group[held]) == {"parent"}
    assert [(grown.group[held] == "parent").sum(), (grown.group[held] != "parent").sum()] == [6, 10]


def test_impossible_splits_are_refused(two_groups: Dataset) -> None:
    with pytest.raises(InputError, match="a block split needs 2 to 2 folds, found 3"):
        SplitRecipe(kind="block", folds=3).check(["a", "a", "b", "b", "b"], "toy")
    with pytest.raises(InputError, match="needs 2 to 50 folds, found 51"):
        make_split(two_groups, SplitRecipe(kind="configuration", folds=51))
    two_groups.attrs["splits"] = {"one": []}
    with pytest.raises(InputError, match="no split 'two'; it has one"):
        fold_indices(two_groups, "two")
