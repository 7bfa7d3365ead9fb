"""A model's forward pass as TorchScript, recorded with sizes that follow the input, and held against the model."""

from __future__ import annotations

import builtins
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from ase.data import covalent_radii
from numpy.typing import NDArray
from torch import Tensor, nn

from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import build_graph
from ionecho.models import painn_batched

TOLERANCE = 1e-9  # of the largest value, between the recorded pass and the model
Tensors = tuple[Tensor, ...]
Evaluation = Callable[[Graph], dict[str, Tensor]]


class Recorded(nn.Module):
    """An evaluation as a function of the tensors of a graph."""

    def __init__(self, model: nn.Module, evaluation: Evaluation) -> None:
        super().__init__()
        self.model, self.evaluation = model, evaluation

    def forward(self, *tensors: Tensor) -> dict[str, Tensor]:
        """What the evaluation gives for positions, numbers, cell, configuration, centres, pairs and shifts."""
        return self.evaluation(Graph(*tensors))


def traced(model: Any, evaluation: Evaluation, sums: Evaluation | None = None) -> Any:
    """The evaluation, which uses the model, as a `ScriptModule` of the tensors of a graph.

    It is recorded on one structure. `torch.jit.trace` takes down the sizes of tensors as numbers where Python asks for
    them by `len`, `int` or `tolist`; while it records, these give tensors. Which way a branch goes is as on this
    structure. Hence its values are compared on structures of other sizes, densities and elements, with those of the
    evaluation itself or, where there are such, their sums over the rows.

    Raises
    ------
    InputError
        If it differs from the model on one of them.
    """
    example = tensors(graph_of(model, *structure(model, 30, 0.6, model.numbers, 0)))
    with _following_sizes(), warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")
        script = torch.jit.trace(Recorded(model, evaluation), example, check_trace=False, strict=False)
    few = (model.centres[0],)
    cases = [(30, 1.0, model.numbers, 1), (8, 0.6, model.numbers, 2), (61, 0.7, model.numbers, 3), (12, 0.8, few, 4)]
    for case in [*cases, (2, 0.8, few, 5), (100, 0.9, model.numbers, 6)]:
        _compare(
            script,
            evaluation if sums is None else sums,
            sums is not None,
            graph_of(model, *structure(model, *case)),
            case[0],
        )
    return script


def _compare(script: Any, reference: Evaluation, summed: bool, graph: Graph, atoms: int) -> None:
    with torch.no_grad():
        expected = reference(graph)
        try:
            found = script(*tensors(graph))
        except RuntimeError as error:
            told = str(error).strip().splitlines()[-1]
            raise InputError(
                f"export: the recorded model fails on {atoms} atoms ({told}); it cannot be exported"
            ) from error
    for name, values in expected.items():
        found[name] = found[name].sum(0, keepdim=True) if summed else found[name]
        if values.shape != found[name].shape:
            raise InputError(f"export: the recorded {name} of {atoms} atoms is of another shape; it cannot be exported")
        apart = float((found[name] - values).abs().max() / values.abs().max().clamp(min=1.0))
        if not apart <= TOLERANCE:
            raise InputError(
                f"export: the recorded {name} of {atoms} atoms differs from the model by {apart:.1g} of its size; "
                "the model takes decisions that TorchScript does not record"
            )


def structure(
    model: Any, atoms: int, spacing: float, elements: tuple[int, ...], seed: int
) -> tuple[NDArray, NDArray, NDArray]:
    """Positions (N, 3) and cell (3, 3), Å, and numbers (N,), about a lattice of covalent diameters times `spacing`."""
    random = np.random.default_rng(seed)
    side = int(np.ceil(atoms ** (1 / 3)))
    step = spacing * 2 * max(covalent_radii[number] for number in model.numbers)
    sites = step * np.stack(np.meshgrid(*3 * [np.arange(side)]), -1).reshape(-1, 3)[:atoms]
    positions = sites + random.normal(0, 0.05 * step, (atoms, 3))
    cell = step * side * np.eye(3) + random.normal(0, 0.05 * step, (3, 3))
    return positions, cell, random.permutation(np.resize(np.array(elements), atoms))


def graph_of(model: Any, positions: NDArray, cell: NDArray, numbers: NDArray) -> Graph:
    """The neighbours of one periodic structure in double precision."""
    seen = {"cutoff": model.cutoff, "centres": model.centres, "pairs_of": model.pairs_of}
    return build_graph([positions], [cell], [numbers], [True], dtype=torch.float64, **seen)


def tensors(graph: Graph) -> Tensors:
    """The arrays of a graph that every model is given."""
    places = (graph.positions, graph.numbers, graph.cell, graph.configuration)
    return (*places, graph.centres, graph.pairs, graph.shifts)


@contextmanager
def _following_sizes() -> Iterator[None]:
    """Python's questions for sizes give tensors in our models, and gradients, which engines take themselves, zeros."""

    def length(value: Any) -> Any:
        return value.shape[0] if isinstance(value, Tensor) else builtins.len(value)

    def whole(value: Any) -> Any:
        return value if isinstance(value, Tensor) else builtins.int(value)

    def rounded(value: Any) -> int:
        return builtins.round(float(value))

    def zeros(_: Tensor, inputs: Tensor, **__: Any) -> tuple[Tensor]:
        return (torch.zeros_like(inputs),)

    own = [name for name in sys.modules if name.startswith(("ionecho.models.", "ionecho.geometry."))]
    with ExitStack() as stack:
        for name in own:
            for builtin, follows in (("len", length), ("int", whole), ("round", rounded)):
                stack.enter_context(patch.object(sys.modules[name], builtin, follows, create=True))
        stack.enter_context(patch.object(Tensor, "tolist", lambda values: list(values.unbind())))
        stack.enter_context(patch.object(torch.autograd, "grad", zeros))
        stack.enter_context(patch.object(painn_batched, "DENSE", 0.0))  # a block an atom, which serves all structures
        yield
