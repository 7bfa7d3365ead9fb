"""`ionecho predict`: predict along a trajectory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ionecho.entry import command, required


@command("predict")
def main(config: dict[str, Any]) -> None:
    """Write predictions for every frame of the input."""
    from ionecho.checkpoints.resolve import resolve
    from ionecho.checkpoints.store import load
    from ionecho.data.registry import find_one
    from ionecho.nmr.derived import parameter_classes
    from ionecho.prediction.device import PredictionSettings
    from ionecho.prediction.run import READING, predict_file

    name, input, output = required(config, "checkpoint", "input", "output")
    requested = {key: config[key] for key in parameter_classes() if key in config}
    settings = PredictionSettings.choose(*(config[key] for key in ("device", "dtype", "threads", "block", "batch")))
    reading = {key: config[key] for key in (*READING, "states", "grids")}
    workers = config.get("workers")
    predict_file(load(resolve(name)), find_one(input), Path(output), requested, settings, workers=workers, **reading)
