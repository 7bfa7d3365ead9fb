"""An output that appears when it is whole: grown beside its place, by one process, and gone on with after a kill."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from ionecho.data.files import remove_folder, sweep
from ionecho.data.lock import locked
from ionecho.data.store import open_zarr
from ionecho.errors import InputError

MOST = 3  # differences that are told
Attributes = Mapping[str, Any]
console = Console(soft_wrap=True)


@contextmanager
def unfinished(
    output: Path, request: Attributes, whole: Callable[[Attributes], bool] = lambda _: True
) -> Iterator[Path | None]:
    """The zarr folder to write, to be renamed to `output`; None if that is complete already.

    Its attribute `request` holds what decides the content: a folder that a killed run left is gone on with only where
    it is the same, and begun anew where its attribute `committed` is still 0. While the block runs no other process
    gets the output.

    Parameters
    ----------
    whole
        Whether an output with these attributes is all that is asked for; one that is not is taken up again.

    Raises
    ------
    InputError
        If the output, or what a killed run left, is of another request, or another process writes it.
    """
    request = json.loads(json.dumps(request))
    partial = output.with_name(output.name + ".partial")
    with locked(output):
        if output.exists():
            known = _attributes(output)
            if differs := _different(known.get("request", {}), request):
                raise InputError(f"{output} is of another run ({differs}); choose another output or remove it")
            if whole(known):
                console.print(f"{output} is complete already", markup=False)
                yield None
                return
            if partial.exists():
                raise InputError(f"{output} is to go on in {partial}, which exists; remove it or choose another output")
            output.replace(partial)
        elif partial.exists():
            _clear(partial, request)
            sweep(partial)
        if not partial.exists():
            open_zarr(partial, "a").update_attributes({"request": request, "committed": 0})
        yield partial


def _clear(partial: Path, request: Attributes) -> None:
    """Remove what holds no work; raise InputError where the work is of another request."""
    left = _attributes(partial)
    if not left and any(path.is_dir() for path in partial.iterdir()):
        raise InputError(f"{partial}/zarr.json cannot be read; restore it, or remove the folder to begin anew")
    if left.get("committed", 0) == 0:
        remove_folder(partial)
    elif differs := _different(left["request"], request):
        raise InputError(f"{partial} is left from another run ({differs}); remove it or choose another output")


def _different(known: Any, asked: Any, name: str = "") -> str:
    """The first settings that differ, with both values; empty where none does."""
    if not isinstance(known, dict) or not isinstance(asked, dict):
        return "" if known == asked else f"{name}: {_short(known)} there, {_short(asked)} now"
    keys = [*known, *(key for key in asked if key not in known)]
    inner = (_different(known.get(key), asked.get(key), f"{name}.{key}".lstrip(".")) for key in keys)
    return "; ".join(list(filter(None, inner))[:MOST])


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) < 80 else text[:77] + "..."


def _attributes(path: Path) -> Attributes:
    try:
        return dict(open_zarr(path, "r").attrs)
    except (FileNotFoundError, ValueError):
        return {}
