"""How much of the forces of p2_nmmo is numerical noise: python -m validation.force_noise [RUN].

The real-space grid of a plane-wave code breaks the symmetry under translations: the force on an atom depends on
where it lies between grid points (the egg-box effect), which no invariant potential can learn. Forces of an invariant
energy add up to zero; what VASP's add up to is printed as "total drift", before it is taken off all atoms alike. If the
noise of N atoms is independent, the drift of a component has the variance Σ_i σ_i², so that their root mean square is
drift / sqrt(N): the least error a potential can show on these labels.

With the folder of a training run its errors on validation and test part are compared with that, and searched for the
grid: for each element, the number of periods along a lattice vector whose wave in the errors is the largest.
"""

from __future__ import annotations

import argparse
import re
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
from ase.data import chemical_symbols
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from ionecho.data.fetch import fetch
from ionecho.data.registry import find_card, find_input
from ionecho.data.store import Dataset

NAME = "p2_nmmo"
DRIFT = re.compile(rb"total drift:\s*(\S+)\s+(\S+)\s+(\S+)")
GRID = re.compile(rb"NGXF=\s*(\d+)\s+NGYF=\s*(\d+)\s+NGZF=\s*(\d+)")
PERIODS = np.arange(20, 900)


def drifts() -> tuple[NDArray[np.float64], tuple[int, ...]]:
    """Total drift of every OUTCAR (C, 3) in eV/Å, and the grid."""
    card, _ = find_card(NAME)
    assert card.ionecho.source is not None
    found, grid = [], (0, 0, 0)
    with tarfile.open(fetch(card.ionecho.source)) as archive:
        for member in track(archive, description="OUTCAR"):
            file = archive.extractfile(member) if "OUTCAR" in member.name else None
            if file is not None:
                text = file.read()
                found.append([float(x) for x in DRIFT.findall(text)[-1]])
                grid = tuple(int(x) for x in GRID.findall(text)[0])
    return np.array(found), grid


def errors(run: Path, dataset: Dataset) -> pd.DataFrame:
    """Errors of the forces on the atoms of the validation and test part, eV/Å, and their fractional coordinates."""
    found = []
    for part in ("validation", "test"):
        table = pd.read_csv(run / f"{part}_forces.csv")
        for index, rows in table.groupby("configuration"):
            error = (rows["predicted"] - rows["true"]).to_numpy().reshape(-1, 3)
            cell, positions = (dataset.rows(name, int(index), int(index) + 1) for name in ("cell", "positions"))
            scaled = positions @ np.linalg.inv(cell[0])
            columns = {f"s{a}": scaled[:, a] for a in range(3)} | {f"f{a}": error[:, a] for a in range(3)}
            found.append(pd.DataFrame({**columns, "element": rows["element"].to_numpy()[::3]}))
    return pd.concat(found, ignore_index=True)


def strongest(scaled: NDArray[np.float64], error: NDArray[np.float64]) -> str:
    """Periods of the largest wave in the errors, its amplitude, and the median over all periods, meV/Å."""
    power = 2 * np.abs(np.exp(2j * np.pi * np.outer(PERIODS, scaled)) @ error) / len(scaled)
    best = int(power.argmax())
    return f"{PERIODS[best]} ({1e3 * power[best]:.0f}; {1e3 * np.median(power):.0f})"


def rms(values: NDArray[np.float64]) -> float:
    """Root mean square in meV/Å of values in eV/Å."""
    return 1e3 * float(np.sqrt(np.mean(values**2)))


def main(run: Path | None = None) -> None:
    """Print the noise, and the errors of a run beside it."""
    console = Console()
    drift, grid = drifts()
    dataset = Dataset(find_input(NAME))
    atoms = dataset.offsets[1]
    console.print(
        f"{len(drift)} outputs, grid {' x '.join(map(str, grid))}: drift {rms(drift):.0f} meV/Å a component, "
        f"noise of independent atoms {rms(drift) / np.sqrt(atoms):.1f} meV/Å"
    )
    if run is None:
        return
    table = Table(title="errors of forces, validation and test part, meV/Å; largest wave: periods (amplitude; median)")
    for name in ("element", "RMSE", "along a", "along b", "along c"):
        table.add_column(name, justify="right")
    found = errors(run, dataset)
    for number, rows in found.groupby("element"):
        waves = [strongest(rows[f"s{a}"].to_numpy(), rows[f"f{a}"].to_numpy()) for a in range(3)]
        table.add_row(chemical_symbols[int(number)], f"{rms(rows[['f0', 'f1', 'f2']].to_numpy()):.1f}", *waves)
    table.add_row("all", f"{rms(found[['f0', 'f1', 'f2']].to_numpy()):.1f}")
    console.print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", type=Path, help="folder of a training run")
    main(**vars(parser.parse_args()))
