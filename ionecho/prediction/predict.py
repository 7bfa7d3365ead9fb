"""Stream a trajectory through a checkpoint into zarr (Format 2). Killed at any moment, the same line goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
import yaml
from ase.data import chemical_symbols
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import Checkpoint, load
from ionecho.data.schema import ARRAYS
from ionecho.data.store import open_zarr
from ionecho.data.trajectory import Frames, Trajectory
from ionecho.data.trajectory_writer import append
from ionecho.data.unfinished import unfinished
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import build_graph, trajectory_graph
from ionecho.models.ensemble import MEMBERS, SPREAD
from ionecho.nmr.hyperfine import ContactShift
from ionecho.training.module import ATOMS, FORCES

COUPLING, SHIFT = "hyperfine_contact", "hyperfine_contact_shift"
FORCE_SPREAD = "force_spread"  # of the members of a potential, whose centres are all atoms
PRECISIONS = ("float32", "float64")
CPU_BATCH = 1408  # atoms whose intermediates stay in a core's cache
SMALLEST_VOLUME = 0.1  # Å³ an atom; less means wrong units or a missing cell
console = Console(soft_wrap=True)


def usable(device: str, dtype: str) -> str:
    """The device, `auto` a GPU where there is one; one that is not here, or an unknown precision, is refused."""
    if dtype not in PRECISIONS:
        raise InputError(f"dtype={dtype}: expected one of {', '.join(PRECISIONS)}")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device={device}: not usable here ({error}); use device=cpu or auto") from error
    return device


@dataclass(frozen=True)
class PredictionSettings:
    """How to run. Nothing but the precision changes what is predicted, and that by rounding.

    `block` frames are read and written at once, `batch` of them computed at once (None: on a CPU as many as fit the
    cache of a core), by `workers` threads side by side.
    """

    block: int
    batch: int | None
    workers: int
    device: str
    dtype: str

    @classmethod
    def choose(cls, device: str, dtype: str, threads: int | None, block: int, batch: int | None) -> PredictionSettings:
        """Settings of this machine: `device` auto takes a GPU where there is one, `threads` None all cores."""
        device = usable(device, dtype)
        on_cpu = device.startswith("cpu")
        for name, given in {
            "block": block,
            "batch": 1 if batch is None else batch,
            "threads": 1 if threads is None else threads,
        }.items():
            if not isinstance(given, int) or given < 1:
                raise InputError(f"{name}={given}: expected a whole number above 0")
        workers = (threads or torch.get_num_threads()) if on_cpu else 1
        return cls(block, batch if on_cpu else batch or block, workers, device, dtype)


class Structure(Protocol):
    """The atoms of a trajectory, or ASE's: `numbers` (N,) and `pbc` (3,)."""

    numbers: NDArray[np.integer]
    pbc: NDArray[np.bool_]


class Predictor:
    """A checkpoint applied to blocks of frames of the same atoms."""

    def __init__(
        self, checkpoint: Checkpoint, shift: ContactShift | None, structure: Structure, settings: PredictionSettings
    ) -> None:
        self.checkpoint, self.shift, self.settings = checkpoint, shift, settings
        self.dtype = getattr(torch, settings.dtype)
        self.device = torch.device(settings.device)
        self.model = checkpoint.model.to(self.device, self.dtype)
        self.pbc, self.numbers = structure.pbc, structure.numbers
        self.centres = np.flatnonzero(np.isin(structure.numbers, checkpoint.model.centres))
        _check_structure(checkpoint, structure)
        self.pool = ThreadPoolExecutor(settings.workers, initializer=torch.set_num_threads, initargs=(1,))

    @property
    def identity(self) -> dict[str, Any]:
        """Which model and which conversion to ppm."""
        return {**self.checkpoint.identity, "contact_shift": None if self.shift is None else self.shift.to_dict()}

    @property
    def request(self) -> dict[str, Any]:
        """What decides the numbers: a killed run goes on only where all of it is the same."""
        return {**self.identity, "dtype": self.settings.dtype}

    @property
    def physics(self) -> dict[str, Any]:
        """What a reader of the numbers should know, kept with them; spreads without `calibration` are as they are."""
        data = self.checkpoint.config.dataset
        dataset = {name: data[name] for name in ("name", "version", "content_sha256")}
        known = {"conventions": data["conventions"], "calibration": self.checkpoint.config.calibration}
        return {**self.identity, **known, "dataset": dataset}

    def __call__(self, frames: Frames, first: int) -> dict[str, NDArray]:
        """Outputs of the model with their spreads and, where there is a conversion, shifts in ppm.

        Of each centre (T, K, ...), of a whole frame (T, ...), of the M members (T, M, ...).

        Of a potential `forces` (T, N, 3) and, of an ensemble, the length `force_spread` (T, N) of their spread.
        """
        _check_frames(frames, first)
        batch = self.settings.batch or max(1, CPU_BATCH // len(self.numbers))
        starts = range(0, len(frames), batch)
        parts = list(self.pool.map(self._outputs, (frames.part(k, k + batch) for k in starts)))
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if self.shift is not None and COUPLING in arrays:
            arrays[SHIFT] = self.shift.ppm_per_mhz * arrays[COUPLING]
            if COUPLING + SPREAD in arrays:
                arrays[SHIFT + SPREAD] = abs(self.shift.ppm_per_mhz) * arrays[COUPLING + SPREAD]
        return arrays

    def _outputs(self, frames: Frames) -> dict[str, NDArray]:
        with torch.inference_mode():
            outputs = self.model(self._graph(frames))
        arrays = {}
        for name, values in outputs.items():
            if name == FORCES:
                arrays["forces"] = values.unflatten(0, (len(frames), -1)).float().cpu().numpy()
            elif name == FORCES + SPREAD:
                arrays[FORCE_SPREAD] = values.norm(dim=1).unflatten(0, (len(frames), -1)).float().cpu().numpy()
            elif ATOMS in name:
                continue
            else:
                frame_axis = int(name.endswith(MEMBERS))
                if ARRAYS[name.removesuffix(MEMBERS).removesuffix(SPREAD)].per != "configuration":
                    values = values.unflatten(frame_axis, (len(frames), -1))
                arrays[name] = values.movedim(frame_axis, 0).cpu().numpy()
        return arrays

    def _graph(self, frames: Frames) -> Graph:
        if self.model.pairs_of == "centres":
            return trajectory_graph(
                torch.from_numpy(np.ascontiguousarray(frames.positions)).to(self.device, self.dtype),
                torch.from_numpy(np.ascontiguousarray(frames.cell)).to(self.device, self.dtype),
                torch.from_numpy(self.numbers).to(self.device),
                self.pbc.tolist(),
                cutoff=self.model.cutoff,
                centres=self.model.centres,
            )
        count = len(frames)
        return build_graph(
            list(frames.positions),
            list(frames.cell),
            [self.numbers] * count,
            [self.pbc] * count,
            cutoff=self.model.cutoff,
            centres=self.model.centres,
            pairs_of=self.model.pairs_of,
            dtype=self.dtype,
            device=self.device,
        )


def conversion(checkpoint: Checkpoint, requested: Any) -> ContactShift | None:
    """The conversion to ppm, printed: the checkpoint's own for `requested` = "checkpoint", else the one given."""
    own = checkpoint.config.contact_shift
    parameters = own if requested == "checkpoint" else requested
    if parameters is None:
        return None
    shift = ContactShift.parse(parameters, own)
    console.print(f"contact shift of {checkpoint.config.name}, delta_total = delta_FC only:")
    console.print(yaml.safe_dump(shift.to_dict(), sort_keys=False), end="", markup=False)
    return shift


def predictors(
    names: str | Sequence[str], structure: Structure, contact_shift: Any, settings: PredictionSettings
) -> list[Predictor]:
    """Predictors of one or several checkpoints for the same atoms."""
    checkpoints = [load(resolve(name)) for name in ([names] if isinstance(names, str) else names)]
    return [Predictor(each, conversion(each, contact_shift), structure, settings) for each in checkpoints]


def predict(predictor: Predictor, trajectory: Trajectory, source: str, output: Path) -> Path:
    """Predict along the whole trajectory into `output`, which appears when it is complete, and grows with its input."""

    def whole(known: Mapping[str, Any]) -> bool:
        if trajectory.n_frames is not None and known["committed"] > trajectory.n_frames:
            raise InputError(f"{output} has more frames than the input, {known['committed']}; remove it")
        return trajectory.n_frames in (None, known["committed"])

    with unfinished(output, {**predictor.request, "input": source}, whole) as partial:
        if partial is None:
            return output
        group = open_zarr(partial, "a")
        group.attrs["stopped"] = trajectory.stopped
        if group.attrs["committed"] == 0:
            group.create_array("numbers", data=predictor.numbers, overwrite=True)
            group.create_array("centres", data=predictor.centres, overwrite=True)
            known = {"units": units(), "pbc": predictor.pbc.tolist(), "simulated_at": trajectory.temperature}
            group.update_attributes({**known, **predictor.physics})
        done = int(group.attrs["committed"])
        with _progress() as progress:
            task = progress.add_task(f"predicting {output.name}", total=trajectory.n_frames, completed=done)
            for frames in trajectory.blocks(done, predictor.settings.block):
                done = append(group, done, _arrays(frames, predictor(frames, done)), predictor.settings.block)
                progress.update(task, completed=done)
        return partial.replace(output)


def _arrays(frames: Frames, predicted: dict[str, NDArray]) -> dict[str, NDArray]:
    """What is written of a block: its structures with the predictions."""
    optional = {name: getattr(frames, name) for name in ("time", "group", "frame")}
    return {
        "positions": frames.positions.astype(np.float32),
        "cell": frames.cell,
        **predicted,
        **{name: values for name, values in optional.items() if values is not None},
    }


def _check_structure(checkpoint: Checkpoint, structure: Structure) -> None:
    model = checkpoint.model
    if unknown := sorted(set(structure.numbers.tolist()) - set(model.numbers)):
        names = ", ".join(chemical_symbols[z] for z in unknown)
        known = ", ".join(chemical_symbols[z] for z in model.numbers)
        raise InputError(
            f"the input holds {names}, which {checkpoint.config.name} was not trained on (it knows {known})"
        )
    if not set(structure.numbers.tolist()) & set(model.centres):
        names = ", ".join(chemical_symbols[z] for z in model.centres)
        raise InputError(f"the input holds none of the elements {checkpoint.config.name} predicts for ({names})")
    if not structure.pbc.all():
        raise InputError(
            f"the input is periodic along {structure.pbc.tolist()}, {checkpoint.config.name} was trained on crystals; "
            "give the cell, e.g. cell=[10.02,10.02,11.22,90,90,120]"
        )


def _check_frames(frames: Frames, first: int) -> None:
    bad = ~np.isfinite(frames.positions).all((1, 2))
    if bad.any():
        raise InputError(f"frame {first + int(np.argmax(bad))} has positions that are not numbers")
    volume = np.abs(np.linalg.det(frames.cell)) / frames.positions.shape[1]
    if (small := ~(volume >= SMALLEST_VOLUME)).any():  # of a cell that is no number too
        at = int(np.argmax(small))
        raise InputError(f"frame {first + at}: a cell of {volume[at]:.2g} Å³ an atom; is it missing or not in Å?")


def units() -> dict[str, str]:
    """Units of all arrays that a model may predict, with those derived from them."""
    known = {name: array.unit for name, array in ARRAYS.items()} | {SHIFT: "ppm", FORCE_SPREAD: "eV/Å", "time": "fs"}
    return known | {name + suffix: unit for name, unit in known.items() for suffix in (SPREAD, MEMBERS)}


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def describe_input(path: Path, options: Sequence[object]) -> str:
    """Identity of an input: its place, what made it or its size and time of change, and the options it is read with."""
    given = [option for option in options if option is not None]
    if Path(path, "zarr.json").exists() and "request" in (attributes := open_zarr(path, "r").attrs):
        made = hashlib.sha256(json.dumps(attributes["request"], sort_keys=True).encode()).hexdigest()
        return f"{path.resolve()} (made by {made}) {given}"
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    size, changed = sum(file.stat().st_size for file in files), max(file.stat().st_mtime_ns for file in files)
    return f"{path.resolve()} ({size} bytes, {changed}) {given}"
