"""Beside a run: charges of a reference at its own frames, and slices of spin densities through the way of an ion."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from ase.geometry import find_mic
from scipy.ndimage import map_coordinates

from ionecho.analysis.redox import Floats, Run
from ionecho.data.store import Dataset
from ionecho.errors import InputError
from ionecho.report import Axis, Curve, Mesh, Panel
from ionecho.report.panel import Mark

EXTENT, POINTS = 9.0, 72  # Å along each side of a slice, and its points along each side
MOST = 3  # frames that are shown
SIGNED = "RdBu_r"


def farthest(run: Run) -> int:
    """The mobile ion that goes farthest from where it begins."""
    return int(np.linalg.norm(run.paths - run.paths[:1], axis=2).max(0).argmax())


def moved(places: Floats, run: Run, ion: int) -> Floats:
    """Vectors (T, 3) Å from where the ion of the run begins to places (T, 3), the shortest of all images."""
    return find_mic(places - run.paths[0, ion], run.cell[0])[0]


@dataclass(frozen=True)
class Plane:
    """Points start + `middle` + u `across` + v `up` of a square, in Å; `start` is where the way of an ion begins."""

    start: Floats
    middle: Floats
    across: Floats
    up: Floats

    @classmethod
    def of(cls, run: Run, ion: int) -> Plane:
        """Through the way of the ion and the centre nearest to its middle."""
        start, way = run.paths[0, ion], run.paths[:, ion] - run.paths[0, ion]
        middle = way[np.linalg.norm(way, axis=1).argmax()] / 2
        towards, distances = find_mic(run.places[0] - start - middle, run.cell[0])
        nearest = towards[distances.argmin()]
        across = middle / np.linalg.norm(middle)
        up = nearest - (nearest @ across) * across
        return cls(start, middle, across, up / np.linalg.norm(up))

    def points(self) -> Floats:
        """(n, n, 3) Å, the middles of the cells of the square."""
        u = (np.arange(POINTS) + 0.5) / POINTS * EXTENT - EXTENT / 2
        return self.start + self.middle + u[:, None, None] * self.across + u[:, None] * self.up

    def place(self, vector: Floats) -> Curve:
        """Where an ion is that is a vector (3,) away from the start."""
        return Curve([(vector - self.middle) @ self.across], [(vector - self.middle) @ self.up], symbol="o", dash="")

    def mesh(self, values: Floats, most: float, label: str) -> Mesh:
        """Values (n, n) at the points, in colours up to `most` either way, with a bar where there is a label."""
        edges = np.linspace(-EXTENT / 2, EXTENT / 2, POINTS + 1)
        x, y = np.meshgrid(edges, edges, indexing="ij")
        return Mesh(x, y, values, label, SIGNED, (-most, most))


class Fields:
    """Grids `name` of some frames of a run, or of the same atoms, from a dataset."""

    def __init__(self, dataset: Dataset, name: str, run: Run, groups: Sequence[str] | None) -> None:
        self.dataset, self.name, self.run, self.ion, path = dataset, name, run, farthest(run), dataset.path
        if name not in dataset.labels:
            raise InputError(f"{path}: holds no {name}; its labels are {', '.join(dataset.labels)}")
        self.frames = [k for k in range(len(self.dataset)) if groups is None or self.dataset.group[k] in groups]
        structures = [next(dataset.configurations(k, k + 1)) for k in self.frames]
        for k, structure in zip(self.frames, structures, strict=True):
            if not np.array_equal(structure.numbers, run.numbers):
                raise InputError(f"{path}: configuration {k} holds other atoms, or in another order, than the run")
        self.cells = [structure.cell for structure in structures]
        places = np.array([structure.positions[run.mobile[self.ion]] for structure in structures])
        self.vectors = moved(places, run, self.ion)
        self.ways = np.linalg.norm(self.vectors, axis=1)

    def nearest(self, way: float) -> int:
        """Which of the frames has the ion at this distance from where it begins."""
        return int(np.abs(self.ways - way).argmin())

    def slice(self, frame: int, plane: Plane) -> Floats:
        """Values at the points of the plane, between grid points linear."""
        grid = self.dataset.grid(self.name, self.frames[frame])
        fractional = plane.points() @ np.linalg.inv(self.cells[frame]) * grid.shape
        return map_coordinates(grid, np.moveaxis(fractional, -1, 0), order=1, mode="grid-wrap")


def slices(rows: dict[str, Fields]) -> list[Panel]:
    """A row for each of the fields: before, at the middle and after the way of the ion of the last of them."""
    last = list(rows.values())[-1]
    plane = Plane.of(last.run, last.ion)
    ordered = np.argsort(last.ways, kind="stable")
    shown = ordered[np.unique(np.linspace(0, len(ordered) - 1, MOST).round().astype(int))]
    cut = {(name, k): fields.nearest(last.ways[k]) for name, fields in rows.items() for k in shown}
    values = {(name, k): rows[name].slice(frame, plane) for (name, k), frame in cut.items()}
    most = max(float(np.abs(each).max()) for each in values.values())
    ends = (-EXTENT / 2, EXTENT / 2)
    panels = []
    for (name, k), frame in cut.items():
        bar = "spin / μB Å⁻³" if k == shown[-1] else ""
        marks: list[Mark] = [plane.mesh(values[name, k], most, bar), plane.place(rows[name].vectors[frame])]
        title = f"{name}: {rows[name].ways[frame]:.1f} Å"
        panels.append(Panel(Axis("along the way / Å", ends=ends), Axis("Å", ends=ends), marks, title, None, equal=True))
    return panels
