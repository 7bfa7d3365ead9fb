"""Shift tensors and principal frames in the conventions in which NMR reports them."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]


def symmetric(tensors: ArrayLike) -> Floats:
    """Symmetric part of tensors (..., 3, 3): the only one that a first-order spectrum shows."""
    values = np.asarray(tensors, float)
    return (values + np.swapaxes(values, -1, -2)) / 2


def chemical_shift(shielding: ArrayLike, intercept: ArrayLike, slope: ArrayLike) -> Floats:
    """Shift tensors (..., 3, 3), ppm, by the reference lines (...,) delta = intercept + slope sigma.

    The line holds for the isotropic part; the anisotropy is multiplied by the slope. A slope of -1 and the shielding of
    the reference compound as the intercept is the plain reference.
    """
    start, factor = (np.asarray(value, float)[..., None, None] for value in (intercept, slope))
    return start * np.eye(3) + factor * symmetric(shielding)


def herzfeld_berger(shift: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Isotropic shift, span and skew of shift tensors (..., 3, 3), ppm, ppm and a number, each (...,).

    With delta_11 >= delta_22 >= delta_33: span = delta_11 - delta_33, skew = 3 (delta_22 - delta_iso) / span between -1
    and 1, 0 where there is no span (Mason, Solid State Nucl. Magn. Reson. 1993, 2, 285).
    """
    low, middle, high = np.moveaxis(np.linalg.eigvalsh(symmetric(shift)), -1, 0)
    isotropic, span = (low + middle + high) / 3, high - low
    return isotropic, span, 3 * (middle - isotropic) / np.where(span > 0, span, np.inf)


def euler_angles(tensors: ArrayLike) -> Floats:
    """Angles alpha, beta, gamma (..., 3) in degrees that turn the Cartesian axes into the principal ones.

    Turns about z, the new y and the new z, of axes in the order |zz - iso| >= |xx - iso| >= |yy - iso| (Haeberlen),
    for gradients |V_zz| >= |V_yy| >= |V_xx| with x and y changed for each other. A frame is the same after half turns
    about its axes; of the four sets of angles that one is given with beta <= 90 and 0 <= gamma < 180. Where two
    components are equal, an angle is arbitrary.
    """
    values, axes = np.linalg.eigh(symmetric(tensors))
    apart = np.abs(values - values.mean(axis=-1, keepdims=True))
    order = np.argsort(apart, axis=-1)[..., [1, 0, 2]]
    axes = np.take_along_axis(axes, order[..., None, :], axis=-1)
    axes[..., 0] *= np.sign(np.linalg.det(axes))[..., None]
    upside_down = np.where(axes[..., 2, 2] < 0, -1.0, 1.0)[..., None]
    axes[..., 1], axes[..., 2] = upside_down * axes[..., 1], upside_down * axes[..., 2]
    frames = axes.reshape(-1, 3, 3)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Gimbal lock")  # beta = 0: only alpha + gamma is defined, gamma is 0
        alpha, beta, gamma = Rotation.from_matrix(frames).as_euler("ZYZ", degrees=True).T
    return np.stack([alpha % 360, beta, gamma % 180], axis=-1).reshape(*axes.shape[:-2], 3)
