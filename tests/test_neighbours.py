"""Neighbour lists against ASE's, one by one and many frames at once."""

from __future__ import annotations

import ase
import numpy as np
import pytest
import torch
from ase.neighborlist import neighbor_list
from conftest import graph_of, p2_crystal

from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import trajectory_graph

NUMBERS = (8, 11, 12, 25)


def distances(graph: Graph, atoms: int) -> dict[int, np.ndarray]:
    """Sorted distances to the neighbours of every atom."""
    lengths, first = graph.vectors().norm(dim=1).numpy(), graph.pairs[0].numpy()
    return {atom: np.sort(lengths[first == atom]) for atom in range(atoms)}


@pytest.mark.parametrize("cutoff", [2.5, 5.5, 9.0])
def test_pairs_are_those_of_ase_also_in_cells_smaller_than_the_cutoff(cutoff: float) -> None:
    atoms = p2_crystal(0)
    found = distances(graph_of([atoms], cutoff, "atoms"), 11)
    i, d = neighbor_list("id", atoms, cutoff)
    for atom in range(11):
        np.testing.assert_allclose(found[atom], np.sort(d[i == atom]), atol=1e-9)


def test_slabs_and_molecules_have_no_images_across_their_open_sides() -> None:
    atoms = p2_crystal(0)
    atoms.pbc = [True, False, True]
    i, d = neighbor_list("id", atoms, 4.0)
    found = distances(graph_of([atoms], 4.0, "atoms"), 11)
    np.testing.assert_allclose(found[3], np.sort(d[i == 3]), atol=1e-9)
    molecule = ase.Atoms("NaO", positions=[[0, 0, 0], [0, 0, 2.2]])
    assert graph_of([molecule], 5.0, "atoms").pairs.shape[1] == 2


@pytest.mark.parametrize("repeat", [(1, 1, 1), (2, 2, 1)])
def test_many_frames_at_once_agree_with_one_by_one(repeat: tuple[int, int, int]) -> None:
    frames = [p2_crystal(seed).repeat(repeat) for seed in range(3)]
    for seed, atoms in enumerate(frames):
        atoms.positions += np.random.default_rng(seed).integers(-2, 3, (len(atoms), 3)) @ np.array(atoms.cell)
    one_by_one = graph_of(frames, 5.5, "centres")
    together = trajectory_graph(
        torch.from_numpy(np.stack([atoms.positions for atoms in frames])),
        torch.from_numpy(np.array(frames[0].cell))[None],
        torch.from_numpy(frames[0].numbers),
        [True, True, True],
        cutoff=5.5,
        centres=[11],
    )
    assert torch.equal(together.centres, one_by_one.centres)
    assert together.pairs.shape == one_by_one.pairs.shape
    atoms = sum(map(len, frames))
    expected, found = distances(one_by_one, atoms), distances(together, atoms)
    for centre in one_by_one.centres.tolist():
        np.testing.assert_allclose(found[centre], expected[centre], atol=1e-9)
    assert (together.pairs[0].diff() >= 0).all()


def test_concatenation_shifts_all_indices() -> None:
    graphs = [graph_of([p2_crystal(seed)], 4.0, "atoms") for seed in range(3)]
    joined, whole = Graph.concatenate(graphs), graph_of([p2_crystal(seed) for seed in range(3)], 4.0, "atoms")
    for name in ("positions", "numbers", "cell", "configuration", "centres", "pairs", "shifts"):
        torch.testing.assert_close(getattr(joined, name), getattr(whole, name))


def test_distances_are_differentiable_in_positions_and_cell() -> None:
    graph = graph_of([p2_crystal(0)], 4.0, "atoms")
    graph.positions.requires_grad_()
    graph.cell.requires_grad_()
    graph.vectors().square().sum().backward()
    assert graph.positions.grad is not None
    assert graph.cell.grad is not None
    assert graph.cell.grad.abs().max() > 0


def test_cells_without_volume_and_meaningless_cutoffs_are_refused() -> None:
    flat = p2_crystal(0)
    flat.set_cell(np.zeros((3, 3)))
    with pytest.raises(InputError, match="lattice vector"):
        graph_of([flat], 4.0, "atoms")
    with pytest.raises(InputError, match="positive length"):
        graph_of([p2_crystal(0)], 0.0, "atoms")
