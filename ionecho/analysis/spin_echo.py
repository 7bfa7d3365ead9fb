"""Spin-alignment echo along a trajectory: how fast the quadrupolar frequencies of its ions are forgotten."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ionecho.analysis.gradients import Gradients
from ionecho.analysis.hops import HopRate, Hops, find_hops, hop_rate
from ionecho.analysis.spin_echo_settings import SpinEchoOptions
from ionecho.nmr.correlation import NUMBERS, correlation, normalised, resampled_means, thinned_lags
from ionecho.nmr.decay import Decay, fit_decay
from ionecho.nmr.echo import AMPLITUDE
from ionecho.nmr.quadrupole import (
    field_directions,
    powder_components,
    powder_frequencies,
    quadrupolar_frequency,
    quadrupole_coupling,
)
from ionecho.nmr.relaxation import SLOWEST, Decays, quadrupolar_relaxation

Floats = NDArray[np.float64]

FEMTOSECOND, MICROSECOND = 1e-15, 1e-6
POWDER, COUPLING = "nu_Q powder", "C_Q"


@dataclass(frozen=True)
class Curve:
    """A correlation function of some `ions` at `time` (L,) s: `mean` and `error` (L,), 1 at lag 0.

    `initial` is its value at lag 0 in `unit`; `decay` is in s, None for fewer than two ions.
    """

    ions: int
    time: Floats
    mean: Floats
    error: Floats
    initial: float
    unit: str
    decay: Decay | None


@dataclass(frozen=True)
class Relaxation:
    """R1 and R2 with errors over ions, 1/s; `parts` are the two exponentials of each.

    Motion slower than `slowest` (s) is not in them.
    """

    longitudinal: tuple[float, float]
    transverse: tuple[float, float]
    longitudinal_parts: tuple[float, float]
    transverse_parts: tuple[float, float]
    slowest: float
    unresolved: float


@dataclass(frozen=True)
class SpinEcho:
    """What one trajectory says; `run` and `spacing` in s.

    `curves` are correlation functions of nu_Q and C_Q, `echoes` the exact ones by kind and t_p (s), `amplitudes` their
    F(t_p, 0). `by_ion` (L, K) is the correlation function of C_Q of every ion over its own first value, `start` (K,)
    the kind of the site each starts from.
    """

    ions: int
    frames: int
    spacing: float
    run: float
    curves: dict[str, Curve]
    echoes: dict[tuple[str, float], Curve]
    by_ion: Floats
    start: NDArray[np.int64] | None
    hops: Hops
    rate: HopRate
    relaxation: Relaxation

    @property
    def main(self) -> Curve:
        """The correlation function of nu_Q of a powder."""
        return self.curves[POWDER]


def spin_echo(gradients: Gradients, options: SpinEchoOptions) -> SpinEcho:
    """Correlation functions, echoes, hops and relaxation of the ions of one trajectory."""
    frames, ions = gradients.efg.shape[:2]
    spacing = gradients.spacing * FEMTOSECOND
    chosen = options.correlation
    lags = thinned_lags(int(chosen.lag_max * (frames - 1)), chosen.lags_per_decade)
    rng = np.random.default_rng(chosen.seed)
    hops = find_hops(gradients.displacements, options.hops.window, options.hops.distance)
    rate = hop_rate(hops, ions, (frames - 1) * spacing, options.confidence)
    curves: dict[str, Curve] = {}
    by_ion: Floats = np.empty((len(lags), ions))
    for name, per_ion, unit in _correlations(gradients, lags, hops, options):
        curves[name] = make_curve(per_ion, lags * spacing, unit, options, rng)
        if name == COUPLING:
            by_ion = per_ion / per_ion[:1]
    nucleus = options.nucleus
    components = powder_components(gradients.efg, nucleus.quadrupole_moment, nucleus.spin)
    echoes = {
        (kind, t_p): make_curve(per_ion, lags * spacing, "", options, rng)
        for t_p in (time * MICROSECOND for time in options.preparation_times)
        for kind, per_ion in _echoes(components, lags, t_p, options.powder_degree).items()
    }
    return SpinEcho(
        ions=ions,
        frames=frames,
        spacing=spacing,
        run=(frames - 1) * spacing,
        curves=curves,
        echoes=echoes,
        by_ion=by_ion,
        start=None if gradients.kinds is None else gradients.kinds[0],
        hops=hops,
        rate=rate,
        relaxation=_relaxation(gradients, lags, options, rng),
    )


def _correlations(
    gradients: Gradients, lags: NDArray[np.int64], hops: Hops, options: SpinEchoOptions
) -> Iterator[tuple[str, Floats, str]]:
    """Name, curves (L, K) and unit of each correlation function."""
    nucleus, efg = options.nucleus, gradients.efg
    remove = options.correlation.normalise == "covariance"

    def fluctuating(series: Floats) -> Floats:
        return series - series.mean(axis=(0, 1)) if remove else series

    components = fluctuating(powder_components(efg, nucleus.quadrupole_moment, nucleus.spin))
    yield POWDER, correlation(components, components, lags), "Hz²"
    for direction in options.directions:
        series = fluctuating(quadrupolar_frequency(efg, direction, nucleus.quadrupole_moment, nucleus.spin))
        yield f"nu_Q along {direction_name(direction)}", correlation(series, series, lags), "Hz²"
    coupling = fluctuating(quadrupole_coupling(efg, nucleus.quadrupole_moment))
    of_coupling = correlation(coupling, coupling, lags)
    yield COUPLING, of_coupling, "Hz²"
    moving = hops.counts(efg.shape[1]) > 0
    for name, members in {"ions that hop": moving, "ions that stay": ~moving}.items():
        if members.any() and not members.all():
            yield f"{COUPLING}, {name}", of_coupling[:, members], "Hz²"
    if gradients.kinds is None:
        return
    for index, name in enumerate(gradients.names):
        here = gradients.kinds == index
        members = here.any(axis=0)
        if members.sum() > 1 and not here.all():
            first = (components * here[..., None])[:, members]
            yield f"{POWDER}, from {name}", correlation(first, components[:, members], lags), "Hz²"
            first = (coupling * here)[:, members]
            yield f"{COUPLING}, from {name}", correlation(first, coupling[:, members], lags), "Hz²"


def direction_name(direction: tuple[float, ...]) -> str:
    """As in `[0 0 1]`."""
    return f"[{' '.join(f'{component:g}' for component in direction)}]"


def make_curve(per_ion: NDArray, time: NDArray, unit: str, options: SpinEchoOptions, rng: np.random.Generator) -> Curve:
    """The mean of curves (L, K) at `time` (L,) s, with errors over ions, and how it decays."""
    chosen, ions = options.correlation, per_ion.shape[1]
    mean = normalised(per_ion.mean(axis=1), chosen.normalise)
    if ions < 2:
        return Curve(ions, time, mean, np.full(len(time), np.nan), float(per_ion[0].mean()), unit, None)
    copies = normalised(resampled_means(per_ion, chosen.resamples, rng), chosen.normalise)
    fitted = time >= chosen.start * FEMTOSECOND
    free = not fitted[0]
    decay = None
    if fitted.sum() >= 6:
        decay = fit_decay(time[fitted], mean[fitted], copies[:, fitted], ions, options.confidence, free)
    error = copies.std(axis=0) * np.sqrt(ions / (ions - 1))
    return Curve(ions, time, mean, error, float(per_ion[0].mean()), unit, decay)


def _echoes(components: NDArray, lags: NDArray[np.int64], preparation: float, degree: int) -> dict[str, Floats]:
    """F(t_p, t_m) (L, K) of a powder with components (T, K, 5): sin-sin, and of cos-cos what depends on t_m."""
    directions, weights = field_directions(degree)
    frames, ions, _ = components.shape
    width = max(NUMBERS // (frames * len(weights)), 1)
    parts: dict[str, list[Floats]] = {"sin-sin": [], "cos-cos": []}
    for first in range(0, ions, width):
        frequency = powder_frequencies(components[:, first : first + width], directions)
        for wave, part in zip((np.sin, np.cos), parts.values(), strict=True):
            series = np.sqrt(weights) * wave(2 * np.pi * preparation * frequency)  # the sum over components: the mean
            part.append(AMPLITUDE * correlation(series, series, lags))
    return {name: np.concatenate(part, axis=1) for name, part in parts.items()}


def _relaxation(
    gradients: Gradients, lags: NDArray[np.int64], options: SpinEchoOptions, rng: np.random.Generator
) -> Relaxation:
    """From the gradients less the mean of each ion over the run."""
    nucleus, (frames, ions) = options.nucleus, gradients.efg.shape[:2]
    moving = (gradients.efg - gradients.efg.mean(axis=0)).reshape(frames, ions, 9)
    curves = correlation(moving, moving, lags)
    mean, spacing = curves.mean(axis=1), gradients.spacing * FEMTOSECOND
    means, spreads = (
        quadrupolar_relaxation(decays, nucleus.quadrupole_moment, nucleus.spin, options.larmor_frequency)
        for decays in Decays.of_ions(lags, curves, frames, spacing, options.correlation.resamples, rng)
    )
    assert means.longitudinal_parts is not None
    assert means.transverse_parts is not None
    widen = np.sqrt(ions / max(ions - 1, 1))
    return Relaxation(
        longitudinal=(float(means.longitudinal), float(np.std(spreads.longitudinal) * widen)),
        transverse=(float(means.transverse), float(np.std(spreads.transverse) * widen)),
        longitudinal_parts=(float(means.longitudinal_parts[0]), float(means.longitudinal_parts[1])),
        transverse_parts=(float(means.transverse_parts[0]), float(means.transverse_parts[1])),
        slowest=SLOWEST * frames * spacing,
        unresolved=float(1 - mean[1] / mean[0]) if mean[0] > 0 else 0.0,
    )
