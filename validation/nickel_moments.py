"""How P2-Na2/3(Ni1/3Mn2/3)O2 depends on the order of its moments and on U of Ni.

    python -m validation.nickel_moments

Cells of both stackings at 300 K are labelled with Ni2+ parallel and antiparallel to Mn4+ (total moments 16 and 8), and
with other U - J on Ni. A killed run goes on; results are in outputs/nickel_moments.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from ionecho.data.files import write_json
from ionecho.data.shared import SHARED
from ionecho.labelling.engine import make_engine
from ionecho.labelling.structures import read_structures
from validation.label_convergence import engine_config

NAME, LABELS = "p2_nnmo_gpaw", ("energy", "magnetic_moment", "hyperfine_contact")
CELLS = ("md_p63mcm_300K_100", "md_p63mcm_300K_103", "md_p6322_300K_100", "md_p6322_300K_103")
SETTINGS = {
    "parallel, U 6": [],
    "antiparallel, U 6": ["engine.moments.Ni=-2.0"],
    "parallel, U 4": ["engine.hubbard.Ni=4.0"],
    "parallel, U 8": ["engine.hubbard.Ni=8.0"],
}


def main() -> None:
    """Label the first frame of every group at every setting, then compare with the first setting."""
    store = Path("outputs/nickel_moments.json")
    store.parent.mkdir(exist_ok=True)
    stored: dict[str, Any] = json.loads(store.read_text()) if store.exists() else {}
    structures = read_structures([str(SHARED / "datasets" / NAME / "structures.zarr.zip")], every=1)
    cells = {cell.group: cell for cell in structures if cell.group in CELLS and cell.frame == 0}
    table = Table(
        "cell", "setting", "energy (meV a formula unit)", "Ni (μB)", "Mn (μB)", "Na contact (MHz)", "slope", "scatter"
    )
    for group in CELLS:
        for setting, overrides in SETTINGS.items():
            if (key := f"{group}, {setting}") not in stored:
                result = make_engine(engine_config(NAME, overrides)).label(cells[group].atoms)
                stored[key] = {label: np.asarray(result.values[label]).tolist() for label in LABELS}
                write_json(store, stored)
            table.add_row(
                group, setting, *_compared(stored[key], stored[f"{group}, {next(iter(SETTINGS))}"], cells[group])
            )
    Console(width=160).print(table)


def _compared(row: dict[str, Any], reference: dict[str, Any], cell: Any) -> list[str]:
    """Energy beside the reference, moments, and the sodium's couplings as a multiple of the reference's."""
    moments, numbers = np.array(row["magnetic_moment"]), cell.numbers
    couplings, exact = (np.array(one["hyperfine_contact"])[numbers == 11] for one in (row, reference))
    slope = couplings @ exact / (exact @ exact)
    energy = (row["energy"] - reference["energy"]) / np.count_nonzero(numbers == 28) * 1e3
    return [
        f"{energy:.1f}",
        *(f"{moments[numbers == z].min():.2f} to {moments[numbers == z].max():.2f}" for z in (28, 25)),
        " ".join(f"{coupling:.3f}" for coupling in couplings),
        f"{slope:.3f}",
        f"{np.std(couplings - slope * exact):.3f}",
    ]


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    main()
