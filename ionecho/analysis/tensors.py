"""Tensors of each site, averaged over a trajectory, with what the motion does to them and errors of their averages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from ase.data import chemical_symbols
from numpy.typing import NDArray

from ionecho.analysis.options import ReadOptions
from ionecho.analysis.statistics import block_average
from ionecho.data.trajectory import Trajectory
from ionecho.errors import InputError
from ionecho.nmr.site_table import ANGLES, COLUMNS, Columns, Conventions

Floats = NDArray[np.float64]

BLOCK = 64  # frames read at once
STEP = 1e-4  # of a tensor's size, for derivatives
UNITS = np.eye(9).reshape(9, 3, 3)
SYMMETRIC = (UNITS + UNITS.swapaxes(1, 2)) / 2


@dataclass(frozen=True)
class SiteTensors:
    """`sites` has a row a site and tensor: see `site_tensors`; `samples` by label columns of single frames, (T, K).

    `unsettled` counts the averages whose error is a lower bound, as the run is too short for it.
    """

    sites: dict[str, pd.DataFrame]
    samples: dict[str, Columns]
    frames: int
    unsettled: int


def site_tensors(trajectory: Trajectory, read: ReadOptions, conventions: Conventions) -> SiteTensors:
    """What NMR reports of the mean tensor of each site, fast motion averaged, beside that of single frames.

    A column `x` is of the mean tensor and `x_error` its standard error: x is expanded about the mean tensor to first
    order, and the series of the first-order term averaged over blocks of time. `x_rigid` and `x_deviation` are the root
    mean square and the standard deviation of x over the single frames where it is defined, as if nothing moved while it
    is measured; the signs of V_zz and C_Q are undecided where eta is near 1. Angles have none.
    Tensors of all frames are held, 72 bytes a site and frame.

    Raises
    ------
    InputError
        If no tensors are stored.
    """
    present = [name for name in COLUMNS if name in trajectory.stored]
    if not present:
        held = ", ".join(trajectory.stored) or "none"
        raise InputError(f"{trajectory.path}: expected an array {' or '.join(COLUMNS)}, found {held}")
    blocks = list(read.frames(trajectory, BLOCK, present))
    groups = None if trajectory.group is None else np.concatenate([block.group for block in blocks])
    centres = np.arange(len(trajectory.numbers)) if trajectory.centres is None else trajectory.centres
    sites, samples, unsettled = {}, {}, 0
    for name in present:
        tensors = np.concatenate([np.asarray(block.arrays[name], float) for block in blocks])
        known = np.isfinite(tensors).all(axis=(0, 2, 3))
        if not known.any():
            raise InputError(f"{trajectory.path}: expected finite {name} of a site in every frame used, found none")
        symbols = np.array(chemical_symbols)[trajectory.numbers[centres[known]]]
        columns, samples[name], short = _columns(name, tensors[:, known], symbols, groups, conventions)
        sites[name] = pd.DataFrame({"atom": centres[known], "element": symbols} | columns).dropna(axis=1, how="all")
        unsettled += short
    return SiteTensors(sites, samples, sum(map(len, blocks)), unsettled)


def _columns(
    label: str, tensors: Floats, symbols: NDArray, groups: NDArray | None, conventions: Conventions
) -> tuple[Columns, Columns, int]:
    """Columns of the sites, those of single frames, and how many errors are lower bounds."""

    def told(values: Floats) -> Columns:
        """Columns of tensors (n, K, 3, 3), each (n, K)."""
        found = COLUMNS[label](values.reshape(-1, 3, 3), np.tile(symbols, len(values)), conventions)
        return {name: column.reshape(len(values), -1) for name, column in found.items()}

    mean = tensors.mean(axis=0)
    step = STEP * np.linalg.norm(mean, axis=(1, 2))
    shifts = step[None, :, None, None] * SYMMETRIC[:, None]
    above, below = told(mean + shifts), told(mean - shifts)
    single = told(tensors)
    columns, unsettled = {}, 0
    for name, value in told(mean[None]).items():
        columns[name] = value[0]
        if name.endswith(ANGLES) or len(tensors) == 1:
            continue
        slope = (above[name] - below[name]) / (2 * step)
        series = np.einsum("tkc,ck->kt", (tensors - mean).reshape(len(tensors), -1, 9), slope)
        averages = [block_average(each, groups) for each in series]
        unsettled += sum(not each.converged for each in averages)
        columns[f"{name}_error"] = np.array([each.error for each in averages])
        defined = np.ma.masked_invalid(single[name])
        columns[f"{name}_rigid"] = np.sqrt(np.ma.mean(defined**2, axis=0)).filled(np.nan)
        columns[f"{name}_deviation"] = np.ma.std(defined, axis=0).filled(np.nan)
    return columns, single, unsettled
