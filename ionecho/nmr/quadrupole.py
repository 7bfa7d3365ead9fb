"""From electric-field gradients to quadrupolar observables.

Gradients are in V/A^2 (1e20 V/m^2), V_ij the second derivative of the electrostatic potential: a charge +q on the
z axis gives a positive V_zz. Principal components are in NMR order, |V_zz| >= |V_yy| >= |V_xx|.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import constants
from scipy.integrate import lebedev_rule

from ionecho.errors import InputError

Floats = NDArray[np.float64]

BARN = 1e-28  # m^2
GRADIENT = constants.e * BARN / constants.angstrom**2 / constants.h  # Hz per (barn V/A^2)
PPM = 1e6


def principal_components(efg: ArrayLike) -> Floats:
    """Principal components (V_xx, V_yy, V_zz) in NMR order, (..., 3), of symmetric gradients (..., 3, 3)."""
    values = np.linalg.eigvalsh(np.asarray(efg, float))
    order = np.argsort(np.abs(values), axis=-1)
    return np.take_along_axis(values, order, axis=-1)


def quadrupole_coupling(efg: ArrayLike, quadrupole_moment: float) -> Floats:
    """C_Q = e Q V_zz / h in Hz, signed, (...,); `efg` (..., 3, 3) V/A^2, `quadrupole_moment` in barn."""
    return GRADIENT * quadrupole_moment * principal_components(efg)[..., 2]


def asymmetry(efg: ArrayLike, tolerance: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Asymmetry eta = (V_xx - V_yy) / V_zz in [0, 1], and where it is defined, both (...,).

    Where |V_zz| < `tolerance` (V/A^2) eta has no meaning: it is set to 0 and flagged False.
    """
    xx, yy, zz = np.moveaxis(principal_components(efg), -1, 0)
    defined = np.abs(zz) >= tolerance
    return np.where(defined, (xx - yy) / np.where(defined, zz, 1.0), 0.0), defined


def quadrupolar_frequency(efg: ArrayLike, field: ArrayLike, quadrupole_moment: float, spin: float) -> Floats:
    """First-order offset nu_Q of the innermost satellite from the centre, Hz; Faraday Discuss. 2025, 255, 411.

    nu_Q = 3 / (2 I (2I - 1)) * (e Q / h) n.V.n, free of angles and of eigenvector order; for I = 3/2 it is
    (e Q / 2h) n.V.n and the two satellites lie at +-nu_Q. For integer I, which has no line at the centre, it is half
    of this, half of the distance of its two inner lines. In polar angles of n in the NMR-ordered principal frame it
    equals 3 C_Q / (4 I (2I - 1)) * (3 cos^2 theta - 1 + eta sin^2 theta cos 2 phi), with a plus sign for this order.

    Parameters
    ----------
    efg
        (..., 3, 3) V/A^2.
    field
        Direction n of the magnetic field, (..., 3), of any length, broadcast against `efg`.
    quadrupole_moment
        Barn.
    spin
        I, a multiple of 1/2.

    Raises
    ------
    InputError
        If I is below 1.
    """
    direction = np.asarray(field, float)
    direction = direction / np.linalg.norm(direction, axis=-1, keepdims=True)
    along = np.einsum("...i,...ij,...j->...", direction, np.asarray(efg, float), direction)
    return _frequency_of_gradient(quadrupole_moment, spin) * along


def quadrupole_induced_shift(coupling: ArrayLike, eta: ArrayLike, larmor_frequency: float, spin: float) -> Floats:
    """Second-order quadrupole-induced shift of the central transition under magic-angle spinning, ppm.

    delta = -(3/40) (P_Q / nu_0)^2 (I(I+1) - 3/4) / (I^2 (2I-1)^2), P_Q = C_Q sqrt(1 + eta^2 / 3), half-integer I.

    Parameters
    ----------
    coupling, larmor_frequency
        C_Q and nu_0 in the same unit.
    eta
        Asymmetry, broadcast against `coupling`.
    spin
        Half-integer I >= 3/2.

    Raises
    ------
    InputError
        If I is another: there is no central transition, or it is not shifted.
    """
    if spin < 1.5 or not _half_integer(spin):
        raise InputError(f"a nucleus of spin {spin} has no quadrupole-induced shift, expected half-integer from 3/2")
    product = np.asarray(coupling, float) ** 2 * (1 + np.asarray(eta, float) ** 2 / 3)
    strength = (spin * (spin + 1) - 0.75) / (spin * (2 * spin - 1)) ** 2
    return -(3 / 40) * product / larmor_frequency**2 * strength * PPM


def powder_components(efg: ArrayLike, quadrupole_moment: float, spin: float) -> Floats:
    """Five numbers (..., 5) Hz, whose products summed over are nu_Q nu_Q' averaged over all directions of the field.

    The average of (n.V.n)(n.W.n) over directions is 2/15 V:W for traceless V, W; the numbers are the l = 2 components
    of V that keep V:W, in the order xy, yz, zz, xz, xx - yy, times what makes them frequencies. Arguments as of
    `quadrupolar_frequency`; the root of the mean square of one tensor is C_Q sqrt((1 + eta²/3) / 20) for I = 3/2.
    """
    v = np.asarray(efg, float)
    components = (
        np.sqrt(2) * v[..., 0, 1],
        np.sqrt(2) * v[..., 1, 2],
        np.sqrt(3 / 2) * v[..., 2, 2],
        np.sqrt(2) * v[..., 0, 2],
        (v[..., 0, 0] - v[..., 1, 1]) / np.sqrt(2),
    )
    return np.sqrt(2 / 15) * _frequency_of_gradient(quadrupole_moment, spin) * np.stack(components, axis=-1)


def field_directions(degree: int) -> tuple[Floats, Floats]:
    """Directions (D, 3) of the field and weights (D,) that add up to 1, for averages of even functions over a powder.

    One hemisphere of Lebedev's rule (scipy.integrate.lebedev_rule), exact for polynomials of n up to `degree`.
    """
    points, weights = lebedev_rule(degree)
    x, y, z = points.round(12)
    upper = (z > 0) | ((z == 0) & ((y > 0) | ((y == 0) & (x > 0))))
    return points.T[upper], weights[upper] / weights[upper].sum()


def _frequency_of_gradient(quadrupole_moment: float, spin: float) -> float:
    """nu_Q / n.V.n, Hz Å²/V."""
    if spin < 1:
        raise InputError(f"a nucleus of spin {spin} has no quadrupolar frequency, expected 1 or more")
    inner = 1.0 if _half_integer(spin) else 0.5
    return inner * 3 / (2 * spin * (2 * spin - 1)) * GRADIENT * quadrupole_moment


def _half_integer(spin: float) -> bool:
    return round(2 * spin) % 2 == 1
