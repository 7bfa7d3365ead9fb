"""Members of one model evaluated together: their mean, and their spread calibrated on configurations left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ionecho.data.outputs import MEMBERS, SPREAD, Output, named
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import PairsOf
from ionecho.models.domain import DISTANCE, FEATURES, QUANTILE, Dispersion, Domain


class Ensemble(nn.Module):
    """Mean, calibrated spread and single predictions of M members that share one neighbour list.

    Where the members' class offers `batched(members)`, a module that gives the outputs of all along a first axis, that
    is evaluated instead of one after another. It copies their weights, anew when weights are loaded into the ensemble.

    Parameters
    ----------
    members
        Models of one kind, whose width and depth may differ.
    calibration
        Output -> factor on the members' spread (`Output.spread`). A single member has none.
    domain
        What the first member has learned; it tells how far away centres are.
    dispersion
        Output -> how its errors grow with this distance; where there is one, it makes the spread.

    Raises
    ------
    InputError
        If the members do not share elements, centres and cut-off.
    """

    numbers: tuple[int, ...]
    centres: tuple[int, ...]
    cutoff: float
    pairs_of: PairsOf
    outputs: tuple[Output, ...]
    given: str | None
    finds_states: bool

    def __init__(
        self,
        members: Sequence[nn.Module],
        calibration: Mapping[str, float],
        domain: Domain | None = None,
        dispersion: Mapping[str, Dispersion] | None = None,
    ) -> None:
        super().__init__()
        self.domain, self.dispersion = domain, dict(dispersion or {})
        self.members = nn.ModuleList(members)
        self.calibration = dict(calibration)
        first: Any = self.members[0]
        for name in ("numbers", "centres", "cutoff", "pairs_of", "outputs", "given", "finds_states"):
            if len(found := {getattr(member, name) for member in members}) > 1:
                raise InputError(f"members of an ensemble: expected the same {name}, found {sorted(map(str, found))}")
            setattr(self, name, getattr(first, name))
        self.batched: nn.Module | None = first.batched(members) if hasattr(first, "batched") else None
        self.register_load_state_dict_post_hook(_refresh)

    def forward(self, graph: Graph) -> dict[str, Tensor]:
        """Outputs of the members with `<name>_std` (n,), one a row, and, for M > 1, `<name>_members` (M, n, ...).

        A single member has a spread where its errors are known by distance. `distance` and `distance_quantile` (K,) are
        of the centres.
        """
        if self.batched is not None:
            outputs = self.batched(graph)
        else:
            single = [member(graph) for member in self.members]
            outputs = {n: torch.stack([output[n] for output in single]) for n in single[0] if n != FEATURES}
        joined: dict[str, Tensor] = {}
        if self.domain is not None:
            element = self.members[0].centre_species(graph.numbers[graph.centres])  # type: ignore[operator]
            joined[DISTANCE] = self.domain(single[0][FEATURES], element)
            joined[QUANTILE] = self.domain.quantile(joined[DISTANCE])
        known = named(self.outputs)
        for name, values in outputs.items():
            joined[name] = values.mean(0)
            if known[name].auxiliary:
                continue
            if len(values) > 1:
                joined[name + SPREAD] = self.calibration.get(name, 1.0) * known[name].spread(values)
                joined[name + MEMBERS] = values
            if name in self.dispersion:
                joined[name + SPREAD] = self.dispersion[name](joined[DISTANCE], joined.get(name + SPREAD))
        return joined


def _refresh(ensemble: nn.Module, _: Any) -> None:
    assert isinstance(ensemble, Ensemble)
    if ensemble.batched is not None:
        ensemble.batched.refresh(ensemble.members)  # type: ignore[operator]
