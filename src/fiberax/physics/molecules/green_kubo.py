"""The viscosity of a liquid at rest from the fluctuations of its stress (Green, Kubo).

With P' the symmetric, traceless part of the stress of a box of volume V,

    G(t) = V/(10 T) ⟨P'(0) : P'(t)⟩        η = ∫₀^∞ G(t) dt

(Evans and Morriss, Statistical Mechanics of Nonequilibrium Liquids, 2nd ed. 2008, chapter 4; the mean over all five independent
entries is that of Daivis and Evans, J. Chem. Phys. 100 (1994) 541). G is the relaxation modulus.

It has more than five public methods: those of a stochastic fiber.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractStochastic
from fiberax.numerics import trees
from fiberax.physics.molecules.box import Box, Molecules


class Watched(NamedTuple):
    """State of `GreenKubo`.

    Args:
        box: That of the box.
        past: P' of the last samples, the newest first (samples, 3, 3).
        dt: Time between two samples.
    """

    box: Molecules
    past: Float[Array, "k 3 3"]
    dt: Float[Array, ""]


class GreenKubo(AbstractStochastic):
    """A box at rest whose response is its relaxation modulus and viscosity: `fx.sample` gives both with standard errors.

    Condition κ, which has to be zero. Response: "time" (samples,), "modulus" G(t), and "viscosity", the integral of G from 0
    to t by the trapezoidal rule, at each of these times. Means of the last two over a run are those of Green and Kubo; the
    viscosity is the value at the end of the window, if G has decayed by then. It is linear in the products of stresses that are
    averaged, so that its standard error is right.

    Args:
        box: A `fx.molecules.Box`.
        window: The longest t, in τ, at least two steps of the box. A simple liquid needs 3 to 5; near its triple point 2 % of
            the viscosity comes after 3.

    Raises:
        BadInput: No box, or a window that is too short.
    """

    box: Box
    samples: int = eqx.field(static=True)

    def __init__(self, box: Box, window: float = 4.0):
        if not isinstance(box, Box):
            raise BadInput(f"GreenKubo: box must be a fx.molecules.Box; it is a {type(box).__name__}.")
        step = float(box.timestep(None))
        if not isinstance(window, int | float) or not 2.0 * step <= window < float("inf"):
            raise BadInput(f"GreenKubo: window={window!r} must be a time of at least two steps of the box, {2.0 * step:.3g}.")
        self.box, self.samples = box, 1 + int(np.ceil(window / step - 1e-9))

    def init(self, condition, key) -> Watched:
        """A box that has lived for one window."""
        begin, run = jax.random.split(key)
        dt = self.box.timestep(condition)
        state = self.box.init(condition, begin)
        none = jnp.zeros((self.samples, 3, 3), state.stress.dtype)
        step = lambda k, state: self.step(state, condition, dt, jax.random.fold_in(run, k))
        return jax.lax.fori_loop(0, self.samples, step, Watched(state, none, dt))

    def timestep(self, condition):
        return self.box.timestep(condition)

    def step(self, state: Watched, condition, dt, key) -> Watched:
        box = self.box.step(state.box, condition, dt, key)
        now = 0.5 * (box.stress + box.stress.T)
        now = now - jnp.trace(now) / 3.0 * jnp.eye(3, dtype=now.dtype)
        return Watched(box, jnp.concatenate([now[None], state.past[:-1]]), jnp.asarray(dt, state.dt.dtype))

    def link(self, state: Watched, condition):
        volume = self.box.particles / self.box.density
        G = volume / (10.0 * self.box.temperature) * jnp.sum(state.past * state.past[0], axis=(1, 2))
        steps = 0.5 * state.dt * (G[1:] + G[:-1])
        eta = jnp.concatenate([jnp.zeros_like(G[:1]), jnp.cumsum(steps)])
        return {"time": state.dt * jnp.arange(self.samples, dtype=G.dtype), "modulus": G, "viscosity": eta}

    def remark(self, conditions):
        if trees.is_tracer(conditions) or not np.any(np.asarray(conditions)):
            return ""
        return "GreenKubo: the velocity gradient is not zero. Fluctuations give the viscosity of a liquid at rest only."

    def relaxation_time(self, condition):
        return self.box.relaxation_time(condition)

    def verdict(self, state: Watched):
        return self.box.verdict(state.box)

    def remedy(self, result):
        return self.box.remedy(result)

    @property
    def workspace(self):
        return self.box.workspace

    @property
    def mixing(self):
        return self.box.mixing
