"""Train a model on a dataset: python train.py model=nn_nmr dataset=p2_nmmo [cv.folds=5] [ensemble=4]."""

from __future__ import annotations

from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from ionecho.checkpoints.run import train
from ionecho.door.config import content
from ionecho.door.results import show
from ionecho.entry import entry_point, run
from ionecho.training.settings import training_settings


@hydra.main(config_path="conf", config_name="train", version_base="1.3")
@entry_point
def main(config: DictConfig) -> None:
    """Train, test and write the checkpoint into the run's folder."""
    folder = Path(HydraConfig.get().runtime.output_dir)
    show(train(training_settings(content(config)), folder), folder)


if __name__ == "__main__":
    run(main)
