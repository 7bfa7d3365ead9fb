"""Figures of spin-alignment echoes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from numpy.typing import NDArray

from ionecho.analysis.arrhenius import Arrhenius
from ionecho.analysis.spin_echo import COUPLING, POWDER, Curve, direction_name
from ionecho.analysis.spin_echo_settings import SpinEchoOptions
from ionecho.analysis.spin_echo_tables import NANOSECOND, Trajectory
from ionecho.analysis.tensor_distributions import ALL
from ionecho.report import Figure
from ionecho.report.style import GREY, PALETTE, SEQUENTIAL, SINGLE, colours, panels, shades

IONS = 200  # curves of single ions drawn
LABELS = {"C_Q": "$|C_Q|$ / kHz", "eta": r"$\eta$", "nu_Q": r"$|\nu_Q|$ / kHz"}
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
            partial(_draw_correlation, results),
            "Correlation functions of nu_Q in a powder and of C_Q, one standard error over ions; dashed: the fit.",
            ["correlation", "decays"],
            names,
        ),
        "by_ion": Figure(
            partial(_draw_by_ion, results),
            "Correlation function of C_Q: thin, of single ions by the site they start from, each over its own first "
            "value; thick, the mean over all ions and over those that hop.",
            ["by_ion", "correlation"],
            names,
        ),
        "echoes": Figure(
            partial(_draw_echoes, results),
            "Echoes of a powder against mixing time for each preparation time: sin-sin solid, cos-cos dotted, "
            "normalised to t_m = 0; dashed: the limit of short t_p.",
            ["echoes"],
            names,
        ),
        "preparation": Figure(
            partial(_draw_preparation, results),
            "Time and residual of the sin-sin echo against preparation time; lines: the limit of short t_p.",
            ["echo_decays"],
            names,
        ),
        **{
            f"histogram_{quantity}": Figure(
                partial(_draw_histogram, results, quantity),
                f"{told} of all ions in all frames, by kind of site.",
                ["histogram", "sites"],
                names,
            )
            for quantity, told in TOLD.items()
        },
        **{
            f"map_{which}": Figure(
                partial(_draw_map, results, which),
                f"Directions of {told.format(pole=pole)}; density over that of random directions.",
                ["maps"],
                names,
            )
            for which, told in MAPS.items()
        },
    }
    if fits:
        caption = "Echo rate 1 / tau and hop rate against temperature; lines: Arrhenius fits and their intervals."
        made["arrhenius"] = Figure(partial(_draw_arrhenius, results, fits, settings), caption, ["decays", "hop_rates"])
    return made


def _draw_curve(axes: Axes, curve: Curve, colour: str, label: str) -> None:
    lag, shown = curve.time[1:] / NANOSECOND, curve.mean[1:]
    axes.plot(lag, shown, color=colour, lw=1.2, label=label)
    axes.fill_between(lag, shown - curve.error[1:], shown + curve.error[1:], color=colour, alpha=0.2, lw=0)
    if curve.decay is not None and curve.decay.time is not None:
        axes.plot(lag, curve.decay(curve.time[1:]), color="black", lw=0.8, ls="--", zorder=3)


def _lags(axes: Axes, label: str = "Lag / ns") -> None:
    axes.set_xscale("log")
    axes.set_xlabel(label)
    axes.axhline(0, color=GREY, lw=0.5)


def _draw_correlation(results: Mapping[str, Trajectory], names: list[str]) -> Canvas:
    canvas, axes = panels([r"$\nu_Q$ in a powder", "$C_Q$"], 2, 2.6, sharey=True)
    for axis, curve in zip(axes, (POWDER, COUPLING), strict=True):
        for name, colour in colours(names).items():
            temperature = results[name].temperature
            label = name if temperature is None else f"{name}, {temperature:g} K"
            _draw_curve(axis, results[name].echo.curves[curve], colour, label)
        _lags(axis)
    axes[0].set_ylabel("$C(t) / C(0)$")
    axes[0].set_ylim(top=1.05)
    axes[0].legend(loc="best")
    return canvas


def _draw_by_ion(results: Mapping[str, Trajectory], names: list[str]) -> Canvas:
    canvas, axes = panels(names, 2, 2.5, sharey=True)
    for axis, name in zip(axes, names, strict=True):
        echo, kinds = results[name].echo, results[name].kinds
        lag = echo.main.time[1:] / NANOSECOND
        palette = colours(list(kinds)) if kinds else {}
        drawn = set()
        for ion, curve in enumerate(echo.by_ion.T[:IONS]):
            kind = None if echo.start is None else kinds[echo.start[ion]]
            label = kind if kind not in drawn else None
            drawn.add(kind)
            axis.plot(lag, curve[1:], color=palette.get(str(kind), GREY), lw=0.4, alpha=0.5, label=label)
        for label, style in (("all", "-"), ("ions that hop", "--")):
            curve = echo.curves.get(COUPLING if label == "all" else f"{COUPLING}, {label}")
            if curve is not None:
                axis.plot(lag, curve.mean[1:], color="black", lw=1.6, ls=style, label=f"mean, {label}")
        _lags(axis)
        axis.set_ylim(-0.6, 1.2)
        axis.legend(loc="lower left", ncols=2)
        if axis.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axis.set_ylabel("$C_Q$ correlation")
    return canvas


def _draw_echoes(results: Mapping[str, Trajectory], names: list[str]) -> Canvas:
    canvas, axes = panels(names, 2, 2.5, sharey=True)
    for axis, name in zip(axes, names, strict=True):
        echo = results[name].echo
        times = sorted({t_p for _, t_p in echo.echoes})
        tones = shades(list(range(len(times))))
        for index, t_p in enumerate(times):
            for kind, style in (("sin-sin", "-"), ("cos-cos", ":")):
                curve = echo.echoes[kind, t_p]
                label = f"$t_p$ = {t_p * 1e6:g} µs" if kind == "sin-sin" else None
                axis.plot(
                    curve.time[1:] / NANOSECOND, curve.mean[1:], color=tones[index], lw=1.1, ls=style, label=label
                )
        axis.plot(
            echo.main.time[1:] / NANOSECOND, echo.main.mean[1:], color="black", lw=0.9, ls="--", label="$t_p$ → 0"
        )
        _lags(axis, "Mixing time $t_m$ / ns")
        axis.legend(loc="best")
        if axis.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axis.set_ylabel("$F(t_p, t_m) / F(t_p, 0)$")
    return canvas


def _draw_preparation(results: Mapping[str, Trajectory], names: list[str]) -> Canvas:
    canvas, axes = panels(["Time", "Residual"], 2, 2.4)
    for name, colour in colours(names).items():
        echo = results[name].echo
        for axis, quantity, scale in ((axes[0], "time", NANOSECOND), (axes[1], "residual", 1.0)):
            known = [
                (t_p * 1e6, getattr(curve.decay, quantity))
                for (kind, t_p), curve in echo.echoes.items()
                if kind == "sin-sin" and curve.decay is not None and curve.decay.time is not None
            ]
            x = [t_p for t_p, _ in known]
            y, error = ([getattr(each, part) / scale for _, each in known] for part in ("value", "error"))
            axis.errorbar(x, y, error, fmt="o", ms=3.5, capsize=2, lw=1.0, color=colour, label=name)
            limit = None if echo.main.decay is None else getattr(echo.main.decay, quantity)
            if limit is not None:
                axis.axhline(limit.value / scale, color=colour, lw=0.9, ls="--")
            axis.set_xlabel("$t_p$ / µs")
    axes[0].set_yscale("log")
    axes[0].set_ylabel(r"$\tau$ / ns")
    axes[1].set_ylabel("$b^2$")
    axes[1].set_ylim(bottom=0, auto=True)
    axes[1].legend(loc="best")
    return canvas


def _draw_histogram(results: Mapping[str, Trajectory], quantity: str, names: list[str]) -> Canvas:
    canvas, axes = panels(names, 2, 2.2)
    for axis, name in zip(axes, names, strict=True):
        tensors = results[name].tensors
        edges, parts = tensors.edges[quantity], tensors.parts[quantity]
        palette = {ALL: "black"} | colours([kind for kind in parts if kind != ALL])
        for kind, part in parts.items():
            axis.stairs(part.density * part.share, edges, color=palette[kind], lw=1.0, label=f"{kind}, {part.mean:.3g}")
        axis.set_xlabel(LABELS[quantity])
        axis.set_xlim(edges[0], edges[-1])
        axis.set_ylim(bottom=0, auto=True)
        axis.legend(loc="best", title="mean")
        if axis.get_subplotspec().is_first_col():  # type: ignore[union-attr]
            axis.set_ylabel("Density")
    return canvas


def _draw_map(results: Mapping[str, Trajectory], which: str, names: list[str]) -> Canvas:
    canvas, axes = panels(names, 2, 2.5)
    for axis, name in zip(axes, names, strict=True):
        tensors = results[name].tensors
        values: NDArray[np.float64] = getattr(tensors, which)
        theta, phi = np.degrees(tensors.theta), np.degrees(tensors.phi)
        top = max(float(np.quantile(values, MAP_TOP)), 1.5)
        mesh = axis.pcolormesh(phi, theta, values, cmap=SEQUENTIAL, vmin=0, vmax=top)
        axis.set_xlabel(r"$\phi$ / °")
        axis.set_ylabel(r"$\theta$ / °")
        axis.invert_yaxis()
        canvas.colorbar(mesh, ax=axis, label="Density / random", aspect=25)
    return canvas


def _draw_arrhenius(
    results: Mapping[str, Trajectory], fits: Mapping[str, Arrhenius], settings: SpinEchoOptions, _: list[str]
) -> Canvas:
    canvas = Canvas(figsize=(SINGLE, 2.7))
    axis = canvas.subplots()
    labels = {"echo": r"1 / $\tau$ of $\nu_Q$", "hops": "hop rate"}
    for (name, fit), colour, marker in zip(fits.items(), PALETTE, "os", strict=False):
        axis.errorbar(
            1e3 / fit.temperatures,
            fit.values,
            fit.relative_errors * fit.values,
            fmt=marker,
            ms=4,
            capsize=2,
            color=colour,
            label=labels[name],
        )
        far = fit.temperatures.min() if settings.extrapolate is None else settings.extrapolate
        temperature = np.linspace(min(far, fit.temperatures.min()), fit.temperatures.max(), 60)
        axis.plot(1e3 / temperature, fit(temperature), color=colour, lw=1.0, ls="--")
        low, high = np.array([fit.interval_at(float(each)) for each in temperature]).T
        axis.fill_between(1e3 / temperature, low, high, color=colour, alpha=0.15, lw=0)
    axis.set_yscale("log")
    axis.set_xlabel("1000 K / $T$")
    axis.set_ylabel("Rate / s$^{-1}$")
    axis.legend(loc="best")
    return canvas
