"""Lines of an experiment, from a table or fitted to a spectrum, beside the lines computed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import least_squares, nnls

from ionecho.analysis.options import Options
from ionecho.errors import InputError

Floats = NDArray[np.float64]


class SpectrumOptions(Options):
    """How a spectrum is fitted: one line near each of `positions` (ppm), with sidebands of the spinning.

    `shape` of the lines, `spinning_rate` Hz (None: static, no sidebands) and how many `sidebands` to either side.
    """

    positions: list[float] | None = None
    shape: Literal["lorentzian", "gaussian"] = "lorentzian"
    spinning_rate: float | None = Field(default=None, gt=0)
    sidebands: int = Field(default=0, ge=0)


@dataclass(frozen=True)
class Peak:
    """An experimental line: `shift` ppm, `area` with its sidebands, full `width` at half maximum (ppm), None: unknown.

    Errors are those of the fit to a spectrum, None from a table.
    """

    shift: float
    area: float
    width: float | None
    shift_error: float | None = None
    area_error: float | None = None


@dataclass(frozen=True)
class Spectrum:
    """A spectrum with its fit, `shifts`, `intensity` and `fitted` (n,), ppm and arbitrary."""

    shifts: Floats
    intensity: Floats
    fitted: Floats


@dataclass(frozen=True)
class Experiment:
    """The peaks from the highest shift down, and the spectrum that they were fitted to, if they were."""

    peaks: Sequence[Peak]
    spectrum: Spectrum | None = None

    @property
    def fractions(self) -> Floats:
        """Share of each peak in the area of all."""
        areas = np.array([peak.area for peak in self.peaks])
        return areas / areas.sum()


def read_experiment(path: Path, options: SpectrumOptions, larmor_frequency: float) -> Experiment:
    """Peaks from a csv with columns shift, area and perhaps width, or of a spectrum, columns shift and intensity.

    `larmor_frequency` in Hz places the sidebands.

    Raises
    ------
    InputError
        If the table lacks a column, holds what are no numbers, or a spectrum comes without positions to start from.
    """
    try:
        frame = pd.read_csv(path, comment="#", skipinitialspace=True)
    except (OSError, pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(f"experiment: cannot read {path}: {error}") from error
    titles = [str(name).strip().lower() for name in frame]
    frame.columns = titles
    names = ["shift", "intensity"] if "intensity" in frame else ["shift", "area"]
    if absent := [name for name in names if name not in frame]:
        raise InputError(
            f"{path}: no column {', '.join(absent)}; expected shift (ppm), area and perhaps width (ppm) of peaks, or "
            f"shift and intensity of a spectrum; found {', '.join(titles)}"
        )
    columns = {name: pd.to_numeric(frame[name], errors="coerce").to_numpy(float) for name in frame}
    for name in names:
        bad = np.flatnonzero(~np.isfinite(columns[name]))
        if bad.size or not len(frame):
            raise InputError(f"{path}: row {bad[0] + 1 if bad.size else 1}: expected a number as {name}")
    if "intensity" in columns:
        if not options.positions:
            raise InputError(f"{path}: a spectrum; give spectrum.positions, the ppm near which to fit a line each")
        return fit_spectrum(columns["shift"], columns["intensity"], options, larmor_frequency)
    if (columns["area"] <= 0).any():
        raise InputError(f"{path}: row {int((columns['area'] <= 0).argmax()) + 1}: expected an area above 0")
    widths = columns.get("width", np.full(len(frame), np.nan))
    peaks = [
        Peak(float(shift), float(area), float(width) if np.isfinite(width) else None)
        for shift, area, width in zip(columns["shift"], columns["area"], widths, strict=True)
    ]
    return Experiment(sorted(peaks, key=lambda peak: -peak.shift))


def fit_spectrum(shifts: Floats, intensity: Floats, options: SpectrumOptions, larmor_frequency: float) -> Experiment:
    """Least squares over positions and widths; areas of every sideband and a constant baseline are linear, none < 0.

    The area of a line is that of its centre and all of its sidebands; its error is that of the linear part at the
    positions and widths found, with those of the others in it.
    """
    assert options.positions is not None
    order = np.argsort(shifts)
    x, y = shifts[order], intensity[order]
    count, orders = len(options.positions), options.sidebands if options.spinning_rate else 0
    step = (options.spinning_rate or 0.0) / larmor_frequency * 1e6  # ppm
    places = np.arange(-orders, orders + 1) * step
    reach = float(np.ptp(x))

    def shapes(parameters: Floats) -> Floats:
        centres, widths = parameters[:count], np.exp(parameters[count:])
        offset = x[:, None, None] - centres[:, None] - places
        if options.shape == "lorentzian":
            lines = widths[:, None] / (2 * np.pi) / (offset**2 + widths[:, None] ** 2 / 4)
        else:
            sigma = widths[:, None] / np.sqrt(8 * np.log(2))
            lines = np.exp(-(offset**2) / (2 * sigma**2)) / (sigma * np.sqrt(2 * np.pi))
        flat: Floats = lines.reshape(len(x), -1)
        return np.concatenate([flat, np.ones((len(x), 1)), -np.ones((len(x), 1))], axis=1)

    def areas(parameters: Floats) -> Floats:
        return nnls(shapes(parameters), y)[0]

    def residual(parameters: Floats) -> Floats:
        difference: Floats = shapes(parameters) @ areas(parameters) - y
        return difference

    spacing = float(np.median(np.diff(x)))
    start = np.r_[np.array(options.positions, float), np.full(count, np.log(max(reach / 50, 4 * spacing)))]
    nearest = reach if count == 1 else float(np.diff(np.sort(options.positions)).min())
    low = np.r_[start[:count] - nearest / 2 - 1e-9, np.full(count, np.log(spacing))]
    high = np.r_[start[:count] + nearest / 2 + 1e-9, np.full(count, np.log(reach))]
    found = least_squares(
        residual, start, bounds=(low, high), x_scale=np.r_[np.full(count, reach / 100), np.ones(count)]
    )
    parts, amplitudes = shapes(found.x), areas(found.x)
    free = max(len(x) - len(found.x) - len(amplitudes) + 1, 1)
    noise = float(np.square(found.fun).sum()) / free
    deviation = np.sqrt(np.diag(np.linalg.pinv(found.jac.T @ found.jac)) * noise)
    kept = parts[:, :-1]  # the baseline of one sign
    covariance = np.linalg.pinv(kept.T @ kept) * noise
    each = len(places)
    peaks = []
    for line in range(count):
        own = slice(line * each, (line + 1) * each)
        peaks.append(
            Peak(
                shift=float(found.x[line]),
                area=float(amplitudes[own].sum()),
                width=float(np.exp(found.x[count + line])),
                shift_error=float(deviation[line]),
                area_error=float(np.sqrt(covariance[own, own].sum())),
            )
        )
    spectrum = Spectrum(x, y, parts @ amplitudes)
    return Experiment(sorted(peaks, key=lambda peak: -peak.shift), spectrum)


@dataclass(frozen=True)
class Assignment:
    """Computed line `line` -> peak `peak`, both counted from the highest shift down, and how they differ (ppm).

    `offset` is computed less measured, `residual` what is left of it after the mean offset of all. `corrected` is the
    computed shift after the straight line through all other pairs (None with fewer than two others).
    """

    line: int
    peak: int
    offset: float
    residual: float
    corrected: float | None


def assign(computed: Sequence[float], experiment: Experiment) -> list[Assignment]:
    """In order of shift, not by value: theory is off by more than lines are apart.

    Of more lines than peaks, or the other way round, those are taken whose offsets scatter least.
    """
    lines = np.argsort(-np.asarray(computed, float), kind="stable")
    ours = np.asarray(computed, float)[lines]
    theirs = np.array([peak.shift for peak in experiment.peaks])
    count = min(len(ours), len(theirs))
    longer, shorter = (ours, theirs) if len(ours) >= len(theirs) else (theirs, ours)
    chosen = min(
        (list(each) for each in combinations(range(len(longer)), count)),
        key=lambda each: float(np.var(longer[each] - shorter)),
    )
    pairs = list(zip(chosen, range(count), strict=True))
    pairs = pairs if len(ours) >= len(theirs) else [(line, peak) for peak, line in pairs]
    offsets = np.array([ours[line] - theirs[peak] for line, peak in pairs])
    found = []
    for index, (line, peak) in enumerate(pairs):
        others = [pair for pair in pairs if pair != (line, peak)]
        corrected = None
        if len({theirs[other] for _, other in others}) > 1:
            slope, constant = np.polyfit([ours[i] for i, _ in others], [theirs[j] for _, j in others], 1)
            corrected = float(slope * ours[line] + constant)
        found.append(
            Assignment(int(lines[line]), peak, float(offsets[index]), float(offsets[index] - offsets.mean()), corrected)
        )
    return found
