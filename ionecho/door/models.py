"""`ionecho models`: what checkpoints know of themselves, and models in the files of other codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ionecho.checkpoints.commands import app
from ionecho.errors import InputError

__all__ = ["app"]


@app.command("export")
def export(
    name: str,
    folder: Path,
    format: Annotated[
        str, typer.Option(help="lammps: files of pair_style uf3; metatomic: one file for ASE, torch-sim and others")
    ] = "lammps",
) -> None:
    """Write a model in the files of another code."""
    from ionecho.checkpoints import metatomic_file
    from ionecho.checkpoints.resolve import resolve
    from ionecho.checkpoints.store import load
    from ionecho.dynamics import lammps_files

    if format == "lammps":
        print(f"include {lammps_files.export(load(resolve(name)), folder)}")
    elif format == "metatomic":
        print(f"{metatomic_file.export(load(resolve(name)), folder)}")
    else:
        raise InputError(f"--format: expected lammps or metatomic, found {format!r}")
