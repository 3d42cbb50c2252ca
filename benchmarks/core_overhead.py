"""Overhead of the core: a bundle with a trivial fiber against the same loop written by hand in `lax.scan`.

Run: python benchmarks/core_overhead.py. Prints CPU time per step of both, in turns in one process on one core, and the ratio.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from common import interleave, pin

import fiberax as fx

pin()
jax.config.update("jax_enable_x64", True)


class Mean(fx.AbstractMacro):
    """dU/dt = A − U at every site."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return response - macro


class Trivial(fx.AbstractDynamic):
    """u ← a u + U for a vector u; the response is its mean."""

    factor: jax.Array
    entries: int = eqx.field(static=True)

    def init(self, condition, key):
        return jnp.zeros((self.entries,))

    def step(self, state, condition, dt, key):
        return self.factor * state + condition

    def link(self, state, condition):
        return jnp.mean(state)


def by_hand(macro, entries, factor, dt, steps):
    """The same model as a scientist would write it once."""

    def body(carry, _):
        macro, state = carry
        state = factor * state + macro[:, None]
        return (macro + dt * (jnp.mean(state, axis=1) - macro), state), None

    return jax.lax.scan(body, (macro, jnp.zeros((macro.size, entries))), None, length=steps)[0]


def main():
    """Both loops at a few sizes."""
    dt, factor = 1e-6, 0.9
    for sites, entries, steps in ((1024, 16, 20000), (16384, 16, 2000), (1024, 1, 200000), (100000, 1, 8000)):
        bundle = fx.Bundle(Mean(), Trivial(jnp.asarray(factor), entries))
        macro = jnp.ones(sites)
        hand = jax.jit(by_hand, static_argnums=(1, 2, 3, 4))

        def library(bundle=bundle, macro=macro, steps=steps):
            driver, stepper = fx.Seamless(), fx.ForwardEuler()
            return fx.evolve(bundle, driver, macro, t1=dt * steps, dt=dt, stepper=stepper).macro

        def loop(hand=hand, macro=macro, entries=entries, steps=steps):
            return jax.block_until_ready(hand(macro, entries, factor, dt, steps))[0]

        error = jnp.max(jnp.abs(library()[-1] - loop()))
        times = interleave({"lax.scan by hand": loop, "fiberax": library}, repeats=5)
        ratio = times["fiberax"] / times["lax.scan by hand"]
        print(f"{sites} sites x {entries} entries, {steps} steps: ratio {ratio:.2f}, agreement {error:.1e}")
        for name, seconds in times.items():
            print(f"    {name:18s} {seconds / steps * 1e6:9.2f} us of CPU per step")


if __name__ == "__main__":
    main()
