"""Names to datasets: cards in IonEcho's `datasets/` or under IONECHO_HOME, built files beside or cached."""

from __future__ import annotations

from pathlib import Path

from ionecho.data.card import DatasetCard, read_card
from ionecho.data.download import Reference, pulled_dataset
from ionecho.data.fetch import home
from ionecho.data.shared import INSTALLED, SHARED
from ionecho.errors import InputError


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
