"""Predict along a trajectory: python predict.py checkpoint=nn_nmr-p2_nmmo input=traj.xyz output=pred.zarr."""

from __future__ import annotations

from pathlib import Path

import hydra
from omegaconf import DictConfig

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.registry import find_one
from ionecho.data.trajectory import cell_of, open_trajectory
from ionecho.door.config import content
from ionecho.entry import entry_point, run
from ionecho.nmr.derived import parameter_classes
from ionecho.prediction.device import PredictionSettings
from ionecho.prediction.predictor import Predictor, conversions
from ionecho.prediction.stream import describe_input, predict
from ionecho.prediction.tables import in_zarr, write_as_named


@hydra.main(config_path="conf", config_name="predict", version_base="1.3")
@entry_point
def main(config: DictConfig) -> None:
    """Write predictions for every frame of the input."""
    checkpoint = load(resolve(config.checkpoint))
    asked = content(config)
    parameters = conversions(checkpoint, {key: asked[key] for key in parameter_classes() if key in asked})
    path = find_one(asked["input"])
    cell = None if config.cell is None else cell_of(config.cell)
    options = (config.format, config.species, config.cell, config.time_step, config.topology)
    trajectory = open_trajectory(path, config.format, config.species, cell, config.time_step, None, config.topology)
    settings = PredictionSettings.choose(config.device, config.dtype, config.threads, config.block, config.batch)
    predictor = Predictor(checkpoint, parameters, trajectory, settings)
    output = Path(config.output)
    streamed = predict(predictor, trajectory, describe_input(path, options), in_zarr(output))
    print(f"predictions in {write_as_named(streamed, output)}")


if __name__ == "__main__":
    run(main)
