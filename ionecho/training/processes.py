"""A training shared by several processes (DDP): each takes a part of every batch, and sums run over all of them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, distributed


def processes() -> int:
    """How many share the training."""
    return distributed.get_world_size() if _grouped() else 1


def share(batch: Sequence[int]) -> Sequence[int]:
    """What this process takes of a batch: nothing, where there are more processes than configurations."""
    return batch[distributed.get_rank() :: processes()] if _grouped() else batch


def across(value: Tensor) -> Tensor:
    """The sum over all processes, in place."""
    if _grouped():
        distributed.all_reduce(value)
    return value


def mean(total: Tensor, count: Tensor) -> Tensor:
    """The mean of what all processes hold, of `total` here in `count` parts, as each contributes to it.

    DDP averages the gradients of the processes: the average of these contributions is the mean over the whole batch,
    however its labels are shared out.
    """
    return processes() * total / across(count).clamp(min=1)


def _grouped() -> bool:
    return distributed.is_available() and distributed.is_initialized()
