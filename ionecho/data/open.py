"""A dataset by its name, wherever it is: here, on the Hub, or to be built first."""

from __future__ import annotations

from pathlib import Path

from ionecho.data.build import build
from ionecho.data.download import HUB_OWNER, Reference, pulled_dataset
from ionecho.data.registry import card_folders, find_card, find_dataset
from ionecho.data.shared import INSTALLED
from ionecho.data.store import Dataset
from ionecho.errors import InputError


def open_dataset(name: str) -> Dataset:
    """The named dataset, built first if it is not there; one that the wheel leaves out comes from the Hub."""
    if Reference.of(name) or Path(name).exists():
        return Dataset(find_dataset(name))
    try:
        return Dataset(find_dataset(name))
    except InputError:
        if INSTALLED and name in card_folders() and (card := find_card(name)[0]).ionecho.label:
            return Dataset(pulled_dataset(Reference(f"{HUB_OWNER}/{name}", f"v{card.ionecho.version}")))
        return Dataset(build(name))
