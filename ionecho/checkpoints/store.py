"""Save and load checkpoint folders. Weights are safetensors, models come from the registry: nothing is unpickled or
executed that a checkpoint brings."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ionecho.checkpoints.upgrades import UPGRADES, Weights
from ionecho.data.fetch import sha256
from ionecho.data.files import read_yaml, replace_folder, write_json
from ionecho.data.lock import locked
from ionecho.data.outputs import drives_ions
from ionecho.errors import InputError, explain
from ionecho.models import build_model
from ionecho.models.domain import Domain, dispersions
from ionecho.models.ensemble import Ensemble

FORMAT_VERSION = 3
MANIFEST, MANIFEST_SINCE = "manifest.json", 2
WEIGHTS = "weights.safetensors"
HASHED = ("config.yaml", WEIGHTS, "metrics.json", "README.md", "environment.txt")
FILES = [*HASHED, MANIFEST]


class CheckpointConfig(BaseModel):
    """Everything needed to rebuild the model and to read its numbers."""

    model_config = ConfigDict(extra="forbid")

    format_version: int
    name: str
    model: str
    hyperparameters: dict[str, Any]
    members: int
    member_overrides: list[dict[str, Any]] = []
    """Hyperparameters in which each member differs; empty: all are the same."""
    calibration: dict[str, float]
    """Factor on the members' spread, by output."""
    dispersion: dict[str, dict[str, float]] = {}
    """How errors grow with the distance from what was learned and the members' spread, by output (`Dispersion`)."""
    parameters: dict[str, dict[str, Any]]
    """Parameters of the derived quantities by key, such as those of the conversion of contact couplings to ppm."""
    dataset: dict[str, Any]
    """Name, version, content hash, split, fold and validation share of the training data, and its conventions."""
    start: dict[str, Any] | None = None
    """Name, hash and dataset of the checkpoint whose weights it began with, and the elements that this did not know."""
    training: dict[str, Any]
    """The recipe: losses, optimiser, schedule, epochs, batch size, seed."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with its description; `sha256` is the hash of its weights file."""

    model: Ensemble
    config: CheckpointConfig
    sha256: str
    folder: Path

    @property
    def drives_ions(self) -> bool:
        """Whether it is an interatomic potential."""
        return drives_ions(self.model.outputs)

    @property
    def identity(self) -> dict[str, Any]:
        """Name, hash and calibration of the spread, by which what was made with it is known."""
        calibration = {"calibration": self.config.calibration} if self.config.members > 1 else {}
        dispersion = {"dispersion": self.config.dispersion} if self.config.dispersion else {}
        return {"checkpoint": self.config.name, "checkpoint_sha256": self.sha256, **calibration, **dispersion}

    def pressure_error(self, limit: float | None) -> str:
        """What is known of the pressure of a potential, in words: for simulations at constant pressure.

        Raises
        ------
        InputError
            If its error is above the limit in GPa, or was never measured; without a limit never.
        """
        metrics = json.loads((self.folder / "metrics.json").read_text())
        found = metrics.get("test", {}).get("pressure_GPa")
        told = "not known (its test data hold no stress)"
        if found is not None:
            told = f"{found['rmse']:.2g} GPa (bias {found['bias']:+.2g} GPa) on the test configurations"
        if limit is not None and (found is None or found["rmse"] > limit):
            raise InputError(
                f"the error of the pressure of {self.config.name} is {told}, the limit {limit:g} GPa: with npt, or "
                "relaxed, the cell would find another volume. Take another potential, or pressure_error_limit=null"
            )
        return told


def save(folder: Path, config: CheckpointConfig, model: Ensemble, metrics: dict[str, Any], card: str) -> None:
    """Write a checkpoint folder, completely or not at all."""
    packages = sorted(
        {f"{dist.name}=={dist.version}" for dist in distributions()}, key=lambda package: (package.lower(), package)
    )
    texts = {
        "config.yaml": yaml.safe_dump(config.model_dump(), sort_keys=False, allow_unicode=True),
        "metrics.json": json.dumps(metrics, indent=1, allow_nan=False) + "\n",
        "README.md": card,
        "environment.txt": "\n".join(packages) + "\n",
    }
    with locked(folder, wait=True):
        partial = folder.with_name(folder.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        for name, text in texts.items():
            (partial / name).write_text(text, encoding="utf-8")
        save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, partial / WEIGHTS)
        write_manifest(partial)
        load(partial)
        replace_folder(partial, folder)


def write_manifest(folder: Path) -> None:
    """Write the hash of every file of a checkpoint."""
    write_json(folder / MANIFEST, {name: sha256(folder / name) for name in HASHED})


def verify(folder: Path) -> None:
    """Hold every file of a checkpoint against the manifest.

    Raises
    ------
    InputError
        Naming the files that are not what was saved.
    """
    try:
        told = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"{folder / MANIFEST}: unreadable ({error}); fetch the checkpoint anew") from error
    if not isinstance(told, dict) or set(told) != set(HASHED):
        raise InputError(f"{folder / MANIFEST}: expected {', '.join(HASHED)}; fetch the checkpoint anew")
    missing = [name for name in HASHED if not (folder / name).exists()]
    wrong = [name for name in HASHED if name not in missing and sha256(folder / name) != told[name]]
    if missing or wrong:
        found = [f"{name} is missing" for name in missing] + [f"{name} has changed" for name in wrong]
        raise InputError(f"{folder}: {', '.join(found)} since it was saved; fetch the checkpoint anew")


def load(folder: Path) -> Checkpoint:
    """Load a checkpoint folder, upgrading it when it is of an older format.

    Raises
    ------
    InputError
        If a file is missing or is not what was saved, or weights and model do not fit together.
    """
    for file in ("config.yaml", WEIGHTS):
        if not (folder / file).exists():
            raise InputError(f"{folder}: not a checkpoint, {file} is missing")
    if (folder / MANIFEST).exists():
        verify(folder)
    try:
        raw = read_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
        weights = load_file(folder / WEIGHTS)
    except (ValueError, SafetensorError) as error:
        raise InputError(f"{folder}: unreadable ({error}); fetch the checkpoint anew") from error
    raw, weights = _upgraded(raw, weights, folder)
    config = _validated(raw, folder)
    if config.dispersion and "domain.mean" not in weights:
        raise InputError(f"{folder}: config.yaml has a dispersion, the weights no domain; fetch the checkpoint anew")
    if (held := len({name.split(".")[1] for name in weights if name.startswith("members.")})) != config.members:
        raise InputError(f"{folder}: config.yaml tells of {config.members} members, the weights are those of {held}")
    if not (folder / MANIFEST).exists():  # what nothing vouches for is not given memory before it fits
        with torch.device("meta"):
            _refuse_misfit(_ensemble(config, weights, folder), weights, config, folder)
    model = _ensemble(config, weights, folder)
    _refuse_misfit(model, weights, config, folder)
    stored = next(tensor.dtype for tensor in weights.values() if tensor.is_floating_point())
    model.to(stored).load_state_dict(weights)
    return Checkpoint(model.eval(), config, sha256(folder / WEIGHTS), folder)


def _ensemble(config: CheckpointConfig, weights: Weights, folder: Path) -> Ensemble:
    """The model of a checkpoint, its weights not loaded yet."""
    overrides = config.member_overrides or [{}] * config.members
    try:
        members = [build_model(config.model, config.hyperparameters | own) for own in overrides]
        return Ensemble(
            members, config.calibration, _domain(weights.get("domain.mean")), dispersions(config.dispersion)
        )
    except InputError:
        raise
    except Exception as error:  # of any model's constructor
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"{folder}/config.yaml: no {config.model} has these hyperparameters ({told})") from error


def _refuse_misfit(model: Ensemble, weights: Weights, config: CheckpointConfig, folder: Path) -> None:
    expected = model.state_dict()
    if wrong := sorted({*weights} ^ {*expected}) or [n for n in expected if weights[n].shape != expected[n].shape]:
        raise InputError(f"{folder}: weights do not fit model {config.model}: {', '.join(wrong[:4])} (of {len(wrong)})")


def _domain(mean: Tensor | None) -> Domain | None:
    """The domain whose means these are, its weights not loaded yet."""
    return Domain(*mean.shape) if mean is not None and mean.ndim == 2 else None


def read_config(folder: Path) -> CheckpointConfig:
    """What a checkpoint of the present format says of itself; its model need not be installed here."""
    try:
        raw = read_yaml((folder / "config.yaml").read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{folder}/config.yaml: cannot be read ({error}); fetch the checkpoint anew") from error
    return _validated(raw, folder)


def _validated(raw: dict[str, Any], folder: Path) -> CheckpointConfig:
    try:
        return CheckpointConfig.model_validate(raw)
    except ValidationError as error:
        raise InputError(f"{folder}/config.yaml: {explain(error)}") from error


def _upgraded(raw: dict[str, Any], weights: Weights, folder: Path) -> tuple[dict[str, Any], Weights]:
    version = raw.get("format_version") if isinstance(raw, dict) else None
    if not isinstance(version, int) or version > FORMAT_VERSION:
        raise InputError(
            f"{folder}: checkpoint format {version}, this IonEcho reads up to {FORMAT_VERSION}; update IonEcho"
        )
    if version >= MANIFEST_SINCE and not (folder / MANIFEST).exists():
        raise InputError(f"{folder}: {MANIFEST} is missing, nothing tells whether its files are whole; fetch it anew")
    try:
        while version < FORMAT_VERSION:
            raw, weights = UPGRADES[version](raw, weights)
            version = raw["format_version"]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        said = f"cannot be read as format {version} ({type(error).__name__}: {error})"
        raise InputError(f"{folder}/config.yaml: {said}; fetch it anew") from error
    return raw, weights
