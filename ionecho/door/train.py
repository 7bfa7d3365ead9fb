"""`ionecho train`: train a model on a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig

from ionecho.entry import command


@command("train")
def main(config: dict[str, Any]) -> float | None:
    """Train, test and write the checkpoint into the run's folder; gives the error of the validation part."""
    from ionecho.checkpoints.run import train
    from ionecho.door.results import leading, show
    from ionecho.door.tracking import track
    from ionecho.training.settings import training_settings

    folder = Path(HydraConfig.get().runtime.output_dir)
    settings = training_settings(config)
    metrics = train(settings, folder)
    show(metrics, folder)
    track(settings, metrics, folder)
    held = metrics.get("validation")
    return held[leading(held)]["rmse"] if held else None
