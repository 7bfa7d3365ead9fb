"""Stream a trajectory through a checkpoint into zarr (Format 2). Killed at any moment, the same line goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ionecho.data.store import open_zarr
from ionecho.data.trajectory import Frames, Trajectory
from ionecho.data.trajectory_writer import append
from ionecho.data.unfinished import unfinished
from ionecho.errors import InputError
from ionecho.labelling.workers import executor
from ionecho.prediction.predictor import Predictor
from ionecho.prediction.workers import predictions

console = Console(soft_wrap=True)


def predict(
    predictor: Predictor,
    trajectory: Trajectory,
    source: str,
    output: Path,
    workers: Mapping[str, Any] | None = None,
) -> Path:
    """Predict along the whole trajectory into `output`, which appears when it is complete, and grows with its input.

    `workers` (settings as in `conf/workers/*.yaml`) share the blocks of frames; without, they are computed here.
    """

    def whole(known: Mapping[str, Any]) -> bool:
        if trajectory.n_frames is not None and known["committed"] > trajectory.n_frames:
            raise InputError(f"{output} has more frames than the input, {known['committed']}; remove it")
        return trajectory.n_frames in (None, known["committed"])

    with unfinished(output, {**predictor.request, "input": source}, whole) as partial:
        if partial is None:
            return output
        group = open_zarr(partial, "a")
        group.attrs["stopped"] = trajectory.stopped
        if group.attrs["committed"] == 0:
            group.create_array("numbers", data=predictor.numbers, overwrite=True)
            group.create_array("centres", data=predictor.centres, overwrite=True)
            known = {
                "units": {**predictor.units, "time": "fs"},
                "pbc": predictor.pbc.tolist(),
                "simulated_at": trajectory.temperature,
            }
            group.update_attributes({**known, **predictor.physics})
        done = int(group.attrs["committed"])
        with _progress() as progress, nullcontext() if workers is None else executor(workers) as pool:
            task = progress.add_task(f"predicting {output.name}", total=trajectory.n_frames, completed=done)
            for frames, predicted in predictions(predictor, trajectory, done, pool, workers or {}):
                done = append(group, done, _arrays(frames, predicted), predictor.settings.block)
                progress.update(task, completed=done)
        return partial.replace(output)


def _arrays(frames: Frames, predicted: dict[str, NDArray]) -> dict[str, NDArray]:
    """What is written of a block: its structures with the predictions."""
    optional = {name: getattr(frames, name) for name in ("time", "group", "frame")}
    return {
        "positions": frames.positions.astype(np.float32),
        "cell": frames.cell,
        **predicted,
        **{name: values for name, values in optional.items() if values is not None},
    }


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def describe_input(path: Path, options: Sequence[object]) -> str:
    """Identity of an input: its place, what made it or its size and time of change, and the options it is read with."""
    given = [option for option in options if option is not None]
    if Path(path, "zarr.json").exists() and "request" in (attributes := open_zarr(path, "r").attrs):
        made = hashlib.sha256(json.dumps(attributes["request"], sort_keys=True).encode()).hexdigest()
        return f"{path.resolve()} (made by {made}) {given}"
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    size, changed = sum(file.stat().st_size for file in files), max(file.stat().st_mtime_ns for file in files)
    return f"{path.resolve()} ({size} bytes, {changed}) {given}"
