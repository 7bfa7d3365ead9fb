"""A checkpoint as a file of metatomic, which ASE, LAMMPS, torch-sim and others read."""

from __future__ import annotations

import copy
import json
import warnings
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from torch import Tensor

from ionecho.checkpoints.store import Checkpoint
from ionecho.checkpoints.traced import Evaluation, traced
from ionecho.data.outputs import MEMBERS, SPREAD, Output
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.models.domain import DISTANCE, QUANTILE
from ionecho.nmr.derived import derived_from, parse_parameters

OURS = "ionecho::"
ENSEMBLE = "_ensemble"  # metatomic's ending of the members' values


def export(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write `<name>.pt` and, where it needs libraries besides torch's, `<name>-extensions/`; double precision, on CPUs.

    A potential gives `energy` by system or atom, of which engines take forces and stress, and its members'
    `energy_ensemble`. Other models give their outputs by atom as `ionecho::<label>`, `ionecho::<label>_std` and, where
    that is a number times the label, `ionecho::<derived quantity>`, with the checkpoint's parameters; units and
    parameters stand in the file's metadata.

    Raises
    ------
    InputError
        If metatomic is not installed, or the model is of neither kind or cannot be recorded.
    """
    if find_spec("metatomic") is None:
        raise InputError("--format metatomic: needs metatomic-torch; pip install 'ionecho[metatomic]'")
    from metatomic.torch import AtomisticModel, ModelCapabilities

    from ionecho.checkpoints.metatomic_module import MetatomicModule

    model = copy.deepcopy(checkpoint.model).to("cpu", torch.float64).eval().requires_grad_(False)
    units, evaluation = _offered(checkpoint, model)
    atom_by_atom = checkpoint.drives_ions
    of_atoms = {OURS + output.name for output in model.outputs if output.at == "atoms"}
    at_centres = [] if atom_by_atom else [name for name in units if name.removesuffix(SPREAD) not in of_atoms]
    core = traced(model, _by_atom(evaluation), evaluation) if atom_by_atom else traced(model, evaluation)
    module = MetatomicModule(
        core, model.cutoff, list(model.centres), model.pairs_of == "centres", atom_by_atom, at_centres
    )
    capabilities = ModelCapabilities(
        outputs={name: _output(unit, atom_by_atom) for name, unit in units.items()},
        atomic_types=list(model.numbers),
        interaction_range=_range(model),
        length_unit="angstrom",
        supported_devices=["cpu"],
        dtype="float64",
    )
    folder.mkdir(parents=True, exist_ok=True)
    file, libraries = folder / f"{checkpoint.config.name}.pt", folder / f"{checkpoint.config.name}-extensions"
    needs = "sphericart" in str(core.inlined_graph)
    partial = file.with_name(file.name + ".partial")
    with warnings.catch_warnings(), nullcontext() if needs else patch.object(torch.ops, "loaded_libraries", set()):
        warnings.simplefilter("ignore")
        whole = AtomisticModel(module.eval(), _metadata(checkpoint, units), capabilities)
        whole.save(partial, collect_extensions=str(libraries) if needs else None)
    partial.replace(file)
    return file


def _offered(checkpoint: Checkpoint, model: Any) -> tuple[dict[str, str], Evaluation]:
    """Names in metatomic with their units, and what gives them, of shape (n, ..., properties)."""
    if checkpoint.drives_ions:
        output = next(each for each in model.outputs if each.at == "configurations" and each.kind == "scalar")
        name, members = output.name, checkpoint.config.members > 1

        def energies(graph: Graph) -> dict[str, Tensor]:
            outputs = model(graph)
            ensemble = {name + ENSEMBLE: outputs[name + MEMBERS].T} if members else {}
            return {name: outputs[name][:, None], **ensemble}

        return dict.fromkeys([name, *([name + ENSEMBLE] if members else [])], output.array.unit), energies

    if model.given is not None and model.finds_states:
        raise InputError(
            f"{checkpoint.config.name} finds the states of ions by going through their arrangements, which TorchScript "
            "does not record; --format metatomic takes potentials and models of single atoms. Use predict.py"
        )
    given = [each for each in model.outputs if each.at in ("centres", "atoms") and not each.auxiliary]
    if not given:
        raise InputError(
            f"{checkpoint.config.name} gives nothing by atom, as --format metatomic takes it; use predict.py"
        )
    factors = {output.name: _factors(checkpoint, output) for output in given}

    def properties(graph: Graph) -> dict[str, Tensor]:
        outputs = model(graph)
        found = {OURS + name: outputs[name] for name in (DISTANCE, QUANTILE) if name in outputs}
        for output in given:
            for suffix in (SPREAD, "") if output.name + SPREAD in outputs else ("",):
                values = outputs[output.name + suffix]
                found[OURS + output.name + suffix] = values
                for name, (factor, _) in factors[output.name].items():
                    found[OURS + name + suffix] = (abs(factor) if suffix else factor) * values
        return {name: values[..., None] for name, values in found.items()}

    units = {output.name: output.array.unit for output in given}
    units |= {name: unit for each in factors.values() for name, (_, unit) in each.items()}
    spreads = checkpoint.config.members > 1 or bool(checkpoint.config.dispersion)
    known = {
        OURS + name + suffix: unit for name, unit in units.items() for suffix in (("", SPREAD) if spreads else ("",))
    }
    away = {OURS + name: "" for name in (DISTANCE, QUANTILE)} if model.domain is not None else {}
    return known | away, properties


def _by_atom(energies: Evaluation) -> Evaluation:
    """Of a sum over atoms: every atom is a configuration of its own, so that its energy comes alone."""

    def by_atom(graph: Graph) -> dict[str, Tensor]:
        atoms = torch.arange(graph.numbers.shape[0])
        cells = graph.cell if graph.cell.shape[0] > 1 else graph.cell[graph.configuration]
        return energies(Graph(graph.positions, graph.numbers, cells, atoms, graph.centres, graph.pairs, graph.shifts))

    return by_atom


def _factors(checkpoint: Checkpoint, output: Output) -> dict[str, tuple[float, str]]:
    """Quantities that are a number times an output, with this number and their unit."""
    parameters = parse_parameters(checkpoint.config.parameters)
    one = np.ones(1)
    return {
        entry.name: (float(entry.function(one, own, one)[0]), entry.unit)
        for entry, own in derived_from(output.label, parameters)
        if entry.linear and not entry.in_place
    }


def _output(unit: str, by_system: bool) -> Any:
    """Of other units than energies metatomic knows nothing: they are told in words."""
    from metatomic.torch import ModelOutput

    if by_system:
        return ModelOutput(unit=unit, sample_kind="atom")
    return ModelOutput(unit="", sample_kind="atom", description=f"in {unit}" if unit else "")


def _range(model: Any) -> float:
    """How far away an atom may matter, Å."""
    if any(member.sums_images for member in model.members):
        return float("inf")
    layers = 1 if model.pairs_of == "centres" else max(getattr(member, "interactions", 2) for member in model.members)
    return float(layers * model.cutoff)


def _metadata(checkpoint: Checkpoint, units: dict[str, str]) -> Any:
    from metatomic.torch import ModelMetadata

    config = checkpoint.config
    told = {
        "identity": checkpoint.identity,
        "units": units,
        "parameters": config.parameters,
        "conventions": config.dataset["conventions"],
    }
    return ModelMetadata(
        name=config.name,
        description=f"IonEcho {config.model} of {config.dataset['name']} {config.dataset['version']}",
        extra={key: json.dumps(value, ensure_ascii=False) for key, value in told.items()},
    )
