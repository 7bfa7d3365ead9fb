"""From a label queue to a dataset: its configurations in order, with splits, hash, provenance and card."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ionecho.data.build import seal
from ionecho.data.card import FRONT_MATTER, DatasetCard, write_card
from ionecho.data.schema import ARRAYS, Configuration, Quality
from ionecho.data.store import Dataset, DatasetWriter
from ionecho.errors import InputError
from ionecho.labelling.engine import Engine
from ionecho.labelling.queue import LabelQueue

BLOCK = 64


def publish(queue: LabelQueue, engine: Engine, card: DatasetCard, folder: Path) -> Path:
    """Write the dataset of everything the queue holds, and its card, into `folder`; returns the dataset's file.

    Configurations are ordered by group and frame, whatever the order they were labelled in.
    """
    if queue.count == 0:
        raise InputError(f"{queue.folder}: nothing is labelled yet")
    labelled = Dataset(queue.zarr)
    provenance = queue.provenance()
    order = sorted(range(len(labelled)), key=lambda i: (str(labelled.group[i]), int(labelled.frame[i])))
    card.ionecho.level_of_theory = engine.level_of_theory()
    card.ionecho.conventions = {**card.ionecho.conventions, **engine.conventions}
    card.ionecho.content_sha256 = None
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / card.filename
    working = target.with_suffix("")
    shutil.rmtree(working, ignore_errors=True)
    writer = DatasetWriter(working, engine.labels)
    for start in range(0, len(order), BLOCK):
        writer.append([_configuration(labelled, index) for index in order[start : start + BLOCK]])
    writer.group.attrs["provenance"] = [provenance[index] for index in order]
    seal(working, card, target)
    card.ionecho.content_sha256 = Dataset(target).attrs["content_sha256"]
    _write_card(folder / "README.md", card)
    return target


def _configuration(dataset: Dataset, index: int) -> Configuration:
    row: dict[str, Any] = {name: dataset.rows(name, index, index + 1) for name in dataset.names}
    row |= {name: value[0] for name, value in row.items() if ARRAYS[name].per == "configuration"}
    return Configuration(
        row["numbers"],
        row["positions"],
        row["cell"],
        row["pbc"],
        str(row["group"]),
        int(row["frame"]),
        str(row["source"]),
        Quality(int(row["quality"])),
        {name: np.asarray(row[name]) for name in dataset.labels},
    )


def _write_card(path: Path, card: DatasetCard) -> None:
    """The card with what is now known; its text is kept where there is one."""
    text = FRONT_MATTER.sub("", path.read_text(encoding="utf-8")).strip() if path.exists() else ""
    name, engine = card.ionecho.name, card.ionecho.level_of_theory["engine"]
    write_card(path, card, text or f"# {name}\n\nLabelled with {engine}: `ionecho label run {name}`.")
