"""What a run of Weights & Biases holds, by the files of an offline one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import wandb
from conftest import train_config

from ionecho.analysis import analyze
from ionecho.checkpoints.store import load
from ionecho.data.store import Dataset
from ionecho.door.config import compose
from ionecho.door.tracking import track


def test_the_result_holds_config_errors_parity_hashes_and_figures(toy_checkpoint: Path, toy_dataset: Path) -> None:
    folder = toy_checkpoint.parent
    metrics = json.loads((folder / "metrics.json").read_text())
    own = compose("analyze", ["analysis=errors", "input=x", "output=x"])["analysis"]["settings"]
    analyze("errors", str(folder), own).write(folder / "errors")
    settings = train_config(toy_dataset)
    track(replace(settings, logger={"name": "csv"}), metrics, folder)
    assert not (folder / "wandb").exists()
    track(replace(settings, logger={"name": "wandb", "project": "toy", "offline": True}), metrics, folder)
    wandb.teardown()  # waits until all is on disk
    (run,) = (folder / "wandb").glob("offline-run-*")
    (record,) = run.glob("*.wandb")
    content = record.read_bytes()
    for held in (load(toy_checkpoint).sha256, Dataset(toy_dataset).attrs["content_sha256"]):
        assert held.encode() in content
    for key in (b"max_epochs", b"hyperfine_contact_shift", b"baseline", b"parity/hyperfine_contact"):
        assert key in content
    media = run / "files" / "media"
    (picture,) = (media / "images" / "report").glob("*.png")
    assert picture.read_bytes() == (folder / "errors" / "hyperfine_contact.png").read_bytes()
    (table,) = (media / "table" / "parity").glob("*.json")
    assert json.loads(table.read_text())["columns"] == ["true", "predicted"]
    track(replace(settings, logger={"name": "wandb", "project": "toy", "offline": True}), metrics, folder)
    assert len(list((folder / "wandb").glob("offline-run-*"))) == 1  # told once
