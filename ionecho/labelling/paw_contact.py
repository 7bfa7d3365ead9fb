"""Contact couplings in a PAW sphere: what a frozen core and a few partial waves leave out.

Both were made for the atom without spin. In the crystal spin up and down feel other potentials, and every s wave, core
or valence, changes its amplitude at the nucleus. The core is solved again. Of the valence waves the calculation knows
the change within their own span, which is too small: with two s waves, what the spin does to a 2s or 3s wave near the
nucleus is missed, along with what it mixes with the core, of which the polarised core has its half.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import numpy as np
from gpaw import hyperfine
from gpaw.atom.aeatom import Channel
from gpaw.atom.configurations import configurations
from gpaw.sphere.lebedev import Y_nL, weight_n
from gpaw.xc.gga import GGARadialCalculator
from gpaw.xc.lda import LDARadialCalculator
from gpaw.xc.pawcorrection import rnablaY_nLv
from numpy.typing import NDArray

STEP = 1e-3  # Hartree of energy, or share of Δ, of numerical derivatives
ITERATIONS = 2  # of what is left out, in the potential that it makes; more change couplings by less than 0.5 %
MULTIPOLES = 4  # of the density of d shells


def contact_correction(occupations: NDArray, setup: Any, functional: Any) -> float:
    """Contact term of the polarised core and of the changed partial waves: 2/3 of their spin density, as `at_nucleus`.

    Parameters
    ----------
    occupations
        Of the atom's projections by spin, (2, i, i).
    setup
        GPAW's PAW dataset, with s, p and d waves.
    functional
        GPAW's exchange and correlation, an LDA or a GGA.

    Raises
    ------
    ArithmeticError
        The core s states are not bound in the one-centre potential.
    """
    grid, waves, s_wave = setup.rgd, np.array(setup.data.phi_jg), np.array(setup.l_j) == 0
    multipoles = np.array([_multipoles(of_spin, waves, setup) for of_spin in occupations])
    edge = grid.ceil(max(setup.data.rcut_j))
    energies = _core_energies(setup)
    spherical = np.array([hyperfine.expand(of_spin, setup.l_j, 0)[0] for of_spin in occupations]) / np.sqrt(4 * np.pi)
    atom = _atomic_potential(setup, functional)
    left_out = np.zeros((2, len(grid.r_g)))  # of the densities of spin up and down
    for _ in range(ITERATIONS):
        potentials = _potentials(multipoles, left_out, setup, functional, edge)
        changes = _changed_waves(potentials - atom, atom, setup, edge)
        left_out = 2 * np.einsum("sag, sab, bg -> sg", changes, spherical[:, s_wave][:, :, s_wave], waves[s_wave])
        if energies:
            bound = np.array([_bound(energies, potential, setup) for potential in potentials])
            left_out += ((bound**2).sum(axis=1) - (bound**2).sum(axis=1).mean(axis=0)) / (4 * np.pi)
    return at_nucleus(left_out[0] - left_out[1], setup)


def at_nucleus(density: NDArray, atom: Any) -> float:
    """Contact term: 2/3 of a radial spin density (G,), bohr⁻³, averaged over the Thomson radius of `atom`."""
    exponent = 2 * (1 - np.sqrt(1 - (atom.Z * hyperfine.alpha) ** 2))
    return hyperfine.integrate(density, atom.rgd, atom.Z * hyperfine.alpha**2, exponent) * 2 / 3


def _multipoles(of_spin: NDArray, waves: NDArray, setup: Any) -> NDArray:
    """One-centre valence density of one spin in spherical harmonics, (L, G)."""
    matrices = [hyperfine.expand(of_spin, setup.l_j, momentum) for momentum in range(MULTIPOLES + 1)]
    return np.einsum("ag, Lab, bg -> Lg", waves, np.concatenate(matrices), waves)


def _potentials(multipoles: NDArray, left_out: NDArray, setup: Any, functional: Any, edge: int) -> NDArray:
    """Spherical averages of r V(r) of spin up and down in the sphere, (2, G).

    Exchange and correlation are those of the whole density, not of its spherical average, by which the core of C in CH3
    would be polarised a tenth too little. Outside the sphere partial waves have no meaning, and the density is cut.
    With its tails, as in `gpaw.hyperfine.core_contribution`, the core of Na in an oxide is not bound.
    """
    grid, density = setup.rgd, multipoles.copy()
    density[:, 0] += setup.data.nc_g / 2 + np.sqrt(4 * np.pi) * left_out
    slopes = np.array([[grid.derivative(multipole) for multipole in of_spin] for of_spin in density])
    exchange = np.zeros((2, len(grid.r_g)))
    for weight, harmonics, gradients in zip(weight_n, Y_nL, rnablaY_nLv, strict=True):
        if functional.type == "LDA":
            found = LDARadialCalculator(functional.kernel)(grid, density, harmonics)
        else:
            found = GGARadialCalculator(functional.kernel)(grid, density, harmonics, slopes, gradients, n=None)
        exchange += weight * found[1]
    charge = density[:, 0].sum(axis=0) / np.sqrt(4 * np.pi)
    exchange[:, edge + 1 :] = charge[edge + 1 :] = 0.0
    return exchange * grid.r_g - setup.Z + grid.poisson(charge)


def _core_energies(setup: Any) -> list[float]:
    """Energies of the free atom's s states that are frozen in the PAW dataset."""
    lowest = min((n for n, momentum in zip(setup.n_j, setup.l_j, strict=True) if momentum == 0 and n > 0), default=1)
    return [energy for n, momentum, _, energy in configurations[setup.symbol][1] if n < lowest and momentum == 0]


def _bound(energies: list[float], potential: NDArray, setup: Any) -> NDArray:
    """Radial waves of the s states near these energies, one a row."""
    channel = Channel(l=0, f_n=[1] * len(energies))
    channel.e_n, channel.phi_ng = list(energies), setup.rgd.empty(len(energies))
    solved = False
    with suppress(AssertionError):  # of too many steps
        channel.solve2(potential, rgd=setup.rgd, scalar_relativistic=True, Z=setup.Z)
        solved = channel.solve2ok
    if not solved:
        raise ArithmeticError(f"the core states of {setup.symbol} are not bound in the cut one-centre potential")
    return channel.phi_ng


def _changed_waves(differences: NDArray, atom: NDArray, setup: Any, edge: int) -> NDArray:
    """What the partial s waves lack of the change that potentials r Δ(r) (2, G) beside the atom's make, (2, waves, G).

    To first order, about the atom's waves u_k at the energies e_k of the dataset, which its partial waves are made of:
    (H - e_k) χ_k = -Δ u_k + Σ_l μ_l u_l, where the μ make χ_k orthogonal to all u_l in the sphere and zero at its edge.
    They play the part of the local orbitals of LAPW. A constant Δ changes nothing.
    """
    data, s_wave = setup.data, np.array(setup.l_j) == 0
    partial_waves, energies = np.array(data.phi_jg)[s_wave], np.array(data.eps_j)[s_wave]
    weight = setup.rgd.r_g**2 * setup.rgd.dr_g
    weight[edge + 1 :] = 0.0

    def slope(energy: float, by_energy: float, by_potential: NDArray | float) -> NDArray:
        ahead, behind = (
            _regular(energy + step * by_energy, atom + step * by_potential, setup, edge) for step in (STEP, -STEP)
        )
        return (ahead - behind) / (2 * STEP)

    waves = np.array([_regular(energy, atom, setup, edge) for energy in energies])
    conditions = np.vstack([np.arange(len(weight)) == edge, waves * weight])
    made_of = np.linalg.lstsq((waves * weight**0.5).T, (partial_waves * weight**0.5).T, rcond=None)[0]
    changes = np.empty((2, *waves.shape))
    for k, energy in enumerate(energies):
        free = np.vstack([slope(energy, 1.0, 0.0), waves])
        for spin, difference in enumerate(differences):
            change = slope(energy, 0.0, difference)
            changes[spin, k] = change - np.linalg.solve(conditions @ free.T, conditions @ change) @ free
    return np.einsum("kj, skg -> sjg", made_of, changes)


def _atomic_potential(setup: Any, functional: Any) -> NDArray:
    """r V(r) of the atom that the dataset was made for."""
    data = setup.data
    density = np.array(data.f_j) @ np.array(data.phi_jg) ** 2 / (4 * np.pi) + data.nc_g / np.sqrt(4 * np.pi)
    exchange = np.zeros((1, len(density)))
    functional.calculate_spherical(setup.rgd, density[None], exchange)
    return exchange[0] * setup.rgd.r_g - setup.Z + setup.rgd.poisson(density)


def _regular(energy: float, potential: NDArray, setup: Any, edge: int) -> NDArray:
    """The radial s wave that is regular at the nucleus, up to the edge; its scale is that of its start."""
    grid, wave = setup.rgd, setup.rgd.zeros()
    _, wave[0] = Channel(l=0).integrate_outwards(wave, grid, potential, edge, energy, True, setup.Z)
    wave[edge + 1 :] = 0.0
    wave[1:] /= grid.r_g[1:]
    return wave
