"""From files to a dataset: import, flag, split, hash, verify, publish as one file. Killed at any moment, it goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from ionecho.data.archives import keeping_zeros, pack
from ionecho.data.card import DatasetCard, ImportRecipe
from ionecho.data.fetch import fetch, home, unpack
from ionecho.data.files import remove_folder, write_json
from ionecho.data.frames import refuse_holes
from ionecho.data.importers import importer
from ionecho.data.lock import locked
from ionecho.data.quality import describe, flag, told_flags, told_labels
from ionecho.data.registry import find_card
from ionecho.data.schema import ARRAYS, LABELS, Configuration
from ionecho.data.splits import Fold, leakage_report, make_split, told_leakage
from ionecho.data.store import Dataset, DatasetWriter, content_sha256
from ionecho.data.verify import verify
from ionecho.errors import InputError

BLOCK = 32
TRAILING_NUMBER = re.compile(r"(\d+)(?:\.\w+)*$")
Report = Callable[[str], None]
Splits = Callable[[Dataset], dict[str, list[Fold]]]
console = Console(soft_wrap=True)


def build(name: str, report: Report = console.print) -> Path:
    """Build the dataset of a card from its upstream files; returns the finished file."""
    card, _ = find_card(name)
    source = card.ionecho.source
    if source is None:
        cure = f"`ionecho label run {name}` labels it" if card.ionecho.build is None else "import its files again"
        raise InputError(f"dataset {name} has no upstream source; {cure}")
    target = home() / "datasets" / card.filename
    if target.exists():
        report(f"{target} is already built")
        return target
    upstream = fetch(source)
    if upstream.is_dir():
        return build_from(upstream, card, target, report)
    folder = unpack(upstream, report)
    built = build_from(folder, card, target, report)
    remove_folder(folder)
    return built


def build_from(
    folder: Path,
    card: DatasetCard,
    target: Path,
    report: Report = console.print,
    skip_bad: bool = False,
    splits: Splits | None = None,
) -> Path:
    """Build a dataset from the files below `folder`, its folds as in `seal`; what a killed run committed is kept."""
    recipe = _recipe(card)
    files = matching_files(folder, recipe)
    working = target.with_suffix("")  # the .zarr folder
    with locked(target):
        labels = _labels_present(files, folder, recipe, skip_bad)
        _start(
            working,
            {"folder": str(folder.resolve()), "files": _identity(files), **recipe.model_dump(mode="json")},
            report,
        )
        writer = DatasetWriter(working, labels)
        bad = _import(files, folder, recipe, writer, skip_bad, report)
        if writer.committed[0] == 0:
            raise InputError(f"{folder}: no configuration could be imported from {len(files)} files")
        seal(working, card, target, report, splits)
        working.with_name(working.name + ".json").unlink()
    report(f"{target}: {len(Dataset(target))} configurations" + (f", {len(bad)} files not to their end" if bad else ""))
    return target


def _recipe(card: DatasetCard) -> ImportRecipe:
    if card.ionecho.build is None:
        raise InputError(f"{card.ionecho.name} is not imported but labelled: `ionecho label run {card.ionecho.name}`")
    return card.ionecho.build


def seal(
    working: Path, card: DatasetCard, target: Path, report: Report = console.print, splits: Splits | None = None
) -> None:
    """Make the published file of a folder of configurations: flags, splits, hash, all checked; the folder goes.

    A sound file that says the same stays as it is.
    `splits` makes the folds of every split from the flagged dataset; by default the card's recipes do.
    """
    _finish(working, card, report, splits or (lambda dataset: drawn(dataset, card)))
    if problems := verify(working):
        raise InputError(f"{target.name}: {'; '.join(problems)}")
    made, published = _told(working), _told(target) if target.exists() else None
    if published and published["content_sha256"] != made["content_sha256"]:
        raise InputError(f"{target} exists with other content; a version never changes, so raise the version")
    if published != made or verify(target):
        pack(working, target)
    remove_folder(working)


def _start(working: Path, request: dict[str, Any], report: Report) -> None:
    """Begin anew where a killed run imported something else."""
    stored = working.with_name(working.name + ".json")
    if working.exists() and (not stored.exists() or json.loads(stored.read_text()) != json.loads(json.dumps(request))):
        report(f"{working} was begun with other files or options: it is begun anew")
        remove_folder(working)
    if not working.exists():
        write_json(stored, request)


def _identity(files: Sequence[Path]) -> list[tuple[str, int, int]]:
    """What tells whether a killed run imported these files: where they are, their sizes and their times."""
    found = [(path.resolve(), path.stat()) for path in files]
    return [(str(path), at.st_size, at.st_mtime_ns) for path, at in found]


def _told(path: Path) -> dict[str, Any]:
    """What a dataset says of itself, but for when and in how many seconds it was made."""
    return {name: value for name, value in Dataset(path).attrs.items() if name not in ("created", "provenance")}


def matching_files(folder: Path, recipe: ImportRecipe) -> list[Path]:
    """Files of a recipe, in order of folder and of the number that ends their names."""
    try:
        files = [path for path in folder.glob(recipe.pattern) if path.is_file()]
    except (NotImplementedError, ValueError) as error:
        raise InputError(f"pattern {recipe.pattern!r}: {error}; expected a glob below {folder}") from error
    if recipe.frames is not None:
        first, last, step = recipe.frames
        files = [path for path in files if _number(path) in range(first, last + 1, step)]
        _refuse_namesakes({path.parent for path in files})
    if not files:
        raise InputError(f"{folder}: no file matches {recipe.pattern!r}")
    return sorted(files, key=lambda path: (path.parent, _number(path), path.name))


def _refuse_namesakes(folders: set[Path]) -> None:
    """The folders name the groups of a recipe with frames."""
    known: dict[str, Path] = {}
    for folder in sorted(folders):
        if (other := known.setdefault(folder.name, folder)) != folder:
            raise InputError(f"{other} and {folder} have one name, by which frames are grouped: rename one of them")


def _number(path: Path) -> int:
    match = TRAILING_NUMBER.search(path.name)
    return int(match[1]) if match else 0


def _read(path: Path, folder: Path, recipe: ImportRecipe) -> Iterator[Configuration]:
    """Configurations of a file, named: a group of its own, or a frame of its folder where the recipe has frames."""
    relative, empty = path.relative_to(folder), True
    for configuration in _whole(path, importer(recipe.importer, recipe.options)(path, **recipe.options)):
        for name in recipe.without:
            configuration.labels.pop(name, None)
        step = configuration.frame
        configuration.source = f"{relative.as_posix()}#{step}"
        refuse_holes(configuration)
        if recipe.frames is None:
            configuration.group = relative.as_posix()
        else:
            if step > 0:
                raise InputError(f"{path}: one configuration a file expected where the recipe names frames, found more")
            configuration.group, configuration.frame = relative.parent.name, _number(path)
        empty = False
        yield configuration
    if empty:
        raise InputError(f"{path}: holds no finished configuration")


def _whole(path: Path, configurations: Iterator[Configuration]) -> Iterator[Configuration]:
    """The same; whatever a damaged file does to the code that reads it is told with its name."""
    try:
        yield from configurations
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{path}: cannot be read ({type(error).__name__}: {error})") from error


def _labels_present(files: Sequence[Path], folder: Path, recipe: ImportRecipe, skip_bad: bool) -> list[str]:
    """Labels of the first configuration that can be read: they fix the dataset's arrays."""
    for path in files:
        try:
            for configuration in _read(path, folder, recipe):
                labels = [name for name in LABELS if name in configuration.labels]
                if not labels:
                    raise InputError(
                        f"{configuration.source}: no label in it, of {', '.join(LABELS)}; say which of the file's keys "
                        "is which with --options '{keys: {energy: ...}}', or take what is labelled"
                    )
                return labels
        except InputError:
            if not skip_bad:
                raise
    raise InputError(f"{folder}: none of the {len(files)} files could be read")


def _import(
    files: Sequence[Path], folder: Path, recipe: ImportRecipe, writer: DatasetWriter, skip_bad: bool, report: Report
) -> list[Path]:
    """Append every configuration that is not in the dataset yet. Returns the files that could not be read."""
    done = writer.sources()
    unfinished = max(done, key=_source_order(files, folder), default="").rpartition("#")[0]
    finished = {source.rpartition("#")[0] for source in done} - {unfinished}
    known = set(writer.names)
    bad: list[Path] = []
    block: list[Configuration] = []
    for path in track(files, description="importing", transient=True):
        if path.relative_to(folder).as_posix() in finished:
            continue
        try:
            for configuration in _read(path, folder, recipe):
                if configuration.source in done:
                    continue
                if extra := set(configuration.labels) - known:
                    raise InputError(
                        f"{configuration.source}: has {', '.join(sorted(extra))}, which the first configuration lacks, "
                        "and that one fixes the labels of the set; leave out (--without), or import it separately"
                    )
                _refuse_shapes(configuration, writer)
                block.append(configuration)
                if len(block) >= BLOCK:
                    writer.append(block)
                    block.clear()
        except InputError as error:
            if not skip_bad:
                writer.append(block)
                raise InputError(f"{error} (--skip-bad keeps what comes before in such files)") from error
            report(f"skipped from there on: {error}")
            bad.append(path)
    writer.append(block)
    return bad


def _refuse_shapes(configuration: Configuration, writer: DatasetWriter) -> None:
    try:
        writer.arrays_of(configuration)
    except InputError as error:
        raise InputError(f"{error}; such a label is left out with --without") from error


def _source_order(files: Sequence[Path], folder: Path) -> Callable[[str], tuple[int, int]]:
    position = {path.relative_to(folder).as_posix(): i for i, path in enumerate(files)}
    return lambda source: (position.get(source.rpartition("#")[0], -1), int(source.rpartition("#")[2]))


def drawn(dataset: Dataset, card: DatasetCard) -> dict[str, list[Fold]]:
    """The folds of every split of a card."""
    recipes = card.ionecho.splits.items()
    return {name: make_split(dataset, recipe, f"card.splits.{name}.folds") for name, recipe in recipes}


def _finish(working: Path, card: DatasetCard, report: Report, splits: Splits) -> None:
    """Flag, split and describe the imported dataset."""
    block = card.ionecho
    writer = DatasetWriter(working, Dataset(working).labels)
    flags = flag(Dataset(working), block.quality_gate)
    with keeping_zeros():
        writer.group["quality"][:] = flags
    for line in (*told_labels(Dataset(working)), describe(flags), *told_flags(Dataset(working))):
        report(line)
    if not len(Dataset(working).good):
        told = "; ".join(told_flags(Dataset(working))).removeprefix("flagged, ")
        raise InputError(f"{block.name}: no configuration is left to train on, all are flagged: {told}")
    writer.group.update_attributes(
        {
            "name": block.name,
            "version": block.version,
            "units": {name: ARRAYS[name].unit for name in writer.names},
            "level_of_theory": block.level_of_theory,
            "conventions": block.conventions,
            "quality_gate": block.quality_gate.model_dump(),
            "licence": card.license,
            "citation": block.citation,
            "parent": block.parent,
            "created": datetime.now(UTC).date().isoformat(),
            "splits": splits(Dataset(working)),
            "families": {name: recipe.family for name, recipe in block.splits.items() if recipe.family},
            "content_sha256": content_sha256(writer.group),
        }
    )
    found, expected = writer.group.attrs["content_sha256"], block.content_sha256
    if expected is not None and found != expected:
        raise InputError(
            f"{block.name} {block.version}: content hash {found}, the card says {expected}. "
            "The upstream files or the importer changed: that is a new version"
        )
    for name in writer.group.attrs["splits"]:
        report(f"split {name}: {told_leakage(leakage_report(Dataset(working), name))}")
