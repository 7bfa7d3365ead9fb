"""Minimum-energy paths whose barriers are known."""

from __future__ import annotations

import ase
import numpy as np
import pytest
from ase.build import add_adsorbate, fcc100
from ase.calculators.calculator import Calculator, all_changes
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from ionecho.dynamics.neb import minimum_energy_path
from ionecho.errors import InputError


class MuellerBrown(Calculator):
    """Müller and Brown, Theor. Chim. Acta 1979, 53, 75, in x and y of one atom; stiff in z."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms=None, properties=("energy",), system_changes=all_changes):  # type: ignore[no-untyped-def]
        super().calculate(atoms, properties, system_changes)
        x, y, z = self.atoms.positions[0]
        size = np.array([-200.0, -100.0, -170.0, 15.0])
        a, b, c = np.array([-1, -1, -6.5, 0.7]), np.array([0, 0, 11, 0.6]), np.array([-10, -10, -6.5, 0.7])
        dx, dy = x - np.array([1, 0, -0.5, -1]), y - np.array([0, 0.5, 1.5, 1])
        terms = size * np.exp(a * dx**2 + b * dx * dy + c * dy**2)
        gradient = [(terms * (2 * a * dx + b * dy)).sum(), (terms * (b * dx + 2 * c * dy)).sum(), 100 * z]
        self.results = {"energy": terms.sum() + 50 * z**2, "forces": -np.array([gradient])}


def test_mueller_brown_barrier() -> None:
    """Science B15: from the minimum at (-0.5582, 1.4417) over the saddle at (-0.8220, 0.6243), 106.0347 high."""
    ends = (ase.Atoms("H", [(-0.55, 1.44, 0)]), ase.Atoms("H", [(-0.05, 0.467, 0)]))
    path = minimum_energy_path(*ends, MuellerBrown, images=9, force=0.05, steps=2000)
    assert path.images[0].get_potential_energy() == pytest.approx(-146.6995, abs=1e-3)
    assert path.barrier == pytest.approx(106.0347, abs=0.01)
    top = path.images[int(path.energies.argmax())]
    np.testing.assert_allclose(top.positions[0, :2], [-0.8220, 0.6243], atol=2e-3)


def test_a_symmetric_hop_has_its_barrier_in_the_middle_and_equal_ends() -> None:
    """An adatom on a (100) face hops over the bridge site; the two hollows are the same."""
    slab = fcc100("Al", (2, 2, 3), vacuum=6.0)
    slab.set_constraint(FixAtoms(mask=[atom.tag > 1 for atom in slab]))
    ends = [slab.copy(), slab.copy()]
    for end, offset in zip(ends, ((0, 0), (1, 0)), strict=True):
        add_adsorbate(end, "Au", 1.7, "hollow", offset=offset)
    path = minimum_energy_path(*ends, EMT, images=5, force=0.05, steps=200)
    assert path.energies[-1] == pytest.approx(0.0, abs=1e-3)
    assert int(path.energies.argmax()) == 2
    assert path.barrier == pytest.approx(0.35, abs=0.05)  # 0.35 to 0.38 eV: ASE's own tutorial on this hop
    assert np.all(np.diff(path.length) > 0)


def test_ends_that_do_not_match_are_refused() -> None:
    with pytest.raises(InputError, match="same atoms"):
        minimum_energy_path(ase.Atoms("H"), ase.Atoms("He"), EMT, images=5, force=0.05, steps=10)
    with pytest.raises(InputError, match="at least 3"):
        minimum_energy_path(ase.Atoms("H"), ase.Atoms("H"), EMT, images=2, force=0.05, steps=10)
