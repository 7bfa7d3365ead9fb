"""Where and how predictions are computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ionecho.errors import InputError

PRECISIONS = ("float32", "float64")


def usable(device: str, dtype: str) -> str:
    """The device, `auto` a GPU where there is one; one that is not here, or an unknown precision, is refused."""
    if dtype not in PRECISIONS:
        raise InputError(f"dtype={dtype}: expected one of {', '.join(PRECISIONS)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device={device}: not usable here ({error}); use device=cpu or auto") from error
    return device


@dataclass(frozen=True)
class PredictionSettings:
    """How to run. Nothing but the precision changes what is predicted, and that by rounding.

    `block` frames are read and written at once, `batch` of them computed at once (None: on a CPU as many as fit the
    cache of a core), by `workers` threads side by side.
    """

    block: int
    batch: int | None
    workers: int
    device: str
    dtype: str

    @classmethod
    def choose(cls, device: str, dtype: str, threads: int | None, block: int, batch: int | None) -> PredictionSettings:
        """Settings of this machine: `device` auto takes a GPU where there is one, `threads` None all cores."""
        device = usable(device, dtype)
        on_cpu = device.startswith("cpu")
        for name, given in {
            "block": block,
            "batch": 1 if batch is None else batch,
            "threads": 1 if threads is None else threads,
        }.items():
            if not isinstance(given, int) or given < 1:
                raise InputError(f"{name}={given}: expected a whole number above 0")
        workers = (threads or torch.get_num_threads()) if on_cpu else 1
        return cls(block, batch if on_cpu else batch or block, workers, device, dtype)
