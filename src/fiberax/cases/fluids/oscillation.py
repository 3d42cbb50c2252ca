"""Oscillating shear γ(t) = γ₀ sin ωt: moduli in closed form, by linear response, or measured, with the harmonics of large γ₀.

With J = ∂rate/∂u, B = ∂rate/∂κ, C = ∂τ/∂u, D = ∂τ/∂κ at rest the complex viscosity is η*(ω) = C (iω − J)⁻¹ B + D; a spectrum of
modes has J = −1/λ, B = 1, C = g. Measured moduli are projections over whole periods,

    τ_xy(t) = γ₀ ∑ₙ (G'ₙ sin nωt + G''ₙ cos nωt),   n = 1, 3, 5, ...

(J. M. Dealy, J. Rheol. 28 (1984) 181; K. Hyun et al., Prog. Polym. Sci. 36 (2011) 1697).
"""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractEnsemble, AbstractMonitored
from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractFlow
from fiberax.core.relax import dynamic
from fiberax.core.solvers import Newton
from fiberax.io.results import Quantity
from fiberax.numerics.result import Result, outcome
from fiberax.physics.fluids import RodDensity

ODD = (1, 3, 5, 7, 9)  # harmonics that are kept
SMALL = 0.1  # amplitude of a measurement in the linear range
_STEPS = 256  # of a period, at least: the error of order 2 is then below 1e-4
_FORGOTTEN = 8.0  # relaxation times before a measurement


def step_in_flow(fiber: Any, kappa: Any) -> Any:
    """A time step in which a closure or a density changes little: a tenth of its relaxation time and of 1/|κ|."""
    slowest = 6.0 if isinstance(fiber, RodDensity) else 1.0
    return 0.1 / (slowest / fiber.De + jnp.sqrt(jnp.sum(kappa**2)))


class Spectrum(eqx.Module):
    """Modes of the stress near rest: moduli g, relaxation times λ, and a viscosity that acts at once."""

    strengths: np.ndarray
    times: np.ndarray
    viscous: float = 0.0

    def columns(self, omega: np.ndarray) -> dict[str, np.ndarray]:
        """G' = ∑ g (λω)²/(1 + (λω)²) and G'' = ∑ g λω/(1 + (λω)²) + ω times the viscosity, as exact columns."""
        x = np.outer(omega, self.times)
        storage, loss = (x**2 / (1.0 + x**2)) @ self.strengths, (x / (1.0 + x**2)) @ self.strengths
        return {"exact.storage": storage, "exact.loss": loss + self.viscous * omega}


class Oscillation(AbstractFlow):
    """The linear response of a fluid at rest to small oscillating shear. Condition ω (), response G', G'' and |η*|."""

    rate_of: Float[Array, "n n"]
    forcing: Float[Array, " n"]
    stress: Float[Array, " n"]
    viscous: Float[Array, ""]

    @classmethod
    def of_fluid(cls, fiber: Any, dim: int) -> "Oscillation":
        """That of a flow fiber. Raises `BadInput` where rest is not stable."""
        rest = jnp.zeros((dim, dim))
        state = fiber.init(rest, jax.random.key(0))
        flat, shape = state.ravel(), state.shape
        rate = lambda u, g: fiber.rate(u.reshape(shape), rest.at[0, 1].set(g)).ravel()
        stress = lambda u, g: fiber.link(u.reshape(shape), rest.at[0, 1].set(g))[0, 1]
        slopes = jax.jit(lambda u, g: (*jax.jacfwd(rate, (0, 1))(u, g), *jax.grad(stress, (0, 1))(u, g)))
        found = cls(*slopes(flat, jnp.zeros(())))
        growth = float(np.linalg.eigvals(np.asarray(found.rate_of)).real.max())
        if growth > 0.0:
            raise BadInput(f"--mode oscillation: the isotropic rest is not stable at this --intensity (growth {growth:.3g}).")
        return found

    @classmethod
    def of_spectrum(cls, spectrum: Spectrum) -> "Oscillation":
        """That of modes: their closed form."""
        real = lambda x: jnp.asarray(x, jnp.result_type(float))
        times = real(spectrum.times)
        return cls(jnp.diag(-1.0 / times), jnp.ones_like(times), real(spectrum.strengths), real(spectrum.viscous))

    def init(self, condition, key):
        return jnp.zeros(())

    def rate(self, state, condition):
        return -state

    def link(self, state, condition):
        system = 1j * condition * jnp.eye(self.forcing.size) - self.rate_of
        viscosity = self.stress @ jnp.linalg.solve(system, self.forcing.astype(complex)) + self.viscous
        modulus = 1j * condition * viscosity
        return {"storage": modulus.real, "loss": modulus.imag, "dynamic": jnp.abs(viscosity)}


class _Measured(Newton):
    """The rest state of `Shaken` is what it measures: no iteration."""

    def solve(self, fiber: "Shaken", state, condition, tolerance):
        found, margin = fiber.measured(condition)
        code = jnp.where(margin > 0.0, Result.SUCCESS, Result.OUT_OF_RANGE)
        return found, outcome(jnp.where(jnp.all(jnp.isfinite(found)), code, Result.NONFINITE))


class Shaken(AbstractFlow, AbstractEnsemble):
    """A fluid in oscillating shear, measured over whole periods after those in which it forgets its rest.

    Condition ω (); state (copies, harmonics, 2), G'ₙ and G''ₙ of each independent copy; response G', G'', |η*|, the ratios of
    the third and the fifth harmonic to the first, and all harmonics. The standard error is that over copies; one copy has none.
    A density that is not resolved at some instant is `OUT_OF_RANGE`.
    """

    inner: Any  # members with noise, a closure or a density
    amplitude: float = eqx.field(static=True)
    longest: float = eqx.field(static=True)
    copies: int = eqx.field(static=True)
    periods: int = eqx.field(static=True)
    seed: int = eqx.field(static=True)

    @property
    def solver(self):
        return _Measured()

    def init(self, condition, key):
        return jnp.zeros((self.copies, len(ODD), 2))

    def remedy(self, result):
        return self.inner.remedy(result)

    def rate(self, state, condition):
        return self.measured(condition)[0] - state

    def measured(self, omega: Float[Array, ""]) -> tuple[Float[Array, "copies harmonics 2"], Float[Array, ""]]:
        """The harmonics of each copy, and the least stability margin on the way."""
        period, shear = 2.0 * jnp.pi / omega, lambda rate: jnp.zeros((self.inner.dim,) * 2).at[0, 1].set(rate)
        moving = dynamic(self.inner)
        steps = jnp.maximum(_STEPS, jnp.ceil(period / self._own_step(shear(self.amplitude * omega)))).astype(int)
        dt, lead = period / steps, jnp.ceil(_FORGOTTEN * self.longest / period).astype(int) * steps
        orders = jnp.asarray(ODD, dt.dtype)

        def step(k, carry):
            states, sums, margin = carry
            before, after = (2.0 * jnp.pi * ((k + n) % steps) / steps for n in (0, 1))
            # The mean rate of the step, so that the strain at its end is exact.
            mean = shear(self.amplitude * (jnp.sin(after) - jnp.sin(before)) / dt)
            keys = jax.random.split(self._key(omega, k + 1), self.copies)
            states = jax.vmap(lambda state, key: moving.step(state, mean, dt, key))(states, keys)
            now = shear(self.amplitude * omega * jnp.cos(after))
            stress = jax.vmap(lambda state: self.inner.link(state, now)[0, 1])(states)
            waves = jnp.stack([jnp.sin(orders * after), jnp.cos(orders * after)], axis=1)
            if isinstance(self.inner, AbstractMonitored):
                margins = jax.vmap(lambda state: self.inner.stability_margin(state, now))(states)
                margin = jnp.minimum(margin, jnp.min(margins))
            return states, sums + jnp.where(k < lead, 0.0, stress[:, None, None] * waves), margin

        keys = jax.random.split(self._key(omega, 0), self.copies)
        start = jax.vmap(lambda key: self.inner.init(shear(0.0), key))(keys), self.init(omega, keys[0]), jnp.full((), jnp.inf)
        _, sums, margin = jax.lax.fori_loop(0, lead + self.periods * steps, step, start)
        return 2.0 * sums / (self.amplitude * self.periods * steps), margin

    def link(self, state, condition):
        elastic, viscous = jnp.mean(state, axis=0).T
        sizes = jnp.hypot(elastic, viscous)
        found = {"storage": elastic[0], "loss": viscous[0], "dynamic": sizes[0] / condition}
        return found | {"third": sizes[1] / sizes[0], "fifth": sizes[2] / sizes[0], "elastic": elastic, "viscous": viscous}

    def standard_error(self, state, condition):
        if self.copies == 1:
            return None
        elastic, viscous = (jnp.std(state, axis=0, ddof=1) / self.copies**0.5).T
        mean = jnp.mean(state, axis=0)
        first = jnp.hypot(*mean[0])
        found = {"storage": elastic[0], "loss": viscous[0]}
        found["dynamic"] = jnp.hypot(mean[0, 0] * elastic[0], mean[0, 1] * viscous[0]) / (first * condition)
        spread = jnp.hypot(elastic, viscous) / first
        return found | {"third": spread[1], "fifth": spread[2], "elastic": elastic, "viscous": viscous}

    def _own_step(self, kappa):
        # Closures are exact in the flow, and like densities of order 2 in time.
        return step_in_flow(self.inner, kappa) if isinstance(self.inner, AbstractFlow) else self.inner.timestep(kappa)

    def _key(self, omega, k):
        """Another one for each frequency and step."""
        row = jax.lax.bitcast_convert_type(jnp.asarray(omega, jnp.float32), jnp.uint32)
        return jax.random.fold_in(jax.random.fold_in(jax.random.key(self.seed), row), k)


def quantities() -> dict[str, Quantity]:
    """Names and units of the results of an oscillation."""
    words = {"storage": "storage modulus G'", "loss": "loss modulus G''", "dynamic": "complex viscosity |η*|"}
    words |= {"third": "third harmonic over the first, I₃/I₁", "fifth": "fifth harmonic over the first, I₅/I₁"}
    orders = ", ".join(map(str, ODD))
    words |= {"elastic": f"G'ₙ, n = {orders}", "viscous": f"G''ₙ, n = {orders}"}
    found = {f"response.{k}": Quantity(k, "1", v) for k, v in words.items()}
    found |= {f"exact.{k}": Quantity(f"{k}_exact", "1", f"{words[k]}, exact") for k in ("storage", "loss")}
    return found | {"result": Quantity("result", "1", "result of the solve")}


def cycle(elastic: np.ndarray, viscous: np.ndarray, points: int = 241) -> tuple[np.ndarray, np.ndarray]:
    """Strain over its amplitude and stress over the amplitude of strain, once around, from the harmonics (harmonics,)."""
    phase = np.linspace(0.0, 2.0 * math.pi, points)
    waves = np.outer(phase, ODD)
    return np.sin(phase), np.sin(waves) @ elastic + np.cos(waves) @ viscous
