"""Steps a second of dynamics of an ensemble against its atoms: python -m benchmarks.md_speed [--largest 3000].

Published: 3.8 steps a second for 300 atoms and four members of PaiNN on a GPU (Energy Storage Mater. 2023, 63, 103023).
Wall time, files and neighbour searches included: `simulate` with frames kept every 100 steps.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.dynamics.calculator import Potential
from ionecho.dynamics.integrators import Thermostat
from ionecho.dynamics.run import Run
from ionecho.dynamics.simulate import simulate
from ionecho.prediction.device import usable
from ionecho.structures.prototypes import PROTOTYPES

CELLS = {88: (2, 2, 1), 308: (7, 2, 1), 2992: (4, 17, 2)}  # atoms -> repeats of the cell of 22
EVERY = 100  # steps


def main(
    checkpoint: str = "painn-p2_gpaw", device: str = "auto", dtype: str = "float32", frames: int = 2, largest: int = 308
) -> None:
    """Measure and print a line a size; the first frame is left out."""
    device = usable(device, dtype)
    potential = Potential(load(resolve(checkpoint)).model, getattr(torch, dtype), device)
    name = torch.cuda.get_device_name() if device.startswith("cuda") else f"CPU, {torch.get_num_threads()} threads"
    print(f"{checkpoint}, {dtype}, {name}")
    langevin = Thermostat("nvt_langevin", 300.0, 1.0, 100.0, 0.0, 1000.0, 0)
    for atoms, repeats in CELLS.items():
        if atoms > largest:
            continue
        structure = PROTOTYPES["p2_p63mcm"](0) * repeats
        with tempfile.TemporaryDirectory() as place:
            for count in (1, 1 + frames):
                run = Run(count * EVERY, EVERY, 1, None, 0.5, None, None)
                begin = time.perf_counter()
                simulate(structure, potential, langevin, run, {}, Path(place) / "md.zarr")
        spent = (time.perf_counter() - begin) / (frames * EVERY)
        print(f"{atoms:5d} atoms {1 / spent:8.2f} steps a second, {1e6 * spent / atoms:6.1f} µs a step and atom")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="painn-p2_gpaw")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--largest", type=int, default=308)
    main(**vars(parser.parse_args()))
