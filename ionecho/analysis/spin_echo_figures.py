"""Figures of spin-alignment echoes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from ase.data import atomic_numbers
from numpy.typing import NDArray

from ionecho.analysis.arrhenius import Arrhenius
from ionecho.analysis.gradients import Gradients
from ionecho.analysis.scenes import scene_of_trajectory
from ionecho.analysis.spin_echo import COUPLING, POWDER, direction_name
from ionecho.analysis.spin_echo import Curve as Correlation
from ionecho.analysis.spin_echo_settings import SpinEchoOptions
from ionecho.analysis.spin_echo_tables import KILOHERTZ, NANOSECOND, Trajectory
from ionecho.analysis.tensor_distributions import ALL
from ionecho.data.trajectory import Trajectory as Stored
from ionecho.nmr.quadrupole import quadrupole_coupling
from ionecho.report import Axis, Band, Bins, Curve, Figure, Level, Mesh, Panel, Scene
from ionecho.report.panel import BLACK, BOLD, HAIR, THIN, Mark
from ionecho.report.style import GREY, PALETTE, colours, shades

IONS = 200  # curves of single ions drawn
LABELS = {"C_Q": "|<i>C</i><sub>Q</sub>| / kHz", "eta": "η", "nu_Q": "|ν<sub>Q</sub>| / kHz"}
ZERO = Level(0, "y", colour=GREY, dash="-", width=HAIR)
TOLD = {"C_Q": "Couplings", "eta": "Asymmetries", "nu_Q": "Frequencies in a powder"}
MAPS = {
    "axis": "the axis of V_zz in the axes of the trajectory",
    "field": "a field along {pole} in the principal frame",
}
MAP_TOP = 0.99  # quantile of the colours


def figures(
    results: Mapping[str, Trajectory], fits: Mapping[str, Arrhenius], settings: SpinEchoOptions
) -> dict[str, Figure]:
    """Correlation functions, echoes, histograms, maps of angles and, with fits, their Arrhenius lines."""
    names = list(results)
    pole = direction_name(settings.directions[0]) if settings.directions else "z"
    made = {
        "correlation": Figure(
            partial(_correlation, results),
            "Correlation functions of nu_Q in a powder and of C_Q, one standard error over ions; dashed: the fit.",
            ["correlation", "decays"],
            names,
            height=2.6,
            shared="y",
        ),
        "by_ion": Figure(
            partial(_by_ion, results),
            "Correlation function of C_Q: thin, of single ions by the site they start from, each over its own first "
            "value; thick, the mean over all ions and over those that hop.",
            ["by_ion", "correlation"],
            names,
            shared="y",
        ),
        "echoes": Figure(
            partial(_echoes, results),
            "Echoes of a powder against mixing time for each preparation time: sin-sin solid, cos-cos dotted, "
            "normalised to t_m = 0; dashed: the limit of short t_p.",
            ["echoes"],
            names,
            shared="y",
        ),
        "preparation": Figure(
            partial(_preparation, results),
            "Time and residual of the sin-sin echo against preparation time; lines: the limit of short t_p.",
            ["echo_decays"],
            names,
            height=2.4,
        ),
        **{
            f"histogram_{quantity}": Figure(
                partial(_histogram, results, quantity),
                f"{told} of all ions in all frames, by kind of site.",
                ["histogram", "sites"],
                names,
                height=2.2,
            )
            for quantity, told in TOLD.items()
        },
        **{
            f"map_{which}": Figure(
                partial(_map, results, which),
                f"Directions of {told.format(pole=pole)}; density over that of random directions.",
                ["maps"],
                names,
            )
            for which, told in MAPS.items()
        },
    }
    if fits:
        caption = "Echo rate 1 / tau and hop rate against temperature; lines: Arrhenius fits and their intervals."
        made["arrhenius"] = Figure(partial(_arrhenius, results, fits, settings), caption, ["decays", "hop_rates"])
    return made


def scene(trajectory: Stored, gradients: Gradients, settings: SpinEchoOptions) -> Scene:
    """Ions of the first run by their coupling, among the other atoms."""
    couplings = np.abs(quadrupole_coupling(gradients.efg, settings.nucleus.quadrupole_moment)) * KILOHERTZ
    assert trajectory.centres is not None
    element = settings.nucleus.element
    ions = trajectory.centres[trajectory.numbers[trajectory.centres] == atomic_numbers[element]]
    what, label = f"{element} by the magnitude of its coupling", LABELS["C_Q"]
    return scene_of_trajectory(
        trajectory, settings.read, what, label, couplings, ions, gradients.kinds, gradients.names
    )


def _lags(symbol: str = "Lag") -> Axis:
    return Axis(f"{symbol} / ns", log=True)


def _curve(curve: Correlation, colour: str, name: str) -> list[Mark]:
    lag = curve.time[1:] / NANOSECOND
    marks: list[Mark] = [Curve(lag, curve.mean[1:], name, colour, error=curve.error[1:])]
    if curve.decay is not None and curve.decay.time is not None:
        marks.append(Curve(lag, curve.decay(curve.time[1:]), dash="--", width=THIN))
    return marks


def _correlation(results: Mapping[str, Trajectory], names: list[str]) -> list[Panel]:
    made = []
    for title, curve in (("ν<sub>Q</sub> in a powder", POWDER), ("<i>C</i><sub>Q</sub>", COUPLING)):
        marks: list[Mark] = [ZERO]
        for name, colour in colours(names).items():
            temperature = results[name].temperature
            told = name if temperature is None else f"{name}, {temperature:g} K"
            marks += _curve(results[name].echo.curves[curve], colour, told)
        y = Axis("<i>C</i>(<i>t</i>) / <i>C</i>(0)", ends=(None, 1.05))
        made.append(Panel(_lags(), y, marks, title, "best" if curve == POWDER else None))
    return made


def _by_ion(results: Mapping[str, Trajectory], names: list[str]) -> list[Panel]:
    made = []
    for name in names:
        echo, kinds = results[name].echo, results[name].kinds
        lag, palette = echo.main.time[1:] / NANOSECOND, colours(list(kinds)) if kinds else {}
        marks: list[Mark] = [ZERO]
        named = set[str]()
        for ion, curve in enumerate(echo.by_ion.T[:IONS]):
            kind = "" if echo.start is None else str(kinds[echo.start[ion]])
            told = "" if kind in named else kind
            named.add(kind)
            marks.append(Curve(lag, curve[1:], told, palette.get(kind, GREY), width=0.4, opacity=0.5))
        for label, dash in (("all", "-"), ("ions that hop", "--")):
            mean = echo.curves.get(COUPLING if label == "all" else f"{COUPLING}, {label}")
            if mean is not None:
                marks.append(Curve(lag, mean.mean[1:], f"mean, {label}", BLACK, dash, BOLD))
        y = Axis("<i>C</i><sub>Q</sub> correlation", ends=(-0.6, 1.2))
        made.append(Panel(_lags(), y, marks, name, "lower left"))
    return made


def _echoes(results: Mapping[str, Trajectory], names: list[str]) -> list[Panel]:
    made = []
    for name in names:
        echo = results[name].echo
        times = sorted({t_p for _, t_p in echo.echoes})
        marks: list[Mark] = [ZERO]
        for t_p, tone in zip(times, shades(range(len(times))).values(), strict=True):
            for kind, dash in (("sin-sin", "-"), ("cos-cos", ":")):
                curve = echo.echoes[kind, t_p]
                told = f"<i>t</i><sub>p</sub> = {t_p * 1e6:g} µs" if kind == "sin-sin" else ""
                marks.append(Curve(curve.time[1:] / NANOSECOND, curve.mean[1:], told, tone, dash, 1.1))
        main = echo.main
        limit = "<i>t</i><sub>p</sub> → 0"
        marks.append(Curve(main.time[1:] / NANOSECOND, main.mean[1:], limit, BLACK, "--", 0.9))
        y = Axis("<i>F</i>(<i>t</i><sub>m</sub>) / <i>F</i>(0)")
        made.append(Panel(_lags("Mixing time <i>t</i><sub>m</sub>"), y, marks, name))
    return made


def _preparation(results: Mapping[str, Trajectory], names: list[str]) -> list[Panel]:
    drawn = (
        ("Time", "time", NANOSECOND, Axis("τ / ns", log=True)),
        ("Residual", "residual", 1.0, Axis("<i>b</i>²", ends=(0, None))),
    )
    made = []
    for title, quantity, scale, y in drawn:
        marks: list[Mark] = []
        for name, colour in colours(names).items():
            echo = results[name].echo
            known = [
                (t_p * 1e6, getattr(curve.decay, quantity))
                for (kind, t_p), curve in echo.echoes.items()
                if kind == "sin-sin" and curve.decay is not None and curve.decay.time is not None
            ]
            values, errors = ([getattr(each, part) / scale for _, each in known] for part in ("value", "error"))
            x = [t_p for t_p, _ in known]
            marks.append(Curve(x, values, name, colour, dash="", symbol="o", error=errors))
            limit = None if echo.main.decay is None else getattr(echo.main.decay, quantity)
            if limit is not None:
                marks.append(Level(limit.value / scale, "y", colour=colour, width=0.9))
        made.append(Panel(Axis("<i>t</i><sub>p</sub> / µs"), y, marks, title, "best" if scale == 1.0 else None))
    return made


def _histogram(results: Mapping[str, Trajectory], quantity: str, names: list[str]) -> list[Panel]:
    made = []
    for name in names:
        tensors = results[name].tensors
        edges, parts = tensors.edges[quantity], tensors.parts[quantity]
        palette = {ALL: BLACK} | colours([kind for kind in parts if kind != ALL])
        marks = [
            Bins(edges, part.density * part.share, f"{kind}, mean {part.mean:.3g}", palette[kind], 1.0)
            for kind, part in parts.items()
        ]
        x = Axis(LABELS[quantity], ends=(edges[0], edges[-1]))
        made.append(Panel(x, Axis("Density", ends=(0, None)), marks, name))
    return made


def _map(results: Mapping[str, Trajectory], which: str, names: list[str]) -> list[Panel]:
    made = []
    for name in names:
        tensors = results[name].tensors
        values: NDArray[np.float64] = getattr(tensors, which)
        phi, theta = np.meshgrid(np.degrees(tensors.phi), np.degrees(tensors.theta), indexing="ij")
        top = max(float(np.quantile(values, MAP_TOP)), 1.5)
        mesh = Mesh(phi, theta, values.T, "Density / random", ends=(0, top))
        x, y = Axis("φ / °", ends=(phi.min(), phi.max())), Axis("θ / °", ends=(theta.max(), theta.min()))
        made.append(Panel(x, y, [mesh], name))
    return made


def _arrhenius(
    results: Mapping[str, Trajectory], fits: Mapping[str, Arrhenius], settings: SpinEchoOptions, _: list[str]
) -> list[Panel]:
    labels = {"echo": "1 / τ of ν<sub>Q</sub>", "hops": "hop rate"}
    marks: list[Mark] = []
    for (name, fit), colour, symbol in zip(fits.items(), PALETTE, "os", strict=False):
        error = fit.relative_errors * fit.values
        marks.append(
            Curve(1e3 / fit.temperatures, fit.values, labels[name], colour, dash="", symbol=symbol, error=error)
        )
        far = fit.temperatures.min() if settings.extrapolate is None else settings.extrapolate
        temperature = np.linspace(min(far, fit.temperatures.min()), fit.temperatures.max(), 60)
        low, high = np.array([fit.interval_at(float(each)) for each in temperature]).T
        marks.append(Curve(1e3 / temperature, fit(temperature), "", colour, "--", 1.0))
        marks.append(Band(1e3 / temperature, low, high, colour))
    return [Panel(Axis("1000 K / <i>T</i>"), Axis("Rate / s⁻¹", log=True), marks)]
