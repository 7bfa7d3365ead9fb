"""Electrostatic potentials of point charges in crystals, by Ewald's sum."""

from __future__ import annotations

import math

import torch
from ase.units import _e, _eps0
from torch import Tensor

from ionecho.geometry.graph import Graph

COULOMB = _e / (4 * math.pi * _eps0) * 1e10  # V Å: e²/(4 pi eps0) in eV Å
CUTOFFS = 4.5  # widths of the screening charges in the cut-off of the neighbours
HIGHEST = 5.5  # exp(-x²/2) of it is 3e-7


def potentials(graph: Graph, charges: Tensor, configuration: int, cutoff: float) -> Tensor:
    """Potentials (A, B) in V at the atoms of a configuration, of B sets of charges (A, B) on its atoms in units of e.

    An atom does not feel its own charge, but its periodic images; a net charge is neutralised by a uniform background.
    The graph holds the pairs of all atoms within `cutoff` Å. Differentiable in positions and cell.
    """
    atoms = (graph.configuration == configuration).nonzero().squeeze(1)
    positions, cell = graph.positions[atoms], graph.cell[configuration]
    width = cutoff / CUTOFFS
    volume = torch.linalg.det(cell).abs()
    waves = _wave_vectors(cell, HIGHEST / width)
    squares = waves.square().sum(1)
    phases = positions @ waves.T
    cosine, sine = torch.cos(phases), torch.sin(phases)
    strength = 4 * math.pi / volume * torch.exp(-0.5 * width**2 * squares) / squares
    smooth = cosine @ (strength[:, None] * (cosine.T @ charges)) + sine @ (strength[:, None] * (sine.T @ charges))
    own = math.sqrt(2 / math.pi) / width * charges
    background = 2 * math.pi * width**2 / volume * charges.sum(0)
    return COULOMB * (smooth + _near(graph, charges, atoms, width) - own - background)


def _near(graph: Graph, charges: Tensor, atoms: Tensor, width: float) -> Tensor:
    i, j = graph.pairs
    chosen = (graph.configuration[i] == graph.configuration[atoms[0]]).nonzero().squeeze(1)
    r = graph.vectors()[chosen].norm(dim=1)
    screened = torch.erfc(r / (math.sqrt(2) * width)) / r
    first = atoms[0]  # those of a configuration follow each other
    return torch.zeros_like(charges).index_add(0, i[chosen] - first, screened[:, None] * charges[j[chosen] - first])


def _wave_vectors(cell: Tensor, longest: float) -> Tensor:
    """Reciprocal lattice vectors (W, 3) up to a length in 1/Å, but for zero."""
    reciprocal = 2 * math.pi * torch.linalg.inv(cell).T
    most = (longest * cell.detach().norm(dim=1) / (2 * math.pi)).floor().long().tolist()
    orders = torch.cartesian_prod(*(torch.arange(-n, n + 1, device=cell.device) for n in most)).to(cell)
    waves = orders @ reciprocal
    length = waves.detach().norm(dim=1)
    return waves[(length <= longest) & (orders.abs().sum(1) > 0)]
