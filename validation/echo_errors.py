"""How often the errors of tau, b² and g of the spin-alignment echo cover the truth, by simulated Markov exchange.

python -m validation.echo_errors
"""

from __future__ import annotations

import numpy as np

from ionecho.nmr.correlation import correlation, normalised, resampled_means, thinned_lags
from ionecho.nmr.decay import fit_decay

RUNS, CONFIDENCE = 200, 0.95
CASES = ((1000, 20, 4, 0.05), (1000, 60, 4, 0.05), (2000, 60, 20, 0.02), (1000, 60, 2, 0.05), (400, 60, 4, 0.01))


def case(seed: int, frames: int, ions: int, sites: int, probability: float) -> str:
    """One line: how often intervals cover, and the scatter of ln tau beside the error that is said."""
    rng = np.random.default_rng(seed)
    lags = thinned_lags(frames // 2, 12)
    exact = (-1 / np.log(1 - probability * sites / (sites - 1)), 1 / sites, 1.0)
    covered, taus, errors, none = np.zeros(3), [], [], 0
    for _ in range(RUNS):
        steps = np.where(rng.random((frames, ions)) < probability, rng.integers(1, sites, (frames, ions)), 0)
        visited = (rng.integers(0, sites, ions) + np.cumsum(steps, axis=0)) % sites
        series = rng.normal(size=(ions, sites, 5))[np.arange(ions), visited]
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
    """Print a line a case."""
    for seed, parameters in enumerate(CASES):
        print(case(seed, *parameters))


if __name__ == "__main__":
    main()
