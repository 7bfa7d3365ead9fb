"""`ionecho data`: list, build, verify, import, export, stage, publish and pull datasets."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.table import Table

from ionecho.data.shared import SHARED
from ionecho.errors import InputError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
console = Console(soft_wrap=True)


@app.command("list")
def list_datasets() -> None:
    """Known datasets, their licence and whether they are built."""
    from ionecho.data.registry import card_folders, find_card, find_dataset

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
    from ionecho.data.build import build
    from ionecho.data.registry import find_card

    card, _ = find_card(name)
    build(name)
    console.print(f"licence {card.license}; cite {card.ionecho.citation}")


@app.command("verify")
def verify_dataset(name: str) -> None:
    """Check a dataset, by name or path: schema, units, NaN rules, splits, hash."""
    from ionecho.data.quality import describe
    from ionecho.data.registry import card_folders, find_card, find_dataset
    from ionecho.data.splits import leakage_report, told_leakage
    from ionecho.data.store import Dataset
    from ionecho.data.verify import against_card, verify

    path = find_dataset(name)
    card = find_card(name)[0] if name in card_folders() else None
    if problems := verify(path) + (against_card(path, card) if card and card.filename == path.name else []):
        raise InputError(f"{path}: " + "; ".join(problems))
    dataset = Dataset(path)
    console.print(f"{path} is sound: {describe(dataset.quality)}, sha256 {dataset.attrs['content_sha256']}")
    for split in dataset.attrs["splits"]:
        console.print(f"split {split}: {told_leakage(leakage_report(dataset, split))}")


@app.command("import")
def import_dataset(
    name: str,
    folder: Path,
    importer: Annotated[str, typer.Option(help="vasp_outcar, extxyz, magres, ..: a word that is none lists them all")],
    pattern: Annotated[str, typer.Option(help="glob below FOLDER")],
    licence: Annotated[str, typer.Option(help="licence of the data, an identifier such as cc-by-4.0")],
    citation: Annotated[str, typer.Option(help="what to cite")],
    options: Annotated[str, typer.Option(help="importer options, as YAML: '{keys: {efg: efg_dft}}'")] = "{}",
    frames: Annotated[str, typer.Option(help="first:last:step of the numbers ending the file names, one a file")] = "",
    conventions: Annotated[str, typer.Option(help="signs, normalisation, columns, as YAML")] = "{}",
    level_of_theory: Annotated[str, typer.Option(help="as YAML: '{code: VASP, functional: PBE}'")] = "{}",
    without: Annotated[
        list[str] | None, typer.Option(help="labels of the files to leave out: magnetic_moment,efg")
    ] = None,
    version: str = "1.0.0",
    folds: Annotated[
        int | None, typer.Option(help="of the splits; by default five, or as many as there can be")
    ] = None,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="go on where a file breaks off")] = False,
) -> None:
    """Make a dataset, with its card, from your own folder of outputs."""
    import numpy as np
    from ase.data import chemical_symbols

    from ionecho.data.build import build_from, drawn
    from ionecho.data.card import DatasetBlock, DatasetCard, ImportRecipe, size_category, write_card
    from ionecho.data.fetch import home
    from ionecho.data.quality import QualityGate
    from ionecho.data.splits import Fold, default_splits
    from ionecho.data.store import Dataset

    if (SHARED / "datasets" / name).exists():
        raise InputError(f"{name} is a dataset of IonEcho; choose another name")
    recipe = ImportRecipe(
        importer=importer,
        pattern=pattern,
        frames=_frames(frames),
        options=_mapping("--options", options),
        without=_labels(",".join(without or [])),
    )
    card = DatasetCard(
        pretty_name=name,
        license=licence,
        tags=["chemistry"],
        size_categories=[],
        ionecho=DatasetBlock(
            name=name,
            version=version,
            elements=[],
            level_of_theory=_mapping("--level-of-theory", level_of_theory),
            conventions=_mapping("--conventions", conventions),
            citation=citation,
            build=recipe,
            quality_gate=QualityGate(),
            splits={},
        ),
    )
    own = home() / "datasets" / name

    def splits(imported: Dataset) -> dict[str, list[Fold]]:
        card.ionecho.splits = default_splits(imported, folds)
        return drawn(imported, card)

    dataset = Dataset(build_from(folder, card, own / card.filename, skip_bad=skip_bad, splits=splits))
    numbers = np.unique(dataset.rows("numbers", 0, len(dataset)))
    card.ionecho.elements = [chemical_symbols[number] for number in numbers]
    card.size_categories = [size_category(len(dataset))]
    card.ionecho.content_sha256 = dataset.attrs["content_sha256"]
    write_card(own / "README.md", card, f"# {name}\n\nImported from {folder.name} with the {importer} importer.")
    split = next(iter(card.ionecho.splits))
    line = f"python train.py dataset=own dataset.name={name} dataset.split={split}"
    console.print(f"card {own / 'README.md'}; train with `{line}`")


@app.command("table")
def table_of_tensors(
    name: str,
    output: Annotated[Path, typer.Option(help="folder for NAME.csv and the .magres files")] = Path(),
    isotope: Annotated[list[str] | None, typer.Option(help="for C_Q of its element: 23Na")] = None,
    reference: Annotated[
        list[str] | None, typer.Option(help="delta = intercept + slope sigma of an element, ppm: Na:551.3:-0.997")
    ] = None,
    magres: Annotated[bool, typer.Option(help="write the .magres files too")] = True,
) -> None:
    """Shifts, C_Q, eta, anisotropies and Euler angles of every site with a tensor, as csv and .magres."""
    from ionecho.data.registry import find_dataset
    from ionecho.data.store import Dataset
    from ionecho.data.table import tensor_table, write_magres_files
    from ionecho.nmr.site_table import Conventions

    dataset = Dataset(find_dataset(name))
    table = tensor_table(dataset, Conventions.parse(isotope or [], reference or []))
    output.mkdir(parents=True, exist_ok=True)
    file = output / f"{dataset.attrs['name']}.csv"
    with file.with_suffix(".partial").open("w") as partial:
        table.to_csv(partial, index=False, float_format="%.6g")
    file.with_suffix(".partial").replace(file)
    written = write_magres_files(dataset, output / "magres") if magres else 0
    console.print(f"{file}: {len(table)} sites" + (f"; {written} files in {output / 'magres'}" if magres else ""))


@app.command("export")
def export_configuration(
    name: Annotated[str, typer.Argument(help="dataset, or densities written by predict.py")],
    file: Annotated[Path, typer.Argument(help="CHGCAR, or a name that ends in .cube")],
    configuration: Annotated[int, typer.Option(help="which, counted from 0")] = 0,
    field: Annotated[str, typer.Option(help="of a cube: charge_density or spin_density")] = "charge_density",
) -> None:
    """Write the densities of a configuration to a CHGCAR (charge and spin) or a cube (one of them)."""
    from ionecho.data.density_files import export_density
    from ionecho.data.registry import find_dataset
    from ionecho.data.store import Dataset

    dataset = Dataset(find_dataset(name))
    if not 0 <= configuration < len(dataset):
        raise InputError(f"{dataset.path}: expected --configuration 0 to {len(dataset) - 1}, found {configuration}")
    console.print(f"{export_density(dataset[configuration], file, field)}")


@app.command("write")
def write_frames(
    input: Annotated[str, typer.Argument(help="dataset, trajectory or predictions")],
    file: Annotated[Path, typer.Argument(help="to be written: .extxyz, or .magres of one frame")],
    every: Annotated[int, typer.Option(min=1, help="take every so many-th frame")] = 1,
    frame: Annotated[int, typer.Option(min=0, help="number of the frame, of a .magres file")] = 0,
) -> None:
    """Write frames with their labels or predictions, an array an atom, for OVITO, ASE and the tools of CASTEP."""
    from ionecho.data import convert
    from ionecho.data.registry import find_input
    from ionecho.data.trajectory import open_trajectory

    trajectory = open_trajectory(find_input(input))
    if file.suffix == ".magres":
        convert.write_magres_of(trajectory, file, frame)
        console.print(f"{file}: frame {frame}")
    elif file.suffix in (".extxyz", ".xyz"):
        console.print(f"{file}: {convert.write_xyz(trajectory, file, every)} frames")
    else:
        raise InputError(f"{file}: expected a name that ends in .extxyz or .magres")


@app.command("stage")
def stage_dataset(name: str, folder: Path) -> None:
    """Write what would be published: card, dataset, and the Parquet view that datasets.load_dataset(FOLDER) reads."""
    from ionecho.data import hub
    from ionecho.data.registry import find_card, find_dataset

    hub.stage(find_card(name)[1], find_dataset(name), folder)
    console.print(f"{folder}: datasets.load_dataset({str(folder)!r}) reads it")


@app.command("publish")
def publish_dataset(name: str, repository: Annotated[str, typer.Argument(help="owner/name on the Hub")]) -> None:
    """Upload a dataset with its card and a Parquet view to the Hub, tagged with its version."""
    from ionecho.data import hub

    console.print(f"published {hub.publish(name, repository)}")


@app.command("pull")
def pull_dataset(repository: str, revision: str = "main") -> None:
    """Download a dataset from the Hub into the cache."""
    from ionecho.data import hub
    from ionecho.data.registry import find_dataset

    path = hub.pull(repository, revision)
    console.print(f"{path}")
    if find_dataset(path.parent.name) != path:
        console.print(f"IonEcho holds another version of {path.parent.name}, which the name means: use the path")


def _mapping(option: str, text: str) -> dict[str, Any]:
    """A mapping in YAML that JSON can hold, as the dataset's attributes do."""
    found = yaml.safe_load(text)
    try:
        json.dumps(found)
    except TypeError as error:
        raise InputError(f"{option}: {error}; put dates and the like into quotes") from error
    if not isinstance(found, dict):
        raise InputError(f"{option}: expected a mapping such as '{{code: VASP}}', found {text!r}")
    return found


def _labels(text: str) -> list[str]:
    from ionecho.data.schema import LABELS

    names = [name for name in text.split(",") if name]
    if unknown := set(names) - set(LABELS):
        raise InputError(f"--without: unknown labels {', '.join(sorted(unknown))}; known: {', '.join(LABELS)}")
    return names


def _frames(text: str) -> tuple[int, int, int] | None:
    if not text:
        return None
    try:
        first, last, step = (int(part) for part in text.split(":"))
    except ValueError as error:
        raise InputError(f"--frames: expected first:last:step, found {text!r}") from error
    if step < 1:
        raise InputError(f"--frames: expected a step of 1 or more, found {text!r}")
    return first, last, step
