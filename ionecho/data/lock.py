"""A lock on what one process writes, so that a second one with the same line is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from ionecho.errors import InputError


def take(path: Path, refusal: str, wait: bool = False) -> BaseFileLock:
    """The file at `path`, locked until it is released or the process ends, however it ends.

    Raises
    ------
    InputError
        With the text `refusal`, if another process holds it and this one shall not wait.
    """
    lock = FileLock(path)
    try:
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout as error:
        raise InputError(refusal) from error
    return lock


@contextmanager
def locked(output: Path, wait: bool = False) -> Iterator[None]:
    """Hold `output` + `.lock` while the block runs.

    Raises
    ------
    InputError
        If another process holds it and this one shall not wait.
    """
    path = output.resolve()
    path = path.with_name(path.name + ".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = take(path, f"{output} is being written by another process; wait for it, or choose another", wait)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()
