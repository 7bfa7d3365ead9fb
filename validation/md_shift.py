"""The 23Na shift along dynamics of P2-Na2/3(Mg1/3Mn2/3)O2, against DFT: python -m validation.md_shift [checkpoints].

Every potential starts from the same frame of p2_nmmo (P6_3/mcm, 88 atoms) at 300 K, Langevin, steps of 2 fs, and
spin_transfer-p2_nmmo predicts the shifts. Shifts of the sites test what the potential makes of their surroundings;
the mean hangs on where the ions are too, which a short run keeps from its start.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from ionecho.analysis import analyze
from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.registry import find_dataset
from ionecho.data.shared import CONF
from ionecho.data.store import Dataset
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Thermostat
from ionecho.dynamics.run import Run, femtoseconds
from ionecho.dynamics.simulate import simulate
from ionecho.prediction.device import PredictionSettings, usable
from ionecho.prediction.predictor import predictors

CHECKPOINTS = ("deep_pot-p2_nmmo", "painn-p2_nmmo", "uf3-p2_nmmo", "uf3-p2_painn")
PHASE, MODEL = "p63mcm", "spin_transfer-p2_nmmo"
STEP, EVERY, EQUILIBRATION = 2.0, 50, 20  # fs, steps between frames, frames left out


def row(name: str, group: dict[str, Any]) -> str:
    """One line of the table: mean shift with its error, and shift and occupation of the sites."""
    sites = {site["site"]: f"{site['shift']:.0f} ({site['occupation']:.2f})" for site in group["sites"]}
    mean = f"{group['dynamic_shift']:.0f} ± {group['standard_error']:.0f}"
    return f"| {name} | {mean} | {sites.get('edge', '')} | {sites.get('Mn-Mn', '')} |"


def main(checkpoints: Sequence[str] = CHECKPOINTS, time: str = "10ps", start: int = 200) -> None:
    """Run every potential, and print its shifts under those of the DFT frames."""
    settings = yaml.safe_load((CONF / "analysis" / "dynamic_shift.yaml").read_text())["settings"]
    dataset = Dataset(find_dataset("p2_nmmo"))
    frame = [int(index) for index in dataset.good if dataset.group[index] == PHASE][start]
    atoms = next(dataset.configurations(frame, frame + 1)).atoms
    device = usable("auto", "float32")
    prediction = PredictionSettings.choose(device, "float32", 1, 20, None)
    run = Run(round(femtoseconds(time) / STEP), EVERY, 20, None, 0.5, 2.0, None)
    print("| | mean, ppm | edge (share) | Mn-Mn (share) |", "|---|---|---|---|", sep="\n")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        print(
            row("DFT, all frames", analyze("dynamic_shift", dataset.path, settings).summary["groups"][PHASE]),
            flush=True,
        )
        for name in checkpoints:
            potential = Potential(load(resolve(name)).model, torch.float32, device)
            thermostat = Thermostat("nvt_langevin", 300.0, STEP, 100.0, 0.0, 1000.0, 0)
            attached = predictors(MODEL, atoms, {}, prediction)
            output = simulate(atoms, potential, thermostat, run, {}, folder / f"{name}.zarr", properties=attached)
            report = analyze("dynamic_shift", output, settings | {"skip": EQUILIBRATION}).summary
            print(row(name, report["groups"]["trajectory"]), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", nargs="*", default=CHECKPOINTS)
    parser.add_argument("--time", default="10ps")
    parser.add_argument("--start", type=int, default=200, help="number of the frame among the good ones of P6_3/mcm")
    main(**vars(parser.parse_args()))
