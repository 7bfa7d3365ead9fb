"""How a contact shift goes with temperature: predicted from one temperature, and fitted to several."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionecho.errors import InputError

Floats = NDArray[np.float64]


def shift_at(
    temperatures: ArrayLike, contact: float, temperature: float, weiss_constant: float, added: float
) -> Floats:
    """Shift (n,) ppm at `temperatures` (K) of ions that stay where they are at `temperature`.

    delta(T) = contact (T0 - Theta) / (T - Theta) + added: the magnetisation of Curie and Weiss alone. Occupations and
    vibrations change too, which takes dynamics at each temperature.
    """
    wanted = np.asarray(temperatures, float)
    if (wanted <= weiss_constant).any():
        raise InputError(f"temperatures: expected some above Theta = {weiss_constant:g} K, found {wanted.tolist()}")
    return contact * (temperature - weiss_constant) / (wanted - weiss_constant) + added


@dataclass(frozen=True)
class CurieWeiss:
    """delta = slope / (T - Theta) + offset: `slope` ppm K, `offset` ppm, with standard errors."""

    slope: float
    slope_error: float
    offset: float
    offset_error: float


def fit_curie_weiss(temperatures: ArrayLike, shifts: ArrayLike, errors: ArrayLike, weiss_constant: float) -> CurieWeiss:
    """Weighted straight line through `shifts` (n,) ppm against 1 / (T - Theta), of two temperatures or more."""
    x = 1 / (np.asarray(temperatures, float) - weiss_constant)
    error = np.asarray(errors, float)
    if len(set(x.tolist())) < 2:
        raise InputError(f"Curie-Weiss fit: expected two temperatures or more, found {np.unique(x).size}")
    design = np.stack([x, np.ones_like(x)], axis=1) / error[:, None]
    covariance = np.linalg.inv(design.T @ design)
    slope, offset = covariance @ design.T @ (np.asarray(shifts, float) / error)
    deviation = np.sqrt(np.diag(covariance))
    return CurieWeiss(float(slope), float(deviation[0]), float(offset), float(deviation[1]))
