"""Workers that die, for tests of what is handed out again."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

from pebble import ProcessExpired


class Dying(Executor):
    """A thread that dies at each of these calls; one, as figures are not drawn by several at once."""

    def __init__(self, calls: set[int]) -> None:
        self.calls, self.made, self.pool = calls, 0, ThreadPoolExecutor(1)

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.made += 1
        if self.made not in self.calls:
            return self.pool.submit(fn, *args, **kwargs)
        died: Future[Any] = Future()
        died.set_exception(ProcessExpired("killed"))
        return died
