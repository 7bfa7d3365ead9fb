"""The dipolar field of moments on a lattice: all images, by Ewald's method."""

from __future__ import annotations

import torch
from torch import Tensor

from ionecho.geometry.graph import Graph
from ionecho.geometry.radial import cosine_cutoff

SPLIT = 3.5  # Gaussians' inverse width times the cut-off in real space
SMALLEST = 1e-4  # weight of the last waves


def dipolar_tensors(graph: Graph, moments: Tensor, cutoff: float) -> Tensor:
    """Σ_j m_j (3 r̂ r̂ - 1) / r³ over all atoms j and their images as seen from the centres, (K, 3, 3) in μB/Å³.

    The field at a nucleus of point moments that are parallel is this tensor times their direction and μ₀/4π. Near
    fields are summed over the pairs within the cut-off, those of Gaussians over reciprocal lattice vectors
    (P. P. Ewald, Ann. Phys. 1921, 369, 253; the derivatives of the split 1/r). Symmetric, traceless, and to 1e-3 of the
    largest field exact; smooth where an image crosses the cut-off.

    Parameters
    ----------
    graph
        Periodic configurations with pairs of the centres at least.
    moments
        Of all atoms, (A,), μB.
    cutoff
        Å, at most that of the pairs.
    """
    width = SPLIT / cutoff
    row = torch.full_like(graph.numbers, -1)
    row[graph.centres] = torch.arange(len(graph.centres), device=row.device)
    vectors = graph.vectors()
    r = vectors.norm(dim=1)
    near = ((row[graph.pairs[0]] >= 0) & (r < cutoff)).nonzero().squeeze(1)
    i, j = graph.pairs[:, near]
    r, unit = r[near], vectors[near] / r[near, None]
    x = width * r
    screening = torch.erfc(x) + 2 / torch.pi**0.5 * x * (1 + 2 / 3 * x**2) * torch.exp(-(x**2))
    weight = moments[j] * screening * cosine_cutoff(r, cutoff, 1.0) / r**3
    tensors = r.new_zeros(len(graph.centres), 3, 3)
    tensors = tensors.index_add(0, row[i], 3 * weight[:, None, None] * unit[:, :, None] * unit[:, None, :])
    tensors = tensors + _of_gaussians(graph, moments, width)
    return tensors - tensors.diagonal(dim1=1, dim2=2).mean(1)[:, None, None] * torch.eye(3).to(tensors)


def _of_gaussians(graph: Graph, moments: Tensor, width: float) -> Tensor:
    """The part of smeared moments, (K, 3, 3), but for its trace: -4π/V Σ_k k̂ k̂ exp(-k²/4α²) Re e^{ikr} S(k)*."""
    longest = 2 * width * (-torch.log(torch.tensor(SMALLEST))).sqrt().item()
    of_centres = graph.configuration[graph.centres]
    parts = []
    for number, cell in enumerate(graph.cell):
        waves = _waves(cell, longest)
        square = waves.square().sum(1)
        phases = graph.positions[graph.configuration == number] @ waves.T
        of_moments = moments[graph.configuration == number]
        at = graph.positions[graph.centres[of_centres == number]] @ waves.T
        sums = at.cos() * (of_moments @ phases.cos()) + at.sin() * (of_moments @ phases.sin())
        factor = -8 * torch.pi / torch.linalg.det(cell).abs() * torch.exp(-square / (4 * width**2)) / square
        parts.append(torch.einsum("kg,ga,gb->kab", sums * factor, waves, waves))
    return torch.cat(parts)


def _waves(cell: Tensor, longest: float) -> Tensor:
    """Reciprocal lattice vectors up to this length, (G, 3) 1/Å: one of each pair k, -k, none zero."""
    reciprocal = 2 * torch.pi * torch.linalg.inv(cell).T
    most = (longest * cell.detach().norm(dim=1) / (2 * torch.pi)).long().tolist()
    axes = [torch.arange(-n, n + 1, device=cell.device) for n in most]
    index = torch.cartesian_prod(*axes)
    half = index[len(index) // 2 + 1 :].to(cell)
    waves = half @ reciprocal
    return waves[waves.detach().norm(dim=1) <= longest]
