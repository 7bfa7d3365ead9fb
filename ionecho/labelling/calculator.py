"""Any engine as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence

import ase
from ase.calculators.calculator import Calculator, all_changes

from ionecho.errors import InputError
from ionecho.labelling.engine import Engine, EngineError

NEEDED = ("energy", "forces")


class EngineCalculator(Calculator):
    """Energy (eV) and forces (eV/Å) of a labelling engine.

    Raises
    ------
    InputError
        If the engine does not label both, or fails for a structure, which is named by its `info["source"]`.
    """

    implemented_properties = ["energy", "free_energy", "forces"]  # noqa: RUF012 (declared so by ASE)

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        if missing := set(NEEDED) - set(engine.labels):
            raise InputError(f"engine.labels: expected energy and forces, found no {' and no '.join(sorted(missing))}")
        self.engine = engine

    def calculate(
        self,
        atoms: ase.Atoms | None = None,
        properties: Sequence[str] = ("energy",),
        system_changes: Sequence[str] = all_changes,
    ) -> None:
        """Fill `results`; the energy is the one that the forces are derivatives of."""
        super().calculate(atoms, properties, system_changes)
        try:
            values = self.engine.label(self.atoms).values
        except EngineError as error:
            source = self.atoms.info.get("source", self.atoms.get_chemical_formula())
            raise InputError(f"{source}: {error}") from error
        energy = float(values["energy"])
        self.results = {"energy": energy, "free_energy": energy, "forces": values["forces"]}
