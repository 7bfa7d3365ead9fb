"""Quadrupolar relaxation from the fluctuations of the field gradient (Redfield limit, powder or liquid).

Abragam, The Principles of Nuclear Magnetism, 1961, chapter VIII; for spin 3/2 Hubbard, J. Chem. Phys. 1970, 53, 985 and
Jaccard, Wimperis, Bodenhausen, J. Chem. Phys. 1986, 85, 6282. Valid where the fluctuation is much faster than it is
strong, R2 tau << 1; not for paramagnets, whose electrons relax the nuclei.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import spherical_jn

from ionecho.errors import InputError
from ionecho.nmr.quadrupole import GRADIENT

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class QuadrupolarRelaxation:
    """Rates in 1/s, each a number or an array over the resampled curves.

    `longitudinal` R1 and `transverse` R2 are the initial rates of a non-selective experiment. Spin 3/2 relaxes by two
    exponentials: `longitudinal_parts` of 1/5 and 4/5 of the signal, `transverse_parts` of 3/5 (satellites) and 2/5
    (central transition); None for other spins.
    """

    longitudinal: Floats
    transverse: Floats
    longitudinal_parts: tuple[Floats, Floats] | None
    transverse_parts: tuple[Floats, Floats] | None


def spectral_density(time: ArrayLike, correlation: ArrayLike, angular_frequency: float) -> Floats:
    """J(w) = integral from 0 of G(t) cos(w t) dt, G straight between its points, exactly.

    Parameters
    ----------
    time
        (L,) s, from 0, evenly spaced or not.
    correlation
        G (..., L).
    angular_frequency
        w in rad/s.
    """
    times, curve = np.asarray(time, float), np.asarray(correlation, float)
    widths, middles = np.diff(times), (times[1:] + times[:-1]) / 2
    means, steps = (curve[..., 1:] + curve[..., :-1]) / 2, np.diff(curve, axis=-1)
    half = angular_frequency * widths / 2
    even = np.cos(angular_frequency * middles) * spherical_jn(0, half)
    odd = np.sin(angular_frequency * middles) * spherical_jn(1, half)
    return (widths * (means * even - steps / 2 * odd)).sum(axis=-1)


def quadrupolar_relaxation(
    time: ArrayLike, correlation: ArrayLike, quadrupole_moment: float, spin: float, larmor_frequency: float
) -> QuadrupolarRelaxation:
    """Rates from <dV(0):dV(t)>, dV the part of the gradient that fluctuates.

    With J_n = f (e Q / hbar)² / 40 * integral of <dV(0):dV(t)> cos(n w0 t) dt and f = (2I + 3) / (I² (2I - 1)):
    R1 = 2/5 (J_1 + 4 J_2), R2 = 1/5 (3 J_0 + 5 J_1 + 2 J_2), both 2 J_0 in extreme narrowing. That is
    R1 = 1/50 (2 pi C_Q)² (1 + eta²/3) [tau(w0) + 4 tau(2 w0)] for spin 3/2 and a tensor of one size.

    Parameters
    ----------
    time
        (L,) s.
    correlation
        (..., L) (V/Å²)².
    quadrupole_moment
        Barn.
    spin
        I, 1 or more.
    larmor_frequency
        Hz, magnitude.

    Raises
    ------
    InputError
        If I is below 1.
    """
    if spin < 1:
        raise InputError(f"a nucleus of spin {spin} has no quadrupolar relaxation, expected 1 or more")
    strength = (2 * spin + 3) / (spin**2 * (2 * spin - 1)) * (2 * np.pi * GRADIENT * quadrupole_moment) ** 2 / 40
    j0, j1, j2 = (strength * spectral_density(time, correlation, n * 2 * np.pi * larmor_frequency) for n in range(3))
    two = spin == 1.5
    return QuadrupolarRelaxation(
        longitudinal=2 / 5 * (j1 + 4 * j2),
        transverse=(3 * j0 + 5 * j1 + 2 * j2) / 5,
        longitudinal_parts=(2 * j1, 2 * j2) if two else None,
        transverse_parts=(j0 + j1, j1 + j2) if two else None,
    )
