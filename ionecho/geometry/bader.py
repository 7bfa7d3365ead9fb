"""Bader's partition of a density on a grid by the weight method of Yu and Trinkle, J. Chem. Phys. 2011, 134, 064111."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, identity
from scipy.sparse.linalg import spsolve_triangular
from scipy.spatial import ConvexHull, Voronoi

from ionecho.errors import InputError
from ionecho.geometry.fourier import gaussians, resampled

Floats = NDArray[np.floating]
CORE_WIDTH = 0.2  # Å
FINE = 0.1  # Å


@dataclass(frozen=True)
class Basins:
    """What the basins of every atom hold."""

    electrons: Floats  # (N,) integral of the density that defines the basins
    moment: Floats | None  # (N,) integral of the second density over the same basins
    furthest_maximum: Floats  # (N,) Å from an atom to the furthest maximum that was given to it; 0 if it has none


def valence_bader(
    density: Floats, cell: Floats, positions: Floats, cores: Floats, spin_density: Floats | None = None
) -> Basins:
    """Bader basins of a valence density that is smooth at the nuclei, on a grid that may be coarse.

    The density is interpolated by its Fourier series to points `FINE` apart, as charges of the weight method depend on
    the grid by h²; Gaussians of `CORE_WIDTH` stand for the frozen cores, so that there is a maximum at every nucleus.

    Parameters
    ----------
    density, spin_density
        Valence electrons, and up minus down, as in `bader`.
    cores
        Electrons of the frozen core of every atom, (N,); `electrons` of the basins hold them.
    """
    shape = tuple(np.maximum(np.ceil(np.linalg.norm(cell, axis=1) / FINE).astype(int), density.shape))
    total = resampled(density, shape) + gaussians(shape, cell, positions, cores, CORE_WIDTH)
    return bader(total, cell, positions, None if spin_density is None else resampled(spin_density, shape))


def bader(density: Floats, cell: Floats, positions: Floats, spin_density: Floats | None = None) -> Basins:
    """Electrons, and spin, in the Bader basins of the atoms.

    The electrons of a grid point flow to its neighbours of higher density, in proportion to the slope and to the facet
    of the Voronoi cell between them. Taken in the order of falling density this is one sparse triangular system
    (1 - F^T) q = rho: at the maxima, q is what has flown there. A maximum belongs to the nearest atom.

    Parameters
    ----------
    density
        Electrons per Å³ at the points (i/n1, j/n2, k/n3) of the cell, (n1, n2, n3), the core included or the nuclear
        maxima of the valence density resolved: only this density defines the basins.
    cell
        Lattice vectors as rows, (3, 3) Å.
    positions
        (N, 3) Å.
    spin_density
        Up minus down, μB per Å³ on the same grid, or None.

    Raises
    ------
    InputError
        If the density is not positive on the whole, or the grids differ.
    """
    if density.ndim != 3 or (spin_density is not None and spin_density.shape != density.shape):
        found = None if spin_density is None else spin_density.shape
        raise InputError(f"bader: expected densities on one grid (n1, n2, n3), found {density.shape} and {found}")
    if not density.sum() > 0:
        raise InputError("bader: the density integrates to nothing, expected the charge density")
    values = np.asarray(density, dtype=float).ravel()
    order = np.argsort(-values, kind="stable")
    flow = _flow(values, order, density.shape, np.asarray(cell) / np.array(density.shape)[:, None])
    volume = abs(np.linalg.det(cell)) / values.size
    columns = [values] if spin_density is None else [values, np.asarray(spin_density, dtype=float).ravel()]
    source = np.column_stack(columns)[order] * volume
    system = (identity(values.size, format="csr") - flow.T).tocsr()
    gathered = spsolve_triangular(system, source, lower=False, unit_diagonal=True)
    maxima = np.flatnonzero(np.diff(flow.indptr) == 0)
    owner, distance = _nearest(
        np.column_stack(np.unravel_index(order[maxima], density.shape)), density, cell, positions
    )
    held = np.zeros((len(positions), len(columns)))
    np.add.at(held, owner, gathered[maxima])
    furthest = np.zeros(len(positions))
    np.maximum.at(furthest, owner, distance)
    return Basins(held[:, 0], None if spin_density is None else held[:, 1], furthest)


def _flow(values: Floats, order: NDArray, shape: tuple[int, ...], steps: Floats) -> csr_matrix:
    """Fraction of each point's electrons that goes to each neighbour, rows and columns in order of falling density.

    Points of equal density have an order too, so that a plateau flows as well, to its first point.
    """
    rank = np.empty(values.size, dtype=np.int64)
    rank[order] = np.arange(values.size)
    grid, ranks = values.reshape(shape), rank.reshape(shape)
    rows, columns, weights = [], [], []
    for offset, conductance in zip(*_facets(steps), strict=True):
        shift = tuple(-offset)
        higher = np.roll(ranks, shift, (0, 1, 2)).ravel()
        slope = conductance * (np.roll(grid, shift, (0, 1, 2)).ravel() - values)
        rises = higher < rank
        rows.append(rank[rises])
        columns.append(higher[rises])
        weights.append(slope[rises] + conductance * np.finfo(float).tiny)
    row, weight = np.concatenate(rows), np.concatenate(weights)
    total = np.bincount(row, weights=weight, minlength=values.size)
    return csr_matrix((weight / total[row], (row, np.concatenate(columns))), shape=(values.size,) * 2)


def _facets(steps: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Neighbours (K, 3) that share a facet with a grid point's Voronoi cell, and facet area over distance (K,)."""
    offsets = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3)
    centre = len(offsets) // 2
    diagram = Voronoi(offsets @ steps)
    neighbours, conductances = [], []
    for pair, corners in zip(diagram.ridge_points, diagram.ridge_vertices, strict=True):
        if centre in pair:
            offset = offsets[pair.sum() - centre]
            vector = offset @ steps
            distance = np.linalg.norm(vector)
            area = _area(diagram.vertices[corners], vector / distance)
            if area > 1e-6 * distance**2:
                neighbours.append(offset)
                conductances.append(area / distance)
    return np.array(neighbours), np.array(conductances)


def _area(corners: Floats, normal: Floats) -> float:
    """Area of a convex polygon in the plane with this normal."""
    first = corners[1] - corners[0]
    first = first / np.linalg.norm(first)
    plane = (corners - corners[0]) @ np.column_stack([first, np.cross(normal, first)])
    return float(ConvexHull(plane, qhull_options="QJ").volume)


def _nearest(indices: NDArray, density: Floats, cell: Floats, positions: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Atom nearest to each grid point under periodic boundaries, and its distance in Å."""
    fractional = indices / np.array(density.shape)
    difference = fractional[:, None] - positions @ np.linalg.inv(cell)
    difference -= np.round(difference)
    images = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"), -1).reshape(-1, 3)
    distances = np.linalg.norm((difference[:, :, None] + images) @ cell, axis=-1).min(-1)
    owner = distances.argmin(1)
    return owner, distances[np.arange(len(owner)), owner]
