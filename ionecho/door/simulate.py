"""`ionecho simulate`: molecular dynamics with the potential of a checkpoint."""

from __future__ import annotations

from typing import Any

from ionecho.entry import command


@command("simulate/simulate")
def main(config: dict[str, Any]) -> None:
    """Run the potential of a checkpoint from a structure."""
    from ionecho.dynamics.settings import SimulationSettings
    from ionecho.dynamics.simulate import run_simulation

    print(f"trajectory in {run_simulation(SimulationSettings(**config))}")
