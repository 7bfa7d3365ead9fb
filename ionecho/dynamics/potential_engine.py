"""A trained potential as an engine, to teach a fast one what a slow one knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ase.data import chemical_symbols

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.dynamics.calculator import Potential
from ionecho.errors import InputError
from ionecho.labelling.ase_engine import ASEEngine


class PotentialEngine(ASEEngine):
    """Labels by the potential of a checkpoint, in double precision on the CPU.

    Parameters
    ----------
    labels
        `energy`, `forces`, `stress`, or some of them.
    checkpoint
        Name, absolute folder, or owner/name on the Hub.
    settings
        What the dataset's card should say besides.
    """

    def __init__(self, labels: Sequence[str], checkpoint: str, settings: Mapping[str, Any]) -> None:
        loaded = load(resolve(checkpoint))
        self.checkpoint = loaded.identity
        self.known = {chemical_symbols[number] for number in loaded.model.numbers}
        super().__init__(labels, partial(Potential, loaded.model), "ionecho", settings, keys={}, moments={})

    def level_of_theory(self) -> dict[str, Any]:
        """The checkpoint and the hash of its weights."""
        return {"engine": f"ionecho {self.version}", **self.checkpoint, **self.settings}

    def check(self, symbols: set[str]) -> dict[str, str]:
        """Refuse elements that the potential does not know."""
        if unknown := symbols - self.known:
            raise InputError(f"engine.checkpoint: {self.checkpoint['checkpoint']} does not know {', '.join(unknown)}")
        return {}
