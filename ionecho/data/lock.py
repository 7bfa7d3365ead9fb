"""A lock on what one process writes, so that a second one with the same line is refused."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ionecho.errors import InputError


@contextmanager
def locked(output: Path) -> Iterator[None]:
    """Hold `output` + `.lock` while the block runs; the system frees it when the process ends, however it ends.

    Raises
    ------
    InputError
        If another process holds it.
    """
    path = output.with_name(output.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(f"{output} is being written by another process; wait for it, or choose another") from error
        try:
            yield
        finally:
            path.unlink(missing_ok=True)
