"""UF3, the ultra-fast potential of Xie, Rupp and Hennig, npj Comput. Mater. 2023, 9, 162."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ionecho.data.loader import Batch
from ionecho.models import least_squares
from ionecho.models.species import Statistics
from ionecho.models.spline_potential import SplinePotential


class UF3(SplinePotential):
    """Energy of one-, two- and three-body terms that are cubic B-splines of the distances, fitted in closed form.

    E = Σ_i e(a_i) + Σ_{i<j} [Z(r_ij) + V_ab(r_ij)] + Σ_i Σ_{j<k} V_abc(r_ij, r_ik, r_jk), eqs. 1 to 6 of the paper,
    where V_abc is a tensor product of splines and a, b, c are elements. The splines reach from the inner radius of a
    pair of elements, 0.9 times the shortest distance of the training part, to the cut-off, in r_jk to twice the
    cut-off. The last three in r_ij and r_ik are dropped, so that energy and forces vanish smoothly.

    What holds the atoms apart where there are no data is part of the model at all distances and is subtracted from
    the labels before the fit: Z is the screened Coulomb repulsion of Ziegler, Biersack and Littmark (1985), times
    half a cosine that ends at the cut-off, plus a `wall` below the shortest distance seen. Between this distance
    and the inner radius the penalty on curvature continues the splines; below it they go on as constants, as their
    first three coefficients are one.

    The paper leaves open what the splines do in the other gaps of the data, such as between two coordination shells
    at 300 K. Penalties alone let atoms fall into them in hotter dynamics. Hence a second fit, with `displaced` copies
    of training configurations whose forces go on harmonically from the first one's (`continuation`), weakly weighted.

    Parameters
    ----------
    numbers, centres
        Atomic numbers the model knows; it predicts for all of them, so both are the same.
    cutoff, three_body_cutoff
        Å, of two-body terms and of the two sides r_ij and r_ik of three-body terms.
    intervals
        Of the two-body splines.
    three_body_intervals
        Of the three-body splines in r_ij and r_ik, and in r_jk.
    ridge, curvature
        Weights of the squared coefficients and of their squared second differences (eq. 9), of two-body and of
        three-body terms.
    energy_error, force_error
        Errors in eV/atom and eV/Å by which residuals are divided before they are squared.
    displaced, displacement, displaced_error
        Number of displaced copies of training configurations, their largest standard deviation of displacement in Å,
        and the error in eV/Å of their harmonic forces.
    """

    needed = ("energy", "forces")

    def fit(self, statistics: Mapping[str, Mapping[int, Statistics]], batches: Iterable[Batch]) -> None:
        """Solve for all coefficients by regularised linear least squares on energies and forces (eqs. 7 to 10)."""
        least_squares.fit(self, batches)
