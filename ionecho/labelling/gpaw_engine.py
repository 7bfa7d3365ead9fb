"""GPAW in plane waves: energies, forces, stress, moments, hyperfine couplings, field gradients and densities."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import gpaw
import numpy as np
from ase.data import chemical_symbols
from gpaw.old.calculator import GPAW
from gpaw.setup import create_setup
from gpaw.xc import XC
from numpy.typing import NDArray
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from ionecho.data.importers.density import rounded
from ionecho.data.schema import voigt_to_tensor
from ionecho.errors import InputError
from ionecho.geometry.bader import valence_bader
from ionecho.labelling.engine import EngineError, Labels, refuse_other_than_elements
from ionecho.labelling.paw import contact_and_dipolar, electric_field_gradients, hyperfine_tensors, refuse_unfit
from ionecho.labelling.paw_datasets import RECIPES, datasets_of, described, use
from ionecho.labelling.paw_density import core_electrons, valence_densities
from ionecho.labelling.queue import key_of_row
from ionecho.nmr.isotopes import isotope

HYPERFINE = ("hyperfine_contact", "hyperfine_dipolar")
DENSITIES = ("charge_density", "spin_density")
BADER = ("bader_charge", "bader_moment")
ABLE = ("energy", "forces", "stress", "magnetic_moment", *HYPERFINE, "efg", *BADER, *DENSITIES)
OPEN_SHELLS = {chemical_symbols[z] for z in (*range(21, 30), *range(39, 48), *range(57, 80), *range(89, 104))}  # d, f
MIXER = ("kind", "beta", "history", "weight")
MIXERS = {"sum": gpaw.MixerSum, "difference": gpaw.MixerDif, "separate": gpaw.Mixer}


class GPAWEngine:
    """Labels by GPAW (Mortensen et al., J. Chem. Phys. 2024, 160, 092503), plane waves and PAW, one core, from scratch.

    Parameters
    ----------
    labels
        Labels to compute, of those in `ABLE`.
    functional
        Exchange-correlation functional.
    cutoff
        Plane-wave cut-off, eV.
    kpoints
        `{size: [n1, n2, n3], gamma: bool}`, a Monkhorst-Pack mesh, shifted to hold Gamma or not; or `{density, gamma}`,
        the smallest mesh with so many points per Å⁻¹ of each reciprocal vector (2π included), for cells of all sizes.
    hubbard
        Element -> U - J in eV on its d shell (Dudarev).
    paw
        Element -> name of a PAW dataset other than the default, or of a recipe in `paw_datasets`.
    moments
        Element -> starting moment, Bohr magnetons. Empty: no spin polarisation, which for elements with open d or f
        shells has to be said; null: not said.
    fix_moment
        `true`: keep the total moment at the sum of the starting moments, which is right only where these are the ions'
        own. Element -> what each of its atoms adds to the total moment that is kept, to which the starting moments are
        scaled: for a composition that says how many ions are oxidised.
    smearing
        Width of the Fermi-Dirac occupations, eV.
    bands
        Number of bands, or how many of the occupied ones (`108%`); null: GPAW's own choice.
    isotopes
        Element -> isotope whose hyperfine couplings the labels are.
    core_polarisation
        Whether contact couplings hold what the spin does to the frozen core and to the partial waves, or the valence
        alone.
    convergence
        `{energy, density, eigenstates}` in GPAW's units; a run that does not reach them is a failure.
    mixer
        `{kind: sum | difference | separate, beta, history, weight}`; null: GPAW's own choice.
    iterations
        Most self-consistency steps.
    density_grid
        `{spacing, radius, keepbits}`: largest distance in Å of the points of the density grids along a lattice vector;
        the radius about the nuclei in Å within which the valence density is replaced by a smooth one; the bits of the
        mantissa that are kept, the rest is zero so that the grids compress well.
    log
        Folder for GPAW's text output, a file for each configuration, which a failure names; null: none.
    """

    def __init__(
        self,
        labels: Sequence[str],
        functional: str,
        cutoff: PositiveFloat,
        kpoints: Mapping[str, Any],
        hubbard: Mapping[str, float],
        paw: Mapping[str, str],
        moments: Mapping[str, float] | None,
        fix_moment: bool | Mapping[str, float],
        smearing: NonNegativeFloat,
        bands: int | str | None,
        isotopes: Mapping[str, str],
        core_polarisation: bool,
        convergence: Mapping[str, float],
        mixer: Mapping[str, Any] | None,
        iterations: PositiveInt,
        density_grid: Mapping[str, Any],
        log: str | None = None,
    ) -> None:
        if unable := set(labels) - set(ABLE):
            raise InputError(f"engine.labels: GPAW gives {', '.join(ABLE)}, not {', '.join(sorted(unable))}")
        polarised = {"magnetic_moment", "spin_density", *HYPERFINE, *BADER} & set(labels)
        if polarised and not moments:
            raise InputError(f"engine.labels: {', '.join(sorted(polarised))} need starting moments; set engine.moments")
        mesh = {name: value for name, value in kpoints.items() if value is not None}
        if len({"size", "density"} & set(mesh)) != 1:
            raise InputError(f"engine.kpoints: expected either size or density, found {mesh}; set the other to null")
        if "size" in mesh and (len(mesh["size"]) != 3 or min(mesh["size"]) < 1):
            raise InputError(f"engine.kpoints.size: expected three numbers of one or more, found {mesh['size']}")
        if mixer is not None and (set(mixer) != set(MIXER) or mixer["kind"] not in MIXERS):
            known = f"{', '.join(MIXER)}, the kind one of {', '.join(MIXERS)}"
            raise InputError(f"engine.mixer: expected {known}; found {dict(mixer)}")
        refuse_other_than_elements(hubbard=hubbard, paw=paw, moments=moments, isotopes=isotopes, fix_moment=fix_moment)
        self.labels, self.core_polarisation = tuple(labels), core_polarisation
        self.settings: dict[str, Any] = {
            "functional": functional,
            "cutoff_eV": cutoff,
            "kpoints": mesh,
            "hubbard_U_minus_J_eV": dict(hubbard),
            "paw": dict(paw),
            "starting_moments": dict(moments or {}),
            "fixed_moment": dict(fix_moment) if isinstance(fix_moment, Mapping) else fix_moment,
            "fermi_width_eV": smearing,
            "bands": bands,
            "convergence": dict(convergence),
        }
        self.polarisation_said = moments is not None
        self.mixer, self.iterations = None if mixer is None else dict(mixer), iterations
        self.isotopes, self.density_grid, self.log = dict(isotopes), dict(density_grid), log

    @property
    def conventions(self) -> dict[str, Any]:
        """Of the labels that have a choice."""
        found: dict[str, Any] = {"energy": "free energy, the one the forces are derivatives of"}
        if set(HYPERFINE) & set(self.labels):
            found["hyperfine_normalisation"] = "<S_z> of the cell, half its total moment"
            held = ", frozen core and partial waves polarised" if self.core_polarisation else ""
            found["hyperfine_contact"] = f"valence{held}"
            found["hyperfine_dipolar"] = "whole spin density, with compensation charges"
            found["isotopes"] = self.isotopes
        if {*BADER, *DENSITIES} & set(self.labels):
            spacing, radius = self.density_grid["spacing"], self.density_grid["radius"]
            found["charge_density"] = f"valence electrons, smooth within {radius} Å of the nuclei, of the same charge"
            found["grid"] = f"points up to {spacing} Å apart along the lattice vectors"
            found["grid_mantissa_bits"] = self.density_grid["keepbits"]
        if set(BADER) & set(self.labels):
            found["bader"] = "weight method on the stored valence density, interpolated, with Gaussians for the cores"
        return found

    def level_of_theory(self) -> dict[str, Any]:
        """Engine, version and settings.

        Hashes of PAW datasets, and the mixer, which decides how soon a label is found, are in the provenance.
        """
        return {"engine": f"GPAW {gpaw.__version__}, plane waves", **self.settings}

    def check(self, symbols: set[str]) -> dict[str, str]:
        """Refuse what the elements forbid, and settings that GPAW does not take; checksums of the PAW datasets."""
        self._refuse(symbols)
        types, read = self._paw_datasets(symbols), {}
        for symbol in sorted(symbols):
            try:
                setup = create_setup(symbol, self.settings["functional"], type=types.get(symbol, "paw"))
            except Exception as error:
                told = {name: self.settings[name] for name in ("functional", "paw", "hubbard_U_minus_J_eV")}
                raise InputError(f"engine: GPAW does not take {told} for {symbol}: {error}") from error
            if {"efg", *HYPERFINE} & set(self.labels):
                refuse_unfit(setup)
            read[symbol] = described(setup)["sha256"]
        self._refuse_functional()
        return read

    def _refuse(self, symbols: set[str]) -> None:
        """Elements without an isotope, open shells of which nothing was said."""
        if set(HYPERFINE) & set(self.labels) and (missing := symbols - set(self.isotopes)):
            raise InputError(f"engine.isotopes: no isotope for {', '.join(sorted(missing))}")
        for symbol, name in self.isotopes.items():
            if isotope(name).symbol != symbol:
                raise InputError(f"engine.isotopes: {name} is no isotope of {symbol}")
        if not self.polarisation_said and (open_shells := symbols & OPEN_SHELLS):
            raise InputError(
                f"engine.moments: expected starting moments for {', '.join(sorted(open_shells))}, such as {{Mn: 4}}, "
                "or {} for no spin polarisation; nothing was said"
            )

    def _refuse_functional(self) -> None:
        """Polarised cores and partial waves are solved in local potentials."""
        if "hyperfine_contact" not in self.labels or not self.core_polarisation:
            return
        functional = XC(self.settings["functional"])
        if functional.type not in {"LDA", "GGA"} or functional.orbital_dependent:
            raise InputError(
                f"engine.core_polarisation needs an LDA or a GGA, found {functional.name}; with "
                "engine.core_polarisation=false the contact couplings are those of the valence alone"
            )

    def label(self, atoms: ase.Atoms) -> Labels:
        """Converge the density of one configuration and compute its labels."""
        start = time.process_time()
        self._refuse(set(atoms.symbols))
        atoms = atoms.copy()
        if self.settings["starting_moments"]:
            atoms.set_initial_magnetic_moments(self._starting_moments(atoms))
        log = self._log_of(atoms)
        calculator = self._calculator(atoms, log)
        told = "" if log is None else f"; its output is in {log}"
        try:
            atoms.calc = calculator
            atoms.get_potential_energy()
            values = self._values(atoms, calculator)
        except gpaw.KohnShamConvergenceError as error:
            cure = "try another engine.mixer or more engine.iterations with retry=true"
            raise EngineError(f"GPAW: not converged in {self.iterations} iterations; {cure}{told}") from error
        except Exception as error:
            raise EngineError(f"GPAW: {type(error).__name__}: {error}{told}") from error
        provenance = {
            "seconds": round(time.process_time() - start, 1),
            "iterations": calculator.get_number_of_iterations(),
            "paw": datasets_of(calculator),
        } | ({} if self.mixer is None else {"mixer": self.mixer})
        return Labels(values, provenance=provenance)

    def _starting_moments(self, atoms: ase.Atoms) -> NDArray[np.floating]:
        """Of every atom (N,), scaled to the total moment where the composition decides it."""
        start = np.array([self.settings["starting_moments"].get(symbol, 0.0) for symbol in atoms.symbols])
        kept = self.settings["fixed_moment"]
        if isinstance(kept, bool):
            return start
        if not start.any():
            raise EngineError(f"GPAW: no atom of {atoms.symbols} has a starting moment; see engine.moments")
        return start * (sum(kept.get(symbol, 0.0) for symbol in atoms.symbols) / start.sum())

    def _paw_datasets(self, symbols: set[str]) -> dict[str, str]:
        """GPAW's `setups` of these elements: the dataset's name and U."""
        chosen = {element: name for element, name in self.settings["paw"].items() if element in symbols}
        made_here = [name for name in chosen.values() if name in RECIPES]
        setups = chosen | use(*made_here, functional=self.settings["functional"])
        for element, u in self.settings["hubbard_U_minus_J_eV"].items():
            setups[element] = f"{setups.get(element, '')}:d,{u}"
        return setups

    def _log_of(self, atoms: ase.Atoms) -> Path | None:
        """The file of a configuration in the folder of the logs, named as the queue names it."""
        if self.log is None:
            return None
        folder = Path(self.log).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        key = key_of_row((atoms.numbers, atoms.positions, atoms.cell.array, atoms.pbc))
        return folder / f"{atoms.symbols}-{key}.txt"

    def _calculator(self, atoms: ase.Atoms, log: Path | None) -> GPAW:
        settings, mixer = self.settings, self.mixer
        extra = {} if mixer is None else {"mixer": MIXERS[mixer["kind"]](*(mixer[name] for name in MIXER[1:]))}
        return GPAW(
            mode=gpaw.PW(settings["cutoff_eV"]),
            xc=settings["functional"],
            kpts=settings["kpoints"],
            setups=self._paw_datasets(set(atoms.symbols)),
            spinpol=bool(settings["starting_moments"]),
            occupations=gpaw.FermiDirac(settings["fermi_width_eV"], fixmagmom=bool(settings["fixed_moment"])),
            nbands=settings["bands"],
            convergence=settings["convergence"],
            maxiter=self.iterations,
            symmetry={"point_group": False},
            txt=log,
            **extra,
        )

    def _values(self, atoms: ase.Atoms, calculator: GPAW) -> dict[str, NDArray[np.floating]]:
        asked, found = set(self.labels), {"energy": calculator.results["free_energy"]}
        if "forces" in asked:
            found["forces"] = atoms.get_forces()
        if "stress" in asked:
            found["stress"] = voigt_to_tensor(atoms.get_stress())
        if "magnetic_moment" in asked:
            found["magnetic_moment"] = calculator.get_magnetic_moments()
        if asked & set(HYPERFINE):
            ratios = np.array([isotope(self.isotopes[symbol]).gyromagnetic_ratio for symbol in atoms.symbols])
            tensors = hyperfine_tensors(calculator, ratios, self.core_polarisation)
            found |= zip(HYPERFINE, contact_and_dipolar(tensors), strict=True)
        if "efg" in asked:
            found["efg"] = electric_field_gradients(calculator)
        if asked & {*BADER, *DENSITIES}:
            shape = np.ceil(atoms.cell.lengths() / self.density_grid["spacing"]).astype(int)
            up, down = valence_densities(calculator, tuple(shape), self.density_grid["radius"])
            charge, spin = (rounded(values, self.density_grid["keepbits"]) for values in (up + down, up - down))
            found |= {"charge_density": charge, "spin_density": spin}
        if asked & set(BADER):
            cores = core_electrons(calculator)
            held = valence_bader(charge, atoms.cell.array, atoms.positions, cores, spin)
            found |= {"bader_charge": atoms.numbers - held.electrons, "bader_moment": held.moment}
        return {name: np.asarray(found[name]) for name in self.labels}
