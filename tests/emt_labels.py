"""What the tests of labelling share: cells that EMT labels."""

from __future__ import annotations

from pathlib import Path

import ase
import pytest
from ase.build import bulk

from ionecho.entry import guarded
from ionecho.labelling import commands

EMT_ENGINE = ["engine=ase", "+engine.settings.code=EMT", "engine.calculator._target_=ase.calculators.emt.EMT"]


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
    """The one line of a run that is refused with exit code 2."""
    with pytest.raises(SystemExit) as end:
        guarded("ionecho", lambda: commands.run_labels(name, list(overrides)))
    assert end.value.code == 2
    text = capsys.readouterr().err
    assert text.count("\n") == 1
    return text
