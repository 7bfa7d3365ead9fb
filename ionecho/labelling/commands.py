"""`ionecho label`: label configurations with a DFT engine and make a dataset of them."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Annotated, Any

import ase.io
import typer
from ase.data import chemical_symbols
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig, ListConfig, OmegaConf
from rich.console import Console

from ionecho.config import plain
from ionecho.data.card import DatasetBlock, DatasetCard, LabelRecipe, size_category
from ionecho.data.fetch import home
from ionecho.data.registry import REPOSITORY, card_folders, find_card
from ionecho.data.schema import Configuration
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.labelling.engine import Engine, make_engine
from ionecho.labelling.publish import adopt, adoptable, publish
from ionecho.labelling.queue import LabelQueue, key, look
from ionecho.labelling.run import label_all, open_queue
from ionecho.labelling.structures import Request
from ionecho.labelling.workers import executor

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = Console(soft_wrap=True)
Name = Annotated[str, typer.Argument(help="name of the dataset, of yours or of IonEcho")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="of conf/label.yaml: input=a.xyz engine=gpaw engine.cutoff=400 workers=dask")
]

NOT_PART_OF_A_CARD = ("published=", "retry=", "workers")  # of the line that made a dataset
CURES = ("engine.mixer", "engine.iterations")  # of a failure; what is labelled does not depend on them


@app.command("run")
def run_labels(name: Name, overrides: Overrides = None) -> None:
    """Label what is not labelled yet, then make the dataset; a killed run goes on with the same line."""
    job = _prepare(name, overrides)
    with job.queue() as queue:
        for version in job.versions:
            adopt(queue, job.engine, version)
        waiting = queue.pending(job.configurations, job.request.retry)
        console.print(f"{queue.folder}: {queue.count} labelled, {len(waiting)} waiting, {len(queue.failures)} failed")
        if waiting:
            _announce(job)
            with executor(job.config.workers) as workers:
                label_all(queue, waiting, plain(job.config.engine), workers, in_flight=job.config.workers.number)
        _publish(job, queue)


@app.command("build")
def build_labels(name: Name, overrides: Overrides = None) -> None:
    """Make the dataset of what is labelled so far."""
    job = _prepare(name, overrides)
    with job.queue() as queue:
        _publish(job, queue)


@app.command("status")
def show_status(name: Name, overrides: Overrides = None) -> None:
    """How many configurations are labelled, wait, and failed, and why; also while they are being labelled."""
    job = _prepare(name, overrides)
    labelled, failures = look(job.folder)
    asked = job.asked
    published = {key(structure) for version in job.versions for _, structure in adoptable(version, job.engine)}
    published, labelled, failed = asked & published - labelled, asked & labelled, asked & set(failures) - published
    waiting = asked - labelled - published - failed
    taken = f", {len(published)} in published versions" if published else ""
    console.print(f"{job.folder}: {len(labelled)} labelled{taken}, {len(waiting)} waiting, {len(failed)} failed")
    _tell(failures, asked)


@app.command("write")
def write_configurations(
    file: Annotated[Path, typer.Argument(help="extended XYZ to be written")],
    overrides: Overrides = None,
) -> None:
    """Write the configurations that such a line would label into one file, for a code that runs elsewhere."""
    configurations = _request(_config(overrides or [])).configurations()
    partial = file.with_name(file.name + ".partial")
    ase.io.write(partial, [configuration.atoms for configuration in configurations], format="extxyz")
    partial.replace(file)
    console.print(f"{file}: {len(configurations)} configurations")


@dataclass(frozen=True)
class Job:
    """What is to be labelled, how, and the card of the dataset that comes of it."""

    config: DictConfig
    request: Request
    engine: Engine
    configurations: list[Configuration]
    card: DatasetCard
    card_folder: Path

    @property
    def asked(self) -> set[str]:
        """Keys of the configurations."""
        return set(map(key, self.configurations))

    @property
    def folder(self) -> Path:
        """Of the queue; what is labelled anew has one of its own."""
        return home() / "labels" / (self.card.ionecho.name + ("" if self.request.published else "-anew"))

    @property
    def versions(self) -> list[Dataset]:
        """What is published of it, where the labels may be taken from there."""
        paths = sorted(self.card_folder.glob(f"{self.card.ionecho.name}-*.zarr.zip")) if self.request.published else []
        return list(map(Dataset, paths))

    def queue(self) -> LabelQueue:
        """The queue, which no other process may hold."""
        return open_queue(self.folder, self.engine, self.configurations)


def _prepare(name: str, overrides: list[str] | None) -> Job:
    """The config (the card's overrides, then the line's), its engine, the configurations to label, and the card."""
    known = find_card(name) if name in card_folders() else None
    recipe = known[0].ionecho.label if known else None
    if known and recipe is None:
        raise InputError(f"{name} is a dataset that was not labelled here; choose another name")
    own = [
        override for override in overrides or [] if not override.lstrip("+").startswith((*NOT_PART_OF_A_CARD, *CURES))
    ]
    if own and known and _of_ionecho(known[1]):
        raise InputError(
            f"{name} is a dataset of IonEcho, its card says how it is labelled; for {own[0]} choose another name"
        )
    given = _merged(recipe.overrides if recipe else [], overrides or [])
    config = _config(given)
    request, engine = _request(config), make_engine(config.engine)
    configurations = request.configurations()
    if known and _of_ionecho(known[1]):
        return Job(config, request, engine, configurations, *known)
    lasting = [override for override in given if not override.lstrip("+").startswith(NOT_PART_OF_A_CARD)]
    card = _card(name, config, configurations, lasting)
    if known:
        _keep_edits(card, known[0], overrides or [])
    for split, of_split in card.ionecho.splits.items():
        of_split.check([configuration.group for configuration in configurations], f"card.splits.{split}.folds")
    return Job(config, request, engine, configurations, card, home() / "datasets" / name)


def _config(overrides: Sequence[str]) -> DictConfig:
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base=None):
        config = compose("label", overrides=list(overrides))
    if OmegaConf.is_missing(config, "input"):
        raise InputError("label: say what to label with input=FILE (structures, a trajectory or a dataset)")
    if not isinstance(config.input, ListConfig):
        config.input = [config.input]
    return config


def _request(config: DictConfig) -> Request:
    content = plain(config)
    return Request(**{field.name: content[field.name] for field in fields(Request)})


def _of_ionecho(folder: Path) -> bool:
    return folder.parent == REPOSITORY / "datasets"


def _keep_edits(card: DatasetCard, written: DatasetCard, overrides: Sequence[str]) -> None:
    """Take from the card that is there what its user may have edited, unless the line says otherwise."""
    said = {override.lstrip("+").partition("=")[0] for override in overrides}
    if "card.version" not in said:
        card.ionecho.version = written.ionecho.version
    if "card.citation" not in said:
        card.ionecho.citation = written.ionecho.citation
    if "card.licence" not in said:
        card.license = written.license
    if "card.pretty_name" not in said:
        card.pretty_name = written.pretty_name
    card.tags = written.tags


def _announce(job: Job) -> None:
    """Say before hours of labelling that a new version will be needed to publish them."""
    published = job.card_folder / job.card.filename
    if job.request.published and published.exists():
        console.print(f"{published.name} is published: raise the version in {job.card_folder / 'README.md'} for more")


def _merged(stored: Sequence[str], given: Sequence[str]) -> list[str]:
    """Overrides of a card and of the line, which wins. Hydra takes a key once, and a mapping's new keys with a +."""
    merged: dict[str, str] = {}
    for override in [*stored, *given]:
        name, _, value = override.lstrip("+").partition("=")
        added = "+" in (override[0], merged.get(name, "")[:1]) or value.startswith("{")
        merged[name] = ("+" if added else "") + f"{name}={value}" if value else override
    return list(merged.values())


def _publish(job: Job, queue: LabelQueue) -> None:
    failed = _tell(queue.failures, job.asked)
    if failed:
        console.print("what failed is tried again with retry=true")
    path = publish(queue, job.engine, job.card, job.card_folder, job.configurations)
    card = job.card_folder / "README.md"
    console.print(f"{path}: {len(Dataset(path))} configurations, {failed} failed; card {card}")


def _tell(failures: Mapping[str, Mapping[str, Any]], asked: Container[str]) -> int:
    """Print why those that are asked for failed; how many."""
    told = [failure for name, failure in failures.items() if name in asked]
    for failure in told:
        console.print(f"failed: {failure['source']}: {failure['reason']}", markup=False)
    return len(told)


def _card(name: str, config: DictConfig, configurations: Sequence[Configuration], overrides: list[str]) -> DatasetCard:
    """The card of a dataset of one's own, which holds the line that made it."""
    content = plain(config.card)
    numbers = sorted({int(number) for configuration in configurations for number in configuration.numbers})
    return DatasetCard(
        pretty_name=content["pretty_name"] or name,
        license=content["licence"],
        tags=["chemistry"],
        size_categories=[size_category(len(configurations))],
        ionecho=DatasetBlock(
            name=name,
            version=content["version"],
            elements=[chemical_symbols[number] for number in numbers],
            level_of_theory={},
            conventions={},
            citation=content["citation"],
            label=LabelRecipe(overrides=overrides),
            quality_gate=content["quality_gate"],
            splits=content["splits"],
        ),
    )
