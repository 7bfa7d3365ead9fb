"""The simulations of a round of active learning: where they begin, how they run, and how unsure the model was."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from pathlib import Path

import ase
import numpy as np
import torch
from numpy.typing import NDArray

from ionecho.checkpoints.store import Checkpoint, load
from ionecho.data.schema import Configuration
from ionecho.data.trajectory import open_trajectory
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.simulate import NoFrame, quiet, simulate
from ionecho.dynamics.start import read_structure
from ionecho.exploration.settings import ExplorationSettings
from ionecho.labelling.structures import group_names
from ionecho.labelling.workers import executor, in_order
from ionecho.prediction.device import usable
from ionecho.structures.displace import displace
from ionecho.structures.read import describe

SEEDS = 1000  # between the random numbers of two rounds


@dataclass(frozen=True)
class Planned:
    """One simulation: where it begins, strained by `strain` along all axes, and how hot (K)."""

    name: str
    structure: str
    atoms: ase.Atoms
    temperature: float
    strain: float
    seed: int


@dataclass(frozen=True)
class Explored:
    """What a simulation visited: its T frames, the largest and the mean spread of a force in each (T,), eV/Å."""

    planned: Planned
    frames: Sequence[Configuration]
    largest: NDArray[np.floating]
    mean: NDArray[np.floating]
    stopped: str | None


def plan(config: ExplorationSettings, number: int, training: Sequence[Configuration]) -> list[Planned]:
    """The simulations of round `number`: all combinations of structures, temperatures, strains and seeds.

    Without `structures` each begins in a configuration drawn from the training part.
    """
    settings = config.md
    conditions = list(product(settings.temperatures, settings.strains, settings.seeds))
    if config.structures is None:
        drawn = np.random.default_rng((config.seed, number)).integers(len(training), size=len(conditions))
        starts = [
            (f"{training[k].group}#{training[k].frame}", training[k].atoms, *condition)
            for k, condition in zip(drawn, conditions, strict=True)
        ]
    else:
        starts = [
            (name, read_structure(name, condition[2], config.repeat), *condition)
            for name in config.structures
            for condition in conditions
        ]
    planned = []
    for k, (structure, atoms, temperature, strain, seed) in enumerate(starts):
        atoms = atoms.copy()
        atoms.set_cell(atoms.cell * (1 + strain), scale_atoms=True)
        run = Planned(f"explore_r{number}_{k:02d}", structure, atoms, temperature, strain, seed + SEEDS * number)
        planned.append(run)
    return planned


def explore_all(
    planned: Sequence[Planned], checkpoint: Path, spread_limit: float, config: ExplorationSettings, place: Path
) -> list[Explored]:
    """Simulate on the workers, each up to the first frame whose spread passes the limit, and read what was visited.

    A run takes one thread, wherever it is, so that how many there are changes no number. A worker that dies costs its
    run what it did since the last block on disk.
    """
    place.mkdir(parents=True, exist_ok=True)
    calls = [
        (run, checkpoint.absolute(), spread_limit, config, place.absolute() / f"{run.name}.zarr") for run in planned
    ]
    with executor(config.workers) as pool:
        visits = in_order(pool, config.workers["number"], _visit, calls, lambda call: f"the run {call[0].name}")
        return [_read(call[0], call[-1], lost) for call, lost in visits]


def _visit(
    planned: Planned, checkpoint: Path, spread_limit: float, config: ExplorationSettings, path: Path
) -> str | None:
    """In the worker; why not one frame was reached."""
    settings, loaded = config.md, _loaded(checkpoint)
    potential = Potential(loaded.model, getattr(torch, settings.dtype), usable(settings.device, settings.dtype))
    thermostat = settings.thermostat(planned.temperature, planned.seed)
    identity = {**loaded.identity, "dtype": settings.dtype, **describe(planned.atoms)}
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with quiet():
            simulate(planned.atoms, potential, thermostat, settings.run(spread_limit), identity, path)
    except NoFrame as lost:
        return str(lost.reason)
    finally:
        torch.set_num_threads(threads)
    return None


@lru_cache(maxsize=1)
def _loaded(checkpoint: Path) -> Checkpoint:
    return load(checkpoint)


def _read(planned: Planned, path: Path, lost: str | None) -> Explored:
    if lost is not None:
        return Explored(planned, [], np.empty(0), np.empty(0), lost)
    trajectory = open_trajectory(path)
    frames = list(trajectory.configurations(planned.name, planned.name))
    spread = trajectory.array("forces_std").astype(float)
    return Explored(planned, frames, spread.max(1), spread.mean(1), trajectory.stopped)


def displaced_cells(config: ExplorationSettings) -> Iterator[Configuration]:
    """Copies of the structures, strained along each axis and with displaced atoms, to begin with from nothing."""
    rattle, names = config.copies, config.structures or []
    for name, origin in zip(names, group_names(list(map(Path, names))), strict=True):
        group = f"displaced_{origin}"
        for number in range(rattle.copies):
            rng = np.random.default_rng((config.seed, number))
            atoms = read_structure(name, number, config.repeat)
            displace(atoms, rng, rattle.strain, rattle.displacement)
            yield Configuration(
                atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc, group, number, f"{group}#{number}"
            )
