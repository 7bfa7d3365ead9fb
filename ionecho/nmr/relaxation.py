"""Quadrupolar relaxation from the fluctuations of the field gradient (Redfield limit, powder or liquid).

Abragam, The Principles of Nuclear Magnetism, 1961, chapter VIII; for spin 3/2 Hubbard, J. Chem. Phys. 1970, 53, 985 and
Jaccard, Wimperis, Bodenhausen, J. Chem. Phys. 1986, 85, 6282. Valid where the fluctuation is much faster than it is
strong, R2 tau << 1; not for paramagnets, whose electrons relax the nuclei.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import nnls

from ionecho.errors import InputError
from ionecho.nmr.correlation import resampled_means
from ionecho.nmr.quadrupole import GRADIENT

Floats = NDArray[np.float64]
SLOWEST = 1 / 6  # of a run, the slowest exponential that is told from the mean of the run
PER_DECADE = 12  # exponentials
SMALLEST_ERROR = 0.2  # of the largest


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


@dataclass(frozen=True)
class Decays:
    """A correlation function as a sum of exponentials; `weights` (..., M) of `times` (M,) s, none below zero."""

    times: Floats
    weights: Floats

    @classmethod
    def fit(cls, lags: ArrayLike, curves: ArrayLike, errors: ArrayLike, frames: int, spacing: float) -> Decays:
        """Fitted to curves of series less their own mean over the run.

        That mean takes 2 tau / T [1 - tau / T (1 - exp(-T / tau))] from an exponential of a run of length T, at all
        lags alike. What is lost before the first frame counts as if it lasted half of their spacing; nothing slower
        than `SLOWEST` of the run is looked for.

        Parameters
        ----------
        lags
            (L,) frames, from 0.
        curves, errors
            (..., L), and their errors (L,); those far below the largest are not taken at their word.
        frames, spacing
            Length of the run, and time between frames in s.
        """
        lag, curve = np.asarray(lags), np.atleast_2d(np.asarray(curves, float))
        slowest = max(SLOWEST * frames, 1.0)
        times = np.geomspace(1.0, slowest, max(int(np.ceil(PER_DECADE * np.log10(slowest))), 1))
        lengths = frames / times
        own_mean = 2 / lengths * (1 - (1 - np.exp(-lengths)) / lengths)
        basis = np.column_stack([lag == 0, np.exp(-lag[:, None] / times) - own_mean])
        trusted = np.maximum(errors, SMALLEST_ERROR * np.max(errors))
        trusted = np.where(trusted > 0, trusted, 1.0)
        weights = np.array([nnls(basis / trusted[:, None], each / trusted)[0] for each in curve])
        return cls(np.r_[0.5, times] * spacing, weights.reshape(*np.shape(curves)[:-1], -1))

    @classmethod
    def of_ions(
        cls, lags: ArrayLike, curves: Floats, frames: int, spacing: float, resamples: int, rng: np.random.Generator
    ) -> tuple[Decays, Decays]:
        """Fitted to the mean of curves (L, K) over ions, and to means over ions that are drawn again."""
        copies = resampled_means(curves, resamples, rng)
        mean, drawn = (
            cls.fit(lags, part, copies.std(axis=0), frames, spacing) for part in (curves.mean(axis=1), copies)
        )
        return mean, drawn

    def density(self, angular_frequency: float) -> Floats:
        """J(w) = integral from 0 of G(t) cos(w t) dt, w in rad/s."""
        return (self.weights * self.times / (1 + (angular_frequency * self.times) ** 2)).sum(axis=-1)


def quadrupolar_relaxation(
    correlation: Decays, quadrupole_moment: float, spin: float, larmor_frequency: float
) -> QuadrupolarRelaxation:
    """Rates from <dV(0):dV(t)>, dV the part of the gradient that fluctuates, in (V/Å²)².

    With J_n = f (e Q / hbar)² / 40 * integral of <dV(0):dV(t)> cos(n w0 t) dt and f = (2I + 3) / (I² (2I - 1)):
    R1 = 2/5 (J_1 + 4 J_2), R2 = 1/5 (3 J_0 + 5 J_1 + 2 J_2), both 2 J_0 in extreme narrowing. That is
    R1 = 1/50 (2 pi C_Q)² (1 + eta²/3) [tau(w0) + 4 tau(2 w0)] for spin 3/2 and a tensor of one size.

    Parameters
    ----------
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
    j0, j1, j2 = (strength * correlation.density(n * 2 * np.pi * larmor_frequency) for n in range(3))
    two = spin == 1.5
    return QuadrupolarRelaxation(
        longitudinal=2 / 5 * (j1 + 4 * j2),
        transverse=(3 * j0 + 5 * j1 + 2 * j2) / 5,
        longitudinal_parts=(2 * j1, 2 * j2) if two else None,
        transverse_parts=(j0 + j1, j1 + j2) if two else None,
    )
