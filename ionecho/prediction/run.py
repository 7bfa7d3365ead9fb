"""From a checkpoint and its input to predictions, in a file or in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from ionecho.checkpoints.store import Checkpoint
from ionecho.data.trajectory import Trajectory, cell_of, open_trajectory
from ionecho.prediction.device import PredictionSettings
from ionecho.prediction.grids import GridSettings, write_grids
from ionecho.prediction.predictor import Predictor, conversions
from ionecho.prediction.stream import describe_input, predict
from ionecho.prediction.tables import in_zarr, write_as_named

console = Console(soft_wrap=True)
READING = ("format", "species", "cell", "time_step", "topology")


def predict_file(
    checkpoint: Checkpoint,
    path: Path,
    output: Path,
    requested: Mapping[str, Any],
    settings: PredictionSettings,
    *,
    states: Literal["model", "input"] = "model",
    grids: Mapping[str, Any] | None = None,
    format: str | None = None,
    species: Sequence[str] | None = None,
    cell: Sequence[float] | None = None,
    time_step: float | None = None,
    topology: str | None = None,
    workers: Mapping[str, Any] | None = None,
) -> Predictor:
    """Stream the trajectory or dataset at `path` into `output` (zarr, extxyz or csv), and give what it was made with.

    Memory is bounded, and a killed call goes on. `requested` are the parameters of derived quantities, as for
    `conversions`; `states` is as for `Predictor`; with `grids`, settings of `GridSettings`, fields go into a dataset
    beside it, `<output>-grids.zarr`; text files are read by the options that follow, as `TextTrajectory` says, the cell
    as `cell_of`. `workers` share the blocks of frames, as `predict` says.
    """
    trajectory = open_trajectory(
        path, format, species, None if cell is None else cell_of(cell), time_step, None, topology
    )
    predictor = Predictor(checkpoint, conversions(checkpoint, requested), trajectory, settings, states)
    source = describe_input(path, (format, species, cell, time_step, topology))
    if predictor.outputs:
        write_as_named(predict(predictor, trajectory, source, in_zarr(output), workers), output)
        console.print(f"predictions in {output}")
    if grids is not None:
        fields = output.with_name(f"{output.stem}-grids.zarr")
        console.print(f"densities in {write_grids(predictor, trajectory, source, fields, GridSettings(**grids))}")
    return predictor


def predict_arrays(
    checkpoint: Checkpoint,
    trajectory: Trajectory,
    requested: Mapping[str, Any],
    settings: PredictionSettings,
    states: Literal["model", "input"] = "model",
) -> dict[str, NDArray]:
    """Predictions (T, ...) along the whole trajectory by name, and the `centres` (K,)."""
    predictor = Predictor(checkpoint, conversions(checkpoint, requested), trajectory, settings, states)
    parts: list[dict[str, NDArray]] = []
    done = 0
    for frames in trajectory.blocks(0, settings.block, predictor.told):
        parts.append(predictor(frames, done))
        done += len(frames)
    return {**{name: np.concatenate([part[name] for part in parts]) for name in parts[0]}, "centres": predictor.centres}
