"""A minimum-energy path into zarr (Format 2). Killed at any moment, the same call goes on."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import ase
import numpy as np
from ase.calculators.calculator import Calculator
from numpy.typing import NDArray
from pydantic import Field, InstanceOf, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import Checkpoint, load
from ionecho.data.files import remove_folder
from ionecho.data.store import open_zarr
from ionecho.data.unfinished import unfinished
from ionecho.dynamics import neb
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.neb import STAGES, Snapshot, minimum_energy_path
from ionecho.dynamics.start import read_structure
from ionecho.errors import InputError
from ionecho.labelling.calculator import NEEDED, EngineCalculator
from ionecho.labelling.engine import make_engine
from ionecho.structures.read import describe

LENGTH = "path_length"
SNAPSHOT, FINISHED = "snapshot.npz", "path.zarr"  # in the folder of an unfinished run
UNITS = {
    "positions": "Å",
    "cell": "Å",
    "time": "index of the image",
    "potential_energy": "eV",
    "forces": "eV/Å",
    "forces_std": "eV/Å",
    LENGTH: "Å",
}
BAND = {"method": "improved tangent, climbing image", "interpolation": "idpp"}
console = Console(soft_wrap=True)


@dataclass(frozen=True)
class NebSettings:
    """What `ionecho neb` is told, as `conf/neb.yaml` writes it out."""

    initial: str | InstanceOf[ase.Atoms]  # a file that ASE reads (its last frame), or the structure; periodic
    final: str | InstanceOf[ase.Atoms]  # the same atoms in the same order and cell
    output: Path  # ends in .zarr
    checkpoint: str | InstanceOf[Checkpoint] | None = None  # of a potential; either this or an engine
    engine: dict[str, Any] | None = None  # as `make_engine` takes it
    images: Annotated[int, Field(ge=3)] = 7  # ends included
    force: PositiveFloat = 0.05  # eV/Å, largest on an atom of an end, and of the band across it
    steps: PositiveInt = 500  # most of each end, of the band, and of the band with a climbing image

    def __post_init__(self) -> None:
        if self.output.suffix != ".zarr":
            raise InputError(f"output: expected a name that ends in .zarr, found {self.output}")
        if (self.checkpoint is None) == (self.engine is None):
            found = "none" if self.engine is None else "both"
            raise InputError(f"neb: expected either checkpoint=NAME or engine=NAME, found {found}")


def relax_path(settings: NebSettings) -> Path:
    """Relax the path between two structures; the output, which is returned, appears when it has converged.

    Raises
    ------
    InputError
        If an end, the checkpoint or the engine cannot be used, the output is of another run, or the path does not
        converge.
    """
    output = settings.output
    initial, final = (read_structure(end, 0, (1, 1, 1)) for end in (settings.initial, settings.final))
    calculator, identity = _calculator(settings)
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

            path = minimum_energy_path(
                initial, final, calculator, settings.images, settings.force, settings.steps, begin, watch
            )
        _write(path, request, partial / FINISHED)
        (partial / FINISHED).replace(output)
        remove_folder(partial)
        console.print(f"barrier {path.barrier:.3f} eV, back {path.barrier - path.energies[-1]:.3f} eV", markup=False)
        return output


def _calculator(settings: NebSettings) -> tuple[Callable[[], Calculator], dict[str, Any]]:
    """What makes a calculator, and how it is known."""
    if settings.engine is None:
        known = settings.checkpoint
        checkpoint = known if isinstance(known, Checkpoint) else load(resolve(str(known)))
        return lambda: Potential(checkpoint.model), checkpoint.identity
    made = make_engine({**settings.engine, "labels": list(NEEDED)})
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
        frames["forces_std"] = np.stack([each["forces_std"] for each in results])
    return frames
