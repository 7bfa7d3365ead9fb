"""Label configurations and make a dataset of them: one job, which may be killed and begun again."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ase.data import chemical_symbols
from rich.console import Console

from ionecho.data.card import DatasetBlock, DatasetCard, LabelRecipe, size_category
from ionecho.data.fetch import home
from ionecho.data.schema import Configuration
from ionecho.data.store import Dataset
from ionecho.labelling.engine import Engine, make_engine
from ionecho.labelling.publish import adopt, adoptable, publish
from ionecho.labelling.queue import LabelQueue, key, look
from ionecho.labelling.run import label_all, open_queue
from ionecho.labelling.settings import CardSettings, LabelSettings
from ionecho.labelling.workers import executor

console = Console(soft_wrap=True)


@dataclass(frozen=True)
class Job:
    """What is to be labelled, how, and the card of the dataset that comes of it."""

    settings: LabelSettings
    engine: Engine
    configurations: list[Configuration]
    card: DatasetCard
    card_folder: Path

    @classmethod
    def of(cls, name: str, settings: LabelSettings, recipe: Sequence[str] = ()) -> Job:
        """The job that makes a dataset of one's own; its card keeps `recipe`, overrides that say the same.

        Raises
        ------
        InputError
            If the engine cannot be made, there is nothing to label, or it does not fit the splits.
        """
        engine, configurations = make_engine(settings.engine), settings.configurations()
        card = new_card(name, settings.card, configurations, recipe)
        return cls(settings, engine, configurations, card, home() / "datasets" / name)

    @property
    def asked(self) -> set[str]:
        """Keys of the configurations."""
        return set(map(key, self.configurations))

    @property
    def folder(self) -> Path:
        """Of the queue; what is labelled anew has one of its own."""
        return queue_folder(self.card.ionecho.name, self.settings.published)

    @property
    def versions(self) -> list[Dataset]:
        """What is published of it, where the labels may be taken from there."""
        if not self.settings.published:
            return []
        return list(map(Dataset, sorted(self.card_folder.glob(f"{self.card.ionecho.name}-*.zarr.zip"))))

    def queue(self) -> LabelQueue:
        """The queue, which no other process may hold."""
        return open_queue(self.folder, self.engine, self.configurations)

    def run(self) -> Path:
        """Label what is not labelled yet, then make the dataset; a killed run goes on. The dataset's file."""
        with self.queue() as queue:
            for version in self.versions:
                adopt(queue, self.engine, version)
            waiting, failed = queue.pending(self.configurations, self.settings.retry), len(queue.failures)
            console.print(f"{queue.folder}: {queue.count} labelled, {len(waiting)} waiting, {failed} failed")
            if waiting:
                self._announce()
                with executor(self.settings.workers) as workers:
                    number = self.settings.workers["number"]
                    label_all(queue, waiting, self.settings.engine, workers, in_flight=number)
            return self._publish(queue)

    def build(self) -> Path:
        """Make the dataset of what is labelled so far; its file."""
        with self.queue() as queue:
            return self._publish(queue)

    def show(self) -> None:
        """Print how many configurations are labelled, wait, and failed, and why; also while they are being labelled."""
        labelled, failures = look(self.folder)
        asked = self.asked
        published = {key(structure) for version in self.versions for _, structure in adoptable(version, self.engine)}
        published, labelled, failed = asked & published - labelled, asked & labelled, asked & set(failures) - published
        waiting = asked - labelled - published - failed
        taken = f", {len(published)} in published versions" if published else ""
        console.print(f"{self.folder}: {len(labelled)} labelled{taken}, {len(waiting)} waiting, {len(failed)} failed")
        _tell(failures, asked)

    def _announce(self) -> None:
        """Say before hours of labelling that a new version will be needed to publish them."""
        made, card = self.card_folder / self.card.filename, self.card_folder / "README.md"
        if self.settings.published and made.exists():
            console.print(f"{made.name} is published: raise the version in {card} for more")

    def _publish(self, queue: LabelQueue) -> Path:
        failed = _tell(queue.failures, self.asked)
        if failed:
            console.print("what failed is tried again with retry=true")
        path = publish(queue, self.engine, self.card, self.card_folder, self.configurations)
        card = self.card_folder / "README.md"
        console.print(f"{path}: {len(Dataset(path))} configurations, {failed} failed; card {card}")
        return path


def queue_folder(name: str, published: bool = True) -> Path:
    """Where the labels of a dataset in the making are."""
    return home() / "labels" / (name + ("" if published else "-anew"))


def new_card(
    name: str, settings: CardSettings, configurations: Sequence[Configuration], recipe: Sequence[str]
) -> DatasetCard:
    """The card of a dataset of one's own, which holds the overrides that made it.

    Raises
    ------
    InputError
        If a split does not fit the configurations.
    """
    numbers = sorted({int(number) for configuration in configurations for number in configuration.numbers})
    card = DatasetCard(
        pretty_name=settings.pretty_name or name,
        license=settings.licence,
        tags=["chemistry"],
        size_categories=[size_category(len(configurations))],
        ionecho=DatasetBlock(
            name=name,
            version=settings.version,
            elements=[chemical_symbols[number] for number in numbers],
            level_of_theory={},
            conventions={},
            citation=settings.citation,
            label=LabelRecipe(overrides=list(recipe)),
            quality_gate=settings.quality_gate,
            splits=settings.splits,
        ),
    )
    for split, of_split in card.ionecho.splits.items():
        of_split.check([configuration.group for configuration in configurations], f"card.splits.{split}.folds")
    return card


def _tell(failures: Mapping[str, Mapping[str, Any]], asked: Container[str]) -> int:
    """Print why those that are asked for failed; how many."""
    told = [failure for name, failure in failures.items() if name in asked]
    for failure in told:
        console.print(f"failed: {failure['source']}: {failure['reason']}", markup=False)
    return len(told)
