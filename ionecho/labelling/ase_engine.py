"""Any ASE calculator as an engine: VASP, CASTEP, ABINIT and the rest label through their ASE interfaces."""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from contextlib import chdir
from functools import partial
from tempfile import TemporaryDirectory
from typing import Any

import ase
import numpy as np
from ase.calculators.calculator import all_changes, compare_atoms

from ionecho.data.importers.ase_files import CALCULATOR_KEYS, from_atoms
from ionecho.errors import InputError
from ionecho.labelling.engine import EngineError, Labels, refuse_other_than_elements

SAME = 1e-8  # Å
STILL = "labels are of atoms as they are given, switch its relaxation off (VASP: nsw=0)"
POLARISED = "VASP needs ispin=2 and lorbit=11; of cells without spin leave magnetic_moment out of engine.labels"


class ASEEngine:
    """Labels by an ASE calculator, each configuration in an empty folder of its own that is removed afterwards.

    Parameters
    ----------
    labels
        Labels to take from the calculator's results.
    calculator
        Makes the calculator; one is made for every configuration. Paths in its arguments have to be absolute.
    package
        Package whose version is recorded.
    settings
        What is said of the level of theory, besides the package's version and the calculator's arguments.
    keys
        Label -> key in the calculator's results where it is not the usual one, in the schema's units.
    moments
        Element -> starting moment, Bohr magnetons.

    Raises
    ------
    InputError
        If the package is not installed, or is ASE itself and `settings` does not tell what code it runs, or the
        calculator cannot give a label.
    """

    conventions: Mapping[str, Any] = {}

    def __init__(
        self,
        labels: Sequence[str],
        calculator: Any,
        package: str,
        settings: Mapping[str, Any],
        keys: Mapping[str, str],
        moments: Mapping[str, float],
    ) -> None:
        self.labels, self.make_calculator, self.keys = tuple(labels), calculator, dict(keys)
        self.package, self.settings, self.moments = package, dict(settings), dict(moments)
        refuse_other_than_elements(moments=moments)
        if not isinstance(calculator, partial):
            raise InputError(f"engine.calculator: expected {{_target_: package.Class, ...}}, found {calculator!r}")
        for label in set(labels) - set(keys):
            if label not in CALCULATOR_KEYS:
                raise InputError(f"engine.keys: say which of the calculator's results is {label}")
            able = getattr(calculator.func, "implemented_properties", None)  # of some only known when they are made
            if isinstance(able, list | tuple) and _property(label) not in able:
                raise InputError(f"engine.labels: {calculator.func.__name__} gives {', '.join(able)}, not {label}")
        if package == "ase" and not settings:
            raise InputError(
                "engine.settings: say which code and version the calculator runs, such as {code: VASP 6.4.2}: "
                "ASE does not tell"
            )
        try:
            self.version = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError as error:
            raise InputError(f"engine.package: {package} is not installed: no version to record") from error

    def level_of_theory(self) -> dict[str, Any]:
        """Package, version, calculator and its arguments, and what the config says of the method."""
        made = self.make_calculator
        return {
            "engine": f"{self.package} {self.version}",
            "calculator": f"{made.func.__module__}.{made.func.__name__}",  # type: ignore[attr-defined]
            "arguments": _told(made.keywords),
            **({"keys": self.keys} if self.keys else {}),
            **({"starting_moments": self.moments} if self.moments else {}),
            **self.settings,
        }

    def check(self, symbols: set[str]) -> dict[str, str]:
        """Nothing is known of an ASE calculator before it runs."""
        return {}

    def label(self, atoms: ase.Atoms) -> Labels:
        """Run the calculator once."""
        start = sum(os.times()[:4])
        atoms = atoms.copy()
        if self.moments:
            atoms.set_initial_magnetic_moments([self.moments.get(symbol, 0.0) for symbol in atoms.symbols])
        asked = atoms.copy()
        try:
            with TemporaryDirectory() as folder, chdir(folder):
                atoms.calc = self.make_calculator()
                atoms.calc.calculate(atoms, list(map(_property, self.labels)), all_changes)
                found = from_atoms(atoms, self.keys, source="calculator", frame=0).labels
        except Exception as error:
            raise EngineError(f"{self.package}: {type(error).__name__}: {error}") from error
        if getattr(atoms.calc, "converged", None) is False:  # as ASE's Vasp tells that its electronic steps ran out
            raise EngineError(f"{self.package}: the calculation did not converge")
        if compare_atoms(asked, atoms, SAME, excluded_properties=["initial_magmoms", "initial_charges"]):
            raise EngineError(f"{self.package}: the calculator moved the atoms; {STILL}")
        if missing := set(self.labels) - set(found):
            raise EngineError(f"{self.package} gave no {', '.join(sorted(missing))}; see engine.labels and engine.keys")
        values = {name: found[name] for name in self.labels}
        if "magnetic_moment" in values and not values["magnetic_moment"].any():  # ASE's Vasp has 0 where it has none
            raise EngineError(f"{self.package}: every moment is exactly 0, most likely not computed: {POLARISED}")
        return Labels(values, provenance={"seconds": round(sum(os.times()[:4]) - start, 2)})


def _told(value: Any) -> Any:
    """A calculator's argument as it stands in the card; an object by its type and its attributes."""
    if isinstance(value, str | int | float | None):
        return value
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _told(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_told(part) for part in value]
    return {"type": type(value).__name__} | _told(vars(value)) if hasattr(value, "__dict__") else str(value)


def _property(label: str) -> str:
    """ASE's name of it."""
    return {"magnetic_moment": "magmoms"}.get(label, label)
