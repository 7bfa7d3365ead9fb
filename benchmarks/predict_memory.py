"""Peak memory of predict.py over trajectories of growing length.

    python -m benchmarks.predict_memory [CHECKPOINT] [--structure lps_beta --repeat 2 3 3] [--frames 100 1000 10000]

Frames of p2_nmmo by default, or displaced copies of a prototype.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import ase

from benchmarks.trajectories import write_displaced, write_trajectory
from ionecho.structures.prototypes import PROTOTYPES


def peak_megabytes(checkpoint: str, frames: int, folder: Path, atoms: ase.Atoms | None) -> tuple[float, float]:
    """Peak resident memory in MB and seconds of one run, start-up included."""
    source = folder / f"{frames}.zarr"
    if atoms is None:
        write_trajectory(source, frames)
    else:
        write_displaced(source, atoms, frames)
    arguments = [f"checkpoint={checkpoint}", f"input={source}", f"output={folder / f'{frames}.pred.zarr'}"]
    process = subprocess.Popen([sys.executable, "predict.py", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"predict.py failed on {frames} frames")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def main(
    checkpoint: str = "nn_nmr-p2_nmmo",
    structure: str | None = None,
    repeat: Sequence[int] = (1, 1, 1),
    frames: Sequence[int] = (1_000, 10_000, 50_000),
) -> dict[int, float]:
    """Measure and print; returns the peak in MB of every length."""
    atoms = None if structure is None else PROTOTYPES[structure](0).repeat(repeat)
    peaks = {}
    with tempfile.TemporaryDirectory() as place:
        for length in frames:
            peaks[length], seconds = peak_megabytes(checkpoint, length, Path(place), atoms)
            print(f"{length:6d} frames: peak {peaks[length]:.0f} MB, {seconds:.1f} CPU s", flush=True)
    print(f"{frames[-1] / frames[0]:.0f}x the frames take {peaks[frames[-1]] / peaks[frames[0]]:.2f}x the memory")
    return peaks


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", nargs="?", default="nn_nmr-p2_nmmo")
    parser.add_argument("--structure", choices=PROTOTYPES)
    parser.add_argument("--repeat", type=int, nargs=3, default=(1, 1, 1))
    parser.add_argument("--frames", type=int, nargs="+", default=(1_000, 10_000, 50_000))
    main(**vars(parser.parse_args()))
