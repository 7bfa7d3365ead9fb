"""Label cells of a published dataset again: python -m validation.label_again p2_gpaw --cells 2.

Prints the largest difference to the published label of the cell, in root mean squares of that label (target 1e-6).
`ionecho label run NAME published=false` does the same for all cells. With overrides, such as
engine.cutoff=600, it tells what they change: by element, how many times the published couplings the new ones are, and
the scatter about that.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from ase.data import chemical_symbols

from ionecho.data.registry import find_dataset
from ionecho.data.store import Dataset
from ionecho.labelling.engine import make_engine
from validation.label_convergence import engine_config

CONTACT = "hyperfine_contact"


def main(name: str, overrides: Sequence[str], cells: int) -> None:
    """Evenly spaced cells, a line each; with overrides a line an element."""
    published = Dataset(find_dataset(name))
    engine = make_engine(engine_config(name, overrides))
    couplings: dict[int, list[np.ndarray]] = {}
    for index in np.linspace(0, len(published) - 1, cells).astype(int):
        known = next(published.configurations(index, index + 1, engine.labels))
        made = engine.label(known.atoms).values
        apart = {label: _apart(made[label], known.labels[label]) for label in engine.labels}
        told = ", ".join(f"{label} {value:.0e}" for label, value in apart.items())
        print(f"{known.group} {known.frame}: {told}", flush=True)
        if overrides and CONTACT in engine.labels:
            for number in np.unique(known.numbers):
                pairs = np.stack([known.labels[CONTACT], made[CONTACT]])[:, known.numbers == number]
                couplings.setdefault(int(number), []).append(pairs)
    for number, found in couplings.items():
        old, new = np.concatenate(found, axis=1)
        slope = old @ new / (old @ old)
        scatter = np.sqrt(np.mean(np.square(new - slope * old)))
        print(f"{chemical_symbols[number]}: {slope:.3f} times the published, scatter {scatter:.2g} MHz")


def _apart(made: np.ndarray, known: np.ndarray) -> float:
    return float(np.abs(made - known).max() / np.sqrt(np.mean(np.square(known, dtype=float))))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--cells", type=int, default=1)
    main(**vars(parser.parse_args()))
