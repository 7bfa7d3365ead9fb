"""Field gradients of mobile ions along a trajectory, with their displacements and the kinds of their sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ionecho.analysis.hops import running_median
from ionecho.analysis.options import ReadOptions
from ionecho.analysis.paths import IonPaths, follow
from ionecho.analysis.spin_echo_settings import SiteOptions, SpinEchoOptions
from ionecho.data.trajectory import Trajectory
from ionecho.errors import InputError
from ionecho.geometry.neighbours import build_graph
from ionecho.nmr.derived import DERIVED

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GRADIENT = DERIVED["quadrupolar_coupling"].label
BLOCK = 64  # frames read at once
OTHER = "other"


@dataclass(frozen=True)
class Gradients:
    """`efg` (T, K, 3, 3) V/Å² of K ions, `displacements` (T, K, 3) Å, `spacing` fs between frames.

    `kinds` (T, K) is the kind of site as an index into `names`, None where not asked for. `spread` (V/Å²) is the root
    mean square of the components' ensemble spread, None where not stored.
    """

    efg: Floats
    displacements: Floats
    spacing: float
    kinds: Integers | None
    names: tuple[str, ...]
    spread: float | None
    paths: IonPaths


def read_gradients(trajectory: Trajectory, options: SpinEchoOptions) -> Gradients:
    """The gradients predicted at the ions of the nucleus' element; 72 bytes an ion and frame are held.

    Raises
    ------
    InputError
        If gradients are missing, not finite or not traceless, or positions cannot be followed.
    """
    element, read = options.nucleus.element, options.read
    trajectory.refuse_missing([GRADIENT])
    assert trajectory.centres is not None
    selected = np.flatnonzero(trajectory.numbers[trajectory.centres] == atomic_numbers[element])
    if not len(selected):
        raise InputError(
            f"{trajectory.path}: none of its {len(trajectory.centres)} centres is {element}; correct nucleus.isotope"
        )
    paths = follow(
        trajectory,
        element,
        None,
        read,
        remove_drift=options.remove_drift,
        unwrap=options.unwrap,
        longest_step=options.longest_step,
    )
    mobile = np.flatnonzero(trajectory.numbers == atomic_numbers[element])
    place = np.searchsorted(mobile, trajectory.centres[selected])
    efg, spread = _tensors(trajectory, read, selected)
    kinds = None if options.sites is None else _kinds(trajectory, read, options.sites, element, place)
    return Gradients(
        efg=efg,
        displacements=paths.displacements[:, place],
        spacing=paths.spacing,
        kinds=kinds,
        names=() if options.sites is None else (*options.sites.kinds, OTHER),
        spread=spread,
        paths=paths,
    )


def _tensors(trajectory: Trajectory, read: ReadOptions, ions: Integers) -> tuple[Floats, float | None]:
    deviation = f"{GRADIENT}_std"
    names = [GRADIENT, *({deviation} & set(trajectory.stored))]
    parts, squares = [], []
    for frames in read.frames(trajectory, BLOCK, names):
        tensors = np.asarray(frames.arrays[GRADIENT], float)[:, ions]
        bad = ~np.isfinite(tensors).all(axis=(1, 2, 3))
        if bad.any():
            assert frames.frame is not None
            raise InputError(
                f"{trajectory.path}: frame {frames.frame[bad.argmax()]}: expected a finite {GRADIENT} of every ion"
            )
        parts.append(tensors)
        squares += [np.square(frames.arrays[deviation][:, ions]).mean()] if deviation in frames.arrays else []
    efg = np.concatenate(parts)
    size = np.abs(efg).max() or 1.0
    if (
        np.abs(np.trace(efg, axis1=2, axis2=3)).max() > 1e-4 * size
        or np.abs(efg - efg.swapaxes(2, 3)).max() > 1e-4 * size
    ):
        raise InputError(f"{trajectory.path}: {GRADIENT} is not symmetric and traceless, expected a field gradient")
    return efg, float(np.sqrt(np.mean(squares))) if squares else None


def _kinds(trajectory: Trajectory, read: ReadOptions, sites: SiteOptions, element: str, ions: Integers) -> Integers:
    return name_counts(count_neighbours(trajectory, read, sites, element)[:, ions], sites.kinds, sites.window)


def count_neighbours(trajectory: Trajectory, read: ReadOptions, sites: SiteOptions, element: str) -> Integers:
    """Neighbours (T, K) of all ions of an element that decide the kinds of their sites."""
    neighbour = atomic_numbers.get(sites.element)
    if neighbour is None or neighbour not in trajectory.numbers:
        raise InputError(f"{trajectory.path}: sites.element={sites.element} is not in it; set sites=null or correct it")
    ion, atoms = atomic_numbers[element], len(trajectory.numbers)
    counts = []
    for frames in read.frames(trajectory, BLOCK):
        size = len(frames)
        graph = build_graph(
            list(frames.positions),
            list(frames.cell),
            [trajectory.numbers] * size,
            [trajectory.pbc] * size,
            cutoff=sites.cutoff,
            centres=[ion],
            pairs_of="centres",
            dtype=torch.float64,
        )
        i, j = graph.pairs.numpy()
        near = i[trajectory.numbers[j % atoms] == neighbour]
        counts.append(np.bincount(near, minlength=size * atoms).reshape(size, atoms)[:, trajectory.numbers == ion])
    return np.concatenate(counts)


def name_counts(counts: Integers, kinds: Mapping[str, tuple[int, int]], window: int) -> Integers:
    """Kind (T, K) of the median number of neighbours over about `window` frames around each; len(kinds) for none."""
    window = min(window, len(counts))
    middle = running_median(counts.astype(float), window)
    before = (len(counts) - len(middle)) // 2
    typical = np.pad(middle, ((before, len(counts) - len(middle) - before), (0, 0)), mode="edge")
    named = np.full(counts.shape, len(kinds))
    for index, (low, high) in enumerate(kinds.values()):
        named[(typical >= low) & (typical <= high)] = index
    return named
