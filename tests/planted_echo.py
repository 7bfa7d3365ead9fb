"""Trajectories of ions that jump between sites with tensors of their own, as predictions in zarr."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import zarr
from test_echo import jumps, visited

EDGE, STEP = 12.0, 3.0  # Å, of the cell and between sites
COMPONENT = 0.35  # V/Å², spread of each of five components


def matrices(components: np.ndarray) -> np.ndarray:
    """Symmetric traceless matrices (..., 3, 3) of orthonormal components xy, yz, zz, xz, xx - yy (..., 5)."""
    xy, yz, zz, xz, xx_yy = np.moveaxis(np.asarray(components) / np.sqrt(2), -1, 0)
    zz = zz / np.sqrt(3)
    rows = [[xx_yy - zz, xy, xz], [xy, -xx_yy - zz, yz], [xz, yz, 2 * zz]]
    return np.moveaxis(np.array(rows), (0, 1), (-2, -1))


def write_planted(
    path: Path,
    seed: int,
    *,
    frames: int,
    ions: int,
    sites: int,
    probability: float,
    spacing: float = 1000.0,
    rattle: float = 0.0,
    temperature: float | None = None,
    attributes: Mapping[str, object] | None = None,
) -> np.ndarray:
    """Li that jump between so many sites each, 3 Å apart on a ring, among S at rest; gives the sites (T, K).

    `probability` of a jump a frame, frames `spacing` fs apart; `rattle` V/Å² of the tensors' noise.
    """
    rng = np.random.default_rng(seed)
    hops = jumps(rng, frames, ions, sites, probability)
    efg = COMPONENT * visited(rng, hops) + rattle * rng.normal(size=(frames, ions, 5))
    angle = 2 * np.pi * hops / sites
    radius = STEP / (2 * np.sin(np.pi / sites))
    homes = rng.uniform(0, EDGE, size=(ions, 3))
    lithium = homes + radius * np.stack([np.cos(angle), np.sin(angle), 0 * angle], -1)
    lithium += 0.15 * rng.normal(size=lithium.shape)
    sulphur = np.broadcast_to(rng.uniform(0, EDGE, size=(30, 3)), (frames, 30, 3))
    group = zarr.open_group(str(path), mode="w")
    arrays = {
        "positions": np.concatenate([lithium, sulphur], axis=1).astype("f4"),
        "cell": np.eye(3)[None] * EDGE,
        "numbers": np.array([3] * ions + [16] * 30),
        "time": np.arange(frames) * spacing,
        "centres": np.arange(ions),
        "efg": matrices(efg).astype("f4"),
    }
    for name, values in arrays.items():
        group.create_array(name, data=values)
    group.attrs.update(pbc=[True] * 3, **(attributes or {}))
    if temperature is not None:
        group.attrs["simulated_at"] = temperature
    return hops
