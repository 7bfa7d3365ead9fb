"""A lock on what one process writes, so that a second one with the same line is refused."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from ionecho.errors import InputError


def take(path: Path, refusal: str) -> TextIO:
    """The file at `path`, locked until it is closed or the process ends, however it ends.

    Raises
    ------
    InputError
        With the text `refusal`, if another process holds it.
    """
    file = path.open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise InputError(refusal) from error
    return file


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold `output` + `.lock` while the block runs.

    Raises
    ------
    InputError
        If another process holds it.
    """
    path = output.with_name(output.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with take(path, f"{output} is being written by another process; wait for it, or choose another"):
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
