"""How often the errors of tau, b² and g of the spin-alignment echo, of R1 and R2 cover the truth, by Markov exchange.

python -m validation.echo_errors
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ionecho.nmr.correlation import correlation, normalised, resampled_means, thinned_lags
from ionecho.nmr.decay import fit_decay
from ionecho.nmr.relaxation import Decays

RUNS, CONFIDENCE = 200, 0.95
CASES = ((1000, 20, 4, 0.05), (1000, 60, 4, 0.05), (2000, 60, 20, 0.02), (1000, 60, 2, 0.05), (400, 60, 4, 0.01))


def visits(rng: np.random.Generator, frames: int, ions: int, sites: int, probability: float) -> NDArray[np.float64]:
    """Five components (T, K, 5) of the tensors of ions that jump to one of their other sites with this probability."""
    steps = np.where(rng.random((frames, ions)) < probability, rng.integers(1, sites, (frames, ions)), 0)
    visited = (rng.integers(0, sites, ions) + np.cumsum(steps, axis=0)) % sites
    return rng.normal(size=(ions, sites, 5))[np.arange(ions), visited]


def spectral_density(
    rng: np.random.Generator, frames: int, ions: int, sites: int, probability: float
) -> tuple[float, float, float]:
    """J(0) of the gradient less its mean over the run, which R1 and R2 are made of: found, its error, and exact."""
    series, lags = visits(rng, frames, ions, sites, probability), thinned_lags(frames // 2, 12)
    series -= series.mean(axis=0)
    curves = correlation(series, series, lags)
    mean, copied = Decays.of_ions(lags, curves, frames, 1.0, 100, rng)
    exact = 5 * (1 - 1 / sites) * -1 / np.log(1 - probability * sites / (sites - 1))
    return float(mean.density(0.0)), float(copied.density(0.0).std() * np.sqrt(ions / (ions - 1))), exact


def relaxation_case(seed: int, *parameters: int | float) -> str:
    """How often two errors of J(0) cover it, its bias, and its scatter beside the error that is said."""
    rng = np.random.default_rng(seed)
    found, error, exact = np.array([spectral_density(rng, *parameters) for _ in range(RUNS)]).T  # type: ignore[arg-type]
    covered = np.mean(abs(found - exact) < 2 * error)
    return (
        f"J(0): {covered:.3f} within two errors; scatters by {np.std(found / exact):.3f}, said "
        f"{np.mean(error / exact):.3f}; bias {np.mean(found / exact) - 1:+.3f}"
    )


def case(seed: int, frames: int, ions: int, sites: int, probability: float) -> str:
    """One line: how often intervals cover, and the scatter of ln tau beside the error that is said."""
    rng = np.random.default_rng(seed)
    lags = thinned_lags(frames // 2, 12)
    exact = (-1 / np.log(1 - probability * sites / (sites - 1)), 1 / sites, 1.0)
    covered, taus, errors, none = np.zeros(3), [], [], 0
    for _ in range(RUNS):
        series = visits(rng, frames, ions, sites, probability)
        curves = correlation(series, series, lags)
        resampled = normalised(resampled_means(curves, 200, rng))
        decay = fit_decay(lags, normalised(curves.mean(axis=1)), resampled, ions, CONFIDENCE)
        if decay.time is None or decay.residual is None or decay.stretching is None:
            none += 1
            continue
        found = (decay.time, decay.residual, decay.stretching)
        covered += [each.low <= value <= each.high for each, value in zip(found, exact, strict=True)]
        taus.append(decay.time.value)
        errors.append(decay.time.error / decay.time.value)
    shares = ", ".join(f"{name} {share / RUNS:.3f}" for name, share in zip(("tau", "b²", "g"), covered, strict=True))
    return (
        f"{frames} frames, {ions} ions, {sites} sites, tau {exact[0]:.1f} frames: {shares}; ln tau scatters by "
        f"{np.log(taus).std():.3f}, said {np.mean(errors):.3f}; bias {np.log(taus).mean() - np.log(exact[0]):+.3f}; "
        f"no decay {none}"
    )


def main() -> None:
    """Print two lines a case."""
    for seed, parameters in enumerate(CASES):
        print(case(seed, *parameters))
        print(relaxation_case(seed, *parameters))


if __name__ == "__main__":
    main()
