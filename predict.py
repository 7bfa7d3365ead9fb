"""Predict along a trajectory: python predict.py checkpoint=nn_nmr-p2_nmmo input=traj.xyz output=pred.zarr."""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.registry import find_one
from ionecho.door.config import content
from ionecho.entry import entry_point, run
from ionecho.nmr.derived import parameter_classes
from ionecho.prediction.device import PredictionSettings
from ionecho.prediction.run import READING, predict_file


@hydra.main(config_path="conf", config_name="predict", version_base="1.3")
@entry_point
def main(config: DictConfig) -> None:
    """Write predictions for every frame of the input."""
    asked = content(config)
    requested = {key: asked[key] for key in parameter_classes() if key in asked}
    settings = PredictionSettings.choose(config.device, config.dtype, config.threads, config.block, config.batch)
    reading = {name: asked[name] for name in (*READING, "states", "grids")}
    checkpoint = load(resolve(config.checkpoint))
    predict_file(checkpoint, find_one(asked["input"]), Path(config.output), requested, settings, **reading)


if __name__ == "__main__":
    run(main)
