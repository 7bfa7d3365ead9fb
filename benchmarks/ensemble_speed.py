"""Energies and forces of four members of PaiNN against one: python -m benchmarks.ensemble_speed.

One thread, single precision, neighbours given, processor time, in turns; the best of several rounds. The floor is the
time that the products of matrices of one member would take at the speed of a large one, 1024 x 1024.
"""

from __future__ import annotations

import argparse
from functools import partial

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.painn_speed import ELEMENTS, member
from benchmarks.turns import best
from ionecho.geometry.neighbours import build_graph
from ionecho.models.ensemble import Ensemble
from ionecho.structures.prototypes import PROTOTYPES

CELLS = {22: (1, 1, 1), 88: (2, 2, 1), 396: (3, 3, 2)}  # atoms -> repeats
CUTOFF, RATTLE = 5.0, 0.05  # Å


@torch.no_grad()
def main(features: int = 64, interactions: int = 2, radial: int = 8, rounds: int = 400) -> dict[int, float]:
    """Measure and print a line a size, in `rounds` over the atoms rounds, at least four."""
    torch.set_num_threads(1)
    models = [member(CUTOFF, features, interactions, radial, seed) for seed in range(4)]
    one, four = Ensemble(models[:1], {}).eval(), Ensemble(models, {}).eval()
    ratios = {}
    for count, repeats in CELLS.items():
        atoms = PROTOTYPES["p2_p63mcm"](0) * repeats
        atoms.rattle(RATTLE, seed=0)
        graph = build_graph(
            [atoms.positions], [atoms.cell.array], [atoms.numbers], [atoms.pbc],
            cutoff=CUTOFF, centres=ELEMENTS, pairs_of="atoms", dtype=torch.float32,
        )  # fmt: skip
        with FlopCounterMode(display=False) as counter:
            one(graph)
        runs = {"one": partial(one, graph), "four": partial(four, graph)}
        spent, rate = best(runs, max(4, rounds // count))
        floor = counter.get_total_flops() / rate
        ratios[count] = spent["four"] / spent["one"]
        print(
            f"{count:4d} atoms: one {1e3 * spent['one']:7.2f} ms ({spent['one'] / floor:.1f} times its floor), "
            f"four {1e3 * spent['four']:7.2f} ms, {ratios[count]:.2f} times one",
            flush=True,
        )
    return ratios


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, default in (("features", 64), ("interactions", 2), ("radial", 8), ("rounds", 400)):
        parser.add_argument(f"--{name}", type=int, default=default)
    main(**vars(parser.parse_args()))
