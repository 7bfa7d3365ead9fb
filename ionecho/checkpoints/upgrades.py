"""From each older checkpoint format to the next."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from typing import Any

import torch

from ionecho.data.outputs import AUXILIARY
from ionecho.data.schema import ARRAYS

Weights = dict[str, torch.Tensor]
Upgrade = Callable[[dict[str, Any], Weights], tuple[dict[str, Any], Weights]]
UNSCALED = {"mean": 0.0, "std": 1.0}  # where there is no statistic
AT_ATOMS = "@atoms"  # ended the name of an output at all atoms in format 1


def _named(name: str) -> str:
    """Name of an output of format 1: what was at all atoms helped to train, unless it was a vector."""
    label = name.removesuffix(AT_ATOMS)
    return label if label == name or ARRAYS[label].kind == "vector" else AUXILIARY + label


def _outputs_by_label(raw: dict[str, Any], weights: Weights) -> tuple[dict[str, Any], Weights]:
    """1 to 2: outputs go by their labels, parameters of derived quantities by key, the loss is a sum of terms."""
    training = dict(raw["training"])
    losses = {_named(name): weight for name, weight in training["losses"].items()}
    if (loss := training.pop("loss", None)) is not None:
        losses = {"energy_forces": {key: value for key, value in loss.items() if not key.startswith("_")}}
    shift = raw.pop("contact_shift", None)
    return {
        **raw,
        "format_version": 2,
        "calibration": {_named(name): factor for name, factor in raw["calibration"].items()},
        "parameters": {} if shift is None else {"contact_shift": shift},
        "training": {**training, "losses": losses},
    }, weights


def _scaling_by_label(raw: dict[str, Any], weights: Weights) -> tuple[dict[str, Any], Weights]:
    """2 to 3: means and standard deviations are (labels, elements); these models had those of the centres or of all."""
    upgraded = dict(weights)
    if raw["model"] in ("nn_nmr", "painn_nmr"):
        numbers, centres = (list(raw["hyperparameters"][key]) for key in ("numbers", "centres"))
        for name, member in product(UNSCALED, range(raw["members"])):
            key = f"members.{member}.{name}"
            known = centres if raw["model"] == "nn_nmr" else numbers
            upgraded[key] = torch.full((1, len(numbers)), UNSCALED[name], dtype=weights[key].dtype)
            upgraded[key][0, [numbers.index(number) for number in known]] = weights[key]
    return {**raw, "format_version": 3}, upgraded


UPGRADES: dict[int, Upgrade] = {1: _outputs_by_label, 2: _scaling_by_label}
"""Format version -> function that turns a checkpoint of that version into the next one."""
