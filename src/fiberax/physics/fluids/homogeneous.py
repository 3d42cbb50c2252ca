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
    """A prescribed homogeneous flow, for one site or for many.

    Args:
        kappa: Velocity gradient κ (dim, dim), κ_ij = ∂U_i/∂x_j, for one site, or (sites, dim, dim) with a flow for each; an
            array or a function of time.

    Conditions follow from the macrostate alone, so the macrostate is the time: dt/dt = 1, and `macro0` is the time at which
    the flow begins, usually 0.0. The response of a site is its stress, which does not act on the flow. Because the flow is
    prescribed, there is no time scale to compare the fiber's with: use `fx.Seamless(separation=inf)`.

    Raises:
        BadInput: A κ of another shape, or one that is not finite.
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
