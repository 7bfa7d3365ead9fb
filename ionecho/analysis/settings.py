"""Settings of the dynamic-shift analysis: every entry explicit, wrong ones refused by name."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Self

from ase.data import chemical_symbols
from pydantic import Field, PositiveInt, field_validator, model_validator

from ionecho.analysis.experiment import SpectrumOptions
from ionecho.analysis.options import Options, TrajectoryOptions
from ionecho.nmr.hyperfine import ContactShift
from ionecho.nmr.isotopes import isotope
from ionecho.nmr.quadrupole import quadrupole_induced_shift


class QuadrupoleSettings(Options):
    """Second-order quadrupole-induced shift of a mean tensor: `coupling` C_Q in MHz and `asymmetry`."""

    coupling: float
    asymmetry: float = Field(ge=0, le=1)


class AdditiveShifts(Options):
    """Terms added to every contact shift, ppm; `quadrupole` None leaves the quadrupole-induced shift out."""

    orbital: float
    pseudocontact: float
    quadrupole: QuadrupoleSettings | None


class SiteSettings(Options):
    """Where the sites are: nodes of `divisions`, or in-plane fractional `positions`; with neither, density maxima."""

    divisions: tuple[PositiveInt, PositiveInt] | None
    positions: Annotated[list[tuple[float, float]], Field(min_length=1)] | None
    elements: list[str] = Field(min_length=1)
    radius: float = Field(gt=0)
    reach: float = Field(gt=0)

    @field_validator("elements")
    @classmethod
    def _are_elements(cls, names: list[str]) -> list[str]:
        if unknown := set(names) - set(chemical_symbols):
            raise ValueError(f"sites.elements: {', '.join(sorted(unknown))} are no elements")
        return names

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if self.divisions is not None and self.positions is not None:
            raise ValueError("give sites.divisions or sites.positions, not both")
        return self


class MapSettings(Options):
    """Grid over one of the `fold` in-plane repeats of the layer; bins with fewer than `n_min` samples are masked."""

    bins: tuple[PositiveInt, PositiveInt]
    fold: tuple[PositiveInt, PositiveInt]
    n_min: int = Field(ge=1)


class ErrorSettings(Options):
    """Errors, None if unknown: `bias` of the model in a mean shift (ppm), of the moment (mu_B), of Theta (K)."""

    bias: float | None
    effective_moment: float | None
    weiss_constant: float | None


class ExperimentSettings(SpectrumOptions):
    """`file` of peaks or of a spectrum (csv), None: no experiment."""

    file: Path | None = None

    @model_validator(mode="before")
    @classmethod
    def _file_alone(cls, values: Any) -> Any:
        return {"file": values} if isinstance(values, str | Path | None) else values


class DynamicShiftSettings(TrajectoryOptions):
    """Everything the analysis depends on besides the series; see conf/analysis/dynamic_shift.yaml for each entry."""

    isotope: str
    larmor_frequency: float = Field(gt=0)
    contact_shift: ContactShift | None
    additive: AdditiveShifts
    time_per_frame: float | None
    stacking_axis: str = Field(pattern="^[abc]$")
    sites: SiteSettings
    map: MapSettings
    histogram_width: float = Field(gt=0)
    windows: list[PositiveInt] = Field(min_length=1)
    systems: dict[str, list[str]] | None
    confidence: float = Field(gt=0, lt=1)
    line_width: float = Field(gt=0)
    static_shifts: dict[str, float] | None
    temperatures: list[float]
    experiment: ExperimentSettings
    errors: ErrorSettings

    @property
    def element(self) -> str:
        """Symbol of the mobile ion."""
        return isotope(self.isotope).symbol

    @property
    def additive_shift(self) -> float:
        """Sum of the terms added to the contact shift, ppm."""
        terms = self.additive.orbital + self.additive.pseudocontact
        if self.additive.quadrupole is None:
            return terms
        tensor = self.additive.quadrupole
        spin = isotope(self.isotope).spin
        return terms + float(quadrupole_induced_shift(tensor.coupling, tensor.asymmetry, self.larmor_frequency, spin))
