"""Neighbour lists: any set of configurations through vesin, many frames of one trajectory at once in torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from ase.cell import Cell
from numpy.typing import ArrayLike
from torch import Tensor
from vesin import NeighborList

from ionecho.errors import InputError
from ionecho.geometry.graph import Graph

PairsOf = Literal["atoms", "centres"]

FAR = 1e3  # padding of the image list lies this many cut-offs away


def build_graph(
    positions: Sequence[ArrayLike],
    cells: Sequence[ArrayLike],
    numbers: Sequence[ArrayLike],
    pbc: Sequence[ArrayLike],
    *,
    cutoff: float,
    centres: Sequence[int],
    pairs_of: PairsOf,
    dtype: torch.dtype,
    device: torch.device | str = "cpu",
) -> Graph:
    """Concatenate configurations into one graph; all periodic images within the cut-off are neighbours.

    Parameters
    ----------
    positions, cells, numbers, pbc
        For every configuration: positions (N, 3) in Å, wrapped or not; cell (3, 3) in Å, its rows the lattice vectors,
        which may be zero where not periodic; atomic numbers (N,); periodicity along the vectors (3,) or one bool.
    cutoff
        Å.
    centres
        Atomic numbers of the atoms whose property is asked for.
    pairs_of
        Neighbours of every atom, or of the centres only.
    dtype, device
        Precision of the floating-point arrays, and where the graph lies.

    Raises
    ------
    InputError
        If lengths differ, the cut-off is not positive, or a cell has no volume.
    """
    if not cutoff > 0:
        raise InputError(f"cutoff: expected a positive length in Å, found {cutoff}")
    lengths = {"positions": len(positions), "cells": len(cells), "numbers": len(numbers), "pbc": len(pbc)}
    if len(set(lengths.values())) != 1 or len(positions) == 0:
        raise InputError(f"expected as many positions, cells, numbers and pbc (at least one), found {lengths}")

    search = NeighborList(cutoff=cutoff, full_list=True, sorted=True)
    points = [np.asarray(p, dtype=float).reshape(-1, 3) for p in positions]
    species = [np.asarray(z, dtype=np.int64) for z in numbers]
    boxes = [_cell(cell, period, index) for index, (cell, period) in enumerate(zip(cells, pbc, strict=True))]
    pairs, shifts, offset = [], [], 0
    for index, (point, box, kind, period) in enumerate(zip(points, boxes, species, pbc, strict=True)):
        if len(point) != len(kind):
            raise InputError(
                f"configuration {index}: expected one atomic number an atom, found {len(kind)} numbers "
                f"for {len(point)} atoms"
            )
        pair, shift = search.compute(point, box, np.broadcast_to(np.asarray(period, dtype=bool), 3), "PS")
        if pairs_of == "centres":
            kept = np.isin(kind, centres)[pair[:, 0]]
            pair, shift = pair[kept], shift[kept]
        pairs.append(pair + offset)
        shifts.append(shift)
        offset += len(point)

    atoms = torch.from_numpy(np.concatenate(species))
    sizes = torch.tensor([len(point) for point in points])
    graph = Graph(
        positions=torch.from_numpy(np.concatenate(points)),
        numbers=atoms,
        cell=torch.from_numpy(np.stack(boxes)),
        configuration=torch.repeat_interleave(sizes),
        centres=torch.isin(atoms, torch.as_tensor(centres)).nonzero().squeeze(1),
        pairs=torch.from_numpy(np.concatenate(pairs).T.astype(np.int64)).contiguous(),
        shifts=torch.from_numpy(np.concatenate(shifts).astype(float)),
    )
    return graph.to(device, dtype)


def trajectory_graph(
    positions: Tensor,
    cell: Tensor,
    numbers: Tensor,
    pbc: Sequence[bool],
    *,
    cutoff: float,
    centres: Sequence[int],
) -> Graph:
    """Neighbours of the centres in many frames of the same atoms, on the device of the positions.

    The graph that `build_graph` makes with ``pairs_of="centres"``, without a loop over frames: the atoms are replicated
    in the cells around, images out of reach of every centre are dropped, and one batched product |x|² + |y|² - 2 x·y
    finds the neighbours. Its rounding, about 1e-5 Å in single precision, decides on pairs that lie on the cut-off.

    Parameters
    ----------
    positions
        (T, N, 3) Å, wrapped or not.
    cell
        (T or 1, 3, 3) Å, rows are the lattice vectors.
    numbers
        Atomic numbers (N,).
    pbc
        Periodicity along the three lattice vectors.
    cutoff
        Å.
    centres
        Atomic numbers of the atoms whose property is asked for.
    """
    frames, atoms, _ = positions.shape
    device = positions.device
    periodic = torch.as_tensor(pbc, device=device)
    inverse = torch.linalg.inv(cell)
    reach = cutoff * inverse.norm(dim=1).unsqueeze(1)  # (T | 1, 1, 3) the cut-off in fractional coordinates
    fractional = positions @ inverse
    wraps = torch.where(periodic, fractional.floor(), 0.0)
    fractional = fractional - wraps
    wrapped = positions - wraps @ cell
    asked = torch.isin(numbers, torch.as_tensor(centres, device=device)).nonzero().squeeze(1)

    images = torch.where(periodic, reach, 0.0).amax((0, 1)).ceil().long().tolist()
    steps = [torch.arange(-n, n + 1, device=device) for n in images]
    translations = torch.cartesian_prod(*steps).to(positions)
    frame, image, source = _within_reach(fractional, fractional[:, asked], reach, steps).nonzero(as_tuple=True)
    atom = frame * atoms + source
    offsets = (translations @ cell).expand(frames, -1, 3).flatten(0, 1)
    places = wrapped.flatten(0, 1).index_select(0, atom)
    places += offsets.index_select(0, frame * len(translations) + image)

    count = torch.bincount(frame, minlength=frames)
    first = count.cumsum(0) - count
    slot = torch.arange(len(frame), device=device) - first.index_select(0, frame)
    width = int(count.max())
    ghosts = positions.new_full((frames * width, 3), FAR * cutoff).index_copy_(0, frame * width + slot, places)
    near = _squared_distances(wrapped[:, asked], ghosts.view(frames, width, 3)) <= cutoff**2
    rank = torch.full((atoms,), -1, device=device).index_copy_(0, asked, torch.arange(len(asked), device=device))
    own = ((image == len(translations) // 2) & (rank[source] >= 0)).nonzero().squeeze(1)
    near[frame[own], rank[source[own]], slot[own]] = False
    t, k, g = near.nonzero(as_tuple=True)

    row, ghost = t * len(asked) + k, first.index_select(0, t) + g
    indices = (torch.arange(frames, device=device)[:, None] * atoms + asked).flatten()
    shifts = translations.index_select(0, image) - wraps.flatten(0, 1).index_select(0, atom)
    return Graph(
        positions=positions.reshape(-1, 3),
        numbers=numbers.repeat(frames),
        cell=cell.expand(frames, 3, 3),
        configuration=torch.arange(frames, device=device).repeat_interleave(atoms),
        centres=indices,
        pairs=torch.stack([indices.index_select(0, row), atom.index_select(0, ghost)]),
        shifts=shifts.index_select(0, ghost) + wraps[:, asked].flatten(0, 1).index_select(0, row),
    )


def _cell(cell: ArrayLike, pbc: ArrayLike, index: int) -> np.ndarray:
    """The cell with missing non-periodic vectors completed; one without volume has no periodic images."""
    periodic = np.broadcast_to(np.asarray(pbc, dtype=bool), 3)
    box = np.asarray(cell, dtype=float)
    if np.any(np.linalg.norm(box[periodic], axis=1) == 0):
        raise InputError(
            f"configuration {index}: expected a lattice vector along each periodic direction "
            f"{periodic.tolist()}, found {box.tolist()}; give the cell or set pbc to false"
        )
    box = Cell(box).complete().array
    if abs(np.linalg.det(box)) < 1e-6:
        raise InputError(f"configuration {index}: expected a cell with a volume, found {box.tolist()}")
    return box


def _within_reach(fractional: Tensor, centres: Tensor, reach: Tensor, steps: list[Tensor]) -> Tensor:
    """Which images (T, I, N) of the atoms lie within reach of the box, along the lattice, that holds the centres."""
    low, high = centres.amin(1, keepdim=True) - reach, centres.amax(1, keepdim=True) + reach
    frames, atoms, _ = fractional.shape
    near = torch.ones(frames, 1, atoms, dtype=torch.bool, device=fractional.device)
    for axis, step in enumerate(steps):
        at = fractional[:, None, :, axis] + step[:, None]  # (T, n, N)
        inside = (at >= low[..., axis, None]) & (at <= high[..., axis, None])
        near = (near[:, :, None] & inside[:, None]).flatten(1, 2)
    return near


def _squared_distances(origins: Tensor, places: Tensor) -> Tensor:
    """|x|² + |y|² - 2 x·y of every origin (T, K, 3) and place (T, G, 3) in one batched product, (T, K, G)."""
    left = torch.cat((-2.0 * origins, origins.square().sum(-1, keepdim=True), torch.ones_like(origins[..., :1])), -1)
    right = torch.cat((places, torch.ones_like(places[..., :1]), places.square().sum(-1, keepdim=True)), -1)
    return left @ right.mT
