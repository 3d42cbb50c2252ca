"""A prescribed homogeneous flow: the rheometer U = κ(t) x."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.core.macro import AbstractMacro
from fiberax.numerics import trees


class Homogeneous(AbstractMacro):
    """One site in the flow κ(t) (dim, dim), κ_ij = ∂U_i/∂x_j, whatever its stress; or many, each in its own (sites, dim, dim).

    `kappa`: an array or a function of time.

    Conditions follow from the macrostate alone, so that the time is the macrostate: dt/dt = 1, `macro0` the time at which the
    flow begins, mostly 0.0. The response of the site is the stress. The flow is prescribed: `fx.Seamless(separation=inf)`
    spares the run the comparison of its time scale with the fiber's. Raises `BadInput`.
    """

    kappa: Callable | Float[Array, "*sites dim dim"]

    def __init__(self, kappa: Any):
        shape = (
            jax.eval_shape(kappa, jax.ShapeDtypeStruct((), jnp.result_type(float))).shape
            if callable(kappa)
            else jnp.shape(kappa)
        )
        if len(shape) not in (2, 3) or shape[-1] != shape[-2] or shape[-1] not in (2, 3):
            raise BadInput(
                "Homogeneous: kappa must be (2, 2) or (3, 3), κ_ij = ∂U_i/∂x_j, for many sites with a leading axis; "
                f"its shape is {shape}."
            )
        if not callable(kappa) and not trees.is_tracer(kappa):
            kappa = jnp.asarray(kappa, jnp.result_type(float))
            if not jnp.all(jnp.isfinite(kappa)):
                raise BadInput(f"Homogeneous: kappa has entries that are not finite: {kappa}.")
        self.kappa = kappa

    def conditions(self, macro):
        kappa = self.kappa(macro) if callable(self.kappa) else self.kappa
        kappa = jnp.asarray(kappa, jnp.result_type(float))
        return kappa if kappa.ndim == 3 else kappa[None]

    def rate(self, t, macro, response):
        return jnp.ones_like(macro)

    def example(self):
        return jax.ShapeDtypeStruct((), jnp.result_type(float))
