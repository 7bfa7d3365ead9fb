"""What a metatomic file holds: from an engine's systems to a graph, and from a recorded model to its outputs.

TorchScript reads the annotations of this module, in the words that it knows.
"""

from typing import Dict, List, Optional  # noqa: UP035

import torch
from metatensor.torch import Labels, TensorBlock, TensorMap
from metatomic.torch import ModelOutput, NeighborListOptions, System


def counted(name: str, count: int, device: torch.device) -> Labels:
    """Labels from zero on."""
    return Labels(name, torch.arange(count, device=device).unsqueeze(1))


class MetatomicModule(torch.nn.Module):
    """A model in metatomic's terms.

    Parameters
    ----------
    core
        TorchScript of positions, numbers, cells, configuration, centres, pairs and shifts; gives each output by its
        name, its last axis metatomic's properties.
    cutoff, centres
        Å, and atomic numbers of the atoms predicted for.
    of_centres
        Whether pairs are those of the centres only.
    atom_by_atom
        Whether every atom is a configuration of its own, so that energies come by atom.
    at_centres
        Outputs whose rows are the centres; those of the others are the atoms.
    """

    centres: torch.Tensor
    at_centres: List[str]  # noqa: UP006

    def __init__(
        self,
        core: torch.jit.ScriptModule,
        cutoff: float,
        centres: List[int],  # noqa: UP006
        of_centres: bool,
        atom_by_atom: bool,
        at_centres: List[str],  # noqa: UP006
    ):
        super().__init__()
        self.core = core
        self.options = NeighborListOptions(cutoff=cutoff, full_list=True, strict=True)
        self.register_buffer("centres", torch.tensor(centres))
        self.of_centres = of_centres
        self.atom_by_atom = atom_by_atom
        self.at_centres = at_centres

    def requested_neighbor_lists(self) -> List[NeighborListOptions]:  # noqa: UP006
        """All neighbours within the cut-off."""
        return [self.options]

    def forward(
        self,
        systems: List[System],  # noqa: UP006
        outputs: Dict[str, ModelOutput],  # noqa: UP006
        selected_atoms: Optional[Labels] = None,  # noqa: UP045
    ) -> Dict[str, TensorMap]:  # noqa: UP006
        """The outputs asked for, by system or by atom, of all atoms or of those selected."""
        results: Dict[str, TensorMap] = {}  # noqa: UP006
        if len(outputs) == 0:
            return results
        positions = torch.cat([system.positions for system in systems])
        numbers = torch.cat([system.types for system in systems]).to(torch.int64)
        cells = torch.stack([system.cell for system in systems])
        sizes = torch.tensor([len(system) for system in systems], device=positions.device)
        owner = torch.repeat_interleave(sizes)
        first = torch.cumsum(sizes, 0) - sizes

        pairs: List[torch.Tensor] = []  # noqa: UP006
        shifts: List[torch.Tensor] = []  # noqa: UP006
        for index, system in enumerate(systems):
            samples = system.get_neighbor_list(self.options).samples.values.to(torch.int64)
            pairs.append(samples[:, :2].T + first[index])
            shifts.append(samples[:, 2:].to(positions.dtype))
        pair = torch.cat(pairs, dim=1)
        shift = torch.cat(shifts)
        order = torch.argsort(pair[0], stable=True)
        is_centre = torch.isin(numbers, self.centres)
        if self.of_centres:
            order = order[is_centre[pair[0]][order]]
        pair, shift = pair[:, order], shift[order]

        centres = torch.where(is_centre)[0]
        atoms = torch.arange(len(numbers), device=positions.device)
        configuration = owner
        if self.atom_by_atom:
            configuration, cells = atoms, cells[owner]
        values: Dict[str, torch.Tensor] = self.core(  # noqa: UP006
            positions, numbers, cells, configuration, centres, pair, shift
        )

        chosen = torch.ones_like(is_centre)
        if selected_atoms is not None:
            selected = selected_atoms.values.to(torch.int64)
            chosen = torch.zeros_like(is_centre)
            chosen[first[selected[:, 0]] + selected[:, 1]] = True
        for name, output in outputs.items():
            rows = centres if name in self.at_centres else atoms
            keep = chosen[rows]
            rows, found = rows[keep], values[name][keep]
            if output.sample_kind == "system":
                sums = found.new_zeros([len(systems)] + list(found.shape[1:]))  # noqa: RUF005
                found = sums.index_add(0, owner[rows], found)
                samples = counted("system", len(systems), found.device)
            else:
                places = torch.stack([owner[rows], rows - first[owner[rows]]], dim=1)
                samples = Labels(["system", "atom"], places.to(torch.int32))
            components: List[Labels] = []  # noqa: UP006
            for axis in range(1, found.dim() - 1):
                word = "xyz" if found.dim() == 3 else "xyz_" + str(axis)
                components.append(counted(word, found.shape[axis], found.device))
            word = name.split("::")[-1].replace("_ensemble", "")
            properties = counted(word, found.shape[-1], found.device)
            block = TensorBlock(found, samples, components, properties)
            results[name] = TensorMap(Labels("_", torch.tensor([[0]], device=found.device)), [block])
        return results
