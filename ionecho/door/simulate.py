"""`ionecho simulate`: molecular dynamics with the potential of a checkpoint."""

from __future__ import annotations

from typing import Any

from ionecho.entry import command


@command("simulate/simulate")
def main(config: dict[str, Any]) -> None:
    """Run the potential of a checkpoint from a structure."""
    from ionecho.dynamics.replicas import run_replicas
    from ionecho.dynamics.settings import SimulationSettings

    workers = config.pop("workers", None)
    for output in run_replicas(SimulationSettings(**config), workers):
        print(f"trajectory in {output}")
