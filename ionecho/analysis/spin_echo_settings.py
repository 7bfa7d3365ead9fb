"""Settings of spin_echo: the nucleus, the field, and how decays, hops and sites are told."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Self

from pydantic import Field, model_validator

from ionecho.analysis.options import Options, TrajectoryOptions
from ionecho.errors import InputError
from ionecho.nmr.correlation import Scheme
from ionecho.nmr.isotopes import isotope

Direction = tuple[float, float, float]
TOLERANCE = 1e-3  # relative, of constants given for an isotope against the tables


class Nucleus(Options):
    """A nucleus: `gyromagnetic_ratio` gamma/2pi in MHz/T and `quadrupole_moment` in barn, both signed."""

    isotope: str
    spin: float
    gyromagnetic_ratio: float
    quadrupole_moment: float

    @model_validator(mode="after")
    def _spin_three_halves(self) -> Self:
        if self.spin != 1.5:
            raise InputError(f"nucleus.spin: expected 1.5, which the echoes are derived for, found {self.spin:g}")
        if self.quadrupole_moment == 0 or self.gyromagnetic_ratio == 0:
            raise InputError("nucleus: expected a quadrupole moment and a gyromagnetic ratio other than 0")
        return self

    @property
    def element(self) -> str:
        """Symbol."""
        return isotope(self.isotope).symbol

    @property
    def differences(self) -> list[str]:
        """What the constants differ in from the tables of this package (IUPAC 2001; Pyykkö 2008)."""
        table = isotope(self.isotope)
        names = ("gyromagnetic_ratio", "quadrupole_moment")
        return [
            f"{name} of {self.isotope} is {getattr(self, name):g}, in the tables {getattr(table, name):.6g}."
            for name in names
            if abs(getattr(self, name) - getattr(table, name)) > TOLERANCE * abs(getattr(table, name))
        ]


class CorrelationOptions(Options):
    """Lags up to `lag_max` (share of the run), `lags_per_decade`; those below `start` (fs) are rattling, not fitted.

    `normalise`: see `ionecho.nmr.correlation.normalised`. Errors come from `resamples` of the ions with `seed`.
    """

    normalise: Scheme
    lag_max: float = Field(gt=0, le=0.5)
    lags_per_decade: int = Field(ge=4)
    start: float = Field(ge=0)
    resamples: int = Field(ge=50)
    seed: int


class HopOptions(Options):
    """A hop moves the median position over `window` frames, an odd number, by more than `distance` (Å)."""

    window: int = Field(ge=1)
    distance: float = Field(gt=0)

    @model_validator(mode="after")
    def _odd(self) -> Self:
        if self.window % 2 == 0:
            raise InputError(f"hops.window: expected an odd number of frames, found {self.window}")
        return self


class SiteOptions(Options):
    """Kinds of sites by how many atoms of `element` are within `cutoff` (Å): name -> smallest and largest count.

    The count is the median over `window` frames.
    """

    element: str
    cutoff: float = Field(gt=0)
    window: int = Field(ge=1)
    kinds: dict[str, tuple[int, int]] = Field(min_length=1)

    @model_validator(mode="after")
    def _apart(self) -> Self:
        ranges = sorted(self.kinds.values())
        if any(low > high for low, high in ranges) or any(first[1] >= second[0] for first, second in pairwise(ranges)):
            raise InputError(
                f"sites.kinds: expected ranges [smallest, largest] that do not overlap, found {self.kinds}"
            )
        return self


class BinOptions(Options):
    """Bins of the histograms of |C_Q|, eta and |nu_Q|, and of the two angles of the maps."""

    histogram: int = Field(ge=4)
    theta: int = Field(ge=2)
    phi: int = Field(ge=2)
    fold: bool


class SpinEchoOptions(TrajectoryOptions):
    """Everything the analysis depends on besides the trajectories; see conf/analysis/spin_echo.yaml for each entry."""

    nucleus: Nucleus
    magnetic_field: float = Field(gt=0)
    directions: list[Direction]
    powder_degree: int = Field(ge=3)
    preparation_times: list[Annotated[float, Field(gt=0)]] = Field(min_length=1)
    correlation: CorrelationOptions
    confidence: float = Field(gt=0, lt=1)
    remove_drift: bool
    unwrap: bool
    longest_step: float = Field(gt=0, lt=0.5)
    hops: HopOptions
    sites: SiteOptions | None
    bins: BinOptions
    temperature: float | list[float] | None
    extrapolate: float | None = Field(gt=0)

    @model_validator(mode="after")
    def _directions(self) -> Self:
        if not all(any(direction) for direction in self.directions):
            raise InputError(f"directions: expected vectors other than 0, found {self.directions}")
        return self

    @property
    def larmor_frequency(self) -> float:
        """Magnitude, Hz."""
        return abs(self.nucleus.gyromagnetic_ratio) * self.magnetic_field * 1e6
