"""What the tests of labelling share: cells that EMT labels."""

from __future__ import annotations

from pathlib import Path

import ase
import pytest
from ase.build import bulk
from conftest import refused

from ionecho.door import label as commands

SLOW = """
import os, time
from ase.calculators.emt import EMT

class Slow(EMT):  # notes every configuration it labels
    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        time.sleep(0.02)

class Dying(EMT):  # once
    def calculate(self, atoms, properties, system_changes):
        try:
            os.remove(os.environ["DIES"])
        except FileNotFoundError:
            pass
        else:
            os._exit(9)
        super().calculate(atoms, properties, system_changes)

class Tensors(EMT):
    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        self.results["efg_tensors"] = [[1.0, 0, 0, 0, 1, 0, 0, 0, -2]] * len(atoms)
        self.results["free_energy"] = -7.0
        assert atoms.get_initial_magnetic_moments().tolist() == [1.5] * len(atoms)

class Unconverged(Tensors):
    converged = False

class Relaxing(EMT):
    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        atoms.positions += 0.01 * self.results["forces"]

class Vasp(EMT):  # what ASE's gives of a run without spin and without a stress
    implemented_properties = [*EMT.implemented_properties, "magmoms"]

    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        self.results |= {"magmoms": [0.0] * len(atoms), "stress": None}
"""


def rattled(count: int, symbol: str = "Cu", start: int = 0) -> list[ase.Atoms]:
    """Four-atom cells with displaced atoms."""
    cells = []
    for seed in range(start, start + count):
        atoms = bulk(symbol, "fcc", a=3.9, cubic=True)
        atoms.rattle(0.1, seed=seed)
        cells.append(atoms)
    return cells


def lines_of_provenance(folder: Path) -> list[str]:
    path = folder / "provenance.jsonl"
    return path.read_text().splitlines() if path.exists() else []


def refusal(capsys: pytest.CaptureFixture[str], name: str, *overrides: str) -> str:
    """The one line of a labelling run that is refused."""
    return refused(capsys, lambda: commands.run_labels(name, list(overrides)))


def calculators(tmp_path: Path, name: str) -> list[str]:
    """The engine with a calculator of the module `slow_calculators`, which lies in `tmp_path`."""
    (tmp_path / "slow_calculators.py").write_text(SLOW)
    return ["engine=ase", "+engine.settings.code=EMT", f"engine.calculator._target_=slow_calculators.{name}"]
