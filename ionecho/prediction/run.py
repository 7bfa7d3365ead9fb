"""From a checkpoint and its input to predictions, in a file or in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ionecho.checkpoints.store import Checkpoint
from ionecho.data.trajectory import Trajectory, cell_of, open_trajectory
from ionecho.prediction.device import PredictionSettings
from ionecho.prediction.predictor import Predictor, conversions
from ionecho.prediction.stream import describe_input, predict

READING = ("format", "species", "cell", "time_step")


def predict_file(
    checkpoint: Checkpoint,
    path: Path,
    output: Path,
    requested: Mapping[str, Any],
    settings: PredictionSettings,
    *,
    format: str | None = None,
    species: Sequence[str] | None = None,
    cell: Sequence[float] | None = None,
    time_step: float | None = None,
    workers: Mapping[str, Any] | None = None,
) -> Predictor:
    """Stream the trajectory or dataset at `path` into `output`, and give what it was predicted with.

    Memory is bounded, and a killed call goes on. `requested` are the parameters of derived quantities, as for
    `conversions`; text files are read by the options that follow, as `TextTrajectory` says, the cell as `cell_of`.
    `workers` share the blocks of frames, as `predict` says.
    """
    trajectory = open_trajectory(path, format, species, None if cell is None else cell_of(cell), time_step)
    predictor = Predictor(checkpoint, conversions(checkpoint, requested), trajectory, settings)
    predict(predictor, trajectory, describe_input(path, (format, species, cell, time_step)), output, workers)
    return predictor


def predict_arrays(
    checkpoint: Checkpoint, trajectory: Trajectory, requested: Mapping[str, Any], settings: PredictionSettings
) -> dict[str, NDArray]:
    """Predictions (T, ...) along the whole trajectory by name, and the `centres` (K,)."""
    predictor = Predictor(checkpoint, conversions(checkpoint, requested), trajectory, settings)
    parts: list[dict[str, NDArray]] = []
    done = 0
    for frames in trajectory.blocks(0, settings.block):
        parts.append(predictor(frames, done))
        done += len(frames)
    return {**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, "centres": predictor.centres}
