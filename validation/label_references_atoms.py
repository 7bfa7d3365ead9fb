"""Where the contact coupling of a free atom comes from: python -m validation.label_references_atoms [symbols].

All electrons by GPAW's radial solver, spin-polarised, scalar-relativistic, PBE, shell by shell. `shared` is what core
and valence s states exchange as the spin polarises both: part of the valence, and with the other sign of the core. A
PAW valence, orthogonal to a frozen core, should have the valence without it. In MHz.
"""

from __future__ import annotations

import argparse
import io

import numpy as np
import scipy.constants as si
from gpaw.atom.aeatom import AllElectronAtom, Channel
from numpy.typing import NDArray

from ionecho.labelling.paw import hyperfine_tensors
from ionecho.labelling.paw_contact import at_nucleus
from ionecho.nmr.isotopes import isotope
from validation.label_references import MOMENT, Molecule, projector_augmented

UNPAIRED = {"N": 3, "Mn": 5}
ISOTOPES = {"N": "14N", "Mn": "55Mn"}
CORE = {"N": 1, "Mn": 2}  # s states that GPAW's PAW dataset freezes
POINTS = 4000
BOX = 9.0  # Å


def all_electron(symbol: str) -> tuple[list[float], float]:
    """Contact couplings of the s shells, from 1s on, and what core and valence share."""
    atom = AllElectronAtom(symbol, "PBE", spinpol=True, scalar_relativistic=True, log=io.StringIO())
    atom.initialize(ngpts=POINTS)
    atom.run(maxiter=400)
    atom.refine()
    up, down = (channel for channel in atom.channels if channel.l == 0)
    mean = Channel(l=0, f_n=up.f_n)
    mean.e_n, mean.phi_ng = list(up.e_n), atom.rgd.empty(len(up.f_n))
    mean.solve2(atom.vr_sg.mean(axis=0), rgd=atom.rgd, scalar_relativistic=True, Z=atom.Z)
    waves = mean.phi_ng
    shells = [_contact(symbol, up.phi_ng[n] ** 2 - down.phi_ng[n] ** 2, atom) for n in range(len(waves))]
    shared = 0.0
    for sign, channel in ((1, up), (-1, down)):
        for c in range(CORE[symbol]):
            state = channel.phi_ng[c] * np.sign(atom.rgd.integrate(channel.phi_ng[c] * waves[c]))
            for v in range(CORE[symbol], len(waves)):
                overlap = atom.rgd.integrate((state - waves[c]) * waves[v]) / (4 * np.pi)
                shared -= 2 * sign * overlap * _contact(symbol, waves[c] * waves[v], atom)
    return shells, shared


def _contact(symbol: str, density: NDArray, atom: AllElectronAtom) -> float:
    """Of 4 pi times a spin density on the atom's grid."""
    at_origin = at_nucleus(density / (4 * np.pi), atom) / si.value("Bohr radius") ** 3
    return si.mu_0 * MOMENT * _ratio(symbol) * at_origin / UNPAIRED[symbol]


def _ratio(symbol: str) -> float:
    return float(isotope(ISOTOPES[symbol]).gyromagnetic_ratio)


def projected(symbol: str) -> tuple[float, float]:
    """Contact coupling of a PAW calculation: of the valence as it comes out, and with `paw_contact`."""
    calculator = projector_augmented(Molecule(f"{symbol} 0 0 0", UNPAIRED[symbol]), np.zeros(3), BOX, setups={})
    valence, whole = (
        float(np.trace(hyperfine_tensors(calculator, np.array([_ratio(symbol)]), core_polarisation)[0]) / 3)
        for core_polarisation in (False, True)
    )
    return valence, whole


def main(symbols: list[str]) -> None:
    """Print a line for each atom."""
    for symbol in symbols or UNPAIRED:
        shells, shared = all_electron(symbol)
        core, valence = sum(shells[: CORE[symbol]]), sum(shells[CORE[symbol] :])
        told = ", ".join(f"{n}s {value:.1f}" for n, value in enumerate(shells, start=1))
        print(f"{symbol} ({ISOTOPES[symbol]}), all electrons: {told}; core {core:.1f}, valence {valence:.1f}")
        print(f"  shared {shared:.1f}; valence without it {valence - shared:.1f}; together {core + valence:.1f}")
        alone, whole = projected(symbol)
        print(f"  PAW: valence {alone:.1f}; with what it leaves out {whole:.1f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("symbols", nargs="*", choices=[*UNPAIRED, []], metavar="SYMBOL")
    main(parser.parse_args().symbols)
