"""Prediction with nn_nmr against the floor that its arithmetic sets: python -m benchmarks.prediction_floor.

The floor is the time that the products of matrices would take at the speed of a large one, 1024 x 1024, in the same
precision: the sums over neighbours (2 flops a neighbour within its cut-off, channel and harmonic), the mixing of the
channels and the network. One thread, processor time, the floor and all parts in turns; the best of several rounds.
"""

from __future__ import annotations

import argparse
from typing import Any

import ase
import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.trajectories import frames_of_p2
from benchmarks.turns import best
from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import load
from ionecho.data.frames import Frames
from ionecho.geometry.graph import Graph
from ionecho.prediction.device import PredictionSettings
from ionecho.prediction.predictor import Predictor, conversions


def flops(model: Any, graph: Graph, density: torch.Tensor) -> float:
    """Those of the products of matrices that the predictions of a graph need."""
    species = model.species(graph.numbers)[graph.pairs[1]]
    channels = torch.tensor([radial(torch.zeros(1)).shape[1] for radial in model.density.radial])
    within = graph.vectors().norm(dim=1) < model.density.limits[species]
    with FlopCounterMode(display=False) as counter:
        network(model, model._invariants(density))
    return 2 * density.shape[2] * float(channels[species[within]].sum()) + counter.get_total_flops()


def network(model: Any, features: torch.Tensor) -> torch.Tensor:
    """The last part of the model's forward pass."""
    return model.perceptron(features).squeeze(1) + features @ model.linear


@torch.inference_mode()
def main(checkpoint: str = "nn_nmr-p2_nmmo", frames: int = 64, rounds: int = 40) -> dict[str, float]:
    """Measure and print milliseconds a frame and ratios to the floor."""
    torch.set_num_threads(1)
    trained = load(resolve(checkpoint))
    positions, cell, numbers = frames_of_p2(frames)
    settings = PredictionSettings.choose("cpu", "float32", 1, frames, None)
    predictor = Predictor(trained, conversions(trained, {}), ase.Atoms(numbers, pbc=True), settings)
    block = Frames(positions, np.broadcast_to(cell, (frames, 3, 3)))
    batch = block.part(0, 16)
    model: Any = predictor.model.members[0].eval()
    graph = predictor.graph(batch)
    density = model._density(graph)
    features = model._invariants(density)
    spent, rate = best(
        {
            "neighbours": lambda: predictor.graph(batch),
            "density": lambda: model._density(graph),
            "invariants": lambda: model._invariants(density),
            "network": lambda: network(model, features),
            "prediction": lambda: predictor(block, 0),
        },
        rounds,
    )
    floor = 1e3 * flops(model, graph, density) / len(batch) / rate
    print(f"floor {floor:.4f} ms a frame of {len(numbers)} atoms, at {1e-9 * rate:.0f} GFLOP/s of one thread")
    found = {name: 1e3 * value / (frames if name == "prediction" else len(batch)) for name, value in spent.items()}
    for name, value in found.items():
        print(f"{name:10s} {value:8.4f} ms a frame, {value / floor:6.1f} times the floor")
    return {"floor": floor, **found}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", nargs="?", default="nn_nmr-p2_nmmo")
    for name, default in (("frames", 64), ("rounds", 40)):
        parser.add_argument(f"--{name}", type=int, default=default)
    main(**vars(parser.parse_args()))
