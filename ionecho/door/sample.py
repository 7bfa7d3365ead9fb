"""`ionecho sample`: configurations by the recipe of a dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False)


@app.command("sample")
def sample(
    name: Annotated[str, typer.Argument(help="lps_gpaw, nvp_gpaw, p2_gpaw or p2_nnmo_gpaw")],
    output: Annotated[Path, typer.Argument(help="file to write, ends in .zarr.zip")],
) -> None:
    """Draw configurations as those of a dataset of IonEcho were, by its recipe; a killed run goes on."""
    from ionecho.exploration.recipes import write

    print(f"configurations in {write(name, output)}; `ionecho label run mine input={output} engine={name}` labels them")
