"""Small files and whole folders that appear, and go, at once; in what two records differ."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from ionecho.errors import InputError

LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # libyaml's takes a tenth of the time


def write_json(path: Path, content: Any) -> None:
    """Write strict JSON; its folder is made if it does not exist."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    partial.replace(path)


def read_yaml(text: str) -> Any:
    """What YAML says, as plain data.

    Raises
    ------
    ValueError
        With what is wrong with it, in one line.
    """
    try:
        return yaml.load(text, LOADER)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError, AttributeError, TypeError) as error:
        raise ValueError(" ".join(str(error).split())) from error


def changed(found: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Keys whose values differ, in order; one that is lacking is null, as of a run of before there was that key."""
    return sorted(key for key in {*found, *asked} if found.get(key) != asked.get(key))


def remove_folder(folder: Path) -> None:
    """Remove a folder, if it exists: a kill leaves it whole or gone, and what it left aside goes the next time."""
    aside = _aside(folder)
    if folder.exists():
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def replace_folder(partial: Path, target: Path) -> Path:
    """Put a finished folder in the place of another, if there is one; returns `target`."""
    aside = _aside(target)
    if target.exists():
        target.rename(aside)
    partial.rename(target)
    shutil.rmtree(aside, ignore_errors=True)
    return target


def _aside(folder: Path) -> Path:
    """A free name beside a folder, of an ending that is nowhere taken for a result."""
    aside = folder.with_name(f"{folder.name}.removed.partial")
    shutil.rmtree(aside, ignore_errors=True)
    return aside


@contextmanager
def damage_told(path: Path) -> Iterator[None]:
    """What goes wrong while the files at `path` are read is told in one line.

    Raises
    ------
    InputError
        With the name of the file and what its reader said.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # of zarr, its codecs, and zip files
        told = " ".join(str(error).split())
        raise InputError(
            f"{path}: damaged, or no zarr of IonEcho ({type(error).__name__}: {told}); make it anew"
        ) from error


def sweep(folder: Path) -> None:
    """Remove the temporary files of writes to zarr in which a process was killed."""
    for left in folder.rglob(f"*.{'?' * 32}.partial"):
        left.unlink()
