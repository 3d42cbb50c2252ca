"""What a flow needs from the fibers that it carries (6.1)-(6.4)."""

import equinox as eqx
from jaxtyping import Array, Float

from fiberax.core.fiber import AbstractFiber


class AbstractSuspended(AbstractFiber):
    """A fiber in a fluid: condition κ (dim, dim), κ_ij = ∂U_i/∂x_j, response its stress τ (dim, dim).

    Attributes:
        De: Relaxation time in units of the flow's time; the stress in the momentum equation is ((1 − ν)/De) τ.
    """

    De: eqx.AbstractVar[Float[Array, ""]]
    dim: eqx.AbstractVar[int]
