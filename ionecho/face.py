"""What a script or a notebook calls: each function is one command, with the same settings and the same numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import ase
import torch
from numpy.typing import NDArray

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import Checkpoint
from ionecho.checkpoints.store import load as load_checkpoint
from ionecho.data.images import Images
from ionecho.data.registry import find_input
from ionecho.data.store import Dataset
from ionecho.data.trajectory import Trajectory, open_trajectory
from ionecho.door.config import compose
from ionecho.errors import InputError
from ionecho.prediction.device import PredictionSettings, usable
from ionecho.prediction.run import predict_arrays, predict_file

if TYPE_CHECKING:
    from ionecho.dynamics.calculator import Potential
    from ionecho.report import Report

Structures = ase.Atoms | Sequence[ase.Atoms] | str | Path | Trajectory


@dataclass(frozen=True)
class Model:
    """A trained model with its description."""

    checkpoint: Checkpoint

    def predict(
        self,
        structures: Structures,
        parameters: Mapping[str, Any] | None = None,
        device: str = "auto",
        dtype: str = "float32",
        threads: int | None = None,
        block: int = 512,
        batch: int | None = None,
        output: str | Path | None = None,
        states: Literal["model", "input"] = "model",
        grids: Mapping[str, Any] | None = None,
    ) -> dict[str, NDArray]:
        """What the model gives, with spreads and derived quantities, by name; the settings are those of `predict.py`.

        Parameters
        ----------
        structures
            ASE atoms, a list of frames of the same atoms, a trajectory, or the name of a dataset or file of frames.
        parameters
            Of derived quantities by key, such as `contact_shift`; those not given are the checkpoint's.
        output
            File to stream a named trajectory into (.zarr, .extxyz, .csv), in bounded memory; a killed call goes on.
        states
            Of redox-active ions: those that the model finds, or those that the input tells.
        grids
            Densities too, into the dataset `<output>-grids.zarr`: `{"every": 20, "spacing": 0.2}` and more.

        Returns
        -------
        Arrays (T, ...) of all frames, without the first axis for single atoms; `centres` (K,) are the atoms that rows
        belong to. With `output` nothing but `centres`.
        """
        settings = PredictionSettings.choose(device, dtype, threads, block, batch)
        if output is not None:
            if not isinstance(structures, str | Path):
                raise InputError("output: frames in memory are returned; name a file to stream it")
            path, given = find_input(str(structures)), parameters or {}
            made = predict_file(self.checkpoint, path, Path(output), given, settings, states=states, grids=grids)
            return {"centres": made.centres}
        if grids is not None:
            raise InputError("grids: densities are streamed into files; name one with output")
        arrays = predict_arrays(self.checkpoint, _opened(structures), parameters or {}, settings, states)
        if isinstance(structures, ase.Atoms):
            return {name: values if name == "centres" else values[0] for name, values in arrays.items()}
        return arrays

    def calculator(
        self, device: str = "auto", dtype: str = "float64", pressure_error_limit: float | None = 1.0
    ) -> Potential:
        """An ASE calculator; the model has to be a potential.

        Asked for a stress whose pressure errs by more than the limit in GPa, or was never measured, it raises
        InputError, as `ensemble=npt` of a simulation does: a cell relaxed by it would find another volume. None: never.
        """
        if not self.checkpoint.drives_ions:
            raise InputError(f"{self.checkpoint.config.name} is no potential: it predicts no energy and forces")
        from ionecho.dynamics.calculator import Potential

        refusal = None
        try:
            self.checkpoint.pressure_error(pressure_error_limit)
        except InputError as error:
            refusal = str(error)
        model = self.checkpoint.model
        return Potential(model, getattr(torch, dtype), usable(device, dtype), stress_refusal=refusal)


def _opened(structures: Structures) -> Trajectory:
    if isinstance(structures, Trajectory):
        return structures
    if isinstance(structures, str | Path):
        return open_trajectory(find_input(str(structures)))
    return Images([structures] if isinstance(structures, ase.Atoms) else list(structures))


def load(name: str | Path) -> Model:
    """A model by the name of its checkpoint, its folder, or `owner/name@v1` on the Hub."""
    return Model(load_checkpoint(resolve(str(name))))


def dataset(name: str | Path) -> Dataset:
    """A dataset by name or path, or `owner/name@v1` on the Hub, built first if it is not there.

    `dataset[i]` is a configuration with its labels.
    """
    from ionecho.data.open import open_dataset

    return open_dataset(str(name))


def train(*overrides: str, folder: str | Path, start: str | Path | None = None) -> dict[str, Any]:
    """Train as `train.py` with these overrides does, into `folder`; the errors. A killed call goes on.

    `start` is a checkpoint whose weights the training begins with (fine-tuning): a name, a folder, or owner/name on the
    Hub.
    """
    from ionecho.checkpoints import run
    from ionecho.training.settings import training_settings

    settings = compose("train", overrides)
    return run.train(training_settings(settings | ({} if start is None else {"start": str(start)})), Path(folder))


def simulate(**settings: Any) -> Path:
    """Run molecular dynamics with the keys of `simulate.py`; structure may be atoms. The trajectory's place.

    Of several replicas that of the first; the others lie beside it.
    """
    from ionecho.dynamics.replicas import run_replicas
    from ionecho.dynamics.settings import SimulationSettings

    return run_replicas(SimulationSettings(**settings))[0]


def analyze(name: str, input: str | Path | Sequence[str | Path], *overrides: str) -> Report:
    """Run an analysis as `analyze.py` with these overrides does; `Report.write(folder)` writes what it found."""
    from ionecho import analysis

    config = compose("analyze", [f"analysis={name}", "input=unused", "output=unused", *overrides])
    return analysis.analyze(config["analysis"]["name"], input, config["analysis"]["settings"])
