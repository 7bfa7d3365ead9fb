"""Points a second of densities: `density` on whole grids and at points, DeepDFT's probes beside it, on the same cell.

python -m benchmarks.density_speed [--features 64] [--points 8000] [--grid 100]: processor time, one thread, the first
configuration of nvp_gpaw, random weights (speed does not depend on them). Memory of a grid of 300 points a side is told
with --large.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Callable
from dataclasses import replace

import torch

from ionecho.door.config import compose
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import build_graph
from ionecho.geometry.probes import grid_points
from ionecho.models import build_model
from ionecho.prediction.grids import slabs
from ionecho.training.run import open_dataset

FIELDS = ("charge_density", "spin_density")
LARGE = 300


def seconds(work: Callable[[], object], repeats: int) -> float:
    """Shortest processor time."""
    found = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def with_points(graph: Graph, shape: tuple[int, int, int], count: int) -> Graph:
    """The first points of a grid."""
    points = grid_points(graph.cell[0], shape, 0, count)
    return replace(graph, points=points, point_configuration=torch.zeros(count, dtype=torch.long))


def main() -> None:
    """Print a line a model and way."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--features", type=int, default=64, help="of deep_dft; 64 has 300 000 weights, density 134 000")
    parser.add_argument("--points", type=int, default=8000)
    parser.add_argument("--grid", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    configuration = open_dataset("nvp_gpaw")[0]
    shape = (options.grid,) * 3
    for name, overrides in (("density", []), ("deep_dft", [f"model.features={options.features}"])):
        known = ["model.numbers=[8,11,15,23]", "model.centres=[23]"]
        hyperparameters = compose("train", [f"model={name}", "dataset=nvp_gpaw", *known, *overrides])["model"]
        model = build_model(name, {key: value for key, value in hyperparameters.items() if key != "name"}).eval()
        graph = build_graph(
            [configuration.positions], [configuration.cell], [configuration.numbers], [configuration.pbc],
            cutoff=model.cutoff, centres=model.centres, pairs_of=model.pairs_of, dtype=torch.float32,
        )  # fmt: skip
        graph = replace(graph, states=torch.from_numpy(configuration.labels["magnetic_moment"]).float())
        weights = sum(parameter.numel() for parameter in model.parameters())
        with torch.inference_mode():
            some = with_points(graph, shape, options.points)
            took = seconds(lambda: model(some), options.repeats)  # noqa: B023
            print(f"{name} ({weights} weights), at points: {options.points / took:,.0f} points/s")
            if name == "density":
                took = seconds(lambda: sum(1 for _ in slabs(model, graph, shape, FIELDS)), options.repeats)  # noqa: B023
                print(f"{name}, whole grid of {options.grid}^3: {took:.2f} s, {options.grid**3 / took:,.0f} points/s")
                took = seconds(lambda: model(graph), options.repeats)  # noqa: B023
                print(f"{name}, charges and states without a grid: {60 / took:,.0f} frames a minute")
                if options.large:
                    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                    for _ in slabs(model, graph, (LARGE,) * 3, FIELDS):
                        pass
                    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
                    print(f"{name}, grid of {LARGE}^3: peak memory grows by {(after - before) / 1024:.0f} MB")


if __name__ == "__main__":
    main()
