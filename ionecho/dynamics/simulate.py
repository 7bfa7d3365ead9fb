"""Molecular dynamics with a trained potential into zarr (Format 2). Killed at any moment, the same line goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
from ase.calculators.calculator import Calculator
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.units import kB
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.store import open_zarr
from ionecho.data.trajectory import Frames
from ionecho.data.trajectory_writer import append, truncate
from ionecho.data.unfinished import unfinished
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import AseIntegrator, Broken, Integrator, Thermostat
from ionecho.dynamics.lammps_integrator import LammpsIntegrator
from ionecho.dynamics.run import Run
from ionecho.dynamics.settings import SimulationSettings
from ionecho.dynamics.start import read_structure
from ionecho.errors import InputError
from ionecho.models.domain import DISTANCE, QUANTILE
from ionecho.prediction.device import PredictionSettings, usable
from ionecho.prediction.predictor import Predictor, predictors
from ionecho.structures.read import describe

INTEGRATORS: dict[str, Callable[[ase.Atoms, Calculator, Thermostat], Integrator]] = {
    "ase": AseIntegrator,
    "lammps": LammpsIntegrator,
}
SETTLING = 5.0  # thermostat times in which a start that is strained or displaced may be hot
AWAY = {DISTANCE, QUANTILE}  # written of the first property attached
UNITS = {
    "positions": "Å",
    "cell": "Å",
    "time": "fs",
    "potential_energy": "eV",
    "temperature": "K",
    "forces_std": "eV/Å",
}
console = Console(soft_wrap=True)


class NoFrame(InputError):
    """A run stopped before its first frame; `reason` says why."""

    def __init__(self, output: Path, reason: str | None) -> None:
        super().__init__(f"{output}: no frame was reached, the run stopped {reason}")
        self.reason = reason


@contextmanager
def quiet() -> Iterator[None]:
    """In a worker, whose progress nobody looks at."""
    before, console.quiet = console.quiet, True
    try:
        yield
    finally:
        console.quiet = before


def run_simulation(settings: SimulationSettings) -> Path:
    """Run the potential of a checkpoint from a structure; the output.

    Raises
    ------
    InputError
        If the device, the checkpoint, the structure or the settings cannot be used, or no frame is reached.
    """
    device = usable(settings.device, settings.dtype)
    prediction = PredictionSettings.choose(device, settings.dtype, settings.threads, settings.block, None)
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    named = settings.checkpoint
    checkpoint = load(resolve(named)) if isinstance(named, str) else named
    potential = Potential(checkpoint.model, getattr(torch, settings.dtype), device)
    thermostat, run = settings.thermostat, settings.run
    atoms = read_structure(settings.structure, settings.arrangement, settings.repeat)
    potential.check(atoms)
    if thermostat.kind == "npt":
        known = checkpoint.pressure_error(settings.pressure_error_limit)
        console.print(f"error of the pressure of {checkpoint.config.name}: {known}", markup=False)
    identity = {**checkpoint.identity, "dtype": settings.dtype, **describe(atoms)}
    properties = predictors(settings.properties, atoms, settings.parameters, prediction)
    keep = settings.velocities == "keep"
    return simulate(atoms, potential, thermostat, run, identity, settings.output, settings.engine, properties, keep)


def simulate(
    atoms: ase.Atoms,
    potential: Calculator,
    thermostat: Thermostat,
    run: Run,
    identity: Mapping[str, Any],
    output: Path,
    engine: str = "ase",
    properties: Sequence[Predictor] = (),
    keep_velocities: bool = False,
) -> Path:
    """Run and write `output`, which appears when the run is complete or has stopped for a reason it records.

    Positions are not wrapped. A complete output is made longer where more time is asked for than it holds.

    Parameters
    ----------
    identity
        What decides the numbers besides the settings: checkpoint and structure. Stored with the trajectory; a killed
        run goes on only where all of it is the same.
    engine
        `ase`, for any potential, or `lammps`, for `Potential` of a UF3.
    properties
        Models applied to every frame as it is stored; their predictions are written beside it as `predict` does.
    keep_velocities
        Begin with those of `atoms`, instead of some drawn at the temperature of the thermostat, without drift.
    """
    if engine not in INTEGRATORS:
        raise InputError(f"engine: expected one of {', '.join(INTEGRATORS)}, found {engine!r}")
    if not keep_velocities:
        if atoms.has("momenta"):
            console.print(f"velocities drawn at {thermostat.temperature:g} K, those of the structure are left out")
        atoms = drawn_velocities(atoms, thermostat.temperature, thermostat.seed)
    elif not atoms.has("momenta"):
        raise InputError("velocities=keep: the structure holds none; give a trajectory of simulate.py, or draw them")
    else:
        atoms, identity = atoms.copy(), {**identity, "momenta": atoms.get_momenta().tolist()}
    moving = INTEGRATORS[engine](atoms, potential, thermostat)
    if not moving.freedoms:
        raise InputError(f"ensemble {thermostat.kind}: one atom without total momentum does not move; repeat the cell")
    own = keep_velocities and thermostat.kind == "nve"
    heat = 2 * atoms.get_kinetic_energy() / (moving.freedoms * kB) if own else thermostat.temperature
    kept = {name: value for name, value in asdict(run).items() if name != "steps"}
    request = {**identity, **moving.identity, "ensemble": asdict(thermostat), "run": kept, **_requested(properties)}

    def whole(known: Mapping[str, Any]) -> bool:
        return known["stopped"] is not None or known["committed"] >= run.frames

    with unfinished(output, request, whole) as partial:
        if partial is None:
            _tell(open_zarr(output, "r").attrs["stopped"])
            return output
        group = open_zarr(partial, "a")
        if group.attrs["committed"] == 0:
            _begin(group, atoms, properties)
        reason = _advance(group, moving, run, thermostat, properties, heat)
        if group.attrs["committed"] == 0:
            raise NoFrame(output, reason)
        _tell(reason)
        truncate(group)
        return partial.replace(output)


def drawn_velocities(atoms: ase.Atoms, temperature: float, seed: int) -> ase.Atoms:
    """A copy with velocities of the temperature, K, whose 3N - 3 freedoms share it: the total momentum is zero."""
    atoms = atoms.copy()
    thermalize_momenta(atoms, temperature, rng=np.random.default_rng(seed))
    Stationary(atoms, preserve_temperature=False)
    return atoms


def _tell(stopped: str | None) -> None:
    if stopped is not None:
        console.print(f"stopped: {stopped}")


def _requested(properties: Sequence[Predictor]) -> dict[str, Any]:
    return {"properties": [each.request for each in properties]} if properties else {}


def _begin(group: Any, atoms: ase.Atoms, properties: Sequence[Predictor]) -> None:
    group.create_array("numbers", data=atoms.numbers, overwrite=True)
    units = {name: unit for each in properties for name, unit in each.units.items()}
    known = {"units": {**units, **UNITS}, "pbc": atoms.pbc.tolist(), **_attached(group, atoms, properties)}
    group.update_attributes({**known, "state": {}, "stopped": None})


def _attached(group: Any, atoms: ase.Atoms, properties: Sequence[Predictor]) -> dict[str, Any]:
    """Write the centres; the attributes that readers of predictions expect, of the model that gives the couplings."""
    if not properties:
        return {}
    first, frame = properties[0], Frames(atoms.positions[None], np.array(atoms.cell)[None])
    predicted: dict[str, str] = {}
    attributes: dict[str, Any] = {"properties": [each.physics for each in properties]}
    for each in properties:
        name = each.checkpoint.config.name
        if not np.array_equal(each.centres, first.centres):
            other = first.checkpoint.config.name
            raise InputError(f"properties: {other} and {name} predict for different atoms; attach one of them")
        if each.checkpoint.drives_ions:
            raise InputError(f"properties: {name} is a potential; predict.py applies it to the run's frames")
        for array in each(frame, 0).keys() - AWAY:
            if array in predicted:
                raise InputError(f"properties: {predicted[array]} and {name} both predict {array}; attach one of them")
            predicted[array] = name
    for each in sorted(properties, key=lambda each: bool(each.parameters)):
        attributes |= each.physics
    group.create_array("centres", data=first.centres, overwrite=True)
    return attributes


def _advance(
    group: Any, integrator: Integrator, run: Run, thermostat: Thermostat, properties: Sequence[Predictor], heat: float
) -> str | None:
    """Go on from the last block on disk; the reason if the run stops early. `heat` is the start's temperature, K."""
    done = int(group.attrs["committed"])
    state, stopped = group.attrs["state"], group.attrs["stopped"]
    if stopped is not None:
        return str(stopped)
    frames, spacing, volume = run.frames, run.every * thermostat.timestep, integrator.atoms.cell.volume
    start, first = time.perf_counter(), done
    with _progress() as progress:
        task = progress.add_task("simulating", total=frames, completed=done, speed="")
        while done < frames:
            integrator.begin(done, state)
            kept: list[dict[str, NDArray]] = []
            reason = None
            try:
                for frame in range(done, min(done + run.block, frames)):
                    results = integrator.advance(run.every)
                    elapsed = (frame + 1) * spacing
                    temperature = 2 * integrator.atoms.get_kinetic_energy() / (integrator.freedoms * kB)
                    run.check(integrator.atoms, results, volume)
                    if elapsed > SETTLING * thermostat.thermostat_time:
                        run.check_heat(temperature, integrator.freedoms, heat)
                    kept.append(_frame(integrator.atoms, results, elapsed, temperature))
            except Broken as broken:
                reason = f"after {(done + len(kept)) * spacing:g} fs: {broken}"
            if kept:
                state = {} if reason else integrator.state()
                arrays = {name: np.stack([frame[name] for frame in kept]) for name in kept[0]}
                frames_kept = Frames(arrays["positions"], arrays["cell"])
                for each in properties:
                    arrays = each(frames_kept, done) | arrays
                done = append(group, done, arrays, run.block, state=state, stopped=reason)
            else:
                group.attrs["stopped"] = reason
            if reason is not None:
                return reason
            simulated = (done - first) * spacing * 1e-6  # ns
            speed = f"{simulated / (time.perf_counter() - start) * 86_400:.3g} ns/day"
            progress.update(task, completed=done, speed=speed)
    return None


def _frame(atoms: ase.Atoms, results: Mapping[str, Any], elapsed: float, temperature: float) -> dict[str, NDArray]:
    values = {
        "positions": atoms.positions.astype(np.float32),
        "cell": np.array(atoms.cell),
        "time": np.array(elapsed),
        "potential_energy": np.array(results["energy"]),
        "temperature": np.array(temperature),
    }
    if "forces_std" in results:
        values["forces_std"] = results["forces_std"].astype(np.float32)
    return values


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[speed]}"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)
