"""Forces and stress of any potential from the gradient of its energy by the vectors between neighbours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Any

import torch
from torch import Tensor

from ionecho.geometry.graph import Graph


@contextmanager
def recorded_vectors(graph: Graph) -> Iterator[tuple[Graph, Tensor]]:
    """Record gradients inside, even where the caller runs without them or in inference mode.

    Gives the graph, copied where it was made in inference mode, and its vectors (P, 3) Å, which require gradients.
    """
    with torch.inference_mode(False), torch.enable_grad():
        copies: dict[str, Any] = {field.name: _recordable(getattr(graph, field.name)) for field in fields(graph)}
        graph = Graph(**copies)
        vectors = graph.vectors()
        yield graph, vectors if vectors.requires_grad else vectors.requires_grad_()


def _recordable(tensor: Tensor | None) -> Tensor | None:
    return tensor.clone() if tensor is not None and tensor.is_inference() else tensor


def forces_and_stress(energy: Tensor, vectors: Tensor, graph: Graph, create_graph: bool) -> tuple[Tensor, Tensor]:
    """Forces F_k = Σ_j (g_kj - g_jk) and stress Σ_ij r_ij ⊗ g_ij / V with g_ij = ∂E/∂r_ij, in one backward pass.

    Parameters
    ----------
    energy
        (C,) eV, made from the vectors.
    vectors
        (P, 3) Å from atom i to its neighbour j, which require gradients.
    graph
        Its pairs are those of the vectors.
    create_graph
        Whether forces and stress shall be differentiable themselves, as in training.

    Returns
    -------
    Forces (A, 3) eV/Å and stress (C, 3, 3) eV/Å³, tensile positive.
    """
    (gradient,) = torch.autograd.grad(energy.sum(), vectors, create_graph=create_graph)
    forces, stress = of_pairs(gradient, vectors, graph)
    return forces, stress if create_graph else stress.detach()


def of_pairs(gradient: Tensor, vectors: Tensor, graph: Graph) -> tuple[Tensor, Tensor]:
    """Forces (A, 3) and stress (C, 3, 3) of the gradient g (P, 3) of the energy by the vectors between neighbours."""
    i, j = graph.pairs
    forces = torch.zeros_like(graph.positions).index_add(0, i, gradient).index_add(0, j, gradient, alpha=-1)
    virial = vectors[:, :, None] * gradient[:, None, :]
    owner = graph.configuration.index_select(0, i)
    volume = torch.linalg.det(graph.cell).abs()[:, None, None]
    return forces, torch.zeros_like(graph.cell).index_add(0, owner, virial) / volume
