"""What the functional and Ni in the place of Mg change in the 23Na shifts of P2-Na2/3(Mg,Ni)1/3Mn2/3O2.

    python -m validation.nickel_shift [--every 10]

The same frames of p2_nmmo (SCAN, Mg) for all: DFT's own shifts, those of a model of PBE + U, and those of the model of
the Ni compound with Ni in the place of every Mg. Positions are those of the Mg compound throughout: what the ions do
about Ni is in the runs of `tools/p2-nickel-shift`. Errors are over frames, without those of the models.
"""

from __future__ import annotations

import argparse

import ase
import numpy as np
from numpy.typing import NDArray

import ionecho
from ionecho.nmr.hyperfine import ContactShift

SODIUM, MAGNESIUM, NICKEL = 11, 12, 28
MODELS = {"PBE + U, Mg": ("spin_transfer-p2_gpaw", MAGNESIUM), "PBE + U, Ni": ("spin_transfer-p2_nnmo_gpaw", NICKEL)}


def told(shifts: NDArray) -> str:
    """Mean of shifts (T, K) and its standard error over frames."""
    means = shifts.mean(axis=1)
    return f"{means.mean():.0f} ± {means.std(ddof=1) / np.sqrt(len(means)):.0f}"


def with_divalent(atoms: ase.Atoms, number: int) -> ase.Atoms:
    """The elements and places alone, with this element in the place of Mg."""
    numbers = np.where(atoms.numbers == MAGNESIUM, number, atoms.numbers)
    return ase.Atoms(numbers, atoms.positions, cell=atoms.cell, pbc=atoms.pbc)


def main(every: int) -> None:
    """Print a line for each stacking, ppm."""
    data = ionecho.dataset("p2_nmmo")
    scan = ContactShift(**data.attrs["conventions"]["contact_shift"]).ppm_per_mhz
    print(
        "| 23Na, ppm | SCAN, Mg: DFT | " + " | ".join(f"{label}: {name}" for label, (name, _) in MODELS.items()) + " |"
    )
    for stacking in ("p63mcm", "p6322"):
        frames = [data[int(index)].atoms for index in data.good if data.group[index] == stacking][::every]
        labelled = np.array([scan * atoms.arrays["hyperfine_contact"][atoms.numbers == SODIUM] for atoms in frames])
        row = [told(labelled)]
        for name, number in MODELS.values():
            images = [with_divalent(atoms, number) for atoms in frames]
            row.append(told(ionecho.load(name).predict(images)["hyperfine_contact_shift"]))
        print(f"| {stacking}, {len(frames)} frames | " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=10)
    main(**vars(parser.parse_args()))
