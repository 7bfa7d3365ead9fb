"""`ionecho neb`: minimum-energy paths by a line of overrides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ionecho.door.config import compose
from ionecho.dynamics.path import NebSettings, relax_path
from ionecho.errors import InputError


def find_path(output: Path, overrides: Sequence[str]) -> Path:
    """Relax the path that `conf/neb.yaml` and the overrides ask for; `output` appears when it has converged."""
    content = compose("neb", overrides)
    if missing := [f"{name}=FILE" for name in ("initial", "final") if name not in content]:
        raise InputError(f"neb: say where the path ends with {' and '.join(missing)}")
    return relax_path(NebSettings(output=output, **content))
