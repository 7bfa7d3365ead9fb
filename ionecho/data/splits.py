"""Named splits into folds of whole configurations, stored by content (group and frame), and their leakage report."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from ionecho.data.store import Dataset
from ionecho.errors import InputError

Fold = dict[str, list[int]]  # group -> frames
FOLDS = 5


def families(groups: Sequence[str], family: str | None) -> NDArray[np.str_]:
    """Name of the family of every group; a group in which the expression finds nothing is one by itself."""
    found = [re.search(family, group) if family else None for group in groups]
    return np.array(["".join(match.groups("")) if match else group for match, group in zip(found, groups, strict=True)])


class SplitRecipe(BaseModel):
    """How the folds of a split are drawn from the good configurations.

    `configuration`: at random, whole configurations, into `folds`, by default five or as many as there are. `block`:
    contiguous blocks in time of every group. `group`: whole groups (phases, trajectories), every one a fold, or dealt
    at random into `folds`. Groups in whose names the regular expression `family` finds the same (its parentheses,
    joined) are relatives, such as runs that begin alike, and stay together. Families whose first group has the same
    part `stratum` of its name, found likewise, are dealt evenly, so that every fold holds of all kinds.
    """

    model_config = ConfigDict(extra="forbid")

    kind: Literal["configuration", "block", "group"]
    folds: int | None = None
    seed: int = 0
    family: str | None = None
    stratum: str | None = None

    def check(self, groups: Sequence[str], where: object) -> None:
        """Raise InputError if the folds cannot be drawn from configurations of these groups, one for each.

        A block split needs a frame of every group for each fold.
        """
        sizes = Counter(families(groups, self.family).tolist())
        most = {"group": len(sizes), "block": min(sizes.values(), default=0), "configuration": len(groups)}[self.kind]
        if self.folds is None and self.kind != "block":
            return
        if most < 2:
            raise InputError(f"{where}: a {self.kind} split needs two or more, found {most}")
        if self.folds is None or not 2 <= self.folds <= most:
            raise InputError(f"{where}: a {self.kind} split needs 2 to {most} folds, found {self.folds}")


def default_splits(dataset: Dataset, folds: int | None) -> dict[str, SplitRecipe]:
    """Splits of a set of one's own: by group, or of one group by blocks in time, and by configuration.

    Into `folds`, or five, or as many as there can be. Frames of a run are alike: the first split tells what a model
    knows of others.
    """
    good = dataset.good
    groups = len(set(dataset.group[good]))
    found = {"configuration": SplitRecipe(kind="configuration", folds=folds)}
    if groups > 1:
        return {"group": SplitRecipe(kind="group", folds=min(folds or FOLDS, groups))} | found
    if len(good) > 1:
        return {"block": SplitRecipe(kind="block", folds=min(folds or FOLDS, len(good)))} | found
    return found


def make_split(dataset: Dataset, recipe: SplitRecipe, where: object = "folds") -> list[Fold]:
    """The folds of a split over the good configurations of a dataset; `where` is the setting that an error names."""
    good = dataset.good
    recipe.check(dataset.group[good].tolist(), where)
    if recipe.kind == "group":
        family = families(dataset.group[good].tolist(), recipe.family)
        names = sorted(set(family))
        shuffled = np.random.default_rng(recipe.seed).permutation(names)
        dealt = [[name] for name in names] if recipe.folds is None else np.array_split(shuffled, recipe.folds)
        if recipe.stratum is not None:
            first = {name: min(dataset.group[good][family == name]) for name in names}
            ordered = sorted(shuffled, key=lambda name: families([first[name]], recipe.stratum)[0])
            dealt = [ordered[fold :: len(dealt)] for fold in range(len(dealt))]
        return [_by_content(dataset, good[np.isin(family, part)]) for part in dealt]
    if recipe.kind == "configuration":
        shuffled = np.random.default_rng(recipe.seed).permutation(good)
        folds = recipe.folds or min(FOLDS, len(good))
        return [_by_content(dataset, np.sort(part)) for part in np.array_split(shuffled, folds)]
    assert recipe.folds is not None
    blocks: list[list[NDArray]] = [[] for _ in range(recipe.folds)]
    for name in sorted(set(dataset.group[good])):
        members = good[dataset.group[good] == name]
        ordered = members[np.argsort(dataset.frame[members], kind="stable")]
        for block, part in zip(blocks, np.array_split(ordered, recipe.folds), strict=True):
            block.append(part)
    return [_by_content(dataset, np.concatenate(parts)) for parts in blocks]


def _by_content(dataset: Dataset, indices: NDArray[np.integer]) -> Fold:
    fold: Fold = defaultdict(list)
    for index in indices:
        fold[str(dataset.group[index])].append(int(dataset.frame[index]))
    return dict(fold)


def fold_indices(dataset: Dataset, split: str) -> list[NDArray[np.int64]]:
    """Configuration indices of every fold of the named split."""
    splits = dataset.attrs.get("splits", {})
    if split not in splits:
        raise InputError(f"{dataset.path}: no split {split!r}; it has {', '.join(sorted(splits)) or 'none'}")
    position = {(str(g), int(f)): i for i, (g, f) in enumerate(zip(dataset.group, dataset.frame, strict=True))}
    return [
        np.array(sorted(position[name, frame] for name, frames in fold.items() for frame in frames), dtype=np.int64)
        for fold in splits[split]
    ]


def hold_out(
    dataset: Dataset,
    folds: Sequence[NDArray[np.integer]],
    rest: NDArray[np.integer],
    fraction: float,
    seed: int,
    family: str | None = None,
) -> tuple[NDArray, NDArray]:
    """Training and validation part of the configurations `rest`, the complement of one of the folds.

    Validation leaves out what testing does: of the groups that are whole in a fold, whole families (`SplitRecipe`) in
    random order; of the others the end in time of every group, where the folds are blocks in time, or else single
    configurations at random; each up to the fraction, which above zero is one configuration at least.
    """
    random, names = np.random.default_rng(seed), dataset.group[rest].astype(str)
    runs = _runs(dataset, folds)
    pieces = np.array([runs[name] for name in names])
    relatives = families(names.tolist(), family)
    whole = (pieces == 1) & (len(set(relatives[pieces == 1])) > 1)
    held = np.zeros(len(rest), bool)
    if whole.any():
        for name in random.permutation(sorted(set(relatives[whole])))[:-1]:
            if held.sum() < _share(fraction, whole):
                held |= whole & (relatives == name)
    cut = np.flatnonzero(~whole)
    if set(pieces[cut]) == {len(folds)} and len(cut) > len(folds) * len(set(names[cut])):
        for name in set(names[cut]):
            members = np.flatnonzero(names == name)
            ordered = members[np.argsort(dataset.frame[rest[members]], kind="stable")]
            held[ordered[len(ordered) - _share(fraction, names == name) :]] = True
    elif len(cut):
        held |= np.isin(rest, random.permutation(rest[cut])[: _share(fraction, ~whole)])
    return np.sort(rest[~held]), np.sort(rest[held])


def _share(fraction: float, members: NDArray[np.bool_]) -> int:
    return max(1, round(fraction * int(members.sum()))) if fraction > 0 else 0


def _runs(dataset: Dataset, folds: Sequence[NDArray[np.integer]]) -> dict[str, int]:
    """Into how many uninterrupted stretches of time the folds cut each group: one where it is whole in a fold."""
    members = np.concatenate(folds)
    owner = np.repeat(np.arange(len(folds)), [len(fold) for fold in folds])
    names, group = np.unique(dataset.group[members].astype(str), return_inverse=True)
    order = np.lexsort((dataset.frame[members], group))
    group, owner = group[order], owner[order]
    cut = (np.diff(owner) != 0) & (np.diff(group) == 0)
    return dict(zip(names, (1 + np.bincount(group[1:][cut], minlength=len(names))).tolist(), strict=True))


def leakage_report(dataset: Dataset, split: str) -> dict[str, int | None]:
    """What could leak between the folds of a split.

    Returns the number of configurations in more than one fold, of identical structures in different folds (to
    1e-3 Å), and the smallest distance in frames between configurations of one group in different folds.
    """
    folds = fold_indices(dataset, split)
    members = np.concatenate(folds)
    owner = np.concatenate([np.full(len(fold), k) for k, fold in enumerate(folds)])
    structures = _structure_hashes(dataset)
    first_owner: dict[str, int] = {}
    duplicates = 0
    for index, fold in zip(members, owner, strict=True):
        duplicates += first_owner.setdefault(structures[index], int(fold)) != fold
    nearest = [
        int(step)
        for name in set(dataset.group[members])
        for step in _steps_between_folds(dataset.frame[members], owner, dataset.group[members] == name)
    ]
    return {
        "configurations_in_two_folds": len(members) - len(set(members.tolist())),
        "identical_structures_across_folds": int(duplicates),
        "nearest_frames_across_folds": min(nearest, default=None),
    }


def told_leakage(report: Mapping[str, int | None]) -> str:
    """The report in words."""
    found = [f"{report['identical_structures_across_folds'] or 'no'} structures stand in two folds"]
    if (nearest := report["nearest_frames_across_folds"]) is not None:
        found.append(f"frames {nearest} apart in one group are in different folds")
    if twice := report["configurations_in_two_folds"]:
        found.append(f"{twice} configurations are in two folds")
    return ", ".join(found)


def _structure_hashes(dataset: Dataset) -> list[str]:
    """Hashes of elements, positions and cell of every configuration, to 1e-3 Å."""
    hashes = []
    for start, stop, arrays in dataset.blocks(("numbers", "positions", "cell")):
        numbers, positions, cell = (np.round(arrays[name] / 1e-3).astype(np.int64) for name in arrays)
        ends = dataset.offsets[start : stop + 1] - dataset.offsets[start]
        for index in range(stop - start):
            atoms = slice(ends[index], ends[index + 1])
            content = b"".join(part.tobytes() for part in (numbers[atoms], positions[atoms], cell[index]))
            hashes.append(hashlib.sha256(content).hexdigest())
    return hashes


def _steps_between_folds(frame: NDArray, owner: NDArray, mask: NDArray[np.bool_]) -> NDArray:
    order = np.argsort(frame[mask], kind="stable")
    crosses = np.diff(owner[mask][order]) != 0
    return np.diff(frame[mask][order])[crosses]
