"""Known answers of the physics in ionecho.nmr: contact shifts, contact couplings, quadrupolar observables."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import constants

from ionecho.errors import InputError
from ionecho.nmr.hyperfine import G_E, MU_B, ContactShift, contact_coupling, contact_shift, per_centre, rescale
from ionecho.nmr.isotopes import ISOTOPES, isotope
from ionecho.nmr.quadrupole import (
    asymmetry,
    principal_components,
    quadrupolar_frequency,
    quadrupole_coupling,
    quadrupole_induced_shift,
)

P2_NMMO = ContactShift(
    gyromagnetic_ratio=100.0, effective_moment=3.87, temperature=320.0, weiss_constant=-14.8, sz_cell=24.0, s_formal=1.5
)
ATOMIC_GRADIENT = constants.value("atomic unit of electric field gradient") * constants.angstrom**2  # V/A^2


def random_gradients(rng: np.random.Generator, n: int) -> np.ndarray:
    tensors = rng.normal(size=(n, 3, 3))
    tensors = tensors + tensors.swapaxes(1, 2)
    return tensors - np.trace(tensors, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3


def directions(rng: np.random.Generator, n: int) -> np.ndarray:
    vectors = rng.normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def spin_operators(spin: float) -> np.ndarray:
    m = np.arange(spin, -spin - 1, -1)
    raising = np.diag(np.sqrt(spin * (spin + 1) - m[1:] * (m[1:] + 1)), 1)
    return np.array([(raising + raising.T) / 2, (raising - raising.T) / 2j, np.diag(m)])


def exact_levels(nu0: float, efg_hz: np.ndarray, field: np.ndarray, spin: float = 1.5) -> np.ndarray:
    """Energies (Hz) of a spin in a field along `field`; `efg_hz` = (e Q / h) V."""
    i = spin_operators(spin)
    zeeman = -nu0 * np.einsum("a,aij->ij", field, i)
    quadrupole = np.einsum("ab,aij,bjk->ik", efg_hz, i, i) / (2 * spin * (2 * spin - 1))
    return np.linalg.eigvalsh(zeeman + quadrupole)


def test_shift_of_the_published_conversion():
    """The published 800.165 ppm/MHz comes from rounded constants: mu_B, k and g_e with four or five digits."""
    assert P2_NMMO.ppm_per_mhz == pytest.approx(800.361, abs=5e-4)
    rounding = (9.274e-24 / MU_B) * (constants.k / 1.381e-23) * (G_E / 2.0023)
    assert P2_NMMO.ppm_per_mhz * rounding == pytest.approx(800.165, abs=5e-4)
    np.testing.assert_allclose(P2_NMMO([[1.0], [-2.0]]), P2_NMMO.ppm_per_mhz * np.array([[1.0], [-2.0]]))
    assert ContactShift(**P2_NMMO.to_dict()) == P2_NMMO


def test_shift_of_one_centre():
    assert contact_shift(1.0, 11.2688, np.sqrt(15), 300.0, 0.0) == pytest.approx(496.160, abs=5e-4)


def test_shift_agrees_with_the_boltzmann_average_over_levels():
    spin, field, temperature, gamma = 1.5, 9.4e-3, 300.0, 11.2688
    m = np.arange(-spin, spin + 1)
    weights = np.exp(-G_E * MU_B * field * m / (constants.k * temperature))
    mean_sz = np.sum(weights * m) / weights.sum()
    # Energy 1 MHz * <S_z> I_z beside -gamma B I_z: the shift is their ratio.
    shift = -mean_sz / (gamma * field) * 1e6
    assert shift == pytest.approx(497.31173, abs=2e-5)
    formula = contact_shift(1.0, gamma, G_E * np.sqrt(spin * (spin + 1)), temperature, 0.0)
    assert formula == pytest.approx(497.31173, abs=2e-5)


def test_shift_is_invariant_to_the_placeholder_gyromagnetic_ratio():
    couplings = np.array([0.3, 2.0, -1.1])
    sodium = ISOTOPES["23Na"].gyromagnetic_ratio
    arguments = (3.87, 320.0, -14.8)
    np.testing.assert_allclose(
        contact_shift(rescale(couplings, 1.0, sodium), sodium, *arguments), contact_shift(couplings, 1.0, *arguments)
    )


def test_shift_times_reduced_temperature_is_constant():
    products = [contact_shift(1.0, 11.27, 3.87, t, -14.8) * (t + 14.8) for t in (280.0, 320.0, 400.0)]
    np.testing.assert_allclose(products, products[0])


def test_normalisations():
    assert per_centre(1.0, sz_cell=24.0, s_formal=1.5) == 16.0
    one = ContactShift(100.0, 3.87, 320.0, -14.8, sz_cell=1.5, s_formal=1.5)
    assert P2_NMMO.ppm_per_mhz / one.ppm_per_mhz == pytest.approx(16.0)


def test_no_curie_weiss_law_below_the_weiss_constant():
    with pytest.raises(InputError, match="Weiss"):
        contact_shift(1.0, 11.27, 3.87, 100.0, 120.0)


def test_hydrogen_contact_coupling():
    bohr = constants.value("Bohr radius") / constants.angstrom
    proton = constants.value("proton gyromag. ratio in MHz/T")
    assert contact_coupling(1 / (np.pi * bohr**3), proton, sz=0.5) == pytest.approx(1422.81, abs=5e-3)


@pytest.mark.parametrize(("name", "frequency"), [("23Na", 105.842), ("7Li", 155.506), ("6Li", 58.883), ("17O", 54.243)])
def test_isotopes_reproduce_larmor_frequencies(name, frequency):
    """Frequency ratios of the IUPAC table at 400.13 MHz for protons (9.4 T); shieldings differ by some 100 ppm."""
    ratio = isotope(name).gyromagnetic_ratio / isotope("1H").gyromagnetic_ratio
    assert abs(ratio) * 400.13 == pytest.approx(frequency, rel=1e-3)


def test_unknown_isotope():
    with pytest.raises(InputError, match="24Na"):
        isotope("24Na")


def test_quadrupole_coupling_of_lithium():
    efg = np.diag([-0.5, -0.5, 1.0])
    q = isotope("7Li").quadrupole_moment
    assert quadrupole_coupling(efg * ATOMIC_GRADIENT, q) / 1e3 == pytest.approx(-9422.088, abs=2e-3)
    assert quadrupole_coupling(efg, q) / 1e3 == pytest.approx(-96.961, abs=1e-3)


def test_principal_components_and_asymmetry():
    rng = np.random.default_rng(0)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rhombic = rotation @ np.diag([1.0, -0.35, -0.65]) @ rotation.T
    np.testing.assert_allclose(principal_components(rhombic), [-0.35, -0.65, 1.0], atol=1e-12)
    eta, defined = asymmetry(np.stack([rhombic, np.diag([1.0, 1.0, -2.0]), np.zeros((3, 3))]), tolerance=1e-9)
    np.testing.assert_allclose(eta, [0.3, 0.0, 0.0], atol=1e-12)
    assert defined.tolist() == [True, True, False]
    eta, _ = asymmetry(random_gradients(rng, 500), tolerance=1e-9)
    assert np.all((eta >= 0) & (eta <= 1))


@pytest.mark.parametrize("spin", [1.0, 1.5, 2.0, 2.5, 3.0, 3.5])
def test_satellites_agree_with_exact_diagonalisation(spin):
    """The satellites next to the central transition, or of integer spin the lines next to where it would be."""
    rng = np.random.default_rng(1)
    efg, field = random_gradients(rng, 20), directions(rng, 20)
    couplings = quadrupole_coupling(efg, isotope("7Li").quadrupole_moment)
    efg *= (20e3 / np.abs(couplings))[:, None, None]  # C_Q = 20 kHz against 1 GHz
    nu_q = quadrupolar_frequency(efg, field, isotope("7Li").quadrupole_moment, spin)
    scale = quadrupole_coupling(np.diag([-0.5, -0.5, 1.0]), isotope("7Li").quadrupole_moment)
    levels = np.array([exact_levels(1e9, scale * v, n, spin) for v, n in zip(efg, field, strict=True)])
    lines = np.diff(levels, axis=1)
    outer, inner = int(spin), int(np.ceil(spin)) - 1
    first, last = (inner, outer) if spin == outer else (outer - 1, outer + 1)
    np.testing.assert_allclose(np.abs(lines[:, first] - lines[:, last]) / 2, np.abs(nu_q), atol=2.0)


def test_nuclei_without_the_effect_are_refused():
    with pytest.raises(InputError, match=r"spin 0\.5 has no quadrupolar frequency"):
        quadrupolar_frequency(np.eye(3), [0, 0, 1], 0.1, 0.5)
    for spin in (0.5, 1.0, 2.0):
        with pytest.raises(InputError, match=f"spin {spin} has no quadrupole-induced shift"):
            quadrupole_induced_shift(1.0, 0.0, 100.0, spin)


@pytest.mark.parametrize("wrong", [{"s_formal": 0.0}, {"gyromagnetic_ratio": 0.0}, {"temperature": float("nan")}])
def test_a_conversion_that_gives_no_number_is_refused(wrong):
    known = ContactShift(11.26952167, 3.87, 320.0, -14.8, 24.0, 1.5).to_dict()
    with pytest.raises(InputError, match=f"contact_shift.{next(iter(wrong))}"):
        ContactShift(**(known | wrong))


def test_quadrupolar_frequency_in_angles_has_a_plus_sign():
    theta, phi, eta = 0.7, 0.4, 0.3
    efg = np.diag([-(1 - eta) / 2, -(1 + eta) / 2, 1.0])
    n = [np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi), np.cos(theta)]
    expected = quadrupole_coupling(efg, 0.104) / 4
    expected *= 3 * np.cos(theta) ** 2 - 1 + eta * np.sin(theta) ** 2 * np.cos(2 * phi)
    assert quadrupolar_frequency(efg, n, 0.104, 1.5) == pytest.approx(expected)


def test_powder_mean_and_rms_of_the_quadrupolar_frequency():
    eta, n = 0.6, 40000
    efg = np.diag([-(1 - eta) / 2, -(1 + eta) / 2, 1.0])
    coupling = quadrupole_coupling(efg, 0.104)
    nu = quadrupolar_frequency(efg, directions(np.random.default_rng(2), n), 0.104, 1.5)
    rms = coupling * np.sqrt((1 + eta**2 / 3) / 20)
    assert abs(nu.mean()) < 4 * rms / np.sqrt(n)
    assert np.sqrt(np.mean(nu**2)) == pytest.approx(rms, rel=4 * np.std(nu**2) / np.mean(nu**2) / 2 / np.sqrt(n))


def test_quadrupole_induced_shift_agrees_with_exact_diagonalisation():
    coupling, eta, nu0 = 3e6, 0.3, 105.8e6
    assert quadrupole_induced_shift(coupling, eta, nu0, 1.5) == pytest.approx(-20.704, abs=1e-3)
    efg_hz = coupling * np.diag([-(1 - eta) / 2, -(1 + eta) / 2, 1.0])
    x, weights = np.polynomial.legendre.leggauss(16)
    phi = 2 * np.pi * (np.arange(16) + 0.5) / 16
    shifts = np.empty((16, 16))
    for i, cosine in enumerate(x):
        sine = np.sqrt(1 - cosine**2)
        for j, angle in enumerate(phi):
            field = np.array([sine * np.cos(angle), sine * np.sin(angle), cosine])
            levels = exact_levels(nu0, efg_hz, field)
            shifts[i, j] = ((levels[2] - levels[1]) - nu0) / nu0 * 1e6
    powder = np.sum(weights[:, None] * shifts) / (2 * 16)
    assert powder == pytest.approx(-20.702, abs=1e-3)


def test_isotopes_of_spin_one_half_have_no_quadrupole_moment():
    assert len(ISOTOPES) >= 119
    for one in ISOTOPES.values():
        assert (2 * one.spin) % 1 == 0
        assert (one.quadrupole_moment == 0) == (one.spin == 0.5)
        assert 0.3 < abs(one.gyromagnetic_ratio) < 46
