"""Another solver without another fiber: rest states of a flow by the dogleg method of optimistix.

A fiber proposes how it is solved, and a driver may be handed another `solver=`. Derivatives do
not depend on it: they come from the implicit function theorem. Needs `fiberax[ode]`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optimistix

import fiberax as fx

jax.config.update("jax_enable_x64", True)


def rate(u, U):
    """Two species that react: u₀ feeds u₁."""
    return jnp.stack([U - u[0] - u[0] ** 2, u[0] ** 2 - 3.0 * u[1]])


fiber = fx.FlowFiber(rate, init=lambda U: jnp.ones(2), link=lambda u, U: u[1])
conditions = np.linspace(0.5, 2.0, 4)
dogleg = fx.interop.optimistix.Solver(optimistix.Dogleg(rtol=1e-10, atol=1e-12))
fibers = fx.Fibers(fiber, fx.Quasistatic(solver=dogleg), conditions)
section, answer = fibers.advance(fibers.begin(conditions), conditions, tangent=True)
answer.raise_if_failed()

first = 0.5 * (np.sqrt(1.0 + 4.0 * conditions) - 1.0)
slope = 2.0 * first / (3.0 * np.sqrt(1.0 + 4.0 * conditions))
print("U       response  dA/dU")
for row in zip(conditions, answer.response, answer.tangent):
    print("{:.2f}    {:.6f}  {:.6f}".format(*map(float, row)))
assert np.allclose(answer.response, first**2 / 3.0, rtol=1e-8)
assert np.allclose(answer.tangent, slope, rtol=1e-7)
