"""`ionecho models`: list, verify, release, publish and pull checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
console = Console(soft_wrap=True)


@app.command("list")
def list_models() -> None:
    """Checkpoints on this machine with their test errors."""
    from ionecho.checkpoints.resolve import local_checkpoints
    from ionecho.checkpoints.store import read_config

    table = Table("name", "members", "dataset", "split", "test error (RMSE)")
    for name, folder in local_checkpoints().items():
        config = read_config(folder)
        metrics = json.loads((folder / "metrics.json").read_text())
        errors = [f"{key} {value['rmse']:.3g}" for key, value in metrics.get("test", {}).items() if "rmse" in value]
        data = config.dataset
        table.add_row(name, str(config.members), f"{data['name']} {data['version']}", data["split"], ", ".join(errors))
    console.print(table)


@app.command("verify")
def verify_model(name: str) -> None:
    """Load a checkpoint: format, weights and model fit together."""
    from ionecho.checkpoints.resolve import resolve
    from ionecho.checkpoints.store import load

    checkpoint = load(resolve(name))
    parameters = sum(p.numel() for p in checkpoint.model.parameters())
    console.print(f"{checkpoint.folder} is sound: {parameters} parameters, weights sha256 {checkpoint.sha256}")


@app.command("release")
def release_model(
    run: Path,
    measured: Annotated[list[Path] | None, typer.Argument(help="runs with cv.folds or learning_curve")] = None,
    limits: Annotated[str | None, typer.Option(help="for the card: what it should not be used for")] = None,
) -> None:
    """Put the checkpoint of a training run into `models/`, with what other runs measured in its card."""
    from ionecho.checkpoints.release import release

    console.print(f"{release(run, measured or [], limits)}")


@app.command("publish")
def publish_model(
    name: str, repository: Annotated[str, typer.Argument(help="owner/name on the Hub")], tag: str = "v1.0.0"
) -> None:
    """Upload a checkpoint with its card to the Hub, tagged."""
    from ionecho.checkpoints.resolve import publish

    console.print(f"published {publish(name, repository, tag)}")


@app.command("pull")
def pull_model(name: str, revision: str = "main") -> None:
    """Download a checkpoint from the Hub into the cache."""
    from ionecho.checkpoints.resolve import pull

    console.print(f"{pull(name, revision)}")
