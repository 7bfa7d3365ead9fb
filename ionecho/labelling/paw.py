"""Hyperfine couplings and electric-field gradients from a converged GPAW calculation (plane waves, PAW).

The projector augmented wave form of both is that of Blöchl, Phys. Rev. B 62, 6158 (2000) and of Petrilli, Blöchl,
Blaha and Schwarz, Phys. Rev. B 57, 14690 (1998): a part from the smooth density on the grid, and one-centre parts in
which the partial waves replace the smooth ones near the nucleus.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.constants as si
from ase import units
from gpaw import hyperfine
from gpaw.old.pw.descriptor import PWDescriptor
from gpaw.utilities import unpack_density
from numpy.typing import NDArray

from ionecho.errors import InputError
from ionecho.labelling.paw_contact import contact_correction

ATOMIC_UNIT_OF_EFG = units.Ha / units.Bohr**2  # V/Å² in one Hartree/(e bohr²)
POLARISED = {"Li": ("1s", 0), "Be": ("1s", 0), "Ga": ("3d", 18)}  # shell that has to be in the valence, core below it
LEAST_MOMENT = 0.1  # Bohr magnetons
NUCLEAR_MAGNETON = si.physical_constants["nuclear magneton"][0]  # J/T


def hyperfine_tensors(
    calculator: Any, gyromagnetic_ratios: NDArray[np.floating], core_polarisation: bool = True
) -> NDArray[np.floating]:
    """Contact and dipolar couplings of every nucleus, (N, 3, 3) in MHz.

    The dipolar part is a field gradient of the spin density. As that of charge, it needs compensation charges, which
    hold what the smooth density of an atom lacks of its moment: without them (`gpaw.hyperfine`) the other nuclei feel a
    part of the moment alone.

    Isotropic part, the contact coupling: (1/3) mu0 g_e mu_B gamma/2pi / <S_z> times the density of spin up minus spin
    down at the nucleus, averaged over the Thomson radius; <S_z> is that of the cell: the convention of VASP (science
    A2).

    Parameters
    ----------
    calculator
        A converged spin-polarised `gpaw.old.calculator.GPAW` in plane-wave mode.
    gyromagnetic_ratios
        gamma/2pi of every nucleus, (N,) in MHz/T.
    core_polarisation
        Whether contact couplings hold what the spin does to the frozen core and to the partial waves (`paw_contact`),
        or the valence alone.

    Raises
    ------
    ArithmeticError
        The core s states of an atom are not bound in its one-centre potential, or the cell has no net moment to
        normalise by.
    InputError
        A PAW dataset is not fit for it (`refuse_unfit`).
    """
    for setup in calculator.wfs.setups:
        refuse_unfit(setup)
    unpaired = calculator.get_magnetic_moment()  # 2 <S_z>
    if abs(unpaired) < LEAST_MOMENT:
        raise ArithmeticError(f"the cell's moment is {unpaired:.2g} muB: couplings are normalised by it")
    density, functional = calculator.density, calculator.hamiltonian.xc
    spin_density = density.nt_sG[0] - density.nt_sG[1]
    smooth = hyperfine.smooth_part(spin_density, density.gd, calculator.atoms.get_scaled_positions())
    tensors = -_gradients(calculator, *_spin(density)) / (4 * np.pi)
    for atom, packed in density.D_asp.items():
        setup, occupations = calculator.wfs.setups[atom], unpack_density(packed)
        one_centre = hyperfine.paw_correction(occupations, setup, exclude_core=True)
        tensors[atom] += np.eye(3) * np.trace(smooth[atom] + one_centre) / 3
        if core_polarisation:
            tensors[atom] += np.eye(3) * contact_correction(occupations, setup, functional)
    energy = si.pi * hyperfine.alpha**2 * hyperfine.G_FACTOR_E * si.m_e / si.m_p * units.Ha * si.e  # J for g_n = 1
    return energy / NUCLEAR_MAGNETON / unpaired * np.asarray(gyromagnetic_ratios)[:, None, None] * tensors


def electric_field_gradients(calculator: Any) -> NDArray[np.floating]:
    """Second derivatives of the electrostatic potential at every nucleus, (N, 3, 3) in V/Å², traceless symmetric.

    A positive charge +q at distance R along z gives V_zz = +2q/(4 pi eps0 R³). Frozen core states contribute nothing.

    Parameters
    ----------
    calculator
        A converged `gpaw.old.calculator.GPAW` in plane-wave mode.

    Raises
    ------
    InputError
        A PAW dataset is not fit for it (`refuse_unfit`).
    """
    for setup in calculator.wfs.setups:
        refuse_unfit(setup)
    density = calculator.density
    electrons = {atom: packed.sum(0) for atom, packed in density.D_asp.items()}
    return _gradients(calculator, density.rhot_q, electrons) * ATOMIC_UNIT_OF_EFG


def contact_and_dipolar(tensors: NDArray[np.floating]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Contact couplings (N,) and dipolar ones (N, 3, 3), traceless, of whole ones (N, 3, 3)."""
    contact = np.trace(tensors, axis1=1, axis2=2) / 3
    return contact, tensors - contact[:, None, None] * np.eye(3)


def refuse_unfit(setup: Any) -> None:
    """Raise InputError where a PAW dataset gives no field gradient and no hyperfine coupling.

    It freezes a shell next to the valence (`POLARISED`): with 1s of Li frozen, gradients err by half and contact
    couplings by 5 to 10 %. Or it has partial waves beyond d, which `gpaw.hyperfine` does not know.
    """
    shell, core = POLARISED.get(setup.symbol, ("", setup.Nc))
    if setup.Nc > core:
        cure = "Li.1s, which is generated on first use" if setup.symbol == "Li" else f"one with {shell} in the valence"
        raise InputError(
            f"engine.paw: the PAW dataset of {setup.symbol} freezes {shell}, which the crystal polarises: no field "
            f"gradient and no hyperfine coupling; use {cure}, or leave efg and hyperfine labels out of engine.labels"
        )
    if max(setup.l_j) > 2:
        raise InputError(
            f"engine.labels: the PAW dataset of {setup.symbol} has f waves, for which there are no hyperfine couplings "
            "and field gradients here; leave them out"
        )


def _spin(density: Any) -> tuple[NDArray, dict[int, NDArray]]:
    """Smooth spin density with compensation charges, (G,), and the packed occupations of every atom's projections."""
    occupations = {atom: packed[0] - packed[1] for atom, packed in density.D_asp.items()}
    smooth = density.pd3.zeros()
    density.ghat.add(smooth, {atom: packed @ density.setups[atom].Delta_pL for atom, packed in occupations.items()})
    density.map23.add_to2(smooth, density.pd2.fft(density.nt_sG[0] - density.nt_sG[1]))
    return smooth, occupations


def _gradients(calculator: Any, smooth: NDArray, occupations: Mapping[int, NDArray]) -> NDArray:
    """Field gradients of a density of negative charges at every nucleus, (N, 3, 3) in atomic units."""
    gradients = _smooth_gradients(calculator, smooth)
    for atom, packed in occupations.items():
        gradients[atom] += _one_centre_gradient(packed, calculator.wfs.setups[atom])
    return gradients


def _smooth_gradients(calculator: Any, smooth: NDArray) -> NDArray:
    """Of a smooth density with its compensation charges, in reciprocal space, (N, 3, 3) in atomic units."""
    waves: PWDescriptor = calculator.density.pd3
    vectors = waves.get_reciprocal_vectors(add_q=False)  # (G, 3)
    square = (vectors**2).sum(1)
    potential = 4 * np.pi * smooth / np.where(square > 0, square, np.inf)
    positions = calculator.atoms.get_scaled_positions() @ waves.gd.cell_cv
    gradients = np.empty((len(positions), 3, 3))
    for atom, position in enumerate(positions):
        phase = np.exp(-1j * vectors @ position)
        for i, j in ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)):
            value = np.real(waves.integrate(vectors[:, i] * vectors[:, j] * potential, phase)) / waves.gd.dv
            gradients[atom, i, j] = gradients[atom, j, i] = value
        gradients[atom] -= np.eye(3) * np.trace(gradients[atom]) / 3
    return gradients


def _one_centre_gradient(packed: NDArray, setup: Any) -> NDArray:
    """Partial waves minus smooth partial waves and compensation charges: l = 2 of the density over r³, (3, 3)."""
    matrices = hyperfine.expand(unpack_density(packed), setup.l_j, 2)  # (5, J, J)
    waves, smooth = np.array(setup.data.phi_jg), np.array(setup.data.phit_jg)
    density = np.einsum("mab, ag, bg -> mg", matrices, waves, waves)
    density -= np.einsum("mab, ag, bg -> mg", matrices, smooth, smooth)
    shape = setup.g_lg[2]
    density[:, : len(shape)] -= (packed @ setup.Delta_pL)[4:9, None] * shape
    grid = setup.rgd
    radial = density[:, 1:] @ (grid.dr_g[1:] / grid.r_g[1:])
    return -4 * np.pi / 5 * (hyperfine.Y2_mvv.T @ (radial * hyperfine.Y2_m))
