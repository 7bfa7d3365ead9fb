"""Errors of field gradients by kind of run, from a cross-validation: python -m validation.errors_by_kind RUN.

RUN is the folder of `train.py model=tensor_sum dataset=lps_gpaw cv.folds=5`. A kind is what precedes the numbers of a
group's name, `glass_ps4_light` of `glass_ps4_light_100`. Prints, of all centres that were left out, their number, the
mean error of nu_Q over directions of the field, and the root mean square error relative to that of the labels.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ionecho.data.registry import find_dataset
from ionecho.data.splits import families
from ionecho.data.store import Dataset
from ionecho.nmr.comparison import COMPARISONS
from ionecho.nmr.derived import Quadrupole

KIND = r"^(.*?)_\d"
NUCLEUS = Quadrupole(isotope="7Li", tolerance=0.001)


def table(run: Path) -> pd.DataFrame:
    """A row a centre: kind, error of nu_Q (kHz), squared error and square of the label ((V/Å²)²)."""
    data = json.loads((run / "metrics.json").read_text())["data"]
    dataset, parts = Dataset(find_dataset(data["name"])), []
    if dataset.attrs["content_sha256"] != data["content_sha256"]:
        raise SystemExit(f"{run}: made on {data['name']} {data['version']}, not on {dataset.path.name}")
    for path in sorted(run.glob("fold_*/test_efg.csv")):
        rows = pd.read_csv(path)
        predicted, true = (rows[name].to_numpy().reshape(-1, 3, 3) for name in ("predicted", "true"))
        frequency = COMPARISONS["quadrupolar_frequency"].function(predicted, true, NUCLEUS)
        part = {
            "kind": families(dataset.group[rows.configuration[::9]].tolist(), KIND),
            "nu_Q": np.abs(frequency).mean(1),
            "error": ((predicted - true) ** 2).sum((1, 2)),
            "size": (true**2).sum((1, 2)),
        }
        parts.append(pd.DataFrame(part))
    return pd.concat(parts)


def main(run: Path, kinds: Sequence[str] | None) -> None:
    """Print a line a kind, and one of those that are asked for, or all."""
    rows = table(run)
    chosen = rows if kinds is None else rows[rows.kind.isin(kinds)]
    for name, part in [*rows.groupby("kind"), ("these" if kinds else "all", chosen)]:
        relative = np.sqrt(part.error.mean() / part["size"].mean())
        print(f"{name:20s} {len(part):6d} centres  nu_Q {part['nu_Q'].mean():6.2f} kHz  relative {relative:.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--kinds", nargs="+", help="kinds to be taken together")
    main(**vars(parser.parse_args()))
