"""Known answers of powder spectra: intensities, centroids, second moments, sidebands."""

from __future__ import annotations

import numpy as np
import pytest

from ionecho.analysis.lineshape import Spectrometer, powder_spectrum
from ionecho.errors import InputError

pytest.importorskip("mrsimulator")

LITHIUM = Spectrometer("7Li", 155.556e6, 0.0, 120e3, 0.0, 2048, 100.0)
SODIUM = Spectrometer("23Na", 105.8e6, 0.0, 400e3, 1500 * 105.8, 4096, 300.0)


def spinning(spectrometer: Spectrometer, frequency: float) -> Spectrometer:
    return Spectrometer(**{**vars(spectrometer), "rotor_frequency": frequency})


@pytest.mark.parametrize("rotor", [0.0, 10e3])
def test_satellites_have_their_share_and_second_moment(rotor: float):
    """Three of ten each; the second moment is .6 C_Q² (1 + eta²/3) / 20, spinning or not."""
    spectrometer = spinning(LITHIUM, rotor)
    spectrum = powder_spectrum(spectrometer, 1.5, [0.0], quadrupole=([50e3], [0.3]))
    nu, step = spectrometer.frequencies, spectrometer.width / spectrometer.points
    assert spectrum.sum() * step == pytest.approx(1)
    broad = powder_spectrum(spectrometer, 1.5, [0.0], quadrupole=([1.0], [0.0]))
    moment = (nu**2 * (spectrum - broad)).sum() * step
    assert moment == pytest.approx(0.6 * 50e3**2 * (1 + 0.3**2 / 3) / 20, rel=0.02)
    if rotor == 0:
        flat = spectrum[(np.abs(nu) > 1500) & (np.abs(nu) < 3000)].mean()
        centre = np.abs(nu) < 1500
        assert (spectrum[centre] - flat).sum() * step == pytest.approx(0.4, abs=0.03)


def test_centroid_of_a_shift_with_anisotropy_and_its_spinning_sidebands():
    shift, anisotropy = 1500.0, 300.0
    static = powder_spectrum(SODIUM, 1.5, [shift], anisotropy=([anisotropy], [0.2]))
    fast = powder_spectrum(spinning(SODIUM, 60e3), 1.5, [shift], anisotropy=([anisotropy], [0.2]))
    ppm = SODIUM.frequencies / 105.8
    for spectrum in (static, fast):
        assert (ppm * spectrum).sum() / spectrum.sum() == pytest.approx(shift, abs=1.0)
    assert ppm[fast.argmax()] == pytest.approx(shift, abs=1.0)
    # a positive anisotropy of the shift: the foot of the powder pattern lies at high frequency
    assert ppm[static.argmax()] < shift
    slow = powder_spectrum(spinning(SODIUM, 20e3), 1.5, [shift], anisotropy=([anisotropy], [0.2]))
    peaks = ppm[slow > 0.05 * slow.max()]
    distance = np.abs((peaks - shift) * 105.8 / 20e3)
    assert np.abs(distance - distance.round()).max() < 0.06
    assert distance.max() > 0.9


def test_second_order_shifts():
    """23Na with C_Q 2 MHz and eta .3: -9.18 ppm of the central transition, and twice that upwards of the satellites."""
    spectrometer = Spectrometer("23Na", 105.8e6, 1e6, 40e3, 0.0, 4096, 20.0)
    spectrum = powder_spectrum(spectrometer, 1.5, [0.0], quadrupole=([2e6], [0.3]))
    near = np.abs(spectrometer.frequencies) < 10e3
    centroid = (spectrometer.frequencies * spectrum)[near].sum() / spectrum[near].sum() / 105.8
    assert centroid == pytest.approx(0.4 * -9.18 + 0.6 * 2 * 9.18, abs=0.3)


def test_not_both_tensors():
    with pytest.raises(InputError, match="not both"):
        powder_spectrum(LITHIUM, 1.5, [0.0], quadrupole=([1.0], [0.0]), anisotropy=([1.0], [0.0]))
