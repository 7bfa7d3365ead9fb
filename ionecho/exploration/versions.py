"""The versions of the dataset that grows: labels, cards, and which of them are finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import chemical_symbols
from rich.console import Console

from ionecho.data.card import DatasetBlock, DatasetCard, read_card, size_category
from ionecho.data.quality import QualityGate
from ionecho.data.schema import Configuration
from ionecho.data.store import Dataset
from ionecho.exploration.settings import ExplorationSettings
from ionecho.labelling.engine import Engine
from ionecho.labelling.queue import LabelQueue
from ionecho.labelling.run import label_all, open_queue
from ionecho.labelling.workers import executor

console = Console(soft_wrap=True)


@contextmanager
def labelled(
    config: ExplorationSettings, engine: Engine, chosen: Sequence[Configuration], folder: Path
) -> Iterator[LabelQueue]:
    """The queue in `folder`, open, with the labels of the chosen configurations."""
    with open_queue(folder, engine, chosen) as queue:
        waiting = queue.pending(chosen, config.retry)
        if waiting:
            with executor(config.workers) as workers:
                label_all(queue, waiting, config.engine, workers, in_flight=config.workers["number"])
        for failure in queue.failures.values():
            console.print(f"failed: {failure['source']}: {failure['reason']}", markup=False)
        yield queue


def card_of(
    config: ExplorationSettings, configurations: Sequence[Configuration], number: int, parent: Dataset | None = None
) -> DatasetCard:
    """Card of the version that round `number` makes."""
    content, told = config.card, {} if parent is None else parent.attrs
    elements = {int(z) for configuration in configurations for z in configuration.numbers}
    if parent is not None:
        elements |= set(np.unique(parent.rows("numbers", 0, len(parent))).tolist())
    return DatasetCard(
        pretty_name=config.name,
        license=content.licence or told.get("licence", "other"),
        tags=["chemistry", "active-learning"],
        size_categories=[size_category(len(configurations) + (0 if parent is None else len(parent)))],
        ionecho=DatasetBlock(
            name=config.name,
            version=f"0.{number}.0",
            elements=[chemical_symbols[z] for z in sorted(elements)],
            level_of_theory={},
            conventions={},
            citation=content.citation or told.get("citation", "unpublished"),
            quality_gate=QualityGate(**_inherited_gate(told, config.engine["labels"]) | content.quality_gate),
            splits=content.splits if parent is None else {},
        ),
    )


def _inherited_gate(parent: Mapping[str, Any], labels: Sequence[str]) -> dict[str, Any]:
    """The parent's rules, without the labels that the engine does not give."""
    gate = dict(parent.get("quality_gate", {}))
    return gate | {"required_labels": [name for name in gate.get("required_labels", []) if name in labels]}


def finished(card: DatasetCard, folder: Path) -> Path | None:
    """The file of this version, if it and its card have been made, or a later version's card."""
    path, written = folder / "dataset" / card.filename, folder / "dataset" / "README.md"
    if not path.exists() or not written.exists():
        return None
    return path if _number(read_card(written)) >= _number(card) else None


def described(dataset: Dataset) -> dict[str, Any]:
    """What tells a version from all others."""
    names = ("name", "version", "parent", "content_sha256")
    return {"path": str(dataset.path), **{name: dataset.attrs.get(name) for name in names}, "size": len(dataset)}


def _number(card: DatasetCard) -> int:
    return int(card.ionecho.version.split(".")[1])
