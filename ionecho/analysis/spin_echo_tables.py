"""Tables of spin-alignment echoes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from ionecho.analysis.spin_echo import Curve, SpinEcho
from ionecho.analysis.tensor_distributions import QUANTITIES, Distributions
from ionecho.nmr.decay import Quantity
from ionecho.report import Scene, Table

NANOSECOND = 1e-9
KILOHERTZ = 1e-3


@dataclass(frozen=True)
class Trajectory:
    """The results of one trajectory; `spread` (V/Å²) of an ensemble of models, None without one."""

    temperature: float | None
    echo: SpinEcho
    tensors: Distributions
    kinds: tuple[str, ...]
    spread: float | None
    stopped: list[str]
    hash: str
    scene: Scene

    @property
    def tau(self) -> Quantity | None:
        """Of nu_Q in a powder, s; None where there is no decay, or tau is less than its error, or that is not known."""
        decay = self.echo.main.decay
        return None if decay is None else decay.known_time

    @property
    def ratio(self) -> tuple[float, float] | None:
        """(1 / tau) / hop rate with its error, as if both errors were independent; None where one is missing."""
        rate, tau = self.echo.rate, self.tau
        if tau is None or rate.rate is None or rate.error is None:
            return None
        ratio = 1 / tau.value / rate.rate
        return ratio, ratio * float(np.hypot(tau.error / tau.value, rate.error / rate.rate))


def decay_entry(curve: Curve) -> dict[str, Any]:
    """A decay as plain numbers; `rms` is the root of C(0) in kHz."""
    entry: dict[str, Any] = {"ions": curve.ions}
    entry["rms"] = float(np.sqrt(max(curve.initial, 0.0))) * KILOHERTZ if curve.unit else None
    decay = curve.decay
    quantities = {
        "tau": None if decay is None else decay.time,
        "stretching": None if decay is None else decay.stretching,
        "residual": None if decay is None else decay.residual,
        "amplitude": None if decay is None else decay.amplitude,
    }
    for name, quantity in quantities.items():
        scale = NANOSECOND if name == "tau" else 1.0
        entry[name] = None if quantity is None else quantity.value / scale
        entry[f"{name}_error"] = None if quantity is None else quantity.error / scale
        if name == "tau":
            entry["tau_interval"] = None if quantity is None else [quantity.low / scale, quantity.high / scale]
    mean, limit = (None, None) if decay is None else (decay.mean_time, decay.longer_than)
    entry["mean_time"] = None if mean is None else mean / NANOSECOND
    entry["longer_than"] = None if limit is None else limit / NANOSECOND
    entry["effective_sites"] = None if decay is None else decay.effective_sites
    entry["no_decay"] = None if decay is None else decay.none
    return entry


def tables(results: Mapping[str, Trajectory]) -> dict[str, Table]:
    """Name of a csv file -> its table; the first column is the trajectory."""
    caption = "tau and g of the fit, residual b², amplitude left by rattling; rms: root of C(0); no tau: no decay."
    return {
        "decays": Table(_decays(results), "Correlation functions", caption),
        "echo_decays": Table(_echo_decays(results), "Echoes of a powder", "Normalised to t_m = 0, where F is given."),
        "hop_rates": Table(
            _rates(results), "Hops", "Hops an ion and second, and (1 / tau) / rate of nu_Q in a powder."
        ),
        "sites": Table(_sites(results), "Sites", "Means of |C_Q|, eta and |nu_Q| over samples, errors over ions."),
        "relaxation": Table(_relaxation(results), "Quadrupolar relaxation", "Initial rates, errors over ions."),
        "correlation": Table(_correlation(results)),
        "echoes": Table(_echoes(results)),
        "by_ion": Table(_by_ion(results)),
        "hops": Table(_hops(results)),
        "histogram": Table(_histogram(results)),
        "maps": Table(_maps(results)),
    }


def _row(name: str, result: Trajectory) -> dict[str, Any]:
    return {"trajectory": name, "temperature": result.temperature}


def _fit(curve: Curve) -> dict[str, Any]:
    entry = decay_entry(curve)
    entry.pop("tau_interval")
    return {key: value for key, value in entry.items() if key not in ("mean_time", "no_decay")}


def _decays(results: Mapping[str, Trajectory]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {**_row(name, result), "curve": label, **_fit(curve)}
            for name, result in results.items()
            for label, curve in result.echo.curves.items()
        ]
    )


def _echo_decays(results: Mapping[str, Trajectory]) -> pd.DataFrame:
    rows = []
    for name, result in results.items():
        for (kind, t_p), curve in result.echo.echoes.items():
            entry = {key: value for key, value in _fit(curve).items() if key not in ("rms", "ions")}
            rows.append({**_row(name, result), "kind": kind, "t_p": t_p * 1e6, "F": curve.initial, **entry})
    return pd.DataFrame(rows)


def _rates(results: Mapping[str, Trajectory]) -> pd.DataFrame:
    rows = []
    for name, result in results.items():
        rate, ratio = result.echo.rate, result.ratio or (None, None)
        row = {"hops": rate.count, "ions_that_hop": rate.ions_that_hop, "ions": result.echo.ions, "rate": rate.rate}
        row |= {"rate_error": rate.error, "upper_limit": rate.upper_limit, "ratio": ratio[0], "ratio_error": ratio[1]}
        rows.append(_row(name, result) | row)
    return pd.DataFrame(rows)


def _sites(results: Mapping[str, Trajectory]) -> pd.DataFrame:
    rows = []
    for name, result in results.items():
        for kind, part in result.tensors.parts["C_Q"].items():
            row: dict[str, Any] = _row(name, result) | {"kind": kind, "share": part.share}
            for quantity in QUANTITIES:
                found = result.tensors.parts[quantity][kind]
                row |= {quantity: found.mean, f"{quantity}_error": found.error}
            rows.append(row)
    return pd.DataFrame(rows)


def _relaxation(results: Mapping[str, Trajectory]) -> pd.DataFrame:
    rows = []
    for name, result in results.items():
        found = result.echo.relaxation
        row = {"R1": found.longitudinal[0], "R1_error": found.longitudinal[1]}
        rows.append(_row(name, result) | row | {"R2": found.transverse[0], "R2_error": found.transverse[1]})
    return pd.DataFrame(rows)


def _curve(curve: Curve) -> dict[str, Any]:
    return {"lag": curve.time / NANOSECOND, "C": curve.mean, "C_error": curve.error}


def _correlation(results: Mapping[str, Trajectory]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame({"trajectory": name, "curve": label, **_curve(curve)})
        for name, result in results.items()
        for label, curve in result.echo.curves.items()
    )


def _echoes(results: Mapping[str, Trajectory]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame(
            {"trajectory": name, "kind": kind, "t_p": t_p * 1e6, **_curve(curve), "F": curve.mean * curve.initial}
        )
        for name, result in results.items()
        for (kind, t_p), curve in result.echo.echoes.items()
    )


def _by_ion(results: Mapping[str, Trajectory]) -> pd.DataFrame:
    parts = []
    for name, result in results.items():
        lag = result.echo.main.time / NANOSECOND
        for ion, curve in enumerate(result.echo.by_ion.T):
            kind = None if result.echo.start is None else result.kinds[result.echo.start[ion]]
            parts.append(pd.DataFrame({"trajectory": name, "ion": ion, "kind": kind, "lag": lag, "C": curve}))
    return pd.concat(parts)


def _hops(results: Mapping[str, Trajectory]) -> pd.DataFrame:
    parts = []
    for name, result in results.items():
        hops, spacing = result.echo.hops, result.echo.spacing / NANOSECOND
        columns = {"ion": hops.ions, "frame": hops.frames, "time": hops.frames * spacing, "length": hops.lengths}
        parts.append(pd.DataFrame({"trajectory": name, **columns}))
    return pd.concat(parts)


def _histogram(results: Mapping[str, Trajectory]) -> pd.DataFrame:
    return pd.concat(
        pd.DataFrame(
            {
                "trajectory": name,
                "quantity": quantity,
                "kind": kind,
                "value": (result.tensors.edges[quantity][1:] + result.tensors.edges[quantity][:-1]) / 2,
                "density": part.density,
            }
        )
        for name, result in results.items()
        for quantity, kinds in result.tensors.parts.items()
        for kind, part in kinds.items()
    )


def _maps(results: Mapping[str, Trajectory]) -> pd.DataFrame:
    parts = []
    for name, result in results.items():
        found = result.tensors
        theta, phi = (np.degrees((edges[1:] + edges[:-1]) / 2) for edges in (found.theta, found.phi))
        grid = np.meshgrid(theta, phi, indexing="ij")
        columns = {"theta": grid[0].ravel(), "phi": grid[1].ravel(), "axis": found.axis.ravel()}
        parts.append(pd.DataFrame({"trajectory": name, **columns, "field": found.field.ravel()}))
    return pd.concat(parts)
