"""Times of several runs that take turns, so that other work on the machine disturbs all of them alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch

SIDE = 1024  # of the matrices whose product shows how fast a core multiplies


def best(runs: Mapping[str, Callable[[], Any]], rounds: int) -> tuple[dict[str, float], float]:
    """Least seconds of the processor of every run, and flops a second of a large product in turns with them."""
    matrix = torch.randn(SIDE, SIDE)
    turns: dict[str, Callable[[], Any]] = {"": partial(torch.mm, matrix, matrix), **runs}
    least = dict.fromkeys(turns, float("inf"))
    for _ in range(rounds):
        for name, run in turns.items():
            begin = time.process_time()
            run()
            least[name] = min(least[name], time.process_time() - begin)
    return least, 2 * SIDE**3 / least.pop("")
