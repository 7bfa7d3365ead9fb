"""Time a frame of `predict.py` against the number of atoms: python -m benchmarks.prediction_size [checkpoint].

Linear scaling is a slope of one in the logarithms (Chem. Sci. 2022, 13, 7863 reports one).
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.prediction_speed import milliseconds, ours

ATOMS = 88  # of one cell


def main(checkpoint: str = "nn_nmr-p2_nmmo", threads: int = 2, cells: tuple[int, ...] = (1, 2, 4, 8, 16)) -> float:
    """Measure and print milliseconds a frame for cells side by side, and the slope."""
    run = ours(checkpoint, threads, block=512)
    times = []
    for number in cells:
        with tempfile.TemporaryDirectory() as place:
            times.append(milliseconds(run, 4096 // number, Path(place), 3, number))
        print(f"{number * ATOMS:6d} atoms {times[-1]:8.3f} ms a frame")
    slope = float(np.polyfit(np.log(cells), np.log(times), 1)[0])
    print(f"time grows with the number of atoms to the power {slope:.2f}")
    return slope


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="nn_nmr-p2_nmmo")
    parser.add_argument("--threads", type=int, default=2)
    main(**vars(parser.parse_args()))
