"""The `ionecho` command: datasets and models on disk and on the Hub, labels from DFT engines, minimum-energy paths."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ionecho.checkpoints import commands as models
from ionecho.data import commands as data
from ionecho.door import label
from ionecho.entry import guarded
from ionecho.errors import InputError

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__, pretty_exceptions_enable=False)
app.add_typer(data.app, name="data")
app.add_typer(label.app, name="label")
app.add_typer(models.app, name="models")


@app.command("sample")
def sample(
    name: Annotated[str, typer.Argument(help="lps_glass, lps_gpaw, nvp_gpaw or p2_gpaw")],
    output: Annotated[Path, typer.Argument(help="file to write, ends in .zarr.zip")],
) -> None:
    """Draw configurations as those of a dataset of IonEcho were, by its recipe; a killed run goes on."""
    from ionecho.exploration.recipes import write

    print(f"configurations in {write(name, output)}; `ionecho label run mine input={output} engine={name}` labels them")


@app.command("neb")
def neb(
    output: Annotated[Path, typer.Argument(help="zarr folder, appears when the path has converged")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="of conf/neb.yaml: initial=a.xyz final=b.xyz checkpoint=painn-p2_gpaw")
    ] = None,
) -> None:
    """Relax the minimum-energy path between two structures with a potential or an engine; a killed run goes on."""
    from ionecho.door.neb import find_path

    print(f"path in {find_path(output, overrides or [])}")


@models.app.command("export")
def export(
    name: str,
    folder: Path,
    format: Annotated[str, typer.Option(help="lammps: files of pair_style uf3")] = "lammps",
) -> None:
    """Write a potential in the files of another code."""
    from ionecho.checkpoints.resolve import resolve
    from ionecho.checkpoints.store import load
    from ionecho.dynamics import lammps_files

    if format != "lammps":
        raise InputError(f"--format: expected lammps, found {format!r}")
    print(f"include {lammps_files.export(load(resolve(name)), folder)}")


def main() -> None:
    """Run the command line; input that cannot be served ends with one line and exit code 2."""
    guarded("ionecho", app)


if __name__ == "__main__":
    main()
