"""Molecular dynamics with a trained potential into zarr (Format 2). Killed at any moment, the same line goes on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.data import covalent_radii
from ase.md.velocitydistribution import Stationary, thermalize_momenta
from ase.neighborlist import neighbor_list
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ionecho.data.store import open_zarr
from ionecho.data.trajectory_writer import append
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Ensemble, state_of
from ionecho.errors import InputError

UNITS = {"positions": "Å", "cell": "Å", "time": "fs", "potential_energy": "eV", "temperature": "K"}
SPREAD = "force_spread"
console = Console()


@dataclass(frozen=True)
class Run:
    """How long, how often a frame is kept, and when to stop early."""

    steps: int
    every: int  # steps between frames
    block: int  # frames written at once, after which a killed run goes on
    spread_limit: float | None  # eV/Å, largest force spread of the ensemble's members on an atom
    contact_limit: float  # shortest distance in sums of covalent radii

    def __post_init__(self) -> None:
        if self.every < 1 or self.block < 1:
            raise InputError(f"every, block: expected at least one, found {self.every}, {self.block}")
        if self.steps < self.every or self.steps % self.every:
            raise InputError(f"time: expected a multiple of every ({self.every} steps), found {self.steps} steps")


class Broken(Exception):
    """The run cannot go on; the text says why."""


def simulate(
    atoms: ase.Atoms, potential: Potential, ensemble: Ensemble, run: Run, identity: Mapping[str, Any], output: Path
) -> Path:
    """Run and write `output`, which appears when the run is complete or has stopped for a reason it records.

    Positions are not wrapped. Velocities are drawn at the temperature of the ensemble, without drift.

    Parameters
    ----------
    identity
        What decides the numbers besides the settings: checkpoint and structure. Stored with the trajectory; a killed
        run goes on only where all of it is the same.
    """
    request = {**identity, "ensemble": asdict(ensemble), "run": asdict(run)}
    request = json.loads(json.dumps(request))
    if output.exists():
        if open_zarr(output, "r").attrs.get("request") != request:
            raise InputError(f"{output} exists and is of another run; choose another output or remove it")
        console.print(f"{output} is complete already")
        return output
    partial = output.with_name(output.name + ".partial")
    group = open_zarr(partial, "a")
    if group.attrs.get("request", request) != request:
        raise InputError(f"{partial} is left from another run; remove it or choose another output")
    atoms = atoms.copy()
    atoms.calc = potential
    if "committed" not in group.attrs:
        _begin(group, atoms, ensemble, request)
    reason = _advance(group, atoms, ensemble, run)
    if group.attrs["committed"] == 0:
        raise InputError(f"{output}: no frame was reached, the run stopped {reason}")
    if reason is not None:
        console.print(f"stopped: {reason}")
    return partial.replace(output)


def _begin(group: Any, atoms: ase.Atoms, ensemble: Ensemble, request: dict[str, Any]) -> None:
    rng = np.random.default_rng(ensemble.seed)
    thermalize_momenta(atoms, ensemble.temperature, rng=rng)
    Stationary(atoms)
    group.create_array("numbers", data=atoms.numbers, overwrite=True)
    units_of = UNITS | {SPREAD: "eV/Å"}
    group.attrs.update(
        request=request, committed=0, units=units_of, pbc=atoms.pbc.tolist(), state=_state(atoms, {}), stopped=None
    )


def _advance(group: Any, atoms: ase.Atoms, ensemble: Ensemble, run: Run) -> str | None:
    """Go on from the last block on disk; the reason if the run stops early."""
    done = int(group.attrs["committed"])
    state, stopped = group.attrs["state"], group.attrs["stopped"]
    if stopped is not None:
        return str(stopped)
    frames = run.steps // run.every
    start, first = time.perf_counter(), done
    with _progress() as progress:
        task = progress.add_task("simulating", total=frames, completed=done, speed="")
        while done < frames:
            _restore(atoms, state)
            integrator = ensemble.integrator(atoms, done, state["integrator"])
            kept: list[dict[str, NDArray]] = []
            reason = None
            try:
                for frame in range(done, min(done + run.block, frames)):
                    integrator.run(run.every)
                    _check(atoms, run)
                    kept.append(_frame(atoms, (frame + 1) * run.every * ensemble.timestep))
            except Broken as broken:
                reason = f"after {(done + len(kept)) * run.every * ensemble.timestep:g} fs: {broken}"
            state = _state(atoms, state_of(integrator))
            if kept:
                arrays = {name: np.stack([frame[name] for frame in kept]) for name in kept[0]}
                done = append(group, done, arrays, run.block, state=state, stopped=reason)
            if reason is not None:
                return reason
            simulated = (done - first) * run.every * ensemble.timestep * 1e-6  # ns
            speed = f"{simulated / (time.perf_counter() - start) * 86_400:.3g} ns/day"
            progress.update(task, completed=done, speed=speed)
    return None


def _check(atoms: ase.Atoms, run: Run) -> None:
    """Stop where the potential is lost or the structure broken."""
    results = atoms.calc.results
    if not np.isfinite(results["forces"]).all():
        raise Broken("a force is not a number")
    if "forces_std" in results and run.spread_limit is not None:
        spread = np.linalg.norm(results["forces_std"], axis=1)
        if spread.max() > run.spread_limit:
            atom = int(spread.argmax())
            name = f"{atoms.symbols[atom]} {atom}"
            raise Broken(f"force spread {spread.max():.2f} eV/Å on {name}, the limit is {run.spread_limit}")
    radii = run.contact_limit * covalent_radii[atoms.numbers]
    i, j, distance = neighbor_list("ijd", atoms, radii)
    if len(i):
        k = int(distance.argmin())
        pair = f"{atoms.symbols[i[k]]} {i[k]} and {atoms.symbols[j[k]]} {j[k]}"
        raise Broken(f"{pair} are {distance[k]:.2f} Å apart, less than {run.contact_limit} sums of covalent radii")


def _frame(atoms: ase.Atoms, elapsed: float) -> dict[str, NDArray]:
    values = {
        "positions": atoms.positions.astype(np.float32),
        "cell": np.array(atoms.cell),
        "time": np.array(elapsed),
        "potential_energy": np.array(atoms.get_potential_energy()),
        "temperature": np.array(atoms.get_temperature()),
    }
    if "forces_std" in atoms.calc.results:
        values[SPREAD] = np.linalg.norm(atoms.calc.results["forces_std"], axis=1).astype(np.float32)
    return values


def _state(atoms: ase.Atoms, integrator: dict[str, Any]) -> dict[str, Any]:
    """All that the next block starts from."""
    arrays = {"positions": atoms.positions, "momenta": atoms.get_momenta(), "cell": np.array(atoms.cell)}
    return {**{name: array.tolist() for name, array in arrays.items()}, "integrator": integrator}


def _restore(atoms: ase.Atoms, state: Mapping[str, Any]) -> None:
    atoms.set_cell(state["cell"])
    atoms.set_positions(state["positions"])
    atoms.set_momenta(state["momenta"])


def _progress() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[speed]}"))
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


def femtoseconds(text: str | float) -> float:
    """A time such as `1ns`, `10ps` or `500fs`; a bare number is in fs."""
    value = str(text).strip()
    for unit, factor in (("fs", 1.0), ("ps", 1e3), ("ns", 1e6), ("us", 1e9)):
        if value.endswith(unit):
            value, scale = value.removesuffix(unit), factor
            break
    else:
        scale = 1.0
    try:
        return float(value) * scale
    except ValueError as error:
        raise InputError(f"time: expected a number with fs, ps, ns or us, found {text!r}") from error
