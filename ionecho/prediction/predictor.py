"""A checkpoint applied to blocks of frames of the same atoms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Literal, Protocol

import numpy as np
import torch
import yaml
from ase.data import chemical_symbols
from numpy.typing import NDArray
from rich.console import Console

from ionecho.checkpoints.resolve import resolve
from ionecho.checkpoints.store import Checkpoint, load
from ionecho.data.frames import Frames, refuse_unusable
from ionecho.data.outputs import MEMBERS, SPREAD, Output, units
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.neighbours import build_graph, trajectory_graph
from ionecho.models.domain import DISTANCE, QUANTILE
from ionecho.nmr.derived import Derived, Parameters, derived_from, made_by, parse_parameters
from ionecho.prediction.device import PredictionSettings

OWN = "checkpoint"  # asks for the parameters that the checkpoint was trained with
CPU_BATCH = 1408  # atoms whose intermediates stay in a core's cache
console = Console(soft_wrap=True)


class Structure(Protocol):
    """The atoms of a trajectory, or ASE's: `numbers` (N,) and `pbc` (3,)."""

    @property
    def numbers(self) -> NDArray[np.integer]: ...

    @property
    def pbc(self) -> NDArray[np.bool_]: ...


class Predictor:
    """A checkpoint applied to blocks of frames of the same atoms.

    Parameters
    ----------
    parameters
        Of the quantities that are derived from the outputs, by key.
    states
        `model`: states of atoms are those that the model finds, or all alike where it finds none; `input`: the frames
        tell them.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        parameters: Mapping[str, Parameters],
        structure: Structure,
        settings: PredictionSettings,
        states: Literal["model", "input"] = "model",
    ) -> None:
        self.checkpoint, self.parameters, self.settings = checkpoint, dict(parameters), settings
        self.outputs = [o for o in checkpoint.model.outputs if not (o.auxiliary or o.at == "points")]
        if states not in ("model", "input") or (states == "input" and checkpoint.model.given is None):
            raise InputError(
                f"states={states}: expected model, or input where a model may be told states; "
                f"{checkpoint.config.name} may be told {checkpoint.model.given or 'none'}"
            )
        self.told = [checkpoint.model.given] if states == "input" and checkpoint.model.given else []
        self.dtype = getattr(torch, settings.dtype)
        self.device = torch.device(settings.device)
        self.model = checkpoint.model.to(self.device, self.dtype)
        self.pbc, self.numbers = structure.pbc, structure.numbers
        self.centres = np.flatnonzero(np.isin(structure.numbers, checkpoint.model.centres))
        _check_structure(checkpoint, structure)
        self.pool = ThreadPoolExecutor(settings.workers, initializer=torch.set_num_threads, initargs=(1,))

    @property
    def identity(self) -> dict[str, Any]:
        """Which model, and the parameters of what is derived from its outputs."""
        return self.checkpoint.identity | {key: each.to_dict() for key, each in self.parameters.items()}

    @property
    def request(self) -> dict[str, Any]:
        """What decides the numbers: a killed run goes on only where all of it is the same."""
        return {**self.identity, "dtype": self.settings.dtype, **({"states": self.told} if self.told else {})}

    @property
    def physics(self) -> dict[str, Any]:
        """What a reader of the numbers should know, kept with them; spreads without `calibration` are as they are."""
        data = self.checkpoint.config.dataset
        dataset = {name: data[name] for name in ("name", "version", "content_sha256")}
        known = {"conventions": data["conventions"], "calibration": self.checkpoint.config.calibration}
        if self.checkpoint.model.given is not None:
            own = "found by the model" if self.checkpoint.model.finds_states else "not known, all alike: the mean"
            known["states"] = f"{self.told[0]} of the input" if self.told else own
        return {**self.identity, **known, "dataset": dataset}

    @property
    def units(self) -> dict[str, str]:
        """Units of all that is predicted."""
        derived = [entry for output in self.outputs for entry, _ in self._derived(output)]
        away = {DISTANCE: "1", QUANTILE: "1"} if self.checkpoint.model.domain is not None else {}
        return (
            away
            | units(self.outputs)
            | {entry.name + suffix: entry.unit for entry in derived for suffix in ("", SPREAD)}
        )

    def __call__(self, frames: Frames, first: int) -> dict[str, NDArray]:
        """Outputs of the model, their spreads and members, and what is derived from them.

        Of each centre or atom (T, K, ...), of a whole frame (T, ...); spreads (T, K) or (T,), one a row; of the M
        members (T, M, ...), but for outputs at all atoms, which are written in single precision.
        """
        refuse_unusable(frames, self.numbers, self.pbc, "", first)
        batch = self.settings.batch or max(1, CPU_BATCH // len(self.numbers))
        starts = range(0, len(frames), batch)
        parts = list(self.pool.map(self._predicted, (frames.part(k, k + batch) for k in starts)))
        arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        for output in self.outputs:
            for entry, own in self._derived(output):
                arrays |= self._made(entry, own, output, arrays)
        return arrays

    def _predicted(self, frames: Frames) -> dict[str, NDArray]:
        with torch.inference_mode():
            results = self.model(self.graph(frames))
        away = (name for name in (DISTANCE, QUANTILE) if name in results)
        arrays = {name: results[name].unflatten(0, (len(frames), -1)).cpu().numpy() for name in away}
        for output in self.outputs:
            at_atoms = output.at == "atoms"
            for suffix, frame_axis in (("", 0), (SPREAD, 0), (MEMBERS, 1)):
                values = results.get(output.name + suffix)
                if values is None or (suffix == MEMBERS and at_atoms):
                    continue
                if output.per_atom:
                    values = values.unflatten(frame_axis, (len(frames), -1))
                values = values.movedim(frame_axis, 0)
                arrays[output.name + suffix] = (values.float() if at_atoms else values).cpu().numpy()
        return arrays

    def _derived(self, output: Output) -> list[tuple[Derived, Parameters | None]]:
        return [(entry, own) for entry, own in derived_from(output.label, self.parameters) if not entry.in_place]

    def _made(
        self, entry: Derived, parameters: Parameters | None, output: Output, arrays: Mapping[str, NDArray]
    ) -> dict[str, NDArray]:
        """A derived quantity along the frames, with its spread and members where it has them."""
        atoms = np.array(len(self.numbers))
        found = {entry.name: entry.function(arrays[output.name], parameters, atoms)}
        if output.name + SPREAD in arrays and entry.linear:
            found[entry.name + SPREAD] = np.abs(entry.function(arrays[output.name + SPREAD], parameters, atoms))
        elif output.name + MEMBERS in arrays:
            members = entry.function(arrays[output.name + MEMBERS], parameters, atoms)
            found[entry.name + SPREAD] = _enlarged(output, arrays) * members.std(axis=1, ddof=1)
        return found

    def graph(self, frames: Frames) -> Graph:
        """The frames with their neighbours, and with the states that they tell."""
        graph = self._neighbours(frames)
        if not self.told:
            return graph
        values = frames.arrays[self.told[0]]
        states = np.full((len(frames), len(self.numbers)), np.nan)
        states[:, self.centres if values.shape[1] == len(self.centres) else slice(None)] = values
        return replace(graph, states=torch.from_numpy(states).flatten().to(self.device, self.dtype))

    def _neighbours(self, frames: Frames) -> Graph:
        if self.model.pairs_of == "centres":
            return trajectory_graph(
                torch.from_numpy(np.ascontiguousarray(frames.positions)).to(self.device, self.dtype),
                torch.from_numpy(np.ascontiguousarray(frames.cell)).to(self.device, self.dtype),
                torch.from_numpy(self.numbers).to(self.device),
                self.pbc.tolist(),
                cutoff=self.model.cutoff,
                centres=self.model.centres,
            )
        count = len(frames)
        return build_graph(
            list(frames.positions),
            list(frames.cell),
            [self.numbers] * count,
            [self.pbc] * count,
            cutoff=self.model.cutoff,
            centres=self.model.centres,
            pairs_of=self.model.pairs_of,
            dtype=self.dtype,
            device=self.device,
        )


def _enlarged(output: Output, arrays: Mapping[str, NDArray]) -> NDArray:
    """By how much the spread of a row is larger than the members' own standard deviation, (T, K) or (T,)."""
    members = torch.from_numpy(arrays[output.name + MEMBERS]).transpose(0, 1)
    own = output.spread(members.flatten(1, 2) if output.per_atom else members).view(arrays[output.name + SPREAD].shape)
    return arrays[output.name + SPREAD] / np.maximum(own.numpy(), np.finfo(np.float32).tiny)


def conversions(checkpoint: Checkpoint, requested: Mapping[str, Any]) -> dict[str, Parameters]:
    """Parameters of derived quantities, printed: the checkpoint's own for "checkpoint", else those given.

    Parameters
    ----------
    requested
        Key -> "checkpoint", a mapping of all parameters, or None for none.
    """
    own = checkpoint.config.parameters
    given = {key: own.get(key) if asked == OWN else asked for key, asked in requested.items()}
    found = parse_parameters({**own, **given}, own)
    labels = {output.label for output in checkpoint.model.outputs}
    used = {}
    for key, parameters in found.items():
        made = [entry for entry in made_by(key) if entry.label in labels]
        if made:
            used[key] = parameters
            names = ", ".join(entry.name for entry in made)
            console.print(f"{names} of {checkpoint.config.name}{made[0].note}:", markup=False)
            console.print(yaml.safe_dump({key: parameters.to_dict()}, sort_keys=False), end="", markup=False)
    return used


def predictors(
    names: str | Sequence[str], structure: Structure, requested: Mapping[str, Any], settings: PredictionSettings
) -> list[Predictor]:
    """Predictors of one or several checkpoints for the same atoms; `requested` as for `conversions`."""
    checkpoints = [load(resolve(name)) for name in ([names] if isinstance(names, str) else names)]
    return [Predictor(each, conversions(each, requested), structure, settings) for each in checkpoints]


def _check_structure(checkpoint: Checkpoint, structure: Structure) -> None:
    model = checkpoint.model
    if unknown := sorted(set(structure.numbers.tolist()) - set(model.numbers)):
        names = ", ".join(chemical_symbols[z] for z in unknown)
        known = ", ".join(chemical_symbols[z] for z in model.numbers)
        raise InputError(
            f"the input holds {names}, which {checkpoint.config.name} was not trained on (it knows {known})"
        )
    if not set(structure.numbers.tolist()) & set(model.centres):
        names = ", ".join(chemical_symbols[z] for z in model.centres)
        raise InputError(f"the input holds none of the elements {checkpoint.config.name} predicts for ({names})")
    if not structure.pbc.all():
        raise InputError(
            f"the input is periodic along {structure.pbc.tolist()}, {checkpoint.config.name} was trained on crystals; "
            "give the cell, e.g. cell=[10.02,10.02,11.22,90,90,120]"
        )
