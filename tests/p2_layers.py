"""A P2 layered oxide of 2 sqrt(3) x 2 sqrt(3) metals a layer, and ions hopping between its sites."""

from __future__ import annotations

import numpy as np

from ionecho.analysis.lattice import Framework
from ionecho.analysis.series import ShiftSeries

CELL = np.array([[10.02, 0.0, 0.0], [-5.01, 10.02 * np.sqrt(3) / 2, 0.0], [0.0, 0.0, 11.2]])
NODES = np.stack(np.meshgrid(np.arange(6), np.arange(6), indexing="ij"), -1).reshape(-1, 2)
COLUMN = NODES.sum(axis=1) % 3  # 0: metals; 1 and 2: oxygens, and the edge sites of the other layer
NA, MG, MN, O = 11, 12, 25, 8  # noqa: E741


def framework(stacking: int, origin: tuple[float, float] = (0.0, 0.0)) -> Framework:
    """The oxide; Mg stands over Mg for `stacking` 0 (P6_3/mcm) and over Mn for 1 (P6_322)."""
    atoms = []
    for (i, j), column in zip(NODES, COLUMN, strict=True):
        if column == 0:
            atoms += [(i, j, 0.0, MG if i % 3 == 0 else MN), (i, j, 0.5, MG if i % 3 == stacking else MN)]
        elif column == 1:
            atoms += [(i, j, 0.09, O), (i, j, 0.41, O)]
        else:
            atoms += [(i, j, 0.59, O), (i, j, 0.91, O)]
    table = np.array(atoms)
    fractional = np.c_[table[:, :2] / 6 + origin, table[:, 2]]
    return Framework(fractional @ CELL, table[:, 3].astype(int), CELL)


def site_positions(layer: int) -> np.ndarray:
    """Fractional coordinates (24, 3) of the prismatic sites of the lower (0) or upper (1) layer of ions."""
    used = NODES[np.isin(COLUMN, [0, 1] if layer else [0, 2])]
    return np.c_[used / 6, np.full(len(used), 0.75 if layer else 0.25)]


SITE_SHIFT = {0: 900.0, 1: 2000.0}  # ppm, over metals and at edges


def series(frames: int, stackings: dict[str, int], seed: int, width: float = 0.25) -> ShiftSeries:
    """8 ions in each of two layers on random sites, spread by `width` Å; the shift follows the site plus noise."""
    rng = np.random.default_rng(seed)
    positions, shift, names, frameworks = [], [], [], {}
    for name, stacking in stackings.items():
        frameworks[name] = framework(stacking)
        sites = np.stack([site_positions(0), site_positions(1)])
        chosen = rng.permuted(np.tile(np.arange(24), (frames, 2, 1)), axis=2)[:, :, :8]
        ideal = np.concatenate([sites[0][chosen[:, 0]], sites[1][chosen[:, 1]]], axis=1)
        node = np.rint(ideal[..., :2] * 6).astype(int)
        edge = (node.sum(axis=-1) % 3 != 0).astype(int)
        shift.append(np.where(edge, SITE_SHIFT[1], SITE_SHIFT[0]) + rng.normal(0.0, 100.0, edge.shape))
        positions.append(ideal @ CELL + rng.normal(0.0, width, ideal.shape))
        names += [name] * frames
    return ShiftSeries(
        shift=np.concatenate(shift),
        positions=np.concatenate(positions),
        cell=CELL[None],
        group=np.array(names, dtype=object),
        frameworks=frameworks,
        time=np.tile(np.arange(frames) * 4000.0, len(stackings)),
    )
