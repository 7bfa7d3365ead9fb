"""How field gradients are distributed: by kind of site, by direction, and averaged over motion."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionecho.analysis.gradients import Gradients
from ionecho.analysis.spin_echo_settings import BinOptions, Nucleus
from ionecho.nmr.orientation import principal_axes
from ionecho.nmr.quadrupole import (
    asymmetry,
    field_directions,
    powder_components,
    powder_frequencies,
    quadrupole_coupling,
)

Floats = NDArray[np.float64]

ALL = "all"
QUANTITIES = {"C_Q": "|C_Q|", "eta": "eta", "nu_Q": "|nu_Q|"}
POWDER = 5  # degree of the rule for the histogram of nu_Q
KILOHERTZ = 1e-3
TINY = 1e-12  # V/Å² of |V_zz|, below which eta is 0
POLE = (0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Distribution:
    """Of one quantity at one kind of site: its share of all samples, mean, error over ions, and density (B,)."""

    share: float
    mean: float
    error: float
    density: Floats


@dataclass(frozen=True)
class Limits:
    """Couplings without motion and with all of it, kHz.

    `rigid` is the root mean square of nu_Q over ions, frames and directions; `ion` that of each ion's mean tensor over
    the run (as fast exchange of each ion with the sites it visited leaves it), `all` that of the mean over all ions.
    `coupling` and `eta` are of the latter: the powder pattern in fast exchange among all sites.
    """

    rigid: float
    ion: float
    all: float
    coupling: float
    eta: float


@dataclass(frozen=True)
class Distributions:
    """`edges` (B + 1,) by quantity, `parts` by quantity and kind of site (the first is all of them).

    `axis` and `field` (theta, phi) are densities over those of random directions: of the axis of V_zz in the axes of
    the trajectory, and of the field along `pole` in the principal frame.
    """

    edges: dict[str, Floats]
    parts: dict[str, dict[str, Distribution]]
    axis: Floats
    field: Floats
    pole: tuple[float, float, float]
    theta: Floats
    phi: Floats
    limits: Limits


def distributions(
    gradients: Gradients, nucleus: Nucleus, bins: BinOptions, pole: tuple[float, float, float]
) -> Distributions:
    """Histograms, maps of angles and limits of all ions in all frames."""
    efg = gradients.efg
    directions, weights = field_directions(POWDER)
    components = powder_components(efg, nucleus.quadrupole_moment, nucleus.spin)
    frequency = powder_frequencies(components, directions)
    samples = {
        "C_Q": np.abs(quadrupole_coupling(efg, nucleus.quadrupole_moment)) * KILOHERTZ,
        "eta": asymmetry(efg, TINY)[0],
        "nu_Q": np.abs(frequency) * KILOHERTZ,
    }
    masks = {ALL: np.ones(efg.shape[:2], bool)}
    if gradients.kinds is not None:
        masks |= {name: gradients.kinds == index for index, name in enumerate(gradients.names)}
    edges, parts = {}, {}
    for name, values in samples.items():
        top = 1.0 if name == "eta" else float(np.quantile(values, 0.999)) * 1.05
        edges[name] = np.linspace(0, top, bins.histogram + 1)
        parts[name] = {kind: _part(values, weights, mask, edges[name]) for kind, mask in masks.items() if mask.any()}
    axes = principal_axes(efg.reshape(-1, 3, 3))
    normal = np.array(pole) / np.linalg.norm(pole)
    theta, phi = angle_edges(bins)
    return Distributions(
        edges=edges,
        parts=parts,
        axis=angle_map(axes[:, :, 2], bins),
        field=angle_map(np.einsum("i,nia->na", normal, axes), bins),
        pole=pole,
        theta=theta,
        phi=phi,
        limits=_limits(efg, nucleus),
    )


def _part(values: Floats, weights: Floats, mask: NDArray[np.bool_], edges: Floats) -> Distribution:
    """Of values (T, K), or (T, K, D) with `weights` (D,) of the directions, where the mask (T, K) says so."""
    counts = mask.sum(axis=0)
    sums = np.where(mask, values @ weights if values.ndim == 3 else values, 0.0).sum(axis=0)
    mean = float(sums.sum() / counts.sum())
    ions = int((counts > 0).sum())
    residual = sums - mean * counts
    error = np.sqrt(np.square(residual).sum() * ions / (ions - 1)) / counts.sum() if ions > 1 else np.nan
    chosen = values[mask]
    shares = np.broadcast_to(weights, chosen.shape) if values.ndim == 3 else None
    density, _ = np.histogram(chosen, edges, weights=shares, density=True)
    return Distribution(float(counts.sum() / mask.size), mean, float(error), density)


def angle_edges(bins: BinOptions) -> tuple[Floats, Floats]:
    """Edges of theta, even in cos theta, and phi, radian."""
    low = 0.0 if bins.fold else -1.0
    theta = np.arccos(np.linspace(1.0, low, bins.theta + 1))
    return theta, np.linspace(0.0, np.pi / 2, bins.phi + 1) if bins.fold else np.linspace(-np.pi, np.pi, bins.phi + 1)


def angle_map(vectors: Floats, bins: BinOptions) -> Floats:
    """Density (theta, phi) of unit vectors (n, 3), whose sign has no meaning, over that of random ones: 1 if random."""
    x, y, z = np.abs(vectors).T if bins.fold else np.concatenate([vectors, -vectors]).T
    theta, phi = angle_edges(bins)
    counts, *_ = np.histogram2d(np.clip(z, -1, 1), np.arctan2(y, x), bins=[np.cos(theta)[::-1], phi])
    return counts[::-1] * counts.size / counts.sum()


def _limits(efg: Floats, nucleus: Nucleus) -> Limits:
    def size(tensors: Floats) -> float:
        components = powder_components(tensors, nucleus.quadrupole_moment, nucleus.spin)
        return float(np.sqrt(np.square(components).sum(axis=-1).mean())) * KILOHERTZ

    mean = efg.mean(axis=(0, 1))
    return Limits(
        rigid=size(efg),
        ion=size(efg.mean(axis=0)),
        all=size(mean),
        coupling=float(quadrupole_coupling(mean, nucleus.quadrupole_moment)) * KILOHERTZ,
        eta=float(asymmetry(mean, TINY)[0]),
    )
