"""`ionecho neb`: a minimum-energy path into zarr (Format 2). Killed at any moment, the same line goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import Calculator
from hydra import compose, initialize_config_dir
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from pydantic import BaseModel, Field
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.files import remove_folder
from ionecho.data.registry import REPOSITORY
from ionecho.data.store import open_zarr
from ionecho.data.unfinished import unfinished
from ionecho.dynamics import neb
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.neb import STAGES, Snapshot, minimum_energy_path
from ionecho.dynamics.start import read_structure
from ionecho.errors import InputError
from ionecho.labelling.calculator import NEEDED, EngineCalculator
from ionecho.labelling.engine import make_engine
from ionecho.prediction.predict import FORCE_SPREAD
from ionecho.structures.read import describe

LENGTH = "path_length"
SNAPSHOT, FINISHED = "snapshot.npz", "path.zarr"  # in the folder of an unfinished run
UNITS = {
    "positions": "Å",
    "cell": "Å",
    "time": "index of the image",
    "potential_energy": "eV",
    "forces": "eV/Å",
    FORCE_SPREAD: "eV/Å",
    LENGTH: "Å",
}
BAND = {"method": "improved tangent, climbing image", "interpolation": "idpp"}
console = Console(soft_wrap=True)


class _Settings(BaseModel):
    images: int = Field(ge=3)
    force: float = Field(gt=0)
    steps: int = Field(ge=1)


def find_path(output: Path, overrides: Sequence[str]) -> Path:
    """Relax the path that `conf/neb.yaml` and the overrides ask for; `output` appears when it has converged.

    Raises
    ------
    InputError
        If an end, the checkpoint or the engine cannot be used, the output is of another run, or the path does not
        converge.
    """
    with initialize_config_dir(str(REPOSITORY / "conf"), version_base=None):
        config = compose("neb", overrides=list(overrides))
    if output.suffix != ".zarr":
        raise InputError(f"output: expected a name that ends in .zarr, found {output}")
    if missing := [name for name in ("initial", "final") if OmegaConf.is_missing(config, name)]:
        raise InputError(f"neb: say where the path ends with {' and '.join(f'{name}=FILE' for name in missing)}")
    settings = _Settings(images=config.images, force=config.force, steps=config.steps)
    initial, final = (read_structure(config[name], 0, (1, 1, 1)) for name in ("initial", "final"))
    calculator, identity = _calculator(config)
    request = {
        **identity,
        "initial": describe(initial),
        "final": describe(final),
        "neb": {"images": settings.images, "force": settings.force, **BAND},
    }
    with unfinished(output, request) as partial:
        if partial is None:
            remove_folder(output.with_name(output.name + ".partial"))  # killed at the very end
            return output
        begin = _begin(partial)
        with Progress(TextColumn("{task.description}"), TimeElapsedColumn(), console=console) as progress:
            task = progress.add_task("relaxing")

            def watch(snapshot: Snapshot, force: float) -> None:
                _keep(snapshot, partial)
                stage = f"{STAGES[snapshot.stage]}: step {snapshot.step} of at most {settings.steps}"
                progress.update(task, description=f"{stage}, largest force {force:.3f} eV/Å")

            path = minimum_energy_path(initial, final, calculator, **settings.model_dump(), begin=begin, watch=watch)
        _write(path, request, partial / FINISHED)
        (partial / FINISHED).replace(output)
        remove_folder(partial)
        console.print(f"barrier {path.barrier:.3f} eV, back {path.barrier - path.energies[-1]:.3f} eV", markup=False)
        return output


def _calculator(config: DictConfig) -> tuple[Callable[[], Calculator], dict[str, Any]]:
    """What makes a calculator, and how it is known."""
    engine = config.get("engine")
    if (config.checkpoint is None) == (engine is None):
        found = "none" if engine is None else "both"
        raise InputError(f"neb: expected either checkpoint=NAME or engine=NAME, found {found}")
    if engine is None:
        checkpoint = load(resolve(config.checkpoint))
        return lambda: Potential(checkpoint.model), checkpoint.identity
    engine.labels = list(NEEDED)
    made = make_engine(engine)
    return lambda: EngineCalculator(made), {"level_of_theory": made.level_of_theory()}


def _begin(partial: Path) -> Snapshot | None:
    """Where an earlier run stopped."""
    if not (partial / SNAPSHOT).exists():
        return None
    with np.load(partial / SNAPSHOT) as kept:
        memory = {name.removeprefix("memory_"): kept[name] for name in kept.files if name.startswith("memory_")}
        return Snapshot(int(kept["stage"]), int(kept["step"]), kept["positions"], memory)


def _keep(snapshot: Snapshot, partial: Path) -> None:
    """Write a snapshot that is whole or not there."""
    temporary = partial / f"{SNAPSHOT}.tmp"
    with temporary.open("wb") as file:
        np.savez(
            file,
            stage=snapshot.stage,
            step=snapshot.step,
            positions=snapshot.positions,
            **{f"memory_{name}": value for name, value in snapshot.memory.items()},  # type: ignore[arg-type]
        )
    temporary.replace(partial / SNAPSHOT)
    group = open_zarr(partial, "a")
    group.attrs["committed"] = group.attrs["committed"] + 1


def _write(path: neb.Path, request: dict[str, Any], target: Path) -> None:
    """The images as frames in order; their index stands for the time."""
    shutil.rmtree(target, ignore_errors=True)
    group = open_zarr(target, "a")
    first = path.images[0]
    group.create_array("numbers", data=first.numbers)
    group.create_array("cell", data=np.array(first.cell)[None])
    for name, values in _frames(path.images).items():
        group.create_array(name, data=values)
    group.create_array(LENGTH, data=path.length)
    group.update_attributes({"units": UNITS, "pbc": first.pbc.tolist(), "request": request})


def _frames(images: Sequence[ase.Atoms]) -> dict[str, NDArray]:
    frames = {
        "positions": np.stack([image.positions for image in images]),
        "time": np.arange(len(images), dtype=float),
        "potential_energy": np.array([image.get_potential_energy() for image in images]),
        "forces": np.stack([image.get_forces() for image in images]),
    }
    results = [image.calc.results for image in images]
    if "forces_std" in results[0]:
        frames[FORCE_SPREAD] = np.stack([np.linalg.norm(each["forces_std"], axis=1) for each in results])
    return frames
