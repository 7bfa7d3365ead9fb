"""Stimulated (spin-alignment) echoes of quadrupolar nuclei of spin 3/2, such as 7Li, from their satellite frequencies.

A first pulse and the preparation time t_p store the phase 2 pi nu(0) t_p of each ion, which the mixing time t_m later
is compared with 2 pi nu(t_m) t: the echo falls where nu_Q has changed. The central transition stands still in first
order. Böhmer, Jeffrey, Vogel, Prog. Nucl. Magn. Reson. Spectrosc. 2007, 50, 87. Frequencies are those of the satellites
from the centre, +-nu_Q in Hz, frozen within t_p and t; pulses are ideal, without relaxation and dipolar coupling.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ionecho.nmr.correlation import correlation

Floats = NDArray[np.float64]

SPIN = 1.5
AMPLITUDE = 9 / 20  # of the part that two satellite coherences make, with 45° (alignment) or 90° (Zeeman) pulses
CROSSED, CENTRAL = 3 / 20, 1 / 4  # of one satellite and one central coherence, and of the central one alone


def sin_sin_echo(frequency: ArrayLike, lags: ArrayLike, preparation: float, detection: float | None = None) -> Floats:
    """F(t_p, t_m, t) = 9/20 <sin(2 pi nu(0) t_p) sin(2 pi nu(t_m) t)> of quadrupolar alignment, for every ion.

    Jeener-Broekaert sequence 90°_x - t_p - 45°_y - t_m - 45° - t, the alignment T_20 alone kept while mixing (Jeener,
    Broekaert, Phys. Rev. 1967, 157, 232; Qi et al., J. Magn. Reson. 2004, 169, 225). For 2 pi nu t_p << 1 it becomes
    9/20 (2 pi)² t_p t <nu(0) nu(t_m)>.

    Parameters
    ----------
    frequency
        nu_Q (T, K) Hz at evenly spaced frames.
    lags
        t_m (L,) in frames.
    preparation, detection
        t_p and t in s; t is t_p, the top of the echo, unless given.

    Returns
    -------
    ndarray
        (L, K), 9/20 at most.
    """
    first = np.sin(_phase(frequency, preparation))
    second = first if detection is None else np.sin(_phase(frequency, detection))
    return AMPLITUDE * correlation(first, second, lags)


def cos_cos_echo(frequency: ArrayLike, lags: ArrayLike, preparation: float, detection: float | None = None) -> Floats:
    """F(t_p, t_m, t) of longitudinal magnetisation, for every ion; arguments as of `sin_sin_echo`.

    90°_x - t_p - 90°_x - t_m - 90° - t with all longitudinal order (T_10 and T_30) kept while mixing:

    F = 1/4 + 3/20 (<cos(2 pi nu(0) t_p)> + <cos(2 pi nu(t_m) t)>) + 9/20 <cos(2 pi nu(0) t_p) cos(2 pi nu(t_m) t)>.

    It is 1 for t_p = t = 0. Only the last term depends on t_m; the others are of the central transition.
    """
    first = np.cos(_phase(frequency, preparation))
    second = first if detection is None else np.cos(_phase(frequency, detection))
    return CENTRAL + CROSSED * (first.mean(axis=0) + second.mean(axis=0)) + AMPLITUDE * correlation(first, second, lags)


def _phase(frequency: ArrayLike, time: float) -> Floats:
    return 2 * np.pi * time * np.asarray(frequency, float)
