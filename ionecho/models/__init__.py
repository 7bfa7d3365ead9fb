"""The models by name. A model is one module; its class is imported only when asked for.

Every model maps a `Graph` to a dictionary of what its `outputs` say, by their names, in their labels' units. It has
`numbers` and `centres` (atomic numbers it knows, and predicts for), `cutoff` (Å), `pairs_of` ("atoms" or "centres")
`outputs`, the names of those that have to be learned (`needed`), and `fit(statistics, batches)`, which sets its scale,
and whatever has a closed form, from the training part alone.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Mapping
from typing import Any, Protocol, cast

from torch import Tensor

from ionecho.data.loader import Batch
from ionecho.data.outputs import Output
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import PairsOf
from ionecho.models.species import Statistics

MODELS: Mapping[str, str] = {
    "nn_nmr": "ionecho.models.nn_nmr:NNNMR",
    "painn": "ionecho.models.painn:PaiNN",
    "painn_nmr": "ionecho.models.painn_nmr:PaiNNNMR",
    "spin_transfer": "ionecho.models.spin_transfer:SpinTransfer",
    "deep_pot": "ionecho.models.deep_pot:DeepPot",
    "uf3": "ionecho.models.uf3:UF3",
}


class PropertyModel(Protocol):
    """What training, prediction and the checkpoints rely on; every model is also a `torch.nn.Module`."""

    numbers: tuple[int, ...]
    centres: tuple[int, ...]
    cutoff: float
    pairs_of: PairsOf
    outputs: tuple[Output, ...]
    needed: tuple[str, ...]

    def forward(self, graph: Graph) -> dict[str, Tensor]: ...

    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Set the scaling from `statistics[label][atomic number]`, and what has a closed form from the training part.

        `batches` can be run through more than once.
        """


def build_model(name: str, hyperparameters: Mapping[str, Any]) -> Any:
    """A new model of the registry with these hyperparameters, its weights random."""
    if name not in MODELS:
        raise InputError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    module, _, attribute = MODELS[name].partition(":")
    model = cast(Any, getattr(importlib.import_module(module), attribute))
    signature = inspect.signature(model).parameters
    if unknown := set(hyperparameters) - set(signature):
        raise InputError(f"model {name}: unknown hyperparameters {sorted(unknown)}; known: {', '.join(signature)}")
    if missing := {n for n, p in signature.items() if p.default is p.empty} - set(hyperparameters):
        raise InputError(f"model {name}: hyperparameters {sorted(missing)} are missing")
    return model(**hyperparameters)
