"""What a fitted potential should do where it has no data: go on as the harmonic solid it was fitted to."""

from __future__ import annotations

from dataclasses import replace

import torch

from ionecho.data.loader import Batch
from ionecho.models.spline_potential import SplinePotential

STEP = 0.05  # of the displacement, for the derivative of the forces along it


def harmonic_continuation(model: SplinePotential, batch: Batch, displacement: float) -> Batch:
    """Displaced copies of labelled configurations, with the forces of the quadratic expansion about each.

    All atoms move by normal random vectors u, of a standard deviation drawn between 0 and `displacement` (Å) for every
    configuration. The new forces are the labels plus the derivative of the model's forces along u, by central
    differences, and those of the model's wall. Atoms with a neighbour nearer than the inner radius, where the
    repulsion rules, are left out, as are all energies.
    """
    graph = batch.graph
    size = displacement * torch.rand(len(graph.cell), 1).to(graph.positions)
    u = size[graph.configuration] * torch.randn(graph.positions.shape).to(graph.positions)
    ahead, behind = (model(replace(graph, positions=graph.positions + step * u))["forces"] for step in (STEP, -STEP))
    forces = batch.labels["forces"] + (ahead - behind) / (2 * STEP)
    displaced = replace(graph, positions=graph.positions + u)
    species = model.species(graph.numbers)
    i, j = graph.pairs
    vectors = displaced.vectors()
    r = vectors.norm(dim=1)
    _, slope = model.wall(r, species[i], species[j])
    forces.index_add_(0, i, (slope / r)[:, None] * vectors)
    forces[i[r < model.inner[species[i], species[j]]]] = torch.nan
    return Batch(displaced, {"energy": torch.full_like(batch.labels["energy"], torch.nan), "forces": forces})
