"""Names to datasets: cards in the repository's `datasets/` or under IONECHO_HOME, built files beside or cached."""

from __future__ import annotations

from pathlib import Path

from ionecho.data.card import DatasetCard, read_card
from ionecho.data.fetch import home
from ionecho.errors import InputError

REPOSITORY = Path(__file__).resolve().parents[2]


def card_folders() -> dict[str, Path]:
    """Folder of every known dataset; the repository's come first."""
    folders: dict[str, Path] = {}
    for root in (REPOSITORY / "datasets", home() / "datasets"):
        for card in sorted(root.glob("*/README.md")):
            if card.parent.suffix != ".partial":
                folders.setdefault(card.parent.name, card.parent)
    return folders


def find_card(name: str) -> tuple[DatasetCard, Path]:
    """Card and folder of a dataset."""
    folders = card_folders()
    if name not in folders:
        raise InputError(f"no dataset {name!r}; known: {', '.join(folders) or 'none'}. `ionecho data import` makes one")
    return read_card(folders[name] / "README.md"), folders[name]


def find_dataset(name: str) -> Path:
    """File of a built dataset, by name or path."""
    if Path(name).suffix in (".zarr", ".zip"):
        return Path(name)
    card, folder = find_card(name)
    for candidate in (folder / card.filename, home() / "datasets" / card.filename):
        if candidate.exists():
            return candidate
    raise InputError(f"dataset {name} {card.ionecho.version} is not built; run `ionecho data build {name}`")


def find_input(name: str) -> Path:
    """A path as it is, else the file of a built dataset of that name."""
    return Path(name) if Path(name).exists() or name not in card_folders() else find_dataset(name)
