"""Trajectory in, shifts out, files included, against the published pipelines: python -m benchmarks.prediction_speed.

Peers, on the same cores in the same run, each with a 6660-512-512-512-1 perceptron in torch:
dscribe (SOAP in Gaussian-type orbitals of the Na, its own parallel option on) and quippy (SOAP of all atoms, the
published way). Only their speed is measured: their perceptrons have random weights.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ase
import numpy as np
import torch
import zarr
from dscribe.descriptors import SOAP
from quippy.descriptors import Descriptor
from torch import nn

from benchmarks.trajectories import write_trajectory
from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.trajectory import open_trajectory
from ionecho.prediction.device import PredictionSettings
from ionecho.prediction.predictor import Predictor, conversions
from ionecho.prediction.stream import predict

Describe = Callable[[list[ase.Atoms], np.ndarray], np.ndarray]
FEATURES, NA = 6660, 11
QUIPPY = (
    "soap l_max=9 n_max=9 cutoff=5.5 cutoff_transition_width=0.5 atom_sigma=0.5 "
    "n_species=4 species_Z={8 11 12 25} n_Z=4 Z={8 11 12 25}"
)


def perceptron() -> nn.Sequential:
    """The published network with random weights."""
    return nn.Sequential(
        nn.Linear(FEATURES, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(),
        nn.Linear(512, 1),
    )  # fmt: skip


def ours(checkpoint: str, threads: int, block: int) -> Callable[[Path, Path], None]:
    """`predict.py` without the start of Python."""
    trained = load(resolve(checkpoint))
    parameters = conversions(trained, {})
    settings = PredictionSettings.choose("auto", "float32", threads, block, None)

    def run(source: Path, target: Path) -> None:
        trajectory = open_trajectory(source)
        predictor = Predictor(trained, parameters, trajectory, settings)
        predict(predictor, trajectory, source.name, target)

    return run


def with_descriptor(describe: Describe, threads: int) -> Callable[[Path, Path], None]:
    """The pipeline of a descriptor: read, describe, perceptron, write."""
    torch.set_num_threads(threads)
    network = perceptron()

    def run(source: Path, target: Path) -> None:
        group: Any = zarr.open_group(source, mode="r")
        cell, numbers, positions = group["cell"][0], group["numbers"][:], group["positions"][:]
        centres = np.flatnonzero(numbers == NA)
        frames = [ase.Atoms(numbers, positions=frame, cell=cell, pbc=True) for frame in positions]
        with torch.inference_mode():
            features = torch.from_numpy(describe(frames, centres)).float()
            shifts = network(features[:, :FEATURES]).reshape(len(frames), -1).numpy()
        zarr.open_group(target, mode="w").create_array("hyperfine_contact_shift", data=shifts)

    return run


def dscribe_soap(threads: int) -> Describe:
    """dscribe's power spectrum of the centres, in parallel over frames."""
    soap = SOAP(species=["O", "Na", "Mg", "Mn"], r_cut=5.5, n_max=9, l_max=9, sigma=0.5, periodic=True, rbf="gto")

    def describe(frames: list[ase.Atoms], centres: np.ndarray) -> np.ndarray:
        found = soap.create(frames, centers=[centres.tolist()] * len(frames), n_jobs=threads)
        return np.asarray(found).reshape(-1, FEATURES)

    return describe


def quippy_soap(frames: list[ase.Atoms], centres: np.ndarray) -> np.ndarray:
    """quippy's power spectrum of all atoms, of which the centres are taken."""
    descriptor = Descriptor(QUIPPY)
    return np.concatenate([descriptor.calc(atoms)["data"][centres] for atoms in frames])


def milliseconds(run: Callable[[Path, Path], None], frames: int, folder: Path, repeats: int, cells: int = 1) -> float:
    """Best time a frame of several runs over a trajectory of so many frames, after one short run to warm up."""
    source, warm = folder / f"{frames}.zarr", folder / "warm.zarr"
    write_trajectory(source, frames, cells)
    write_trajectory(warm, 4, cells)
    times = []
    for number in range(repeats + 1):
        begin = time.perf_counter()
        run(warm if number == 0 else source, folder / f"{run.__qualname__}-{frames}-{number}.pred.zarr")
        times.append(time.perf_counter() - begin)
    return 1e3 * min(times[1:]) / frames


def main(
    checkpoint: str = "nn_nmr-p2_nmmo", threads: int = 2, frames: int = 4096, block: int = 512
) -> dict[str, float]:
    """Measure and print milliseconds a frame and ratios."""
    with tempfile.TemporaryDirectory() as place:
        found = {"ionecho": milliseconds(ours(checkpoint, threads, block), frames, Path(place), 3)}
        found["dscribe"] = milliseconds(with_descriptor(dscribe_soap(threads), threads), 256, Path(place) / "d", 2)
        found["quippy"] = milliseconds(with_descriptor(quippy_soap, threads), 16, Path(place) / "q", 1)
    for name, value in found.items():
        print(f"{name:8s} {value:8.3f} ms a frame of 88 atoms and 16 Na, {value / found['ionecho']:6.1f}x")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="nn_nmr-p2_nmmo")
    for name, default in (("threads", 2), ("frames", 4096), ("block", 512)):
        parser.add_argument(f"--{name}", type=int, default=default)
    main(**vars(parser.parse_args()))
