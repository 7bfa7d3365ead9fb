"""Sites of mobile ions in a layer: circles in the plane, named by the metals above and below, and their statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ionecho.analysis.lattice import AXES, Framework, layer_coordinates, plane_vectors, smallest_separation
from ionecho.analysis.statistics import BlockAverage, block_ratio, ensemble_error
from ionecho.errors import InputError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

EDGE = "edge"
UNCOVERED = "uncovered"
DENSITY_BIN = 0.1  # Å
DENSITY_SMOOTHING = 0.2  # Å
DENSITY_THRESHOLD = 0.05  # of the highest maximum


def lattice_sites(divisions: tuple[int, int], framework: Framework, axis: str) -> Floats:
    """Sites (S, 2) at the nodes i/m, j/n of the cell, moved onto the columns of framework atoms.

    In a close-packed layered structure every atom stands on such a node (a P2 layer of 2 sqrt(3) x 2 sqrt(3) metals:
    6 x 6). The origin is the circular mean over all framework atoms, so that their vibrations average out.
    """
    points, _ = layer_coordinates(framework.positions, framework.cell, axis)
    phase = np.exp(2j * np.pi * np.asarray(divisions) * points).mean(axis=0)
    if np.abs(phase).min() < 0.5:
        raise InputError(
            f"the framework does not stand on a grid of {divisions[0]} x {divisions[1]} nodes (order parameter "
            f"{np.abs(phase).min():.2f}, expected near 1); correct sites.divisions or give sites.positions"
        )
    origin = np.angle(phase) / (2 * np.pi) / np.asarray(divisions)
    nodes = np.stack(np.meshgrid(*(np.arange(n) / n for n in divisions), indexing="ij"), -1).reshape(-1, 2)
    return np.mod(nodes + origin, 1.0)


def density_sites(points: Floats, plane: Floats, fold: tuple[int, int], radius: float) -> Floats:
    """Sites (S, 2) of the cell at the maxima of the density of in-plane fractional `points` (n, 2).

    The samples are folded onto one of the `fold` repeats and their density smoothed by 0.2 Å. Maxima below 5 % of
    the highest and those within `radius` (Å) of a higher one are dropped; each site then moves to the mean of the
    points within half a radius. A site that is hardly ever visited is not found this way.
    """
    folded, repeat = np.mod(points * fold, 1.0), plane / np.asarray(fold)[:, None]
    lengths = np.linalg.norm(repeat, axis=1)
    shape = np.ceil(lengths / DENSITY_BIN).astype(int)
    counts, *_ = np.histogram2d(folded[:, 0], folded[:, 1], bins=shape.tolist(), range=[[0, 1], [0, 1]])
    density = ndimage.gaussian_filter(counts, DENSITY_SMOOTHING / lengths * shape, mode="wrap")
    height = np.where(density == ndimage.maximum_filter(density, 3, mode="wrap"), density, 0.0)
    maxima = np.argwhere(height >= DENSITY_THRESHOLD * density.max())
    found: list[Floats] = []
    for peak in maxima[np.argsort(-density[tuple(maxima.T)])]:
        offset = folded - (peak + 0.5) / shape
        offset -= np.rint(offset)
        near = np.linalg.norm(offset @ repeat, axis=1) <= radius / 2
        centre = (peak + 0.5) / shape + offset[near].mean(axis=0)
        if not found or smallest_separation(np.array([*found, centre]), repeat) > radius:
            found.append(centre)
    copies = np.stack(np.meshgrid(*(np.arange(n) for n in fold), indexing="ij"), -1).reshape(-1, 1, 2)
    return np.mod((np.array(found) + copies).reshape(-1, 2) / fold, 1.0)


def assign_columns(points: Floats, cell: Floats, axis: str, sites: Floats, radius: float) -> Integers:
    """Index of the site circle each point lies in, -1 outside of all.

    Parameters
    ----------
    points
        (T, K, 2) in-plane fractional coordinates.
    cell
        (T, 3, 3) or (1, 3, 3) Å.
    axis
        Stacking axis.
    sites
        (S, 2) fractional.
    radius
        Å.

    Raises
    ------
    InputError
        If circles overlap.
    """
    plane = plane_vectors(cell, axis)
    separation = smallest_separation(sites, plane.mean(axis=0))
    if separation <= 2 * radius:
        raise InputError(
            f"site circles of radius {radius} Å overlap: two sites are {separation:.3f} Å apart, expected more than "
            f"{2 * radius} Å; reduce sites.radius or correct the sites"
        )
    columns = np.full(points.shape[:2], -1)
    metric = np.einsum("tij,tkj->ikt", plane, plane)[..., None]  # (2, 2, T or 1, 1)
    for index, site in enumerate(sites):
        u, v = np.moveaxis(points - site - np.rint(points - site), -1, 0)
        columns[metric[0, 0] * u**2 + 2 * metric[0, 1] * u * v + metric[1, 1] * v**2 <= radius**2] = index
    return columns


@dataclass(frozen=True)
class SiteNaming:
    """How a site is named: by the elements of `framework` straight above and below it.

    `elements` are listed in the order in which they appear in a name, `radius` (Å) is how far from the axis through
    the site and `reach` (Å) how far along it an atom may stand.
    """

    elements: list[str]
    radius: float
    reach: float


def name_samples(
    columns: Integers, heights: Floats, sites: Floats, framework: Framework, axis: str, naming: SiteNaming
) -> tuple[Integers, list[str]]:
    """Kind of site of each sample, an index into the names returned with it, -1 outside of all circles.

    A name joins the nearest atom above and the nearest below within reach (``Mn-Mg``, the order without meaning);
    it is one element where only one side has an atom, and ``edge`` where none has.

    Parameters
    ----------
    columns
        (T, K) site of each sample, -1 for none.
    heights
        (T, K) fractional coordinate along the stacking axis.
    sites
        (S, 2) in-plane fractional.
    """
    plane = plane_vectors(framework.cell, axis)
    spacing = abs(np.linalg.det(framework.cell)) / abs(np.linalg.det(plane))
    atoms = [framework.of([element]) for element in naming.elements]
    located = [layer_coordinates(each.positions, each.cell, axis) for each in atoms]
    points, altitudes = (np.concatenate(parts) for parts in zip(*located, strict=True))
    elements = np.repeat(np.arange(len(atoms)), [len(each.numbers) for each in atoms])
    none = len(atoms)
    codes = np.full(columns.shape, -1)
    for index, site in enumerate(sites):
        offset = points - site
        column = np.linalg.norm((offset - np.rint(offset)) @ plane, axis=1) <= naming.radius
        inside = columns == index
        sides = [np.full(int(inside.sum()), none)] * 2
        if column.any() and inside.any():
            rise = np.mod(altitudes[column] - heights[inside][:, None], 1.0) * spacing  # (n, atoms of the column)
            sides = [_nearest(gap, elements[column], naming.reach, none) for gap in (rise, spacing - rise)]
        codes[inside] = np.minimum(*sides) * (none + 1) + np.maximum(*sides)
    present = np.unique(codes[codes >= 0])
    names = [_site_name(*divmod(int(code), none + 1), naming.elements) for code in present]
    kinds = np.where(codes >= 0, np.searchsorted(present, codes), -1)
    return kinds, names


def _nearest(gaps: Floats, elements: Integers, reach: float, none: int) -> Integers:
    nearest = gaps.argmin(axis=1)
    return np.where(gaps.min(axis=1) <= reach, elements[nearest], none)


def _site_name(first: int, second: int, elements: list[str]) -> str:
    return "-".join(elements[side] for side in (first, second) if side < len(elements)) or EDGE


def order_names(names: set[str], elements: list[str]) -> list[str]:
    """Names of kinds of sites with ``edge`` first, then in the order of `elements`."""
    return sorted(names, key=lambda name: [elements.index(part) for part in name.split("-") if part != EDGE])


@dataclass(frozen=True)
class SiteStatistics:
    """One kind of site: samples, share of all assigned samples, and the shift of the ions found there (ppm)."""

    name: str
    samples: int
    occupation: BlockAverage
    shift: BlockAverage
    deviation: float
    ensemble_error: float | None


def site_statistics(
    shift: Floats, kinds: Integers, names: list[str], groups: NDArray | None, members: Floats | None
) -> list[SiteStatistics]:
    """Occupations, shifts and their block errors of every kind of site that was visited.

    `shift` and `kinds` (T, K), `groups` (T,), `members` (M, T, K). Occupations f_s = n_s / sum n are shares of the
    samples inside circles, so that they add up to 1.
    """
    covered = (kinds >= 0).sum(axis=1)
    rows = []
    for index, name in enumerate(names):
        inside = kinds == index
        count = inside.sum(axis=1)
        if not count.any():
            continue
        spread = ensemble_error(members[:, inside]) if members is not None else None
        rows.append(
            SiteStatistics(
                name,
                samples=int(count.sum()),
                occupation=block_ratio(count, covered, groups),
                shift=block_ratio(np.where(inside, shift, 0.0).sum(axis=1), count, groups),
                deviation=float(shift[inside].std()),
                ensemble_error=spread,
            )
        )
    return rows


def check_fold(framework: Framework, axis: str, fold: tuple[int, int], tolerance: float) -> None:
    """Raise InputError unless the framework repeats `fold` times along the in-plane vectors within `tolerance` (Å)."""
    plane = plane_vectors(framework.cell, axis)
    spacing = np.linalg.norm(framework.cell[AXES.index(axis)])
    points, altitudes = layer_coordinates(framework.positions, framework.cell, axis)
    for direction in range(2):
        step = np.zeros(2)
        step[direction] = 1 / fold[direction]
        offset = points[:, None] + step - points[None]
        rise = altitudes[:, None] - altitudes[None]
        across = np.linalg.norm((offset - np.rint(offset)) @ plane, axis=-1)
        along = np.abs(rise - np.rint(rise)) * spacing
        match = (np.hypot(across, along) <= tolerance) & (framework.numbers[:, None] == framework.numbers[None])
        if not match.any(axis=1).all():
            raise InputError(
                f"fold: {list(fold)} asked for, but the framework does not repeat {fold[direction]} times along its "
                f"in-plane vector {direction + 1} within {tolerance} Å; take the true repeat, or [1, 1]"
            )
