"""How much a flow of boxes at rest fluctuates in its own discretisation (docs: molecules).

Where the divergence of the stress is minus the adjoint of the velocity gradient, and steps are short, each mode has the
variance T M/(ϱ V R). Two things change it.

Walls. Differences of second order at walls are no adjoints. With the rates A of the modes (times ϱ/η) and the noise B C Bᵀ of
stresses, C_ijkl = 2 (δ_ik δ_jl + δ_il δ_jk − ⅔ δ_ij δ_kl), the covariance X solves A X + X Aᵀ = −B C Bᵀ.

Steps. In a step Δt, in which it lives Δt/M, a box is half elastic: a mode of the rate a swings with ω² = G a/(ϱ M), G the shear
modulus of fast strains. The stress of a step is that of its middle, which raises the variance by 1/(1 − ω² Δt²/4); a viscosity
that is taken implicitly lowers it. Both follow from the linear map of a step, with a stress that relaxes in η/G.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from fiberax.numerics.sdirk import GAMMA

_MOST = 1200  # entries of a velocity; finer grids are left to the law, since walls hardly count in them


class Fluctuations(NamedTuple):
    """Rates of the modes times ϱ/η (modes,), and by how much walls raise the mean of their variances."""

    rates: np.ndarray
    walls: float

    def factor(self, viscosity: float, modulus: float, density: float, clock: float, dt: float, split: float) -> float:
        """The mean variance of the modes over T M/(ϱ V R), NaN where steps are not stable.

        Args:
            viscosity: η of the boxes.
            modulus: G, V⟨σ_xy²⟩/T of the boxes.
            density: ϱ.
            clock: M.
            dt: Step of the flow.
            split: The viscosity that is taken implicitly.
        """
        lived = modulus * dt / (clock * viscosity)
        fades, pull = np.exp(-lived), np.sqrt(viscosity * self.rates * lived / (density * dt))
        # Units in which stress and velocity have the variance 1: s ← fades s + (1 − fades) w u + noise, then u by one step.
        follows = (1.0 - fades) / lived * dt * pull
        implicit = split * self.rates / density
        keeps, takes = (_step(u, s, pull, implicit, dt) for u, s in ((1.0, 0.0), (0.0, 1.0)))
        one, zero = np.ones_like(pull), np.zeros_like(pull)
        a, b, c, d = fades * one, follows, takes * fades, keeps + takes * follows
        noise, turned = 1.0 - fades**2, takes
        # Variances (ss, su, uu) of the map (s, u) ← (a s + b u + n, c s + d u + takes n).
        rows = [[a * a - 1.0, 2.0 * a * b, b * b], [a * c, a * d + b * c - 1.0, b * d], [c * c, 2.0 * c * d, d * d - 1.0]]
        matrix = np.moveaxis(np.array([[x + zero for x in row] for row in rows]), -1, 0)
        right = -noise * np.stack([one, turned, turned**2], axis=-1)
        found = np.linalg.solve(matrix, right[..., None])[:, 2, 0]
        # An exponential correlation has a kink, by which samples of it are noisier than a smooth one of a liquid.
        kink = 0.5 * lived / np.tanh(0.5 * lived)
        stable = np.all(np.abs(np.linalg.eigvals(np.moveaxis(np.array([[a, b], [c, d]]), -1, 0))) < 1.0)
        return self.walls * float(np.mean(found)) / kink if stable else float("nan")


def _step(u, s, pull, implicit, dt):
    """A velocity after one step of `fx.IMEX` under a stress s that is held."""
    shift = 1.0 / (GAMMA * dt)
    explicit = lambda u: implicit * u - pull * s
    first = explicit(u)
    stage = (shift * u + first) / (shift + implicit)
    linear, second, weight = shift * (stage - u) - first, explicit(stage), 1.0 - 0.5 / GAMMA
    right = shift * u + (weight * first + (1.0 - weight) * second + (1.0 - GAMMA) * linear) / GAMMA
    return right / (shift + implicit)


def fluctuations(flow: Any) -> Fluctuations | None:
    """Those of an `fx.fluids.Flow` at rest; None for grids too fine for dense matrices."""
    from scipy.linalg import solve_continuous_lyapunov

    flat, unravel = ravel_pytree(jax.tree.map(jnp.zeros_like, flow.start()))
    if flat.size > _MOST:
        return None
    cells, d, zero = flow.grid.cells, flow.planes, jnp.zeros(())
    matrix = lambda function, x: np.asarray(jax.jit(jax.jacfwd(function))(x))
    inside = matrix(lambda x: ravel_pytree(flow.within(zero, unravel(x)))[0], flat)
    gradient = matrix(lambda x: flow.gradient(unravel(x)).ravel(), flat)
    stresses = jnp.zeros(int(np.prod(cells)) * d * d)
    divergence = matrix(lambda s: ravel_pytree(flow.divergence(s.reshape(*cells, d, d)))[0], stresses)
    values, vectors = np.linalg.eigh(0.5 * (inside + inside.T))
    modes = vectors[:, values > 0.5]
    one = np.eye(d)
    even = np.einsum("ik,jl->ijkl", one, one) + np.einsum("il,jk->ijkl", one, one)
    noise = 2.0 * (even - 2.0 / 3.0 * np.einsum("ij,kl->ijkl", one, one))

    def whole(tensor, x):
        """A tensor (d, d, d, d) of every cell on columns (cells d d, n)."""
        parts = x.reshape(-1, d * d, x.shape[1])
        return np.einsum("ab,sbn->san", tensor.reshape(d * d, d * d), parts).reshape(x.shape)

    pull = modes.T @ divergence
    A = pull @ whole(even, gradient @ modes)
    X = solve_continuous_lyapunov(A, -pull @ whole(noise, pull.T))
    return Fluctuations(-np.linalg.eigvals(A).real, float(np.trace(X)) / modes.shape[1])
