"""Valence densities that a coarse grid can hold, from a converged GPAW calculation (plane waves, PAW)."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import units
from gpaw import hyperfine
from gpaw.old.pw.lfc import PWLFC
from gpaw.utilities import unpack_density
from numpy.typing import NDArray

from ionecho.geometry.fourier import resampled

MOST = 2  # angular momentum of what the partial waves add
Floats = NDArray[np.floating]


def valence_densities(calculator: Any, shape: tuple[int, int, int], radius: float) -> Floats:
    """Valence electrons of spin up and spin down, (2, n1, n2, n3) in e/Å³; without spin polarisation, halves.

    The density of the plane waves without its pseudo cores, plus what the partial waves add to the smooth ones in the
    PAW spheres (Blöchl, Phys. Rev. B 1994, 50, 17953), l up to 2. Within `radius` of a nucleus, where the shells would
    need a finer grid, that addition is replaced by a smooth one of the same charge; or within its sphere, if smaller.

    Parameters
    ----------
    calculator
        A converged `gpaw.old.calculator.GPAW` in plane-wave mode.
    shape
        Points along the lattice vectors; plane waves that they do not hold are dropped.
    radius
        Å.
    """
    density = calculator.density
    waves = density.pd3
    found = np.empty((2, *shape))
    for spin in range(density.nspins):
        splines, weights = {}, {}
        for atom, packed in density.D_asp.items():
            setup = calculator.wfs.setups[atom]
            splines[atom], weights[atom] = _added_by_partial_waves(packed[spin], setup, radius / units.Bohr)
        added = PWLFC([splines[atom] for atom in sorted(splines)], waves)
        added.set_positions(calculator.atoms.get_scaled_positions() % 1.0)
        total = waves.zeros()
        added.add(total, weights)
        density.map23.add_to2(total, density.pd2.fft(density.nt_sG[spin]) - density.nct_q)
        found[spin] = resampled(waves.ifft(total), shape)
    if density.nspins == 1:
        found[:] = found[0] / 2
    return found / units.Bohr**3


def _added_by_partial_waves(packed: NDArray, setup: Any, radius: float) -> tuple[list[Any], NDArray]:
    """One spline for each L = (l, m), times real spherical harmonics, and the weights that choose its own m."""
    occupations = unpack_density(packed)
    waves, smooth = np.array(setup.data.phi_jg), np.array(setup.data.phit_jg)
    sphere = max(setup.data.rcut_j)
    splines, weights = [], []
    for momentum in range(MOST + 1):
        for m, matrix in enumerate(hyperfine.expand(occupations, setup.l_j, momentum)):
            radial = np.einsum("ab, ag, bg -> g", matrix, waves, waves)
            radial -= np.einsum("ab, ag, bg -> g", matrix, smooth, smooth)
            radial = _smooth_within(radial, setup.rgd, min(radius, sphere), momentum)
            radial[setup.rgd.r_g > sphere] = 0.0
            splines.append(setup.rgd.spline(radial, sphere + 0.2, l=momentum, points=400))
            weights.append(np.arange(2 * momentum + 1) == m)
    return splines, np.concatenate(weights).astype(float)


def _smooth_within(radial: NDArray, grid: Any, radius: float, momentum: int) -> NDArray:
    """The function with a polynomial within `radius`, r^l (a + b r² + c r⁴ + d r⁶), of the same moment of order l.

    Value, slope and curvature go on at the radius: a kink would ring in the plane waves, as far as between the atoms.
    """
    r, inside = grid.r_g, grid.r_g < radius
    edge = int(inside.sum())
    end = r[edge]
    slope = grid.derivative(radial)
    curvature = grid.derivative(slope)
    moments = radial * r ** (momentum + 2) * grid.dr_g
    moment = moments[:edge].sum() + 0.5 * moments[edge]
    powers = momentum + np.array([0, 2, 4, 6])
    order = powers + momentum + 3
    conditions = [end**powers, powers * end ** (powers - 1.0), powers * (powers - 1) * end ** (powers - 2.0)]
    conditions.append(end**order / order)
    values = [radial[edge], slope[edge], curvature[edge], moment]
    coefficients = np.linalg.solve(np.array(conditions), values)
    return np.where(inside, (coefficients * r[:, None] ** powers).sum(1), radial)


def core_electrons(calculator: Any) -> Floats:
    """Electrons of every atom that are frozen, (N,)."""
    return np.array([float(setup.Nc) for setup in calculator.wfs.setups])
