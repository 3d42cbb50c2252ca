"""A microstructure of your own: two unlike bonds in a row, and the limit of vanishing friction.

The fiber has two bond lengths p = (p1, p2) and the constraint p1 + p2 = 1 + A, where A is the
macroscopic strain (the chain of two atoms, (4.9), without elimination). Its response is the
force, by the generalised Hellmann-Feynman theorem (4.6). The macroscale is an overdamped bar,
dA/dt = d^2 F/dx^2 on a ring.
"""

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)


class TwoBonds(fx.AbstractEnergy):
    """A stiff Morse bond and a soft one in a row.

    Condition: strain (); state: bond lengths (2,); response: force ().
    """

    stiffness: jax.Array

    def init(self, condition, key):
        return jnp.full(2, 0.5 * (1 + condition))

    def energy(self, state, condition):
        return jnp.sum(self.stiffness * (1 - jnp.exp(0.5 - state)) ** 2)

    def constraint(self, state, condition):
        return jnp.array([jnp.sum(state) - 1 - condition])


class Bar(fx.AbstractMacro):
    """dA/dt = d^2 F/dx^2 on a ring of n points; macro: strain (n,)."""

    spacing: float

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return (jnp.roll(response, 1) - 2 * response + jnp.roll(response, -1)) / self.spacing**2


def strain(driver, fiber, strain0, dt):
    bundle = fx.Bundle(Bar(1 / strain0.size), fiber)
    return fx.evolve(bundle, driver, strain0, t1=0.04, dt=dt).macro[-1]


fiber = TwoBonds(jnp.array([1.0, 3.0]))

# Linear response about the unstretched state: springs in series, with V'' = 2 k for each bond.
slope = fx.response(fiber, jnp.array(0.0), tangent=True).tangent
print(f"dF/dA at A = 0: {slope:.10f}, springs in series give {2 * 1 * 3 / (1 + 3)}")
assert abs(slope - 1.5) < 1e-8

x = (np.arange(16) + 0.5) / 16
strain0 = jnp.asarray(0.1 * np.sin(2 * np.pi * x))
reference = strain(fx.Quasistatic(), fiber, strain0, dt=1e-4)

frictions = np.array([0.004, 0.002, 0.001])
distances = []
for friction in frictions:
    relaxed = fx.relax(fiber, friction=friction)
    # A carried state belongs to the middle of a step, so the step is refined along with the
    # friction.
    seamless = strain(fx.Seamless(), relaxed, strain0, dt=friction / 20)
    distances.append(float(jnp.abs(seamless - reference).max()))
order = np.polyfit(np.log(frictions), np.log(distances), 1)[0]
print("friction   distance to Quasistatic")
for friction, distance in zip(frictions, distances):
    print(f"{friction:8.4f}   {distance:.2e}")
print(f"order in the friction: {order:.3f}")
assert abs(order - 1) < 0.1
