"""A trained potential as an engine, to teach a fast one what a slow one knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ase.data import chemical_symbols

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.dynamics.calculator import Potential, uncertain
from ionecho.errors import InputError
from ionecho.labelling.ase_engine import ASEEngine


class SurePotential(Potential):
    """A potential that raises ArithmeticError where the spread of a force is above a limit in eV/Å."""

    def __init__(self, *arguments: Any, spread_limit: float | None, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.spread_limit = spread_limit

    def calculate(self, *arguments: Any, **options: Any) -> None:
        """Fill `results`, or raise."""
        super().calculate(*arguments, **options)
        if self.spread_limit is not None and (why := uncertain(self.results, self.atoms, self.spread_limit)):
            raise ArithmeticError(why)


class PotentialEngine(ASEEngine):
    """Labels by the potential of a checkpoint, in double precision on the CPU.

    Parameters
    ----------
    labels
        `energy`, `forces`, `stress`, or some of them.
    checkpoint
        Name, absolute folder, or owner/name on the Hub.
    spread_limit
        Largest calibrated spread of a force in eV/Å, of an ensemble: where it does not know a configuration, it fails.
    settings
        What the dataset's card should say besides.
    """

    def __init__(
        self, labels: Sequence[str], checkpoint: str, spread_limit: float | None, settings: Mapping[str, Any]
    ) -> None:
        loaded = load(resolve(checkpoint))
        if spread_limit is not None and len(loaded.model.members) < 2:
            raise InputError(f"engine.spread_limit: {checkpoint} has one member and no spread; set it to null")
        self.checkpoint = loaded.identity
        self.known = {chemical_symbols[number] for number in loaded.model.numbers}
        sure = partial(SurePotential, loaded.model, spread_limit=spread_limit)
        super().__init__(labels, sure, "ionecho", settings, keys={}, moments={})

    def level_of_theory(self) -> dict[str, Any]:
        """The checkpoint and the hash of its weights."""
        return {"engine": f"ionecho {self.version}", **self.checkpoint, **self.settings}

    def check(self, symbols: set[str]) -> dict[str, str]:
        """Refuse elements that the potential does not know."""
        if unknown := symbols - self.known:
            raise InputError(f"engine.checkpoint: {self.checkpoint['checkpoint']} does not know {', '.join(unknown)}")
        return {}
