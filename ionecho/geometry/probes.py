"""Points of space and the atoms within reach of them; points of periodic grids."""

from __future__ import annotations

import torch
from torch import Tensor

from ionecho.geometry.graph import Graph

CHUNK = 2**22  # distances held at once


def grid_points(cell: Tensor, shape: tuple[int, int, int], start: int, stop: int) -> Tensor:
    """Places (P, 3) in Å of the grid points start..stop, the last index fastest, [i, j, k] at i/n1, j/n2, k/n3."""
    index = torch.arange(start, stop, device=cell.device)
    _, n2, n3 = shape
    at = torch.stack([index // (n2 * n3), index // n3 % n2, index % n3], 1)
    return at.to(cell) / cell.new_tensor(shape) @ cell


def atoms_within_reach(graph: Graph, reach: float) -> tuple[Tensor, Tensor, Tensor]:
    """Atoms, with their periodic images, closer than `reach` to the points of a graph.

    Returns
    -------
    atoms, points
        Indices (Q,) of the pairs, sorted by atom.
    vectors
        From the atom's image to the point, (Q, 3) Å, differentiable in positions and cell.
    """
    assert graph.points is not None
    assert graph.point_configuration is not None
    found: list[tuple[Tensor, Tensor, Tensor]] = []
    for number, cell in enumerate(graph.cell):
        own = (graph.point_configuration == number).nonzero().squeeze(1)
        atoms = (graph.configuration == number).nonzero().squeeze(1)
        if len(own):
            found.append(_pairs_of_cell(graph.points[own], own, graph.positions[atoms], atoms, cell, reach))
    if not found:
        empty = graph.configuration.new_empty(0)
        return empty, empty, graph.positions.new_empty(0, 3)
    atom, point, vector = (torch.cat(parts) for parts in zip(*found, strict=True))
    return atom, point, vector


def _pairs_of_cell(
    points: Tensor, own: Tensor, positions: Tensor, atoms: Tensor, cell: Tensor, reach: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Only images of atoms close to the box, along the lattice, that holds the points are looked at."""
    with torch.no_grad():
        inverse = torch.linalg.inv(cell)
        margin = reach * inverse.norm(dim=0)
        fractional = points @ inverse
        low, high = fractional.amin(0) - margin, fractional.amax(0) + margin
        home = positions @ inverse
        first, last = (low - home.amax(0)).floor().long(), (high - home.amin(0)).ceil().long()
        steps = [torch.arange(int(a), int(b) + 1, device=cell.device) for a, b in zip(first, last, strict=True)]
        shifts = torch.cartesian_prod(*steps).to(cell)
        near = (home[:, None] + shifts >= low) & (home[:, None] + shifts <= high)
        source, image = near.all(-1).nonzero(as_tuple=True)
        places = positions[source] + shifts[image] @ cell
        middle = points.mean(0)
        left, right = places - middle, points - middle
        squares = right.square().sum(1)
        rows = max(1, CHUNK // len(points))
        pairs = [
            (part.square().sum(1)[:, None] + squares - 2 * part @ right.T < reach**2).nonzero()
            + torch.tensor([k, 0], device=cell.device)
            for k, part in zip(range(0, len(left), rows), left.split(rows), strict=True)
        ]
        ghost, point = torch.cat(pairs).unbind(1)
    images = positions[source] + shifts[image] @ cell
    return atoms[source[ghost]], own[point], points[point] - images[ghost]
