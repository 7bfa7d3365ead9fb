"""From runs to a published checkpoint in `models/`: the checkpoint of one run, with what others measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ionecho.checkpoints.card import model_card
from ionecho.checkpoints.store import load, save
from ionecho.data.files import changed
from ionecho.data.registry import own_folder
from ionecho.errors import InputError


def release(
    run: Path,
    measured: Sequence[Path] = (),
    limits: str | None = None,
    target: Path | None = None,
    beside: Mapping[str, Path] | None = None,
) -> Path:
    """Copy the checkpoint of `run` to `models/<name>`, its metrics joined by those of cross-validations and curves.

    `limits` says in the card what the checkpoint should not be used for; `beside` are runs of other models by name,
    such as baselines, tested on the same configurations.

    Raises
    ------
    InputError
        If a run of `measured` has no metrics, or was made on other data or with another model.
    """
    checkpoint = load(run / "checkpoint")
    metrics = json.loads((run / "checkpoint" / "metrics.json").read_text())
    model = {"name": checkpoint.config.model, **checkpoint.config.hyperparameters}
    overrides = checkpoint.config.member_overrides
    for other in measured:
        if not (other / "metrics.json").exists():
            raise InputError(f"{other}: no metrics.json; has the run finished?")
        found = json.loads((other / "metrics.json").read_text())
        if found["data"]["content_sha256"] != metrics["data"]["content_sha256"]:
            raise InputError(f"{other}: made on {found['data']['name']}, not on the data of {run}")
        asked = json.loads((other / "request.json").read_text())
        another = changed(model, asked["model"])
        if asked["member_overrides"] not in ([], overrides):  # without, it is of one member
            another.append("member_overrides")
        if another:
            raise InputError(f"{other}: its model has another {', '.join(another)} than that of {run}")
        if "cv" in found:
            metrics.setdefault("cv", {}).update(found["cv"])
        if "learning_curve" in found:
            metrics["learning_curve"] = found["learning_curve"]
    for name, other in (beside or {}).items():
        found = json.loads((other / "metrics.json").read_text())
        same = ("content_sha256", "split", "fold")
        if any(found["data"][key] != metrics["data"][key] for key in same):
            raise InputError(f"{other}: tested on other configurations than {run}")
        metrics.setdefault("beside", {})[name] = found["test"]
    if limits is not None:
        metrics["limits"] = limits
    folder = target or own_folder("models") / checkpoint.config.name
    save(folder, checkpoint.config, checkpoint.model, metrics, model_card(checkpoint.config, metrics))
    return folder
