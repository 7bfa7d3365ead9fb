"""SOAP against dscribe, the laws it obeys, and the closed-form fit of the factored power spectrum."""

from __future__ import annotations

from collections.abc import Sequence

import ase
import numpy as np
import pytest
import torch
from conftest import graph_of, p2_crystal
from dscribe.descriptors import SOAP
from scipy.integrate import quad
from scipy.special import spherical_in
from torch import Tensor

from ionecho.data.loader import Batch
from ionecho.data.store import Dataset
from ionecho.geometry.radial import Gaussians, SmearedOrbitals, cosine_cutoff, gto_integrals
from ionecho.geometry.soap import AtomicDensity, by_degree, power_spectrum, quadratic
from ionecho.models.nn_nmr import NNNMR, ridge_weights
from ionecho.models.species import Statistics

NUMBERS = [8, 11, 12, 25]
CUTOFF, SIGMA = 4.0, 0.5
LOOKUP = torch.full((26,), -1).index_copy(0, torch.tensor(NUMBERS), torch.arange(4))


def density_of(density: AtomicDensity, structures: Sequence[ase.Atoms], cutoff: float) -> Tensor:
    graph = graph_of(structures, cutoff, "centres")
    return density(graph, LOOKUP[graph.numbers])


def smeared(n_max: int, l_max: int) -> AtomicDensity:
    radial = [SmearedOrbitals(CUTOFF, 0.5, SIGMA, n_max, l_max) for _ in NUMBERS]
    return AtomicDensity(radial, [CUTOFF] * 4, l_max).double()


class Unweighted(SmearedOrbitals):
    """Orbitals as dscribe takes them: all neighbours it sees weigh the same."""

    def __init__(self, n_max: int, l_max: int, reach: float) -> None:
        super().__init__(CUTOFF, 0.5, SIGMA, n_max, l_max)
        self.reach = reach
        knots = np.arange(0.0, reach + 0.02, 0.02)
        self.tabulate(knots, gto_integrals(knots, CUTOFF, SIGMA, n_max, l_max))

    def forward(self, r: Tensor) -> Tensor:
        return super().forward(r) * (r < self.reach)


def agrees_with_dscribe(atoms: ase.Atoms, n_max: int, l_max: int) -> None:
    """Compare all blocks of the power spectrum of the Na, species pair by species pair, to 1e-6 of the largest."""
    reach = CUTOFF + SIGMA * np.sqrt(2 * np.log(1e3))  # how far dscribe looks
    atoms.wrap()  # dscribe misses images of atoms outside the cell
    centres = np.flatnonzero(atoms.numbers == 11)
    soap = SOAP(species=NUMBERS, r_cut=CUTOFF, n_max=n_max, l_max=l_max, sigma=SIGMA, periodic=True)
    expected = soap.create(atoms, centers=centres.tolist())

    radial = [Unweighted(n_max, l_max, reach).double() for _ in NUMBERS]
    found = power_spectrum(density_of(AtomicDensity(radial, [reach] * 4, l_max), [atoms], reach))

    channels = 4 * n_max
    row, column = torch.triu_indices(channels, channels)
    full = found.new_zeros(len(centres), l_max + 1, channels, channels)
    full[..., row, column] = found.unflatten(1, (l_max + 1, -1)) / torch.where(row == column, 1, 2).sqrt()
    full[..., column, row] = full[..., row, column]
    for a, first in enumerate(NUMBERS):
        for b, second in enumerate(NUMBERS[a:], start=a):
            block = full[:, :, a * n_max : (a + 1) * n_max, b * n_max : (b + 1) * n_max]
            if a == b:
                block = block[..., *torch.triu_indices(n_max, n_max)]
            place = expected[:, soap.get_location((first, second))]
            np.testing.assert_allclose(block.reshape(len(centres), -1), place, rtol=0, atol=1e-6 * np.abs(place).max())


@pytest.mark.parametrize(("n_max", "l_max"), [(3, 2), (6, 9)])
def test_power_spectrum_is_that_of_dscribe(n_max: int, l_max: int) -> None:
    agrees_with_dscribe(p2_crystal(0), n_max, l_max)


@pytest.mark.parametrize("frame", [0, 600])
def test_power_spectrum_of_real_frames_is_that_of_dscribe(p2_nmmo: Dataset, frame: int) -> None:
    numbers, positions, cell = (p2_nmmo.rows(name, frame, frame + 1) for name in ("numbers", "positions", "cell"))
    agrees_with_dscribe(ase.Atoms(numbers, positions=positions, cell=cell[0], pbc=True), 9, 9)


def test_published_settings_have_the_published_length() -> None:
    density = density_of(smeared(9, 9), [p2_crystal(0)], CUTOFF)
    assert power_spectrum(density).shape == (2, 6660)


@pytest.mark.parametrize(("degree", "r"), [(0, 0.0), (0, 2.3), (2, 1.1), (5, 3.0)])
def test_integrals_in_closed_form_agree_with_quadrature(degree: int, r: float) -> None:
    alpha, eta = np.log(1e3) / 1.0**2 if degree == 0 else -np.log(1e-3), 0.5 / SIGMA**2
    norm = 1 / np.sqrt(quad(lambda x: x ** (2 * degree + 2) * np.exp(-2 * alpha * x**2), 0, np.inf)[0])

    def integrand(x: float) -> float:
        orbital = norm * x**degree * np.exp(-alpha * x**2)
        return 4 * np.pi * orbital * np.exp(-eta * (x**2 + r**2)) * spherical_in(degree, 2 * eta * x * r) * x**2

    found = gto_integrals(np.array([r]), 1.0, SIGMA, 1, degree)[0, degree, 0]
    assert found == pytest.approx(quad(integrand, 0, 6)[0], rel=1e-8)


def test_kernel_is_the_product_over_all_pairs_of_channels() -> None:
    torch.manual_seed(0)
    one, two = torch.randn(2, 1, 5, 3, dtype=torch.float64)
    whole = ((one @ one.mT) * (two @ two.mT)).sum()
    torch.testing.assert_close((quadratic(one) * quadratic(two)).sum(), whole)


def test_spectrum_vanishes_smoothly_when_a_neighbour_leaves() -> None:
    r = torch.linspace(CUTOFF - 0.5, CUTOFF, 3, dtype=torch.float64)
    torch.testing.assert_close(cosine_cutoff(r, CUTOFF, 0.5), torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64))
    for radial in (SmearedOrbitals(CUTOFF, 0.5, SIGMA, 4, 3).double(), Gaussians(CUTOFF, CUTOFF, SIGMA, 4).double()):
        edge = torch.tensor([CUTOFF - 1e-5, CUTOFF + 1.0], dtype=torch.float64, requires_grad=True)
        values = radial(edge)
        (slope,) = torch.autograd.grad(values.sum(), edge)
        assert values.abs().max() < 1e-6
        assert slope.abs().max() < 1e-2


def test_an_element_counts_up_to_its_own_cutoff() -> None:
    radial = [Gaussians(r_cut, r_cut, SIGMA, 3) for r_cut in (3.0, CUTOFF, CUTOFF, CUTOFF)]
    density = AtomicDensity(radial, [3.0, CUTOFF, CUTOFF, CUTOFF], 2).double()
    atoms = ase.Atoms([11, 8, 12], positions=[[0, 0, 0], [3.5, 0, 0], [0, 3.5, 0]])
    alone = density_of(density, [ase.Atoms([11], positions=[[0, 0, 0]])], CUTOFF)
    difference = (density_of(density, [atoms], CUTOFF) - alone).abs().sum(2)[0]
    assert difference[:3].max() == 0
    assert difference[6:9].min() > 0


def test_factors_reproduce_the_regression_on_the_whole_power_spectrum() -> None:
    torch.manual_seed(0)
    model = NNNMR(
        NUMBERS, [11], "factored", [CUTOFF] * 4, CUTOFF, 0.7, [2, 2, 1, 2], 2, [8], "SiLU", 0.0, ridge=1e-8
    ).double()
    structures = [p2_crystal(seed) for seed in range(60)]
    density = density_of(model.density, structures, CUTOFF)
    first, *rest = by_degree(density, 2)
    spectrum = torch.cat([first.squeeze(2), *map(quadratic, rest)], dim=1)
    target = 3.0 + spectrum @ torch.randn(spectrum.shape[1], dtype=torch.float64)
    graph = graph_of(structures, CUTOFF, "centres")
    labels = torch.full((len(graph.numbers),), torch.nan, dtype=torch.float64)
    labels[graph.centres] = target
    labels[graph.centres[:7]] = torch.nan  # missing labels do not count
    statistics = {"hyperfine_contact": {11: Statistics(float(target[7:].mean()), float(target.std()))}}
    model.fit(statistics, [Batch(graph, {"hyperfine_contact": labels})])
    found = model.eval()(graph)["hyperfine_contact"]
    assert (found - target).square().mean() < 1e-6 * target.var()


def test_ridge_regression_in_parts_agrees_with_the_normal_equations() -> None:
    rng = torch.Generator().manual_seed(1)
    features = torch.randn(50, 6, generator=rng, dtype=torch.float64) + 2.0
    target = torch.randn(50, generator=rng, dtype=torch.float64)
    found = ridge_weights(zip(features.split(7), target.split(7), strict=True), 0.1, 2)
    x, y = features - features.mean(0), target - target.mean()
    penalty = torch.cat([0.1 * block.square().sum(1).mean().expand(block.shape[1]) for block in x.split([2, 4], dim=1)])
    torch.testing.assert_close(found, torch.linalg.solve(x.T @ x + penalty.diag(), x.T @ y))
