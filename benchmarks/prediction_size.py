"""Time a frame of `predict.py` against the number of atoms: python -m benchmarks.prediction_size [checkpoint].

Linear scaling is a slope of one in the logarithms (science.md A22).
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.prediction_speed import ours
from benchmarks.trajectories import write_trajectory

ATOMS = 88  # of one cell


def main(checkpoint: str = "nn_nmr-p2_nmmo", threads: int = 2, cells: tuple[int, ...] = (1, 2, 4, 8, 16)) -> float:
    """Measure and print milliseconds a frame for cells side by side, and the slope."""
    run = ours(checkpoint, threads, block=512)
    times = []
    with tempfile.TemporaryDirectory() as place:
        for number in cells:
            source, frames = Path(place) / f"{number}.zarr", 4096 // number
            write_trajectory(source, frames, number)
            spent = []
            for repeat in range(3):
                begin = time.perf_counter()
                run(source, Path(place) / f"{number}-{repeat}.pred.zarr")
                spent.append(time.perf_counter() - begin)
            times.append(1e3 * min(spent) / frames)
            print(f"{number * ATOMS:6d} atoms {times[-1]:8.3f} ms a frame")
    slope = float(np.polyfit(np.log(cells), np.log(times), 1)[0])
    print(f"time grows with the number of atoms to the power {slope:.2f}")
    return slope


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="nn_nmr-p2_nmmo")
    parser.add_argument("--threads", type=int, default=2)
    main(**vars(parser.parse_args()))
