"""`ionecho label`: label configurations with a DFT engine and make a dataset of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ionecho.data.shared import SHARED
from ionecho.door.config import compose
from ionecho.errors import InputError

if TYPE_CHECKING:
    from ionecho.data.card import DatasetCard
    from ionecho.labelling.job import Job
    from ionecho.labelling.settings import LabelSettings

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
Name = Annotated[str, typer.Argument(help="name of the dataset, of yours or of IonEcho")]
Overrides = Annotated[
    list[str] | None, typer.Argument(help="of conf/label.yaml: input=a.xyz engine=gpaw engine.cutoff=400 workers=dask")
]

NOT_PART_OF_A_CARD = ("published=", "retry=", "workers")  # of the line that made a dataset
CURES = ("engine.mixer", "engine.iterations")  # of a failure; what is labelled does not depend on them


@app.command("run")
def run_labels(name: Name, overrides: Overrides = None) -> None:
    """Label what is not labelled yet, then make the dataset; a killed run goes on with the same line."""
    job_of(name, overrides or []).run()


@app.command("build")
def build_labels(name: Name, overrides: Overrides = None) -> None:
    """Make the dataset of what is labelled so far."""
    job_of(name, overrides or []).build()


@app.command("status")
def show_status(name: Name, overrides: Overrides = None) -> None:
    """How many configurations are labelled, wait, and failed, and why; also while they are being labelled."""
    job_of(name, overrides or []).show()


@app.command("write")
def write_configurations(
    file: Annotated[Path, typer.Argument(help="extended XYZ to be written")],
    overrides: Overrides = None,
) -> None:
    """Write the configurations that such a line would label into one file, for a code that runs elsewhere."""
    import ase.io

    configurations = settings_of(overrides or []).configurations()
    partial = file.with_name(file.name + ".partial")
    ase.io.write(partial, [configuration.atoms for configuration in configurations], format="extxyz")
    partial.replace(file)
    print(f"{file}: {len(configurations)} configurations")


def settings_of(overrides: Sequence[str]) -> LabelSettings:
    """The settings that `conf/label.yaml` and the overrides make."""
    from ionecho.labelling.settings import LabelSettings

    content = compose("label", overrides)
    if "input" not in content:
        raise InputError("label: say what to label with input=FILE (structures, a trajectory or a dataset)")
    if not isinstance(content["input"], list):
        content["input"] = [content["input"]]
    return LabelSettings(**content)


def job_of(name: str, overrides: Sequence[str]) -> Job:
    """The job of a line: its card's overrides, where there is one, then those of the line."""
    from ionecho.data.registry import card_folders, find_card
    from ionecho.labelling.engine import ENGINES, make_engine
    from ionecho.labelling.job import Job, queue_folder
    from ionecho.labelling.objects import refuse_foreign
    from ionecho.labelling.workers import WORKERS

    card, folder = find_card(name) if name in card_folders() else (None, None)
    recipe = card.ionecho.label if card else None
    if card and recipe is None:
        raise InputError(f"{name} is a dataset that was not labelled here; choose another name")
    own = [override for override in overrides if not override.lstrip("+").startswith((*NOT_PART_OF_A_CARD, *CURES))]
    of_ionecho = folder is not None and folder.parent == SHARED / "datasets"
    if own and of_ionecho:
        raise InputError(
            f"{name} is a dataset of IonEcho, its card says how it is labelled; for {own[0]} choose another name"
        )
    given = _merged(recipe.overrides if recipe else [], overrides)
    settings = settings_of(given)
    if card and not of_ionecho and not (queue_folder(name) / "request.json").exists():
        registered, said = {*ENGINES.values(), *WORKERS.values()}, " ".join(overrides)
        refuse_foreign([settings.engine, settings.workers], registered, said, f"the card of {name}")
    if card and folder and of_ionecho:
        return Job(settings, make_engine(settings.engine), settings.configurations(), card, folder)
    lasting = [override for override in given if not override.lstrip("+").startswith(NOT_PART_OF_A_CARD)]
    job = Job.of(name, settings, lasting)
    if card:
        _keep_edits(job.card, card, overrides)
    return job


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


def _merged(stored: Sequence[str], given: Sequence[str]) -> list[str]:
    """Overrides of a card and of the line, which wins. Hydra takes a key once, and a mapping's new keys with a +."""
    merged: dict[str, str] = {}
    for override in [*stored, *given]:
        name, _, value = override.lstrip("+").partition("=")
        added = "+" in (override[0], merged.get(name, "")[:1]) or value.startswith("{")
        merged[name] = ("+" if added else "") + f"{name}={value}" if value else override
    return list(merged.values())
