"""The linear least-squares fit of UF3: design matrix, penalties and normal equations in double precision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.linalg.blas import dsyrk
from torch import Tensor

from ionecho.data.loader import Batch
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.splines import DEGREE, cubic_splines
from ionecho.geometry.triplets import triplets
from ionecho.models.continuation import harmonic_continuation
from ionecho.models.spline_potential import MARGIN, SplinePotential, windows
from ionecho.models.wall import shortest_distances

CHUNK = 4096  # triplets whose products are held at once
COMPOSITION_RIDGE = 1e-10
MOST_UNKNOWNS = 40_000  # 13 GB of normal equations


@dataclass(frozen=True)
class Columns:
    """Unknown that every coefficient is; `count` stands for zero, `count + 1` for one that no triangle reaches."""

    one_body: Tensor  # (S,)
    two_body: Tensor  # (S, S, intervals + 3)
    three_body: Tensor  # (S, S, S, M + 3, M + 3, N + 3)
    count: int


class NormalEquations:
    """The sums over rows that a linear least-squares fit needs."""

    def __init__(self, count: int) -> None:
        if count > MOST_UNKNOWNS:
            raise InputError(
                f"{count} coefficients to be solved for at once, expected {MOST_UNKNOWNS} at most: take fewer elements "
                "(model.numbers), or fewer functions of distance and angle"
            )
        self.gram = np.zeros((count, count), order="F")  # its upper triangle
        self.moment = np.zeros(count)

    def add(self, rows: NDArray, targets: NDArray) -> None:
        """Add equations, (R, count) and (R,)."""
        self.gram = dsyrk(1.0, rows.T, beta=1.0, c=self.gram, overwrite_c=True)
        self.moment += rows.T @ targets


def fit(model: SplinePotential, batches: Iterable[Batch]) -> None:
    """Set the inner radii and all coefficients of a model from labelled batches.

    They are run through once for the shortest distances, which the knots depend on, and once for the normal equations;
    once more, as far as needed, where the fit is repeated with `displaced` copies.
    """
    model.inner.copy_(inner_radii(model, batches))
    columns = unknowns(model)
    normal = NormalEquations(columns.count)
    for batch in batches:
        normal.add(*equations(model, columns, batch, model.force_error))
    assign(model, columns, solve(model, columns, normal))
    copies = 0
    continued = []
    for batch in batches:
        if copies >= model.displaced:
            break
        continued.append(harmonic_continuation(model, batch, model.displacement))
        copies += len(batch.graph.cell)
    for batch in continued:
        normal.add(*equations(model, columns, batch, model.displaced_error))
    if model.displaced:
        assign(model, columns, solve(model, columns, normal))


def assign(model: SplinePotential, columns: Columns, solution: NDArray) -> None:
    """Set the coefficients of a model from the unknowns (count,)."""
    padded = torch.from_numpy(np.append(solution, [0.0, 0.0]))
    for name in ("one_body", "two_body", "three_body"):
        getattr(model, name).copy_(padded[getattr(columns, name)])
    model.tabulate()


def inner_radii(model: SplinePotential, batches: Iterable[Batch]) -> Tensor:
    """`MARGIN` times the shortest distance of every pair of elements, (S, S) Å; as it was where there is no pair."""
    shortest = shortest_distances(model.species, len(model.numbers), batches)
    limit = MARGIN * model.three_body_cutoff
    return torch.where(torch.isfinite(shortest), (MARGIN * shortest).clamp(max=limit), model.inner.double())


def unknowns(model: SplinePotential) -> Columns:
    """Number the unknowns: the first three splines share one, the last three of r_ij and r_ik vanish, V_abc = V_acb."""
    count = len(model.numbers)
    a, b = np.indices((count, count))
    low, high = np.minimum(a, b), np.maximum(a, b)
    index = np.indices(model.two_body.shape)
    shared, dropped = shared_splines(index[2], model.intervals)
    keys = (low[..., None] * count + high[..., None]) * model.intervals + shared
    two_body, pairs = _number(keys, [dropped], count)

    a, b, c, x, y, z = np.indices(model.three_body.shape)
    side = model.side_intervals
    (x, x_dropped), (y, y_dropped) = shared_splines(x, side), shared_splines(y, side)
    z, _ = shared_splines(z, model.base_intervals + DEGREE)
    swap = (b > c) | ((b == c) & (x > y))
    b, c, x, y = np.where(swap, c, b), np.where(swap, b, c), np.where(swap, y, x), np.where(swap, x, y)
    keys = ((((a * count + b) * count + c) * side + x) * side + y) * (model.base_intervals + DEGREE) + z
    out_of_reach = ~_reached(model)
    three_body, total = _number(keys, [x_dropped | y_dropped, out_of_reach], pairs)
    one_body = torch.arange(count)
    return Columns(one_body, _mark(two_body, total), _mark(three_body, total), total)


def shared_splines(index: NDArray, intervals: int) -> tuple[NDArray, NDArray]:
    """Number of a spline once the first three are one, and whether it is among the last three."""
    return np.maximum(index - (DEGREE - 1), 0), index >= intervals


def _number(keys: NDArray, excluded: list[NDArray], start: int) -> tuple[NDArray, int]:
    """Consecutive numbers from `start` for the keys; -1 - n where the n-th exclusion holds."""
    numbered = np.zeros(keys.shape, dtype=np.int64)
    for mark, mask in reversed(list(enumerate(excluded))):
        numbered[mask] = -1 - mark
    kept = numbered == 0
    _, order = np.unique(keys[kept], return_inverse=True)
    numbered[kept] = start + order
    return numbered, start + int(order.max(initial=-1)) + 1


def _mark(numbered: NDArray, total: int) -> Tensor:
    return torch.from_numpy(np.where(numbered < 0, total - 1 - numbered, numbered))


def _reached(model: SplinePotential) -> NDArray[np.bool_]:
    """Whether some triangle has sides in the supports of the three splines, like `three_body`."""
    inner = model.inner.double().numpy()
    a, b, c, x, y, z = np.indices(model.three_body.shape, sparse=True)
    reach = model.three_body_cutoff
    (x0, x1), (y0, y1) = (
        _support(inner[a, other], reach, model.side_intervals, place) for other, place in ((b, x), (c, y))
    )
    z0, z1 = _support(inner[b, c], 2 * reach, model.base_intervals, z)
    nearest = np.maximum(np.maximum(x0 - y1, y0 - x1), 0.0)
    return (z0 < x1 + y1) & (z1 > nearest)


def _support(start: NDArray, stop: float, intervals: int, spline: NDArray) -> tuple[NDArray, NDArray]:
    width = (stop - start) / intervals
    first = np.maximum(np.where(spline < DEGREE, 0, spline - DEGREE), 0)
    last = np.minimum(np.where(spline < DEGREE, DEGREE, spline + 1), intervals)
    return start + width * first, start + width * last


def equations(model: SplinePotential, columns: Columns, batch: Batch, force_error: float) -> tuple[NDArray, NDArray]:
    """Rows (R, count) and targets (R,) of the energies an atom and the forces a batch has labels for, divided by the
    errors; what the model has besides its coefficients is taken off the targets."""
    batch = batch.to(dtype=torch.float64)
    graph = batch.graph
    energy_rows, force_rows = design(model, columns, graph)
    prior_energy, prior_forces = _prior(model, graph)
    atoms = torch.bincount(graph.configuration, minlength=len(graph.cell)).double()
    per_atom = 1.0 / (atoms * model.energy_error)
    rows = torch.cat([energy_rows * per_atom[:, None], force_rows / force_error])
    energy = (batch.labels["energy"] - prior_energy) * per_atom
    forces = (batch.labels["forces"] - prior_forces).T.flatten() / force_error
    targets = torch.cat([energy, forces])
    present = torch.isfinite(targets)
    return rows[present].numpy(), targets[present].numpy()


def _prior(model: SplinePotential, graph: Graph) -> tuple[Tensor, Tensor]:
    """Energies (C,) and forces (A, 3) of the repulsion."""
    species = model.species(graph.numbers)
    i, j = graph.pairs
    vectors = graph.vectors()
    r = vectors.norm(dim=1)
    pair, slope = model.repulsion(r, species[i], species[j])
    energy = vectors.new_zeros(len(graph.cell)).index_add(0, graph.configuration[i], 0.5 * pair)
    return energy, torch.zeros_like(graph.positions).index_add(0, i, (slope / r)[:, None] * vectors)


def design(model: SplinePotential, columns: Columns, graph: Graph) -> tuple[Tensor, Tensor]:
    """Derivatives of the energies (C, count) and forces (3 A, count; x of all atoms first) by the unknowns."""
    width = columns.count + 2
    energies = torch.zeros(len(graph.cell) * width, dtype=torch.float64)
    forces = torch.zeros(3, len(graph.numbers) * width, dtype=torch.float64)
    species = model.species(graph.numbers)
    i, j = graph.pairs
    vectors = graph.vectors()
    r = vectors.norm(dim=1)
    a, b = species[i], species[j]
    inner = model.inner.double()

    composition = columns.one_body[species]
    energies.index_add_(0, graph.configuration * width + composition, torch.ones(len(species), dtype=torch.float64))

    first, values, slopes = cubic_splines(r, inner[a, b], model.cutoff, model.intervals)
    unknown = columns.two_body.unfold(2, DEGREE + 1, 1)[a, b, first].T
    energies.index_add_(0, (graph.configuration[i] * width + unknown).flatten(), (0.5 * values).flatten())
    for axis in range(3):
        forces[axis].index_add_(0, (i * width + unknown).flatten(), (slopes * vectors[:, axis] / r).flatten())

    table = windows(columns.three_body)
    pairs = triplets(i, r < model.three_body_cutoff)
    for p, q in zip(*(part.split(CHUNK) for part in pairs), strict=True):
        third = vectors[q] - vectors[p]
        sides = torch.stack([r[p], r[q], third.norm(dim=1)])
        cell, (x, y, z) = model.grid(sides, torch.stack([a[p], b[p], b[q]]))
        unknown = table.index_select(0, cell).T
        in_xy = x[0][:, None] * y[0]
        in_energy = _products(in_xy, z[0])
        energies.index_add_(0, (graph.configuration[i[p]] * width + unknown).flatten(), in_energy.flatten())
        by_x = _products(x[1][:, None] * y[0], z[0]) / sides[0]
        by_y = _products(x[0][:, None] * y[1], z[0]) / sides[1]
        by_z = _products(in_xy, z[1]) / sides[2]
        rows = [(atom * width + unknown).flatten() for atom in (i[p], j[p], j[q])]
        for axis in range(3):
            base = by_z * third[:, axis]
            on_p, on_q = by_x * vectors[p, axis] - base, by_y * vectors[q, axis] + base
            for row, value in zip(rows, (on_p + on_q, -on_p, -on_q), strict=True):
                forces[axis].index_add_(0, row, value.flatten())
    return energies.view(-1, width)[:, : columns.count], forces.view(-1, width)[:, : columns.count]


def _products(in_xy: Tensor, in_z: Tensor) -> Tensor:
    """(64, T) products of (4, 4, T) and (4, T)."""
    return (in_xy[:, :, None] * in_z).flatten(0, 2)


def roughness(table: Tensor, axes: Sequence[int], count: int) -> sparse.csr_array:
    """Second differences (D, count) along `axes` of the coefficients that `table` numbers."""
    found = []
    for axis in axes:
        moved = np.moveaxis(table.numpy(), axis, -1)
        triples = np.stack([moved[..., :-2], moved[..., 1:-1], moved[..., 2:]], -1).reshape(-1, 3)
        found.append(triples[(triples <= count).all(1) & (np.ptp(triples, axis=1) > 0)])
    triples = np.unique(np.concatenate(found), axis=0)
    row = np.arange(len(triples)).repeat(3)
    values = np.tile([1.0, -2.0, 1.0], len(triples))
    return sparse.csr_array((values, (row, triples.ravel())), shape=(len(triples), count + 1))[:, :-1]


def solve(model: SplinePotential, columns: Columns, normal: NormalEquations) -> NDArray:
    """Solution (count,) of the penalised normal equations."""
    matrix = np.triu(normal.gram) + np.triu(normal.gram, 1).T
    composition = columns.one_body.numpy()
    matrix[composition, composition] *= 1.0 + COMPOSITION_RIDGE
    tables = ((columns.two_body, (2,)), (columns.three_body, (3, 4, 5)))
    for (table, axes), ridge, curvature in zip(tables, model.ridge, model.curvature, strict=True):
        difference = roughness(table, axes, columns.count)
        matrix += curvature * (difference.T @ difference).toarray()
        own = np.unique(table[table < columns.count])
        matrix[own, own] += ridge
    scale = 1.0 / np.sqrt(matrix.diagonal())
    try:
        factor = cho_factor(matrix * scale[:, None] * scale)
    except LinAlgError as error:
        raise InputError(
            f"uf3: the training part does not fix all {columns.count} coefficients; raise the ridge {list(model.ridge)}"
        ) from error
    return scale * cho_solve(factor, scale * normal.moment)
