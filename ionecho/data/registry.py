"""Names to datasets: cards in IonEcho's `datasets/` or under IONECHO_HOME, built files beside or cached."""

from __future__ import annotations

import re
from collections.abc import Sequence
from glob import glob
from pathlib import Path

from ionecho.data.card import DatasetCard, read_card
from ionecho.data.download import Reference, pulled_dataset
from ionecho.data.fetch import home
from ionecho.data.shared import INSTALLED, SHARED
from ionecho.errors import InputError

PATTERN = re.compile(r"[*?\[]")


def named_folders(kind: str, file: str) -> dict[str, Path]:
    """Folders of `kind` (datasets, models) that hold `file`, by name; IonEcho's before IONECHO_HOME's."""
    folders: dict[str, Path] = {}
    for root in (SHARED / kind, home() / kind):
        for found in sorted(root.glob(f"*/{file}")):
            if found.parent.suffix != ".partial":
                folders.setdefault(found.parent.name, found.parent)
    return folders


def own_folder(kind: str) -> Path:
    """Where what is made here is put: in the repository, or under IONECHO_HOME where IonEcho was installed."""
    return (home() if INSTALLED else SHARED) / kind


def card_folders() -> dict[str, Path]:
    """Folder of every known dataset."""
    return named_folders("datasets", "README.md")


def find_card(name: str) -> tuple[DatasetCard, Path]:
    """Card and folder of a dataset."""
    folders = card_folders()
    if name not in folders:
        raise InputError(f"no dataset {name!r}; known: {', '.join(folders) or 'none'}. `ionecho data import` makes one")
    return read_card(folders[name] / "README.md"), folders[name]


def find_dataset(name: str) -> Path:
    """File of a built dataset, by name or path, or `owner/name@revision` on the Hub."""
    if reference := Reference.of(name):
        return pulled_dataset(reference)
    if Path(name).suffix in (".zarr", ".zip"):
        return Path(name)
    card, folder = find_card(name)
    cached = home() / "datasets"
    for candidate in (folder / card.filename, cached / card.filename, cached / name / card.filename):
        if candidate.exists():
            return candidate
    raise InputError(f"dataset {name} {card.ionecho.version} is not built; run `ionecho data build {name}`")


def find_input(name: str) -> Path:
    """A path as it is, else the file of a built dataset of that name."""
    named = Reference.of(name) is not None or name in card_folders()
    return Path(name) if Path(name).exists() or not named else find_dataset(name)


def find_inputs(given: str | Path | Sequence[str | Path]) -> list[Path]:
    """The paths of one name or of several, as `find_input` finds them; a pattern stands for all files that fit it.

    Raises
    ------
    InputError
        If a name is no text, or nothing fits a pattern.
    """
    found: list[Path] = []
    for name in given if isinstance(given, Sequence) and not isinstance(given, str) else [given]:
        if not isinstance(name, str | Path):
            raise InputError(f"input: expected names of files or datasets, found {name!r}; put it into quotes")
        if not str(name):
            raise InputError("input: expected names of files or datasets, found an empty one")
        path = find_input(str(name))
        if path.exists() or not PATTERN.search(str(name)):
            found.append(path)
            continue
        fitting = sorted(map(Path, glob(str(name))))
        if not fitting:
            raise InputError(f"input: nothing fits {name} in {Path.cwd()}")
        found += fitting
    if not found:
        raise InputError("input: expected names of files or datasets, found none")
    return found


def find_one(given: str | Path | Sequence[str | Path]) -> Path:
    """The same, of what takes one input.

    Raises
    ------
    InputError
        If there are more, or none.
    """
    found = find_inputs(given)
    if len(found) != 1:
        told = ", ".join(map(str, found[:3])) + (" ..." if len(found) > 3 else "")
        raise InputError(f"input: expected one file or dataset, found {len(found)} ({told or 'none'}); run it on each")
    return found[0]
