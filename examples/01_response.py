"""The effective conductivity of a laminate, and its derivative with respect to the macrostate.

Layers of conductivity 1 and 10 + U, of equal thickness, normal to the first axis. Across the
layers the effective conductivity is the harmonic mean, along them the arithmetic one, exactly; so
both the response A(U) (2.3) and its derivative are known.
"""

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)

labels = np.zeros((32, 32), dtype=int)
labels[16:, :] = 1
cell = fx.homogenization.Cell.from_image(labels, {0: 1.0, 1: lambda U: 10.0 + U})

U = jnp.array(0.5)
r = fx.response(cell, U, tangent=True)


def exact(U):
    """Effective tensor of the laminate, (2, 2)."""
    first, second = 1.0, 10.0 + U
    return jnp.diag(jnp.array([2 / (1 / first + 1 / second), (first + second) / 2]))


print("A(U)      =", np.round(r.value, 10).tolist())
print("exact     =", np.round(exact(U), 10).tolist())
print("dA/dU     =", np.round(r.tangent, 10).tolist())
print("exact     =", np.round(jax.jacfwd(exact)(U), 10).tolist())
print("result    =", fx.Result(int(r.result)).name, "after", int(r.steps), "steps")
assert jnp.allclose(r.value, exact(U), rtol=0, atol=1e-8)
assert jnp.allclose(r.tangent, jax.jacfwd(exact)(U), rtol=0, atol=1e-7)

# The same derivative by jax.grad, here of one entry; and a whole curve of responses in one call.
slope = jax.grad(lambda U: fx.response(cell, U).value[0, 0])(U)
assert abs(slope - r.tangent[0, 0]) < 1e-7
curve = fx.responses(cell, jnp.linspace(0.0, 90.0, 10)).value
assert jnp.allclose(
    curve[:, 0, 0], jax.vmap(exact)(jnp.linspace(0.0, 90.0, 10))[:, 0, 0], rtol=1e-8
)
