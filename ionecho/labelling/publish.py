"""From label queues to datasets, and to further versions of a dataset: splits, hash, provenance and card."""

from __future__ import annotations

import json
import shutil
import zipfile
from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from ionecho.data.build import seal
from ionecho.data.card import FRONT_MATTER, DatasetCard, write_card
from ionecho.data.lock import locked
from ionecho.data.schema import Configuration, Quality
from ionecho.data.splits import Fold
from ionecho.data.store import Dataset, DatasetWriter
from ionecho.errors import InputError
from ionecho.labelling.agreement import agrees, deviations
from ionecho.labelling.engine import Engine, Labels
from ionecho.labelling.queue import LabelQueue, key

BLOCK = 64
console = Console(soft_wrap=True)
ADDED = "added"  # level of theory of what a version has beyond its parent, where they are worded differently


def publish(
    queue: LabelQueue, engine: Engine, card: DatasetCard, folder: Path, configurations: Sequence[Configuration]
) -> Path:
    """Write the dataset of those configurations that the queue has labelled, and its card, into `folder`.

    Returns the dataset's file. Configurations are ordered by group and frame, whatever the order they were labelled in.

    Raises
    ------
    InputError
        If the version exists with other configurations, or with labels that differ by more than `agreement` allows, or
        another process writes it.
    """
    card.ionecho.level_of_theory = engine.level_of_theory()
    card.ionecho.conventions = {**card.ionecho.conventions, **engine.conventions}
    asked = {key(configuration) for configuration in configurations}
    with locked(folder / card.filename):
        target, working = _begin(queue, asked, card, folder)
        if left := len(set(queue.done) - asked):
            console.print(f"{queue.folder}: {left} labelled configurations are not in the input and are left out")
        _append(queue, DatasetWriter(working, engine.labels), [], engine, asked)
        if target.exists() and _confirms(working, target):
            shutil.rmtree(working)
            return target
        with _removed_if_refused(working):
            seal(working, card, target)
        text = f"Labelled with {card.ionecho.level_of_theory['engine']}"
        again = f": `ionecho label run {card.ionecho.name}`" if card.ionecho.label else ""
        return _describe(target, card, f"{text}{again}.")


def _confirms(working: Path, target: Path) -> bool:
    """Whether these are the labels of the published file, made again: the same but for rounding.

    Not where they are the same bit for bit, as its card may have changed: `seal` looks at that.
    """
    apart = deviations(Dataset(working), Dataset(target))
    if not any(apart.values()):
        if apart:
            console.print(f"{target.name}: its labels are these, bit for bit")
        return False
    told = ", ".join(f"{name} {value:.0e}" for name, value in apart.items())
    told = f"{target.name}: largest differences to the published labels, in root mean squares of each: {told}"
    if not agrees(apart):
        shutil.rmtree(working)
        raise InputError(f"{told}; a version never changes: if the new ones are right, raise the version")
    console.print(f"{told}; it stays as it is")
    return True


def adoptable(published: Dataset, engine: Engine) -> Iterator[tuple[int, Configuration]]:
    """Configurations of a published version, and their places in it, that are labelled as `engine` would."""
    if differences(published, engine) or not set(engine.labels) <= set(published.labels):
        return
    digest = _level_sha256(engine)
    for index, structure in enumerate(published.configurations(0, len(published))):
        if published.attrs["provenance"][index].get("level_sha256", digest) == digest:
            yield index, structure


def adopt(queue: LabelQueue, engine: Engine, published: Dataset) -> None:
    """Put into the queue what a published version holds beyond it."""
    if other := differences(published, engine):
        console.print(f"{published.path.name}: its labels are not taken over, {'; '.join(other)}", markup=False)
        return
    taken = set(queue.done.values())
    for index, structure in adoptable(published, engine):
        if key(structure) in queue.done or (structure.group, structure.frame) in taken:
            continue
        if other := queue.other_datasets(published.attrs["provenance"][index]):
            console.print(f"{published.path.name}: by another PAW dataset of {', '.join(other)}, not taken over")
            return
        configuration = next(published.configurations(index, index + 1, engine.labels))
        if all(np.isfinite(configuration.labels[name]).all() for name in engine.labels):
            own = configuration.quality & Quality.ELECTRONIC_STEPS_EXHAUSTED  # the gate judges the whole set anew
            queue.add(configuration, Labels(configuration.labels, own, published.attrs["provenance"][index]))


def publish_version(
    queue: LabelQueue, engine: Engine, card: DatasetCard, folder: Path, parent: Dataset, held: Mapping[str, int]
) -> Path:
    """Write a version of `parent` with everything the queue holds behind it, and its card; returns the file.

    It keeps the parent's labels, no more. Folds stay what they were: every new group is put whole into the smallest
    fold, but never into the fold `held` (split -> fold), the test part from version to version.
    """
    block = card.ionecho
    block.parent = f"{parent.attrs['name']} {parent.attrs['version']} {parent.attrs['content_sha256']}"
    block.level_of_theory = _joined_level(parent, engine)
    block.conventions = {**engine.conventions, **parent.attrs["conventions"]}
    target, working = _begin(queue, queue.done, card, folder)
    _copy(parent.path, working)
    provenance = parent.attrs.get("provenance", [{} for _ in range(len(parent))])
    _append(queue, DatasetWriter(working, parent.labels), provenance, engine, queue.done)
    splits = parent.attrs["splits"]
    with _removed_if_refused(working):
        seal(
            working,
            card,
            target,
            splits=lambda grown: {name: grow(folds, grown, held.get(name)) for name, folds in splits.items()},
        )
    return _describe(target, card, f"Grown from {block.parent}; every added group is whole in one fold of each split.")


def differences(parent: Dataset, engine: Engine) -> list[str]:
    """Settings and conventions in which the engine is not that of the set, or the one that was added to it."""
    known, conventions = parent.attrs["level_of_theory"], parent.attrs["conventions"]
    level, asked = json.loads(json.dumps([engine.level_of_theory(), dict(engine.conventions)]))
    known = known if level == known else known.get(ADDED, known)
    pairs = [(name, known.get(name), level.get(name)) for name in {**known, **level}]
    pairs += [(name, conventions.get(name), asked[name]) for name in asked]
    return [f"{name} is {theirs!r} there and {ours!r} of the engine" for name, theirs, ours in pairs if theirs != ours]


def grow(folds: Sequence[Fold], dataset: Dataset, held: int | None) -> list[Fold]:
    """The folds with the good configurations of every group that is in none of them, group by group, whole."""
    grown = [dict(fold) for fold in folds]
    known = {group for fold in folds for group in fold}
    added: Fold = defaultdict(list)
    for index in dataset.good:
        if (group := str(dataset.group[index])) not in known:
            added[group].append(int(dataset.frame[index]))
    for group in sorted(added):
        open_folds = [fold for number, fold in enumerate(grown) if number != held]
        min(open_folds, key=lambda fold: sum(map(len, fold.values())))[group] = added[group]
    return grown


def _joined_level(parent: Dataset, engine: Engine) -> dict[str, Any]:
    known = parent.attrs["level_of_theory"]
    return {"parent": known, ADDED: engine.level_of_theory()} if differences(parent, engine) else known


def _begin(queue: LabelQueue, chosen: Container[str], card: DatasetCard, folder: Path) -> tuple[Path, Path]:
    """The file to be made, and an empty place for the folder it is packed from."""
    if not any(name in chosen for name in queue.done):
        reasons = "; ".join(sorted({failure["reason"] for failure in queue.failures.values()}))
        raise InputError(
            f"{queue.folder}: nothing is labelled yet"
            + (f", all failed, retry=true tries again: {reasons}" if reasons else "")
        )
    card.ionecho.content_sha256 = None
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / card.filename
    working = target.with_suffix("")
    shutil.rmtree(working, ignore_errors=True)
    return target, working


@contextmanager
def _removed_if_refused(working: Path) -> Iterator[None]:
    """The queue keeps the labels: what is made of them is made anew."""
    try:
        yield
    except InputError:
        shutil.rmtree(working)
        raise


def _copy(dataset: Path, working: Path) -> None:
    if dataset.suffix == ".zip":
        with zipfile.ZipFile(dataset) as archive:
            archive.extractall(working)
    else:
        shutil.copytree(dataset, working)


def _append(
    queue: LabelQueue,
    writer: DatasetWriter,
    provenance: Sequence[dict[str, Any]],
    engine: Engine,
    chosen: Container[str],
) -> None:
    """Write the chosen configurations of the queue behind what the writer holds, and where their labels are from."""
    labelled, told = Dataset(queue.zarr), queue.provenance()
    made_by = {"engine": engine.level_of_theory()["engine"], "level_sha256": _level_sha256(engine)}
    names = map(key, labelled.configurations(0, len(labelled)))
    order = [index for index, name in enumerate(names) if name in chosen]
    order.sort(key=lambda index: (str(labelled.group[index]), int(labelled.frame[index])))
    for start in range(0, len(order), BLOCK):
        block = order[start : start + BLOCK]
        writer.append([next(labelled.configurations(index, index + 1, labelled.labels)) for index in block])
    writer.group.attrs["provenance"] = [*provenance, *({**told[index], **made_by} for index in order)]


def _level_sha256(engine: Engine) -> str:
    return sha256(json.dumps(engine.level_of_theory(), sort_keys=True).encode()).hexdigest()


def _describe(target: Path, card: DatasetCard, text: str) -> Path:
    """Write the card beside the dataset, with its text kept where there is one; returns the dataset's file."""
    card.ionecho.content_sha256 = Dataset(target).attrs["content_sha256"]
    path = target.with_name("README.md")
    written = FRONT_MATTER.sub("", path.read_text(encoding="utf-8")).strip() if path.exists() else ""
    write_card(path, card, written or f"# {card.ionecho.name}\n\n{text}")
    return target
