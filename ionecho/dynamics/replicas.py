"""Runs of molecular dynamics that differ by their seed, here or on workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ionecho.dynamics import simulate
from ionecho.dynamics.settings import SimulationSettings
from ionecho.labelling.workers import executor, in_order


def replicas(settings: SimulationSettings) -> list[SimulationSettings]:
    """The runs asked for; of several the k-th has `seed` + k and goes to `<output>-k.zarr`."""
    if settings.replicas == 1:
        return [settings]
    name = settings.output
    return [
        replace(settings, replicas=1, seed=settings.seed + k, output=name.with_name(f"{name.stem}-{k}{name.suffix}"))
        for k in range(settings.replicas)
    ]


def run_replicas(settings: SimulationSettings, workers: Mapping[str, Any] | None = None) -> list[Path]:
    """Run them one after another, or on workers (settings as in `conf/workers/*.yaml`), one thread each; the outputs.

    The bytes are those of each run alone on as many threads. A worker that dies costs its run what it did since the
    last block on disk; a killed call goes on with all of them.
    """
    runs = replicas(settings)
    if workers is None:
        return [simulate.run_simulation(run) for run in runs]
    calls = [(replace(run, threads=1),) for run in runs]
    with executor(workers) as pool:
        return [
            made for _, made in in_order(pool, workers["number"], _quietly, calls, lambda call: f"{call[0].output}")
        ]


def _quietly(settings: SimulationSettings) -> Path:
    with simulate.quiet():
        return simulate.run_simulation(settings)
