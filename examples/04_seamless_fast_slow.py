"""A fast and a slow variable, and the clock that slows the fast one down.

dU/dt = -u, eta du/dt = U - u with eta = 1e-6: physically u = U and U = exp(-t), but a million
steps would be needed to follow u. With the clock M the fiber relaxes in the time tau = M eta
instead, and a few hundred steps suffice. The coupled system is linear, so the error is known
exactly: the solution belongs to tau, and tends to exp(-t) at first order in tau.
"""

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)

ETA = 1e-6


class Decay(fx.AbstractMacro):
    """dU/dt = -A at each site; macro: (sites,)."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return -response


fiber = fx.FlowFiber(rate=lambda u, U: U - u, init=lambda U: U, link=lambda u, U: u)
bundle = fx.Bundle(Decay(), fx.relax(fiber, friction=ETA))
macro0 = jnp.array([1.0, 2.0])


def exact(tau, t):
    """U(t) of dU/dt = -u, tau du/dt = U - u with U(0) = u(0) = 1."""
    values, vectors = np.linalg.eig(np.array([[0.0, -1.0], [1 / tau, -1 / tau]]))
    return (vectors @ (np.exp(values * t) * np.linalg.solve(vectors, np.ones(2))))[0].real


print("     clock      tau    U(1)          exact         without lag")
lags = np.array([0.04, 0.02, 0.01])
distances = []
for tau in lags:
    sol = fx.evolve(
        bundle, fx.Seamless(clock=tau / ETA), macro0, t1=1.0, dt=1 / 400, saveat=[0.5, 1.0]
    )
    value = float(sol.macro[-1, 0])
    print(
        f"{tau / ETA:10.0f}   {tau:.4f}    {value:.8f}    "
        f"{exact(tau, 1.0):.8f}    {np.exp(-1.0):.8f}"
    )
    assert abs(value - exact(tau, 1.0)) < 1e-4
    assert abs(float(sol.macro[-1, 1]) - 2 * value) < 1e-12
    distances.append(abs(value - np.exp(-1.0)))

order = np.polyfit(np.log(lags), np.log(distances), 1)[0]
print(f"order of the distance to exp(-1) in tau: {order:.2f}")
assert abs(order - 1) < 0.1
