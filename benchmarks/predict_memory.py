"""Peak memory of predict.py over trajectories of growing length: python -m benchmarks.predict_memory [checkpoint]."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.trajectories import write_trajectory

LENGTHS = (1_000, 10_000, 50_000)


def peak_megabytes(checkpoint: str, frames: int, folder: Path) -> tuple[float, float]:
    """Peak resident memory in MB and seconds of one run, start-up included."""
    source = folder / f"{frames}.zarr"
    write_trajectory(source, frames)
    arguments = [f"checkpoint={checkpoint}", f"input={source}", f"output={folder / f'{frames}.pred.zarr'}"]
    process = subprocess.Popen([sys.executable, "predict.py", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"predict.py failed on {frames} frames")
    return usage.ru_maxrss / 1024, usage.ru_utime + usage.ru_stime


def main(checkpoint: str = "nn_nmr-p2_nmmo") -> dict[int, float]:
    """Measure and print; returns the peak in MB of every length."""
    peaks = {}
    with tempfile.TemporaryDirectory() as place:
        for frames in LENGTHS:
            peaks[frames], seconds = peak_megabytes(checkpoint, frames, Path(place))
            print(f"{frames:6d} frames: peak {peaks[frames]:.0f} MB, {seconds:.1f} CPU s")
    print(f"{LENGTHS[-1] // LENGTHS[0]}x the frames take {peaks[LENGTHS[-1]] / peaks[LENGTHS[0]]:.2f}x the memory")
    return peaks


if __name__ == "__main__":
    main(*sys.argv[1:])
