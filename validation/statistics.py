"""How often the errors given cover the truth, by simulation: python -m validation.statistics [--repeats 1000].

The tables of docs/statistics.md: errors of correlated means where "converged" is said, of several runs, of
diffusivities of ions that move together, and how many lines are told of ions that mix or do not. Seed 0.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from ionecho.analysis.autoregression import mean_variance
from ionecho.analysis.kinetics import kinetics
from ionecho.analysis.lines import ion_lines
from ionecho.analysis.msd import squared_displacements
from ionecho.analysis.statistics import block_average, student_factor
from ionecho.analysis.walk import Walk, gamma_interval

Floats = NDArray[np.float64]

LENGTHS = (512, 1024, 2048, 4096, 8192, 16384, 65536)
SITES, LARMOR, STEP = np.array([900.0, 2000.0]), 105.93e6, 100.0  # ppm, Hz, fs


def autoregressive(rng: np.random.Generator, phi: float, count: int) -> Floats:
    """AR(1) series from its stationary state."""
    noise = rng.normal(size=count)
    noise[0] /= np.sqrt(1 - phi**2)
    return np.asarray(lfilter([1.0], [1.0, -phi], noise))


def means(rng: np.random.Generator, repeats: int) -> None:
    """Coverage of mean +- 2 errors where converged is said, and in brackets the share of runs where it is."""
    print("\n| phi | " + " | ".join(f"N = {n}" for n in LENGTHS) + " |")
    print("|---" * (len(LENGTHS) + 1) + "|")
    for phi in (0.0, 0.9, 0.95, 0.99):
        cells = []
        for n in LENGTHS:
            inside, said = [], 0
            for _ in range(repeats):
                series = autoregressive(rng, phi, n)
                found = mean_variance(series)
                said += found.converged
                if found.converged:
                    error = found.variance**0.5 * student_factor(found.freedom)
                    inside.append(abs(series.mean()) <= 2 * error)
            cells.append(f"{np.mean(inside):.1%} ({said / repeats:.0%})" if said >= 20 else f"({said / repeats:.1%})")
        print(f"| {phi:g} | " + " | ".join(cells) + " |", flush=True)


def runs(rng: np.random.Generator, repeats: int) -> None:
    """Coverage over runs of 2048 samples, phi 0.8, that each lie off by a normal number of `offset` own errors."""
    offsets = (0.0, 1.0, 2.0, 50.0)
    own = np.sqrt(1 / (1 - 0.8**2) / 2048 * 1.8 / 0.2)
    print("\n| runs | " + " | ".join(f"offset {o:g} errors" for o in offsets) + " |")
    print("|---" * (len(offsets) + 1) + "|")
    for count in (2, 3, 4, 8):
        cells = []
        for offset in offsets:
            inside = []
            for _ in range(repeats):
                parts = [autoregressive(rng, 0.8, 2048) + rng.normal(0, offset * own) for _ in range(count)]
                found = block_average(np.concatenate(parts), np.repeat(np.arange(count), 2048))
                inside.append(abs(found.mean) <= 2 * found.error)
            cells.append(f"{np.mean(inside):.1%}")
        print(f"| {count} | " + " | ".join(cells) + " |", flush=True)


def hopping(rng: np.random.Generator, frames: int, ions: int, rate: float, together: int) -> Floats:
    """Paths (T, K, 3) of ions that hop 3 Å along an axis, `together` of them at once."""
    shape = (frames, ions // together)
    steps = 3.0 * np.eye(3)[rng.integers(0, 3, shape)] * rng.choice([-1, 1], (*shape, 1))
    return np.repeat(np.cumsum(steps * (rng.random(shape) < rate)[..., None], axis=0), together, axis=1)


def diffusivities(rng: np.random.Generator, repeats: int) -> None:
    """Coverage of the 95 % interval, and its error over the scatter of repeated runs."""
    print("\n| ions, frames, hops a frame | alone | in twos | in fours |\n|---|---|---|---|")
    for ions, frames, rate in ((16, 400, 0.05), (16, 400, 0.5), (44, 300, 0.01), (64, 400, 0.05)):
        cells = []
        for together in (1, 2, 4):
            inside, slopes, errors = [], [], []
            for _ in range(repeats):
                paths, last = hopping(rng, frames, ions, rate, together), frames // 2 - 1
                msd = squared_displacements(paths)[: last + 1].mean(axis=1)
                first = max(int(np.argmax(msd > 4.5)), 1)
                if msd[-1] <= 4.5 or last - first < 10:
                    continue
                slope = float(np.polyfit(np.arange(first, last + 1), msd[first:], 1)[0])
                variance = Walk.of(paths, first).slope_variance(first, last)
                low, high = gamma_interval(max(slope, 1e-9), variance, 0.95)
                inside.append(low <= 9 * rate <= high)
                slopes.append(slope)
                errors.append(slope**2 * variance)
            cells.append(f"{np.mean(inside):.1%}, {np.sqrt(np.mean(errors)) / np.std(slopes):.2f}")
        print(f"| {ions}, {frames}, {rate:g} | " + " | ".join(cells) + " |", flush=True)


def populations(rng: np.random.Generator, repeats: int) -> None:
    """Share of 16 ions that all mix told as one line, of two halves that never mix told as two."""
    print("\n| frames, jumps a frame | one population: one line | two halves: two lines | median position error |")
    print("|---|---|---|---|")
    for frames, rate in ((2000, 0.2), (2000, 0.01), (2000, 0.002), (8000, 0.05)):
        told, errors = {1: 0, 2: 0}, []
        for parts, share in ((1, np.full(16, 0.57)), (2, np.repeat([0.3627, 0.7691], 8))):
            for _ in range(repeats):
                redraw = rng.random((frames, 16)) < rate
                redraw[0] = True
                fresh = (rng.random((frames, 16)) < share).astype(int)
                last = np.maximum.accumulate(np.where(redraw, np.arange(frames)[:, None], 0), axis=0)
                kinds = np.take_along_axis(fresh, last, axis=0)
                shift = SITES[kinds] + rng.normal(0, 100, kinds.shape)
                jumps = kinetics(kinds, 2, np.arange(frames) * STEP, np.zeros(frames, int))
                ratio = (jumps.exchange_rate(SITES) or 0.0) / (2 * np.pi * LARMOR * 1100e-6)
                error = block_average(shift.mean(axis=1)).error
                found = ion_lines(shift, np.zeros(frames, int), jumps, SITES, ratio, error)
                told[parts] += len(found.lines) == parts
                if parts == 2 and len(found.lines) == 2:
                    errors += [line.error for line in found.lines]
        middle = f"{np.median(errors):.0f} ppm" if errors else ""
        row = f"{told[1] / repeats:.1%} | {told[2] / repeats:.1%} | {middle}"
        print(f"| {frames}, {rate:g} | {row} |", flush=True)


def main(repeats: int = 1000) -> None:
    """All tables."""
    for table in (means, runs, diffusivities, populations):
        print(f"\n{table.__doc__}")
        table(np.random.default_rng(0), repeats if table is means else max(repeats // 4, 20))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=1000)
    main(**vars(parser.parse_args()))
