"""How two symmetric tensors agree in their axes: eigenframes as quaternions, and their overlap."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.transform import Rotation

Floats = NDArray[np.float64]

# Turns by 180° about the axes of a frame, and none, as quaternions (x, y, z, w): the tensor cannot tell them apart.
EQUIVALENT = Rotation.from_quat([[0, 0, 0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])


def principal_axes(tensors: ArrayLike) -> Floats:
    """Right-handed eigenframes (..., 3, 3) of symmetric tensors (..., 3, 3): columns x, y, z in NMR order.

    The order is |V_zz| >= |V_yy| >= |V_xx|; each axis may also point the other way.
    """
    values, axes = np.linalg.eigh(np.asarray(tensors, float))
    order = np.argsort(np.abs(values), axis=-1)
    axes = np.take_along_axis(axes, order[..., None, :], axis=-1)
    handed = np.linalg.det(axes)
    axes[..., 0] *= np.sign(handed)[..., None]
    return axes


def orientation_score(first: ArrayLike, second: ArrayLike) -> Floats:
    """max over the four equivalent frames of |q_1 . q_2|, in [1/2, 1], of tensors (n, 3, 3) each; (n,).

    It is cos(a / 2) of the smallest rotation a between both eigenframes: 0.9 is as much as 51.7°, and random frames
    score 0.9 or more in 15 %. Where eta is near 0 or 1 a frame is ill-defined; see `overlap`.
    """
    one, two = (Rotation.from_matrix(principal_axes(each)) for each in (first, second))
    scores = [np.abs(np.einsum("nq,nq->n", one.as_quat(), (two * turn).as_quat())) for turn in EQUIVALENT]
    return np.clip(np.max(scores, axis=0), 0.0, 1.0)


def misalignment(first: ArrayLike, second: ArrayLike) -> Floats:
    """Smallest rotation between the eigenframes of tensors (n, 3, 3) each, degrees, at most 120; (n,)."""
    return np.degrees(2 * np.arccos(orientation_score(first, second)))


def overlap(first: ArrayLike, second: ArrayLike) -> Floats:
    """(V_1 : V_2) / (|V_1| |V_2|) of tensors (..., 3, 3), in [-1, 1]: defined for any asymmetry."""
    one, two = np.asarray(first, float), np.asarray(second, float)
    product = np.einsum("...ij,...ij->...", one, two)
    return product / (np.linalg.norm(one, axis=(-2, -1)) * np.linalg.norm(two, axis=(-2, -1)))
