"""`ionecho data`: list, build, verify, import, stage, publish and pull datasets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.table import Table

from ionecho.data import hub
from ionecho.data.build import build, build_from
from ionecho.data.card import DatasetBlock, DatasetCard, ImportRecipe, write_card
from ionecho.data.fetch import home
from ionecho.data.importers import IMPORTERS
from ionecho.data.quality import QualityGate, describe
from ionecho.data.registry import REPOSITORY, card_folders, find_card, find_dataset
from ionecho.data.splits import SplitRecipe, leakage_report, told_leakage
from ionecho.data.store import Dataset
from ionecho.data.verify import verify
from ionecho.errors import InputError

app = typer.Typer(no_args_is_help=True, help=__doc__)
console = Console(soft_wrap=True)


@app.command("list")
def list_datasets() -> None:
    """Known datasets, their licence and whether they are built."""
    table = Table("name", "version", "licence", "built", "what")
    for name in card_folders():
        card, _ = find_card(name)
        try:
            built = str(find_dataset(name))
        except InputError:
            built = "no"
        table.add_row(name, card.ionecho.version, card.license, built, card.pretty_name)
    console.print(table)


@app.command("build")
def build_dataset(name: str) -> None:
    """Build a dataset from its upstream files; a killed build goes on where it stopped."""
    card, _ = find_card(name)
    build(name)
    console.print(f"licence {card.license}; cite {card.ionecho.citation}")


@app.command("verify")
def verify_dataset(name: str) -> None:
    """Check a dataset, by name or path: schema, units, NaN rules, splits, hash."""
    path = find_dataset(name)
    if problems := verify(path):
        raise InputError(f"{path}: " + "; ".join(problems))
    dataset = Dataset(path)
    console.print(f"{path} is sound: {describe(dataset.quality)}, sha256 {dataset.attrs['content_sha256']}")
    for split in dataset.attrs["splits"]:
        console.print(f"split {split}: {told_leakage(leakage_report(dataset, split))}")


@app.command("import")
def import_dataset(
    name: str,
    folder: Path,
    importer: Annotated[str, typer.Option(help=", ".join(IMPORTERS))],
    pattern: Annotated[str, typer.Option(help="glob below FOLDER")],
    licence: Annotated[str, typer.Option(help="licence of the data, an identifier such as cc-by-4.0")],
    citation: Annotated[str, typer.Option(help="what to cite")],
    options: Annotated[str, typer.Option(help="importer options, as YAML: '{keys: {efg: efg_dft}}'")] = "{}",
    frames: Annotated[str, typer.Option(help="first:last:step of the numbers ending the file names, one a file")] = "",
    conventions: Annotated[str, typer.Option(help="signs, normalisation, columns, as YAML")] = "{}",
    level_of_theory: Annotated[str, typer.Option(help="as YAML: '{code: VASP, functional: PBE}'")] = "{}",
    version: str = "1.0.0",
    folds: Annotated[int, typer.Option(help="folds of the split by configuration")] = 5,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="go on where a file breaks off")] = False,
) -> None:
    """Make a dataset, with its card, from your own folder of outputs."""
    if (REPOSITORY / "datasets" / name).exists():
        raise InputError(f"{name} is a dataset of IonEcho; choose another name")
    recipe = ImportRecipe(importer=importer, pattern=pattern, frames=_frames(frames), options=yaml.safe_load(options))
    card = DatasetCard(
        pretty_name=name,
        license=licence,
        tags=["chemistry"],
        size_categories=["n<1K"],
        ionecho=DatasetBlock(
            name=name,
            version=version,
            elements=[],
            level_of_theory=yaml.safe_load(level_of_theory),
            conventions=yaml.safe_load(conventions),
            citation=citation,
            build=recipe,
            quality_gate=QualityGate(),
            splits={"configuration": SplitRecipe(kind="configuration", folds=folds)},
        ),
    )
    own = home() / "datasets" / name
    path = build_from(folder, card, own / card.filename, skip_bad=skip_bad)
    card.ionecho.content_sha256 = Dataset(path).attrs["content_sha256"]
    write_card(own / "README.md", card, f"# {name}\n\nImported from {folder.name} with the {importer} importer.")
    console.print(f"card {own / 'README.md'}; train with `python train.py dataset=own dataset.name={name}`")


@app.command("stage")
def stage_dataset(name: str, folder: Path) -> None:
    """Write what would be published: card, dataset, and the Parquet view that datasets.load_dataset(FOLDER) reads."""
    hub.stage(find_card(name)[1], find_dataset(name), folder)
    console.print(f"{folder}: datasets.load_dataset({str(folder)!r}) reads it")


@app.command("publish")
def publish_dataset(name: str, repository: Annotated[str, typer.Argument(help="owner/name on the Hub")]) -> None:
    """Upload a dataset with its card and a Parquet view to the Hub, tagged with its version."""
    console.print(f"published {hub.publish(name, repository)}")


@app.command("pull")
def pull_dataset(repository: str, revision: str = "main") -> None:
    """Download a dataset from the Hub into the cache."""
    path = hub.pull(repository, revision)
    console.print(f"{path}")
    if find_dataset(path.parent.name) != path:
        console.print(f"IonEcho holds another version of {path.parent.name}, which the name means: use the path")


def _frames(text: str) -> tuple[int, int, int] | None:
    if not text:
        return None
    try:
        first, last, step = (int(part) for part in text.split(":"))
    except ValueError as error:
        raise InputError(f"--frames: expected first:last:step, found {text!r}") from error
    return first, last, step
