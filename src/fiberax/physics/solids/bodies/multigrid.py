"""Conjugate gradients with smoothed aggregation, for large 3D bodies (Vaněk, Mandel and Brezina, Computing 56, 1996)."""

import importlib.util
import warnings

import equinox as eqx
import numpy as np

from fiberax.core.errors import BadInput, MissingExtra
from fiberax.numerics.sparse import AbstractSparseSolver, Direct


class Multigrid(AbstractSparseSolver):
    """Conjugate gradients, preconditioned by smoothed aggregation over rigid-body modes; for symmetric definite matrices.

    Args:
        tolerance: Size of the residual relative to the right-hand side.
        max_steps: Largest number of iterations. Where the tolerance is not reached by then, as for an indefinite matrix, the
            system is solved by `Direct`, with a warning.

    Needs pyamg, the extra `fiberax[sparse]`.
    """

    tolerance: float = eqx.field(static=True, default=1e-10)
    max_steps: int = eqx.field(static=True, default=200)

    def __check_init__(self):
        if not (0.0 < self.tolerance < 1.0 and self.max_steps >= 1):
            raise BadInput(
                f"Multigrid: tolerance = {self.tolerance} must lie in (0, 1), max_steps = {self.max_steps} be positive."
            )
        if importlib.util.find_spec("pyamg") is None:
            raise MissingExtra("Multigrid needs pyamg: install `fiberax[sparse]`.")

    def solve(self, pattern, matrix, rhs, transpose):
        import pyamg
        from scipy.sparse.linalg import cg

        if not np.all(np.isfinite(matrix.data)) or not np.all(np.isfinite(rhs)):
            return np.full_like(rhs, np.nan)
        if np.all(matrix.diagonal() > 0.0):
            modes = None if pattern.near_null is None else pattern.near_null[pattern.order]
            hierarchy = pyamg.smoothed_aggregation_solver(
                matrix,
                B=modes,
                strength=("symmetric", {"theta": 0.0}),
                improve_candidates=None,
                max_coarse=300,
                coarse_solver="splu",  # the default, a pseudo-inverse, costs more than everything else
                keep=False,
            )
            x, info = cg(matrix, rhs, rtol=self.tolerance, maxiter=self.max_steps, M=hierarchy.aspreconditioner())
            if info == 0 and np.linalg.norm(rhs - matrix @ x) <= 10.0 * self.tolerance * np.linalg.norm(rhs):
                return x
            why = f"conjugate gradients did not reach the tolerance {self.tolerance:g} in {self.max_steps} steps"
        else:
            why = "the matrix is not positive definite: its diagonal has entries that are not positive"
        warnings.warn(f"Multigrid: {why}. Direct solves these {len(rhs)} unknowns, in more time and memory.", stacklevel=2)
        return Direct().solve(pattern, matrix, rhs, transpose)
