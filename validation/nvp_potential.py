"""Errors of potentials on Na_xV2(PO4)3 by composition, and along hops of Na: python -m validation.nvp_potential.

All good cells of nvp_gpaw, with the part that they were in the training of the first checkpoint; the others, such as
the sampler that made the cells, stand beside. Energies of other levels have another zero: where a line says "about the
mean", that of the errors of each composition is taken out. Baselines: energies linear in the number of Na, by least
squares on the training part, or the mean of each composition; forces of zero. Along a hop, energies are less that of
its first cell. The cells are displaced images of a path of `nvp_xtb`, not a path of DFT.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

import ionecho
from ionecho.data.store import Dataset
from ionecho.training.data import fold_parts
from ionecho.training.run import open_dataset

SODIUM = 11
Floats = NDArray[np.float64]


def parts(dataset: Dataset, name: str) -> pd.Series:
    """Configuration -> part of the training of a checkpoint."""
    checkpoint = ionecho.load(name).checkpoint
    data = json.loads((checkpoint.folder / "metrics.json").read_text())["data"]
    if data["content_sha256"] != dataset.attrs["content_sha256"]:
        raise SystemExit(f"{checkpoint.folder}: trained on {data['name']} {data['version']}, not on {dataset.path}")
    seed = checkpoint.config.training["seed"]
    found = fold_parts(dataset, data["split"], data["fold"], data["validation"], seed)
    return pd.concat([pd.Series(part, indices) for part, indices in found.items()])


def evaluated(dataset: Dataset, names: Sequence[str], part: pd.Series) -> tuple[pd.DataFrame, dict[str, list[Floats]]]:
    """A row a cell, with energies (eV) of DFT and of every potential, and the errors of their forces (N, 3), eV/Å."""
    calculators = {name: ionecho.load(name).calculator() for name in names}
    rows, forces = [], {name: [] for name in ("zero", *names)}
    for index in map(int, part.index):
        configuration = dataset[index]
        atoms, true = configuration.atoms, configuration.labels["forces"]
        row = {"group": configuration.group, "frame": configuration.frame, "part": part[index], "atoms": len(atoms)}
        row |= {"Na": int((atoms.numbers == SODIUM).sum()), "DFT": float(configuration.labels["energy"])}
        forces["zero"].append(-true)
        for name, calculator in calculators.items():
            atoms.calc = calculator
            row[name] = atoms.get_potential_energy()
            forces[name].append(atoms.get_forces() - true)
        rows.append(row)
    cells = pd.DataFrame(rows)
    train = cells.part == "train"
    cells["linear"] = np.polyval(np.polyfit(cells.Na[train], cells.DFT[train], 1), cells.Na)
    return cells, forces


def rms(errors: Sequence[Floats]) -> float:
    """Root mean square of all components."""
    return float(np.sqrt(np.mean(np.concatenate([each.ravel() for each in errors]) ** 2)))


def by_composition(cells: pd.DataFrame, forces: dict[str, list[Floats]], names: Sequence[str]) -> None:
    """Print a block a composition and part."""
    for (sodium, part), rows in cells.groupby(["Na", "part"]):
        print(f"{sodium} Na (x = {sodium / 2:g}), {part}, {len(rows)} cells; RMSE")
        for name in ("linear", *names):
            error = 1000 * (rows[name] - rows.DFT) / rows.atoms
            told = f"{np.sqrt(np.mean(error**2)):7.1f} meV/atom, " if name in ("linear", names[0]) else 18 * " "
            of_forces = "zero" if name == "linear" else name
            force = 1000 * rms([forces[of_forces][index] for index in rows.index])
            called = "baseline" if name == "linear" else name
            print(f"  {called:12s} {told}{error.std(ddof=0):6.1f} about the mean, forces {force:6.0f} meV/Å")


def along_hops(cells: pd.DataFrame, forces: dict[str, list[Floats]], names: Sequence[str]) -> None:
    """Print a line a hop: energies of the cells less that of the first."""
    for group, rows in cells[cells.group.str.startswith("hop_")].groupby("group"):
        print(f"{group} ({rows.part.iloc[0]}), eV less the first of {len(rows)} cells:")
        for name in ("DFT", *names):
            energies = rows.sort_values("frame")[name].to_numpy()
            told = "".join(f"{energy:+8.3f}" for energy in energies[1:] - energies[0])
            error = "" if name == "DFT" else f"   forces {1000 * rms([forces[name][i] for i in rows.index]):4.0f} meV/Å"
            print(f"  {name:12s}{told}{error}")


def main(checkpoints: Sequence[str]) -> None:
    """Measure and print."""
    dataset = open_dataset("nvp_gpaw")
    cells, forces = evaluated(dataset, checkpoints, parts(dataset, checkpoints[0]))
    by_composition(cells, forces, checkpoints)
    along_hops(cells, forces, checkpoints)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoints", nargs="*", default=("painn-nvp", "nvp_xtb"))
    main(**vars(parser.parse_args()))
