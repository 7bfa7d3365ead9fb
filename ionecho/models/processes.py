"""Sums and extremes over the processes of a process group (DDP); of one process alone where there is none."""

from __future__ import annotations

from torch import Tensor, distributed


def processes() -> int:
    """How many there are."""
    return distributed.get_world_size() if _grouped() else 1


def across(value: Tensor, operation: distributed.ReduceOp.RedOpType) -> Tensor:
    """The value, reduced over all processes in place."""
    if _grouped():
        distributed.all_reduce(value, operation)
    return value


def _grouped() -> bool:
    return distributed.is_available() and distributed.is_initialized()
