"""Tables of tracer diffusion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ionecho.analysis.diffusion import TracerDiffusion, correlation_factor, haven_ratio
from ionecho.analysis.diffusivity import CM2_PER_S, Average, Diffusivity
from ionecho.analysis.van_hove import gaussian_part
from ionecho.report import Table


def both_units(found: Diffusivity) -> dict[str, Any]:
    """Every diffusivity in cm²/s and in Å²/ps."""
    entries: dict[str, Any] = {
        name: getattr(found, name) for name in ("dimensions", "effective_hops", "relative_variance", "effective_ions")
    }
    for name in ("value", "error", "interval", "rule_of_thumb", "upper_limit"):
        quantity = getattr(found, name)
        known = quantity is not None
        entries[f"{name}_cm2_per_s"] = (np.array(quantity) * CM2_PER_S).tolist() if known else None
        entries[f"{name}_A2_per_ps"] = quantity
    return entries


def tables(results: Mapping[str, TracerDiffusion], points: Sequence[Average]) -> dict[str, Table]:
    """Name of a csv file -> its table; the first column is the trajectory."""
    elements, values, overview = [], [], []
    for name, result in results.items():
        times = result.displacement.lags * 1e-3
        elements.append(pd.DataFrame({"trajectory": name, "time_ps": times, **result.paths.since_first}))
        for found in (result.space, result.plane):
            entries = {key: entry for key, entry in both_units(found).items() if not key.startswith("interval")}
            values.append({"trajectory": name, "temperature_K": result.temperature, **entries})
            overview.append(_row(name, result, entries))
    told = (
        "Error from how the ions moved, together or not; rule of thumb of He et al.; below: upper limit where ions do "
        "not diffuse; effective ions: as many independent ones would be known as well; from, to: lags."
    )
    collective = (
        "Haven ratio: tracer over collective diffusivity. Correlation factor: D over the diffusivity of the jumps, "
        "below 1 where ions jump back. Blank where one of both has a limit only."
    )
    made = {"overview": Table(pd.DataFrame(overview), "Diffusivity", told)}
    if any(len(each.starts) > 1 for each in points):
        caption = "Inputs at one temperature as starts of one system; between: scatter beyond their own errors."
        made["starts"] = Table(pd.DataFrame([_mean(each) for each in points]), "Means of starts", caption)
    return made | {
        "collective": Table(
            pd.DataFrame([_collective(name, each) for name, each in results.items()]), "Motion together", collective
        ),
        "diffusivity": Table(pd.DataFrame(values)),
        "msd": Table(pd.concat(_displacement(name, each) for name, each in results.items())),
        "elements": Table(pd.concat(elements)),
        "van_hove": Table(pd.concat(_distances(name, each) for name, each in results.items())),
        "non_gaussian": Table(
            pd.concat(
                pd.DataFrame({"trajectory": name, "lag_ps": each.van_hove.lags * 1e-3, "alpha": each.van_hove.alpha})
                for name, each in results.items()
            )
        ),
    }


def _displacement(name: str, result: TracerDiffusion) -> pd.DataFrame:
    moved = result.displacement
    lags, mean, error = moved.errors(result.walks[0], plane=False)
    _, plane, plane_error = moved.errors(result.walks[1], plane=True)
    columns = {"lag_ps": lags * 1e-3, "msd": mean, "msd_error": error, "plane_msd": plane}
    return pd.DataFrame({"trajectory": name, **columns, "plane_msd_error": plane_error})


def _distances(name: str, result: TracerDiffusion) -> pd.DataFrame:
    found = result.van_hove
    centres = (found.edges[1:] + found.edges[:-1]) / 2
    return pd.concat(
        pd.DataFrame(
            {
                "trajectory": name,
                "lag_ps": lag * 1e-3,
                "distance": centres,
                "density": part,
                "gaussian": gaussian_part(centres, found.squares[lag]),
            }
        )
        for lag, part in found.parts.items()
    )


def _collective(name: str, result: TracerDiffusion) -> dict[str, Any]:
    jumped, variance = result.jumps.diffusivity(3)
    found = result.collective
    known = found is not None and found.value is not None and found.error is not None
    haven, factor = haven_ratio(result) or (None, None), correlation_factor(result) or (None, None)
    return {
        "trajectory": name,
        "temperature": result.temperature,
        "collective": found.value * CM2_PER_S if known else None,  # type: ignore[operator, union-attr]
        "collective_error": found.error * CM2_PER_S if known else None,  # type: ignore[operator, union-attr]
        "haven_ratio": haven[0],
        "haven_ratio_error": haven[1],
        "jumps": len(result.jumps.frames),
        "jump_D": jumped * CM2_PER_S,
        "jump_D_error": jumped * CM2_PER_S * variance**0.5 if jumped else None,
        "correlation_factor": factor[0],
        "correlation_factor_error": factor[1],
        "effective_ions": 1 / (3 * result.walks[0].shared),
    }


def _mean(each: Average) -> dict[str, Any]:
    scaled = {"D": each.value, "D_error": each.error, "between": each.between, "below": each.upper_limit}
    return {
        "temperature": each.temperature,
        "starts": ", ".join(each.starts),
        **{name: None if value is None else value * CM2_PER_S for name, value in scaled.items()},
        "limits": len(each.limits),
    }


def _row(name: str, result: TracerDiffusion, entries: Mapping[str, Any]) -> dict[str, Any]:
    start, stop = (None, None) if result.window is None else (edge * 1e-3 for edge in result.window)
    return {
        "trajectory": name,
        "temperature": result.temperature,
        "d": entries["dimensions"],
        "D": entries["value_cm2_per_s"],
        "D_error": entries["error_cm2_per_s"],
        "rule_of_thumb": entries["rule_of_thumb_cm2_per_s"],
        "below": entries["upper_limit_cm2_per_s"],
        "hops": entries["effective_hops"],
        "effective_ions": entries["effective_ions"],
        "exponent": result.exponent,
        "from": start,
        "to": stop,
        "run": result.run * 1e-3,
    }
