"""`ionecho neb`: minimum-energy paths by a line of overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ionecho.door.config import compose
from ionecho.errors import InputError

app = typer.Typer(add_completion=False)


@app.command("neb")
def neb(
    output: Annotated[Path, typer.Argument(help="zarr folder, appears when the path has converged")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="of conf/neb.yaml: initial=a.xyz final=b.xyz checkpoint=painn-p2_gpaw")
    ] = None,
) -> None:
    """Relax the minimum-energy path between two structures with a potential or an engine; a killed run goes on."""
    print(f"path in {find_path(output, overrides or [])}")


def find_path(output: Path, overrides: Sequence[str]) -> Path:
    """Relax the path that `conf/neb.yaml` and the overrides ask for; `output` appears when it has converged."""
    from ionecho.dynamics.path import NebSettings, relax_path

    content = compose("neb", overrides)
    if missing := [f"{name}=FILE" for name in ("initial", "final") if name not in content]:
        raise InputError(f"neb: say where the path ends with {' and '.join(missing)}")
    return relax_path(NebSettings(output=output, **content))
