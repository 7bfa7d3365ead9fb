"""The elements a model knows: atomic numbers to consecutive indices, unknown ones refused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from ase.data import chemical_symbols
from torch import Tensor, nn

from ionecho.data.loader import Batch
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph


@dataclass(frozen=True)
class Statistics:
    """Mean and standard deviation of a label over the atoms of one element in the training part."""

    mean: float
    std: float


class Species(nn.Module):
    """Index (A,) of every atom's element among `numbers`."""

    lookup: Tensor

    def __init__(self, numbers: Sequence[int]) -> None:
        super().__init__()
        lookup = torch.full((len(chemical_symbols),), -1)
        lookup[torch.tensor(list(numbers))] = torch.arange(len(numbers))
        self.register_buffer("lookup", lookup, persistent=False)

    def forward(self, numbers: Tensor) -> Tensor:
        """Indices of the elements.

        Raises
        ------
        InputError
            If an element is not among those the model was made for.
        """
        index = self.lookup[numbers]
        if (index < 0).any():
            unknown = sorted({chemical_symbols[z] for z in numbers[index < 0].tolist()})
            known = ", ".join(chemical_symbols[z] for z in (self.lookup >= 0).nonzero().flatten().tolist())
            raise InputError(f"the model does not know {', '.join(unknown)}; it was trained on {known}")
        return index


def composition(graph: Graph, species: Tensor, kinds: int) -> Tensor:
    """How many atoms of each element the configurations hold, (C, S)."""
    cells = len(graph.cell)
    return torch.bincount(graph.configuration * kinds + species, minlength=cells * kinds).view(cells, kinds)


def one_body_and_scale(species: Species, kinds: int, batches: Iterable[Batch]) -> tuple[Tensor, float]:
    """Energies of the elements (S,) by least squares on compositions, and the size of the forces times 1 Å, eV.

    The size is the root mean square of the components; 1 where there are none, or all are zero.
    """
    counts, energies, squares, components = [], [], 0.0, 0
    for batch in batches:
        graph, energy, forces = batch.graph, batch.labels["energy"], batch.labels.get("forces")
        known = energy.isfinite()
        counts.append(composition(graph, species(graph.numbers), kinds)[known].double())
        energies.append(energy[known].double())
        if forces is not None:
            squares += float(forces.double().square().nansum())
            components += int(forces.isfinite().sum())
    energies_of_elements = torch.linalg.lstsq(torch.cat(counts), torch.cat(energies), driver="gelsd").solution
    return energies_of_elements, (squares / max(components, 1)) ** 0.5 or 1.0


def pooled(found: Mapping[int, Statistics], numbers: Iterable[int]) -> Statistics:
    """Mean of the means and of the deviations of those elements that have them; 0 and 1 of none."""
    known = [found[number] for number in numbers if number in found]
    if not known:
        return Statistics(0.0, 1.0)
    return Statistics(*(sum(parts) / len(known) for parts in zip(*((one.mean, one.std) for one in known), strict=True)))


def refuse_missing_elements(numbers: Iterable[int], settings: Mapping[str, Any]) -> None:
    """Raise InputError for all settings (key -> values by atomic number) that lack one of the elements `numbers`."""
    absent = {
        key: [number for number in numbers if number not in {int(z) for z in values or ()}]
        for key, values in settings.items()
    }
    wrong = [
        f"{key} of {', '.join(f'{z} ({chemical_symbols[z]})' for z in lacking)}"
        for key, lacking in absent.items()
        if lacking
    ]
    if wrong:
        raise InputError(f"no {', no '.join(wrong)}, which the model needs of every element")
