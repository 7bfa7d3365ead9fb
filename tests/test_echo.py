"""Known answers of spin-alignment echoes: spin dynamics, Markov exchange, decays and their errors, relaxation, axes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import expm
from scipy.spatial.transform import Rotation
from test_nmr import directions, random_gradients, spin_operators

from ionecho.errors import InputError
from ionecho.nmr import exchange
from ionecho.nmr.correlation import correlation, normalised, resampled_means, thinned_lags
from ionecho.nmr.decay import fit_decay
from ionecho.nmr.echo import AMPLITUDE, cos_cos_echo, sin_sin_echo
from ionecho.nmr.isotopes import isotope
from ionecho.nmr.orientation import misalignment, orientation_score, overlap, principal_axes
from ionecho.nmr.quadrupole import (
    GRADIENT,
    field_directions,
    powder_components,
    powder_frequencies,
    quadrupolar_frequency,
    quadrupole_coupling,
)
from ionecho.nmr.relaxation import Decays, quadrupolar_relaxation
from validation.echo_errors import spectral_density

LI7 = isotope("7Li")
MOMENT = LI7.quadrupole_moment


def jumps(rng: np.random.Generator, frames: int, ions: int, sites: int, probability: float) -> np.ndarray:
    """Site (T, K) of ions that jump to one of the other sites with this probability a frame."""
    steps = np.where(rng.random((frames, ions)) < probability, rng.integers(1, sites, (frames, ions)), 0)
    return (rng.integers(0, sites, ions) + np.cumsum(steps, axis=0)) % sites


def visited(rng: np.random.Generator, sites: np.ndarray) -> np.ndarray:
    """Five components (T, K, 5) of random tensors, other ones for each ion and site."""
    tensors = rng.normal(size=(sites.shape[1], sites.max() + 1, 5))
    return tensors[np.arange(sites.shape[1]), sites]


def pulse(generator: np.ndarray, degrees: float) -> np.ndarray:
    return expm(-1j * np.radians(degrees) * generator)


@pytest.mark.parametrize("kind", ["sin", "cos"])
def test_echoes_are_those_of_a_density_matrix(kind: str):
    ix, iy, iz = spin_operators(1.5)
    quadrupole = (iz @ iz - 5 / 4 * np.eye(4)) / 2  # satellites at +-1
    alignment = quadrupole / np.linalg.norm(quadrupole)
    before, after, t_p, t = 2 * np.pi * 11e3, 2 * np.pi * -7.3e3, 31e-6, 24e-6

    def evolved(rho: np.ndarray, unitary: np.ndarray) -> np.ndarray:
        return unitary @ rho @ unitary.conj().T

    rho = evolved(evolved(iz, pulse(ix, 90)), expm(-1j * before * t_p * quadrupole))
    rho = evolved(rho, pulse(iy, 45) if kind == "sin" else pulse(ix, 90))
    kept = np.trace(alignment @ rho) * alignment
    rho = kept if kind == "sin" else np.diag(np.diag(rho)) - kept
    rho = evolved(rho, pulse(iy if kind == "sin" else ix, 45 if kind == "sin" else 90))
    rho = evolved(rho, expm(-1j * after * t * quadrupole))
    signal = np.abs(np.trace((ix + 1j * iy) @ rho)) / np.trace(ix @ ix).real
    series = np.array([[before], [after]]) / (2 * np.pi)
    found = {"sin": sin_sin_echo, "cos": cos_cos_echo}[kind](series, [0, 1], t_p, t)
    if kind == "cos":  # the means over origins of the other terms are known for two frames only at lag 1
        c, d = np.cos(before * t_p), np.cos(after * t)
        found = 1 / 4 + 3 / 20 * (c + d) + 9 / 20 * c * d
        assert found == pytest.approx(signal, abs=1e-12)
    else:
        assert abs(found[1, 0]) == pytest.approx(signal, abs=1e-12)


def test_cos_cos_echo_is_one_without_evolution_and_its_terms_average():
    rng = np.random.default_rng(1)
    frequency = rng.normal(size=(400, 3)) * 1e4
    np.testing.assert_allclose(cos_cos_echo(frequency, [0, 5], 0.0), 1.0)
    c = np.cos(2 * np.pi * frequency * 2e-5)
    expected = 1 / 4 + 3 / 10 * c.mean(0) + 9 / 20 * (c[:-7] * c[7:]).mean(0)
    np.testing.assert_allclose(cos_cos_echo(frequency, [7], 2e-5)[0], expected, atol=1e-12)


def test_short_preparation_gives_the_correlation_of_the_frequency():
    """.6000 for gaussian frequencies of that correlation at t_p sigma = .05, .541 at 1."""
    rng = np.random.default_rng(2)
    first = rng.normal(size=400_000)
    second = 0.6 * first + 0.8 * rng.normal(size=first.size)
    pairs = np.stack([first, second]) / (2 * np.pi)

    def ratio(t_p: float) -> float:
        mixed = sin_sin_echo(pairs, [1], t_p).mean()
        return mixed / (AMPLITUDE * np.square(np.sin(t_p * first)).mean())

    assert ratio(0.05) == pytest.approx(0.6, abs=0.005)
    exact = np.sinh(0.6) / np.sinh(1.0)
    assert ratio(1.0) == pytest.approx(exact, abs=0.005)
    assert exact == pytest.approx(0.541, abs=1e-3)


def test_correlation_is_that_of_all_pairs():
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 100, 19, 2))
    lags = np.array([0, 1, 17, 99])
    direct = [np.einsum("tkc,tkc->k", x[: 100 - m], y[m:]) / (100 - m) for m in lags]
    np.testing.assert_allclose(correlation(x, y, lags), direct, atol=1e-10)
    np.testing.assert_allclose(correlation(x[..., 0], x[..., 0], lags)[2], (x[:83, :, 0] * x[17:, :, 0]).mean(0))


def test_lags_are_thinned_evenly_on_a_logarithmic_scale():
    lags = thinned_lags(10_000, 10)
    assert lags[0] == 0
    assert lags[-1] == 10_000
    assert len(lags) < 45
    assert np.diff(np.log10(lags[20:])).max() < 0.11


def test_two_sites_decay_with_the_sum_of_both_rates():
    rng = np.random.default_rng(4)
    forth, back = 0.02, 0.03
    state = np.empty((20_000, 40), bool)
    state[0] = rng.random(40) < forth / (forth + back)
    for frame, draw in enumerate(rng.random((len(state) - 1, 40)), 1):
        state[frame] = np.where(state[frame - 1], draw >= back, draw < forth)
    series = np.where(state, 2.0, -1.0)
    lags = np.arange(0, 120, 10)
    found = correlation(series, series, lags).mean(axis=1)
    # a discrete chain: (1 - k12 - k21)^m
    exact = 0.2**2 + 2.16 * (1 - forth - back) ** lags
    np.testing.assert_allclose(found, exact, atol=4 * 0.01)
    rates = [[0.0, forth], [back, 0.0]]
    jumping = exchange.correlation([20.0], rates, [0.6, 0.4], [-1.0, 2.0])
    assert jumping == pytest.approx(2.16 * np.exp(-1.0))


@pytest.mark.parametrize(("sites", "published"), [(2, 0.0396), (4, 0.0264), (20, 0.0208)])
def test_rate_and_residual_of_many_sites(sites: int, published: float):
    """Decay rate k N / (N - 1) within 2 %, residual 1 / N."""
    rng = np.random.default_rng(sites)
    hops = jumps(rng, 6000, 240, sites, 0.0196)
    series = visited(rng, hops)
    lags = thinned_lags(1000, 12)
    curves = correlation(series, series, lags)
    resampled = normalised(resampled_means(curves, 200, rng))
    decay = fit_decay(lags, normalised(curves.mean(axis=1)), resampled, 240, 0.95)
    exact = -np.log(1 - 0.0196 * sites / (sites - 1))
    assert exact == pytest.approx(published, rel=0.02)
    assert decay.time is not None
    assert decay.residual is not None
    assert decay.effective_sites is not None
    assert 1 / decay.time.value == pytest.approx(exact, rel=0.02)
    assert decay.residual.value == pytest.approx(1 / sites, abs=3 * decay.residual.error)
    assert decay.residual.error < 0.2 / sites**0.5
    assert decay.stretching.value == pytest.approx(1.0, abs=0.03)
    assert decay.mean_time == pytest.approx(decay.time.value, rel=0.03)


def test_echo_at_finite_preparation_is_the_exact_one_of_markov_jumps():
    rng = np.random.default_rng(8)
    frequency = np.array([-12e3, 3e3, 8e3, 21e3])
    hops = jumps(rng, 8000, 200, 4, 0.02)
    rates, lags = np.full((4, 4), -np.log(1 - 0.02 * 4 / 3) / 4), [0, 30, 80]
    for t_p in (2e-6, 2e-5, 5e-5):
        found = sin_sin_echo(frequency[hops], lags, t_p).mean(axis=1)
        phase = np.sin(2 * np.pi * frequency * t_p)
        exact = 9 / 20 * (phase.mean() ** 2 + exchange.correlation(lags, rates, np.full(4, 0.25), phase))
        np.testing.assert_allclose(found, exact, atol=0.02 * exact[0])


def test_long_preparation_leaves_the_inverse_number_of_sites():
    rng = np.random.default_rng(9)
    hops = jumps(rng, 2000, 300, 5, 0.2)
    frequency = visited(rng, hops)[..., 0] * 1e4
    curve = normalised(sin_sin_echo(frequency, [0, 100, 200, 300], 1e-3).mean(axis=1))
    np.testing.assert_allclose(curve[1:], 1 / 5, atol=0.02)


def test_errors_of_the_decay_cover_as_often_as_they_say():
    """95 % intervals of tau, b² and g over runs of 20 tau and 30 ions; more in validation.echo_errors."""
    runs, covered = 40, np.zeros(3)
    for seed in range(runs):
        rng = np.random.default_rng(100 + seed)
        hops = jumps(rng, 300, 30, 4, 0.05)
        series, lags = visited(rng, hops), thinned_lags(150, 10)
        curves = correlation(series, series, lags)
        resampled = normalised(resampled_means(curves, 150, rng))
        decay = fit_decay(lags, normalised(curves.mean(axis=1)), resampled, 30, 0.95)
        exact = (-1 / np.log(1 - 0.05 * 4 / 3), 0.25, 1.0)
        for index, quantity in enumerate((decay.time, decay.residual, decay.stretching)):
            covered[index] += quantity is not None and quantity.low <= exact[index] <= quantity.high
    assert (covered / runs > 0.95 - 3 * np.sqrt(0.95 * 0.05 / runs)).all()


def test_no_decay_where_sites_do_not_change():
    """Sites that only rattle: the noise is gone at the second frame, and nothing follows."""
    said = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        series = rng.normal(size=(1, 25, 5)) + 0.4 * rng.normal(size=(600, 25, 5))
        lags = thinned_lags(300, 10)[1:]
        curves = correlation(series, series, lags)
        resampled = normalised(resampled_means(curves, 150, rng))
        decay = fit_decay(lags, normalised(curves.mean(axis=1)), resampled, 25, 0.95, free_amplitude=True)
        if decay.none is not None:
            said += 1
            assert "at none of" in decay.none
            assert decay.longer_than > 300
    assert said >= 38


def test_amplitude_is_what_rattling_leaves():
    rng = np.random.default_rng(5)
    series = visited(rng, jumps(rng, 4000, 80, 4, 0.02)) + 0.5 * rng.normal(size=(4000, 80, 5))
    lags = thinned_lags(1000, 12)
    curves = correlation(series, series, lags)
    means, copies = normalised(curves.mean(axis=1)), normalised(resampled_means(curves, 200, rng))
    decay = fit_decay(lags[1:], means[1:], copies[:, 1:], 80, 0.95, free_amplitude=True)
    assert decay.amplitude.value == pytest.approx(0.8, abs=3 * decay.amplitude.error)
    assert decay.amplitude.error < 0.02
    exact = -1 / np.log(1 - 0.02 * 4 / 3)
    assert decay.time.value == pytest.approx(exact, abs=3 * decay.time.error)


def test_normalisation():
    curve = np.array([4.0, 3.0, 2.0])
    np.testing.assert_allclose(normalised(curve), [1, 0.75, 0.5])
    np.testing.assert_allclose(normalised(curve, "min_max"), [1, 0.5, 0])
    with pytest.raises(InputError, match="zero"):
        normalised(np.zeros(3))


def test_powder_averages():
    rng = np.random.default_rng(6)
    first, second = random_gradients(rng, 20), random_gradients(rng, 20)
    n, weights = field_directions(11)
    assert weights.sum() == pytest.approx(1)
    assert len(n) == 25
    nu = [quadrupolar_frequency(each[:, None], n, MOMENT, 1.5) for each in (first, second)]
    np.testing.assert_allclose(nu[0] @ weights, 0.0, atol=1e-6)
    components = [powder_components(each, MOMENT, 1.5) for each in (first, second)]
    np.testing.assert_allclose((nu[0] * nu[1]) @ weights, (components[0] * components[1]).sum(-1), rtol=1e-10)
    np.testing.assert_allclose(powder_frequencies(components[0], n), nu[0], rtol=1e-10)
    coupling = quadrupole_coupling(first, MOMENT)
    values = np.sort(np.abs(np.linalg.eigvalsh(first)), axis=1)
    eta = (values[:, 1] - values[:, 0]) / values[:, 2]
    root = np.abs(coupling) * np.sqrt((1 + eta**2 / 3) / 20)
    np.testing.assert_allclose(np.linalg.norm(components[0], axis=-1), root, rtol=1e-10)


def test_decays_hold_exponentials_and_what_the_mean_of_a_run_takes_from_them():
    """Three time scales less their mean over a run of 4000 frames of 2 s, without noise."""
    frames, lags = 4000, thinned_lags(2000, 12)
    times, weights = np.array([3.0, 40.0, 400.0]), np.array([2.0, 1.0, 0.5])
    shares = times / frames
    own_mean = 2 * shares * (1 - shares * (1 - np.exp(-1 / shares)))
    curve = (np.exp(-lags[:, None] / times) - own_mean) @ weights + 0.7 * (lags == 0)
    found = Decays.fit(lags, np.stack([curve, 2 * curve]), np.ones(len(lags)), frames, 2.0)
    for w in (0.0, 1e-3, 0.01, 0.2):
        exact = (weights * 2 * times / (1 + (2 * w * times) ** 2)).sum() + 0.7 / (1 + w**2)
        np.testing.assert_allclose(found.density(w), [exact, 2 * exact], rtol=1e-2)


def test_spectral_densities_lie_within_their_errors():
    """Coverage over 60 runs of exchange between four sites; two errors of 40 ions are 95 %."""
    inside, ratios = [], []
    for seed in range(60):
        found, error, exact = spectral_density(np.random.default_rng(seed), 1000, 40, 4, 0.05)
        inside.append(abs(found - exact) < 2 * error)
        ratios.append(found / exact)
    assert 0.88 <= np.mean(inside) <= 1
    assert np.mean(ratios) == pytest.approx(1, abs=0.1)


def one_decay(tau: float, tensor: np.ndarray) -> Decays:
    """A tensor of this size whose correlation falls as exp(-t / tau)."""
    return Decays(np.array([tau]), np.array([np.einsum("ij,ij->", tensor, tensor)]))


def test_relaxation_of_one_time_scale():
    """R1 = 1/50 (2 pi C_Q)² (1 + eta²/3) [tau(w0) + 4 tau(2 w0)], 1/10 (...) tau in extreme narrowing."""
    tensor = random_gradients(np.random.default_rng(7), 1)[0]
    coupling = quadrupole_coupling(tensor, MOMENT)
    values = np.sort(np.abs(np.linalg.eigvalsh(tensor)))
    eta = (values[1] - values[0]) / values[2]
    strength = (2 * np.pi * coupling) ** 2 * (1 + eta**2 / 3)
    for tau, larmor in ((1e-12, 1e6), (2e-9, 155e6)):
        rates = quadrupolar_relaxation(one_decay(tau, tensor), MOMENT, 1.5, larmor)
        j1, j2 = (tau / (1 + (n * 2 * np.pi * larmor * tau) ** 2) for n in (1, 2))
        assert rates.longitudinal == pytest.approx(strength / 50 * (j1 + 4 * j2), rel=1e-3)
        parts = 0.2 * rates.longitudinal_parts[0] + 0.8 * rates.longitudinal_parts[1]
        assert parts == pytest.approx(rates.longitudinal)
        assert 0.6 * rates.transverse_parts[0] + 0.4 * rates.transverse_parts[1] == pytest.approx(rates.transverse)
    # any spin, in extreme narrowing: 3/40 (2I + 3) / (I² (2I - 1)) (2 pi C_Q)² (1 + eta²/3) tau
    rates = quadrupolar_relaxation(one_decay(1e-12, tensor), MOMENT, 2.5, 1e6)
    expected = 3 / 40 * 8 / (6.25 * 4) * strength * 1e-12
    assert rates.longitudinal == pytest.approx(expected, rel=1e-3)
    assert rates.transverse == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("spin", [1.0, 1.5, 2.5])
def test_relaxation_is_that_of_double_commutators(spin: float):
    """Redfield: d rho / dt = - sum_m J(m w0) [Q_m^+, [Q_m, rho]], each component of V fluctuating by a fifth."""
    i = spin_operators(spin)
    products = np.einsum("aij,bjk->abik", i, i)
    products = (products + products.swapaxes(0, 1)) / 2
    xx, yy, zz, xy, xz, yz = (products[k] for k in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))
    q = {
        0: np.sqrt(3 / 2) * (zz - (xx + yy + zz) / 3),
        1: xz + 1j * yz,
        -1: xz - 1j * yz,
        2: (xx - yy) / 2 + 1j * xy,
        -2: (xx - yy) / 2 - 1j * xy,
    }
    tau, larmor = 1.5e-9, 90e6
    density = {m: tau / (1 + (m * 2 * np.pi * larmor * tau) ** 2) for m in q}
    strength = (2 * np.pi * GRADIENT * MOMENT / (2 * spin * (2 * spin - 1))) ** 2 / 5

    def rate(operator: np.ndarray) -> float:
        total = 0
        for m, part in q.items():
            inner = part @ operator - operator @ part
            total = total + strength * density[m] * (part.conj().T @ inner - inner @ part.conj().T)
        return float((np.trace(operator.conj().T @ total) / np.trace(operator.conj().T @ operator)).real)

    rates = quadrupolar_relaxation(Decays(np.array([tau]), np.ones(1)), MOMENT, spin, larmor)
    assert rates.longitudinal == pytest.approx(rate(i[2]), rel=1e-3)
    assert rates.transverse == pytest.approx(rate(i[0] + 1j * i[1]), rel=1e-3)
    if spin == 1.5:  # the eigenvectors: half of the central coherence, and those of the satellites
        central = np.zeros((4, 4))
        central[1, 2] = 1
        satellites = np.zeros((4, 4))
        satellites[0, 1] = satellites[2, 3] = 1
        assert rates.transverse_parts[1] == pytest.approx(rate(central), rel=1e-3)
        assert rates.transverse_parts[0] == pytest.approx(rate(satellites), rel=1e-3)
        for part, populations in zip(rates.longitudinal_parts, ([1, -1, 1, -1], [1, 1, -1, -1]), strict=True):
            assert part == pytest.approx(rate(np.diag(np.array(populations, float))), rel=1e-3)
    else:
        assert rates.longitudinal_parts is None


def test_orientation_of_turned_tensors():
    rng = np.random.default_rng(10)
    tensors = random_gradients(rng, 200)
    angle = rng.uniform(0, np.radians(40), 200)
    turn = Rotation.from_rotvec(angle[:, None] * directions(rng, 200))
    turned = turn.as_matrix() @ tensors @ turn.as_matrix().swapaxes(1, 2)
    np.testing.assert_allclose(orientation_score(tensors, turned), np.cos(angle / 2), atol=1e-12)
    np.testing.assert_allclose(misalignment(tensors, turned), np.degrees(angle), atol=1e-5)
    axes = principal_axes(tensors)
    np.testing.assert_allclose(np.linalg.det(axes), 1)
    order = np.abs(np.einsum("nia,nij,nja->na", axes, tensors, axes))
    assert (np.diff(order, axis=1) >= -1e-12).all()
    np.testing.assert_allclose(overlap(tensors, 3 * tensors), 1)


def test_orientation_of_unrelated_tensors():
    """14.95 % score .9 or more; the least score is one half."""
    rng = np.random.default_rng(11)
    score = orientation_score(random_gradients(rng, 40_000), random_gradients(rng, 40_000))
    assert (score >= 0.9).mean() == pytest.approx(0.1495, abs=4 * np.sqrt(0.15 * 0.85 / 40_000))
    assert 0.5 <= score.min() < 0.53
    assert abs(overlap(random_gradients(rng, 40_000), random_gradients(rng, 40_000)).mean()) < 0.01
