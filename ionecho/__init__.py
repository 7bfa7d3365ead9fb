"""Machine-learned NMR and redox signals of moving ions in battery materials.

import ionecho
model = ionecho.load("spin_transfer-p2_nmmo")
shifts = model.predict(atoms)["hyperfine_contact_shift"]
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.2.0"
__all__ = ["Model", "analyze", "dataset", "load", "simulate", "train"]


def __getattr__(name: str) -> Any:
    """The functions of `ionecho.face`, imported when one of them is asked for."""
    if name in __all__:
        return getattr(import_module("ionecho.face"), name)
    raise AttributeError(f"module 'ionecho' has no attribute {name!r}")
