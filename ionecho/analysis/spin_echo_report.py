"""The report of spin-alignment echoes: decays of one trajectory or several, hops beside them, and temperatures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ionecho.analysis.arrhenius import Arrhenius, fit_arrhenius
from ionecho.analysis.gradients import OTHER, read_gradients
from ionecho.analysis.hops import drift
from ionecho.analysis.options import at_temperatures
from ionecho.analysis.spin_echo import Curve, spin_echo
from ionecho.analysis.spin_echo_figures import figures, scene
from ionecho.analysis.spin_echo_settings import SpinEchoOptions as Settings
from ionecho.analysis.spin_echo_tables import NANOSECOND, Trajectory, decay_entry, tables
from ionecho.analysis.tensor_distributions import POLE, distributions
from ionecho.data.trajectory import early_end
from ionecho.report import Number, Report, by_unit, once, rounded
from ionecho.report.content import SHOWN

CONVENTIONS = {
    "nu_Q": "(e Q / 2h) n.V.n for spin 3/2, n the direction of the field: offset of a satellite from the centre",
    "C_Q": "e Q V_zz / h, signed; histograms are of its magnitude",
    "eta": "(V_xx - V_yy) / V_zz, |V_zz| >= |V_yy| >= |V_xx|",
    "correlation": "<x(0) x(t)> over all ions and time origins, each lag over its own pairs; of a powder exactly, as "
    "2/15 (e Q / 2h)² <V(0):V(t)>",
    "from": "only of ions that are at this kind of site at the time origin",
    "error": "standard error over ions drawn with replacement; ions are taken as independent of each other",
    "fit": "C = a [b² + (1 - b²) exp(-(t / tau)^g)] by least squares, a = 1 where lag 0 is fitted; errors of the "
    "parameters hold all correlations between lags; intervals are Student's, that of tau of ln tau",
    "effective_sites": "1 / b²: equally visited sites with unrelated tensors that leave this residual",
    "sin-sin": "9/20 <sin(2 pi nu(0) t_p) sin(2 pi nu(t_m) t_p)>, powder average by Lebedev's rule, over its value at "
    "t_m = 0; frequencies frozen within t_p",
    "cos-cos": "the same with cosines: the part of the echo of longitudinal order that depends on t_m",
    "hop": "the medians over `window` frames before and after differ by more than `distance`; its rate is not 1 / tau: "
    "of N equal sites 1 / tau is N / (N - 1) times as large, and hops between sites of one tensor leave no trace",
    "relaxation": "Redfield limit, of the gradient less each ion's mean over the run, as a sum of exponentials up to "
    "`slowest`; R1 and R2 are initial rates",
    "map": "density over that of random directions; the field lies along the first of `directions`, else along z",
    "arrhenius": "ln k = ln k0 - Ea / (kB T) of 1 / tau and of the hop rate; Student's intervals",
}
UNITS = by_unit(
    {
        "ns": "tau tau_error tau_interval mean_time longer_than run slowest lag time extrapolated_tau "
        "extrapolated_interval",
        "ps": "spacing",
        "µs": "t_p",
        "1/s": "rate rate_error rate_interval upper_limit R1 R1_error R2 R2_error R1_parts R2_parts prefactor "
        "prefactor_interval values",
        "kHz": "rms rigid ion_mean all_mean C_Q C_Q_error nu_Q nu_Q_error coupling",
        "K": "temperature temperatures at",
        "Å": "length",
        "V/Å²": "spread",
        "eV": "activation_energy echo.error echo.interval hops.error hops.interval",
        "°": "theta phi",
        "": "ions frames stretching stretching_error residual residual_error amplitude amplitude_error effective_sites "
        "no_decay hops ions_that_hop ratio ratio_error share eta eta_error scatter relative_errors confidence "
        "covariance gains limits freedoms unresolved frame ion C C_error F density axis field curve kind",
    }
)
SPARSE, SHORT = 20, 20  # frames a tau and taus a run, below which a note says so
DRIFT = 3.0  # errors that the numbers of hops in the halves of a stationary run differ by at most
MISSED = 0.1  # hops of an ion within a window of the medians
REDFIELD = 0.1  # R2 tau above which relaxation theory does not hold


def run(inputs: Sequence[Path], settings: Settings) -> Report:
    """Echoes along one trajectory or several, and what their temperatures say.

    Raises
    ------
    InputError
        If an input cannot be used.
    """
    each = at_temperatures(inputs, settings.temperature)
    results = {name: analyze(path, settings, temperature) for name, path, temperature in each}
    fits = _arrhenius(results, settings)
    return Report(
        analysis="spin_echo",
        title=f"Spin-alignment echo of {settings.nucleus.isotope}",
        headline=_headline(results, fits, settings),
        numbers={
            "trajectories": {name: _numbers(result) for name, result in results.items()},
            "arrhenius": {name: _energy(fit, settings) for name, fit in fits.items()},
        },
        units=UNITS,
        notes=[
            *settings.nucleus.differences,
            *once({name: _notes(result, settings) for name, result in results.items()}),
        ],
        tables=tables(results),
        figures=figures(results, fits, settings),
        scene=next(iter(results.values())).scene,
        settings=settings,
        physics={"nucleus": settings.nucleus, "larmor": {"larmor_MHz": settings.larmor_frequency * 1e-6}},
        conventions=CONVENTIONS,
        source={name: {"file": name, "sha256_of_displacements": result.hash} for name, result in results.items()},
    )


def analyze(path: Path, settings: Settings, temperature: float | None) -> Trajectory:
    """Echoes along one trajectory; `temperature` None takes that stored with it."""
    trajectory = settings.read.open(path)
    gradients = read_gradients(trajectory, settings)
    pole = settings.directions[0] if settings.directions else POLE
    return Trajectory(
        temperature=trajectory.temperature if temperature is None else temperature,
        echo=spin_echo(gradients, settings),
        tensors=distributions(gradients, settings.nucleus, settings.bins, pole),
        kinds=gradients.names,
        spread=gradients.spread,
        stopped=early_end(trajectory.stopped),
        hash=gradients.paths.sha256(),
        scene=scene(trajectory, gradients, settings),
    )


def _arrhenius(results: Mapping[str, Trajectory], settings: Settings) -> dict[str, Arrhenius]:
    """Fits of 1 / tau and of the hop rate, 1/s, where two temperatures or more have them."""
    points: dict[str, list[tuple[float, float, float, float]]] = {"echo": [], "hops": []}
    for result in results.values():
        if result.temperature is None:
            continue
        if (tau := result.tau) is not None:
            points["echo"].append((result.temperature, 1 / tau.value, tau.error / tau.value, result.echo.ions - 1))
        rate = result.echo.rate
        if rate.rate is not None and rate.error is not None:
            points["hops"].append((result.temperature, rate.rate, rate.error / rate.rate, max(result.echo.ions - 1, 1)))
    fits = {}
    for name, each in points.items():
        if len({point[0] for point in each}) > 1:
            temperatures, values, errors, freedoms = np.array(each).T
            fits[name] = fit_arrhenius(temperatures, values, errors, settings.confidence, freedoms)
    return fits


def _energy(fit: Arrhenius, settings: Settings) -> dict[str, Any]:
    entry: dict[str, Any] = dict(vars(fit))
    if settings.extrapolate is not None:
        low, high = fit.interval_at(settings.extrapolate)
        entry |= {
            "at": settings.extrapolate,
            "extrapolated_tau": 1 / float(fit(settings.extrapolate)) / NANOSECOND,
            "extrapolated_interval": [1 / high / NANOSECOND, 1 / low / NANOSECOND],
        }
    return entry


def _numbers(result: Trajectory) -> dict[str, Any]:
    echo, limits, rate = result.echo, result.tensors.limits, result.echo.rate
    return {
        "temperature": result.temperature,
        "ions": echo.ions,
        "frames": echo.frames,
        "spacing": echo.spacing * 1e12,
        "run": echo.run / NANOSECOND,
        "spread": result.spread,
        "correlation_functions": {name: decay_entry(curve) for name, curve in echo.curves.items()},
        "echoes": [
            {"kind": kind, "t_p": t_p * 1e6, **decay_entry(curve)} for (kind, t_p), curve in echo.echoes.items()
        ],
        "hopping": {
            "hops": rate.count,
            "ions_that_hop": rate.ions_that_hop,
            "rate": rate.rate,
            "rate_error": rate.error,
            "rate_interval": rate.interval,
            "upper_limit": rate.upper_limit,
            "ratio": None if result.ratio is None else result.ratio[0],
            "ratio_error": None if result.ratio is None else result.ratio[1],
        },
        "limits": {
            "rigid": limits.rigid,
            "ion_mean": limits.ion,
            "all_mean": limits.all,
            "coupling": limits.coupling,
            "eta": limits.eta,
        },
        "relaxation": {
            "R1": echo.relaxation.longitudinal[0],
            "R1_error": echo.relaxation.longitudinal[1],
            "R1_parts": echo.relaxation.longitudinal_parts,
            "R2": echo.relaxation.transverse[0],
            "R2_error": echo.relaxation.transverse[1],
            "R2_parts": echo.relaxation.transverse_parts,
            "slowest": echo.relaxation.slowest / NANOSECOND,
            "unresolved": echo.relaxation.unresolved,
        },
    }


def _headline(
    results: Mapping[str, Trajectory], fits: Mapping[str, Arrhenius], settings: Settings
) -> list[str | Number]:
    lines: list[str | Number] = []
    for name, result in list(results.items())[:SHOWN]:
        at = " (temperature not known)" if result.temperature is None else f" at {result.temperature:g} K"
        lines.append(f"In {name}{at} {told(result.echo.main)}; {_hopping(result, settings)}.")
    if len(results) > SHOWN:
        lines.append(f"The table has {len(results) - SHOWN} trajectories more.")
    for name, fit in fits.items():
        what = "1 / tau" if name == "echo" else "the hop rate"
        low, high = fit.interval
        text = (
            f"The activation energy of {what} is {rounded(fit.activation_energy, fit.error)} eV, "
            f"{settings.confidence:.0%} interval {low:.3f} to {high:.3f} eV, from {len(fit.values)} trajectories"
        )
        if settings.extrapolate is not None:
            entry = _energy(fit, settings)
            time, (first, last) = entry["extrapolated_tau"], entry["extrapolated_interval"]
            text += f"; at {settings.extrapolate:g} K 1 / rate = {time:.2g} ns ({first:.2g} to {last:.2g})"
        lines.append(f"{text}.")
    return lines


def told(curve: Curve) -> str:
    """The decay of a correlation function in words."""
    decay = curve.decay
    if decay is None:
        return "there are too few ions or lags for a decay"
    if decay.time is None or decay.residual is None or decay.stretching is None:
        assert decay.longer_than is not None
        limit = f"to zero it would take longer than {decay.longer_than / NANOSECOND:.2g} ns"
        return f"there is no decay of nu_Q ({decay.none}); {limit}"
    if decay.known_time is None:
        return "nu_Q is forgotten, in a time that this run does not determine"
    tau = rounded(decay.time.value / NANOSECOND, decay.time.error / NANOSECOND)
    residual = rounded(decay.residual.value, decay.residual.error)
    sites = "" if decay.effective_sites is None else f" (about {decay.effective_sites:.2g} sites)"
    stretching = rounded(decay.stretching.value, decay.stretching.error)
    return f"nu_Q is forgotten with tau = {tau} ns (g = {stretching}, residual {residual}){sites}"


def _hopping(result: Trajectory, settings: Settings) -> str:
    rate = result.echo.rate
    if rate.rate is None:
        return f"no hop, rate < {rate.upper_limit:.2g} 1/s at {settings.confidence:.0%}"
    text = f"{rate.count} hops, {rounded(rate.rate, rate.error)} 1/s an ion"
    return text if result.ratio is None else f"{text}; (1 / tau) / hop rate = {rounded(*result.ratio)}"


def _notes(result: Trajectory, settings: Settings) -> list[str]:
    echo, notes = result.echo, list(result.stopped)
    decay = echo.main.decay
    tau = None if decay is None or decay.time is None else decay.time
    if tau is not None and result.tau is None:
        notes.append(
            "tau is not determined: its error is as large as itself, or not known; the run is too short, the frames "
            "too sparse, or the decay too small."
        )
    if decay is not None and decay.stretching is not None and np.isnan(decay.stretching.error):
        notes.append(f"g stands at {decay.stretching.value:g}, the end of its range, and errors are of the rest alone.")
    if tau is not None and echo.spacing > tau.value / SPARSE:
        notes.append(f"frames are too sparse: {echo.spacing * 1e12:.3g} ps is more than tau / {SPARSE}.")
    if tau is not None and echo.run < SHORT * tau.value:
        notes.append(
            f"the run is short: {echo.run / tau.value:.2g} tau, fewer than {SHORT}; errors are over ions alone."
        )
    if tau is not None and tau.value < max(settings.preparation_times) * 1e-6:
        notes.append(
            "tau is shorter than t_p: frequencies average within t_p, and an experiment sees no echo of them but "
            "narrowed lines; the curves tell what frozen frequencies would give."
        )
    if settings.correlation.start == 0 and result.echo.relaxation.unresolved > 0.1:
        notes.append(
            "the correlation drops between the first two frames: rattling; set correlation.start to leave it out."
        )
    busiest = echo.rate.rate and echo.rate.rate * echo.ions / echo.rate.ions_that_hop * echo.spacing
    if busiest and busiest * settings.hops.window > MISSED:
        notes.append(
            f"ions that hop do so every {1 / busiest:.3g} frames: hops within hops.window of each other are not seen, "
            "and the hop rate is too low; use fewer frames there."
        )
    if abs(change := drift(echo.hops, echo.ions, echo.frames)) > DRIFT:
        notes.append(
            f"ions hop {'more' if change > 0 else 'less'} in the second half of the run, by {abs(change):.2g} errors: "
            "it is not stationary; leave out its beginning by skip, or run longer first."
        )
    if echo.ions < 10:
        notes.append(f"{echo.ions} ions: errors over so few are themselves uncertain.")
    if tau is not None and result.echo.relaxation.transverse[0] * tau.value > REDFIELD:
        notes.append("R2 tau exceeds 0.1: motion is too slow for R1 and R2 of relaxation theory.")
    if result.echo.relaxation.unresolved > 0.5:
        notes.append("R1 and R2 count what is faster than the frames as if it lasted half of their spacing.")
    other = result.tensors.parts["C_Q"].get(OTHER)
    if other is not None and other.share > 0.02:
        notes.append(f"{other.share:.0%} of samples are at none of sites.kinds.")
    return notes
