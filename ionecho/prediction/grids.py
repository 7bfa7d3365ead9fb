"""Predicted fields on grids: slab by slab into a dataset (Format 1). Killed at any moment, the same line goes on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass
from rich.console import Console
from rich.progress import track

from ionecho.data.schema import Configuration
from ionecho.data.store import DatasetWriter
from ionecho.data.trajectory import Frames, Trajectory
from ionecho.data.unfinished import unfinished
from ionecho.errors import InputError
from ionecho.geometry.graph import Graph
from ionecho.geometry.probes import grid_points
from ionecho.geometry.waves import SLAB
from ionecho.prediction.predictor import Predictor

MOST_ATOMS = 500  # of which Fourier coefficients are made: their cost grows with the square, that of points does not
POINTS = 2**15  # points at once, without Fourier coefficients
Slabs = Iterator[tuple[slice, NDArray[np.floating]]]
console = Console(soft_wrap=True)


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class GridSettings:
    """Which grids are written of a trajectory.

    Of every `every`-th frame; points at most `spacing` Å apart along the lattice vectors; with `around`, indices of
    atoms, those beyond `radius` Å of all of them are NaN; `normalise` multiplies each field by what makes its integral
    that of the composition, which is recorded.
    """

    every: PositiveInt = 1
    spacing: PositiveFloat = 0.18
    around: list[int] | None = None
    radius: NonNegativeFloat = 3.0
    normalise: bool = False

    def shape(self, cell: NDArray[np.floating]) -> tuple[int, int, int]:
        """Points along each lattice vector."""
        n1, n2, n3 = np.ceil(np.linalg.norm(cell, axis=1) / self.spacing - 1e-9).astype(int).tolist()
        return n1, n2, n3


def slabs(model: Any, graph: Graph, shape: tuple[int, int, int], names: Sequence[str]) -> Slabs:
    """Fields (fields, n, n2, n3) of one configuration at the planes of a grid, in flat memory.

    From Fourier coefficients where the model gives them and the cell is not too large, else point by point.
    """
    if hasattr(model, "waves") and len(graph.numbers) <= MOST_ATOMS:
        for planes, values in model.waves(graph).slabs(shape):
            yield slice(planes.start, planes.stop), values.cpu().numpy()
        return
    plane = shape[1] * shape[2]
    step = max(1, SLAB // plane)
    for first in range(0, shape[0], step):
        stop = min(first + step, shape[0])
        parts = []
        for start in range(first * plane, stop * plane, POINTS):
            places = grid_points(graph.cell[0], shape, start, min(start + POINTS, stop * plane))
            owner = torch.zeros(len(places), dtype=torch.long, device=places.device)
            with torch.inference_mode():
                outputs = model(replace(graph, points=places, point_configuration=owner))
            parts.append(torch.stack([outputs[name] for name in names]).cpu().numpy())
        yield slice(first, stop), np.concatenate(parts, 1).reshape(len(names), stop - first, *shape[1:])


def write_grids(
    predictor: Predictor, trajectory: Trajectory, source: str, output: Path, settings: GridSettings
) -> Path:
    """Fields of every n-th frame of a trajectory as a dataset, which appears when it is complete.

    Its attribute `integrals` holds, of every frame, what each field integrates to before it is normalised, and the
    factor that it was multiplied with.
    """
    names = [field.label for field in predictor.checkpoint.model.outputs if field.at == "points"]
    if not names:
        raise InputError(f"grids: {predictor.checkpoint.config.name} predicts no field; leave grids out")
    if settings.around is not None and not all(0 <= atom < len(predictor.numbers) for atom in settings.around):
        raise InputError(f"grids.around: expected atoms 0 to {len(predictor.numbers) - 1}, found {settings.around}")
    asked = {name: getattr(settings, name) for name in ("every", "spacing", "around", "radius", "normalise")}
    with unfinished(output, {**predictor.request, "input": source, "grids": asked}) as partial:
        if partial is None:
            return output
        writer = DatasetWriter(partial, names)
        done, _ = writer.committed
        integrals = list(writer.group.attrs.get("integrals", []))[:done]
        blocks = trajectory.used(1, every=settings.every, names=predictor.told)
        total = None if trajectory.n_frames is None else -(-trajectory.n_frames // settings.every)
        for number, frames in enumerate(track(blocks, f"densities {output.name}", total, console=console)):
            if number < done:
                continue
            shape = settings.shape(frames.cell[0])
            graph = predictor.graph(frames)
            model = predictor.checkpoint.model.members[0].eval()  # type: ignore[attr-defined]
            inside = None if settings.around is None else (settings.around, settings.radius)
            with TemporaryFile(dir=output.parent) as file:  # which goes with the process
                sums, fields = kept(slabs(model, graph, shape, names), file)
                volume = float(graph.cell[0].double().det().abs()) / np.prod(shape)
                found = dict(zip(names, (volume * sums).tolist(), strict=True))
                factors = _factors(model, graph, found) if settings.normalise else dict.fromkeys(names, 1.0)
                integrals.append({"integral": found, "factor": factors})
                writer.group.attrs["integrals"] = integrals
                writer.append_fields(
                    _configuration(predictor, frames, source),
                    names,
                    shape,
                    (_finished(part, frames, shape, list(factors.values()), inside) for part in fields),
                )
        described = {**predictor.physics, "name": output.name, "licence": "", "parent": source}
        writer.group.update_attributes({key: value for key, value in described.items() if key != "dataset"})
        partial.replace(output)
        return output


def kept(parts: Slabs, file: IO[bytes]) -> tuple[NDArray[np.float64], Slabs]:
    """Sums of the fields over all points, and the slabs again, one by one from the file they are put in."""
    sums, planes = np.float64(0.0), []
    for own, values in parts:
        sums = sums + values.sum((1, 2, 3), dtype=float)
        planes.append(own)
        np.save(file, values)
    file.seek(0)
    return np.asarray(sums), ((own, np.load(file)) for own in planes)


def _factors(model: Any, graph: Graph, found: Mapping[str, float]) -> dict[str, float]:
    if not hasattr(model, "totals"):
        raise InputError("grids.normalise: the model does not know how many electrons there are; set it to false")
    totals = dict(zip(found, model.totals(graph), strict=True))
    if empty := [name for name, total in totals.items() if total == 0]:
        raise InputError(f"grids.normalise: {', '.join(empty)} integrates to zero by composition; set it to false")
    return {name: float(totals[name] / found[name]) for name in found}


def _finished(
    part: tuple[slice, NDArray],
    frames: Frames,
    shape: tuple[int, int, int],
    factors: Sequence[float],
    inside: tuple[Sequence[int], float] | None,
) -> NDArray[np.floating]:
    """Fields of a slab times their factors, NaN farther than a radius from all of some atoms."""
    planes, values = part
    values = values * np.reshape(factors, (-1, 1, 1, 1))
    if inside is None:
        return values
    atoms, radius = inside
    cell = frames.cell[0]
    axes = [np.arange(planes.start, planes.stop) / shape[0], *(np.arange(n) / n for n in shape[1:])]
    fractional = np.stack(np.meshgrid(*axes, indexing="ij"), -1)
    near = np.zeros(fractional.shape[:3], bool)
    reach = np.ceil(radius * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int)
    images = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), -1).reshape(-1, 3)
    for atom in atoms:
        offset = fractional - frames.positions[0, atom] @ np.linalg.inv(cell)
        offset -= np.round(offset)
        for image in images:
            near |= np.square((offset + image) @ cell).sum(-1) <= radius**2
    return np.where(near, values, np.nan)


def _configuration(predictor: Predictor, frames: Frames, source: str) -> Configuration:
    group = "prediction" if frames.group is None else str(frames.group[0])
    number = 0 if frames.frame is None else int(frames.frame[0])
    positions, cell = np.asarray(frames.positions[0], float), np.asarray(frames.cell[0], float)
    return Configuration(predictor.numbers, positions, cell, predictor.pbc, group, number, f"{source}#{number}")
