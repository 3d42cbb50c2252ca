"""Boxes that deform with a flow. Columns of h are the lattice vectors; a particle is at h s, its images at h (s + n).

A reduced basis of the same lattice leaves all positions as they are. No choice of basis makes a thin lattice thick: its widths
are the distances between opposite faces, and neighbour lists need them.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.numerics.small import determinant

_KRAYNIK_REINELT = 0.5 * np.arctan(2.0)
_DEFORMED = (0.1, 0.2)  # of a new box: the time of the flow in τ, and the largest strain
_TIE = 1e-9  # a basis that is reduced but for round-off is left as it is
_SWEEPS = 2
_PAIRS = ((0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1))
_TERMS = 10  # of the exponential: 1e-17 for arguments up to 0.2


def velocity_gradient(condition: Float[Array, "d d"]) -> Float[Array, "3 3"]:
    """κ in three dimensions without its trace, which is that of a discretisation: the volume of a box does not change.

    Raises:
        BadInput: A condition of another shape than (3, 3) or (2, 2).
    """
    shape = jnp.shape(condition)
    if shape not in ((2, 2), (3, 3)):
        text = "x".join(map(str, shape)) or "a number"
        raise BadInput(f"Box: the condition is a velocity gradient, 3x3, or 2x2 for flows in the x-y plane; it is {text}.")
    d = shape[0]
    kappa = jnp.asarray(condition, jnp.result_type(float))
    return jnp.pad(kappa - jnp.trace(kappa) / d * jnp.eye(d), ((0, 3 - d), (0, 3 - d)))


def exponential(matrix: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """e^M for the small M of one time step, by its series."""
    result = term = jnp.eye(3, dtype=matrix.dtype)
    for k in range(1, _TERMS + 1):
        term = _product(term, matrix) / k
        result = result + term
    return result


def _product(a, b):
    """Product a b, written out: products by a library may round otherwise in a batch."""
    return a[:, 0, None] * b[0] + a[:, 1, None] * b[1] + a[:, 2, None] * b[2]


def inverse(h: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """h⁻¹ by cross products."""
    rows = [jnp.cross(h[:, 1], h[:, 2]), jnp.cross(h[:, 2], h[:, 0]), jnp.cross(h[:, 0], h[:, 1])]
    return jnp.stack(rows) / determinant(h)


def widths(h: Float[Array, "3 3"]) -> Float[Array, " 3"]:
    """Distances between opposite faces, 1/|row of h⁻¹|."""
    return 1.0 / jnp.sqrt(jnp.sum(inverse(h) ** 2, axis=1))


def reduced(h: Float[Array, "3 3"], s: Float[Array, "3 n"], volume: float) -> tuple[Float[Array, "3 3"], Float[Array, "3 n"]]:
    """The same lattice and positions in a basis whose vectors are reduced in pairs (Lagrange), s in [0, 1), det h = `volume`.

    Orientation and number of lattice points do not change. A basis that is reduced already stays.
    """
    unit = jnp.eye(3, dtype=h.dtype)

    def sweep(_, carry):
        h, moves = carry
        for i, j in _PAIRS:  # b_j ← b_j − n b_i, and with it s_i ← s_i + n s_j
            a, b = h[:, i], h[:, j]
            n = jnp.round((1.0 - _TIE) * jnp.sum(a * b) / jnp.sum(a * a))
            h = h - n * a[:, None] * unit[j]
            moves = moves + n * unit[i][:, None] * moves[j]
        return h, moves

    h, moves = jax.lax.fori_loop(0, _SWEEPS, sweep, (h, unit))
    moved = jnp.sum(moves[:, :, None] * s, axis=1)
    s = (moved - jnp.floor(moved)).astype(s.dtype)
    return h * jnp.cbrt(volume / determinant(h)), jnp.where(s < 1.0, s, 0.0)


def fresh(length: float, kappa: Float[Array, "3 3"]) -> Float[Array, "3 3"]:
    """A cube that is turned about z to last long in the flow, and deformed by 0.1 τ of it.

    In a shear flow the first axis lies along the streamlines: the box then never becomes thin. In planar extension it is turned
    by 31.7° from the axis of extension (Kraynik and Reinelt, Int. J. Multiphase Flow 18 (1992) 1045), until round-off destroys
    the period of that lattice, at a strain of about 18. Flows in between have no orientation that lasts.

    The deformation gives the liquid at once the stress of an elastic body, which is about that of the steady flow.
    """
    stretch, shear = 0.5 * (kappa[0, 0] - kappa[1, 1]), 0.5 * (kappa[0, 1] + kappa[1, 0])
    spin, rate = 0.5 * (kappa[1, 0] - kappa[0, 1]), jnp.hypot(stretch, shear)
    away = jnp.where(jnp.abs(spin) < 0.5 * rate, _KRAYNIK_REINELT, jnp.sign(spin) * np.pi / 4.0)
    angle = 0.5 * jnp.arctan2(shear, stretch) + away
    c, s, zero, one = jnp.cos(angle), jnp.sin(angle), jnp.zeros_like(angle), jnp.ones_like(angle)
    turned = jnp.stack([jnp.stack([c, -s, zero]), jnp.stack([s, c, zero]), jnp.stack([zero, zero, one])])
    size = jnp.sqrt(jnp.sum(kappa**2))
    time = jnp.minimum(_DEFORMED[0], _DEFORMED[1] / jnp.maximum(size, 1e-30))
    return length * _product(exponential(time * kappa), turned)


class Streaming(eqx.Module):
    """What the flow does in a Verlet step, half of it before the drift and half after."""

    dt: Float[Array, ""]
    half: Float[Array, "3 3"]
    whole: Float[Array, "3 3"]
    slowed: Float[Array, "3 3"]

    def __init__(self, kappa: Float[Array, "3 3"], dt: Float[Array, ""]):
        self.dt, self.half, self.whole = dt, exponential(0.5 * dt * kappa), exponential(dt * kappa)
        self.slowed = exponential(-0.5 * dt * kappa)

    def drift(self, s, p, h):
        """Scaled coordinates and box at the end of the drift; h is that at its middle meanwhile."""
        return (s + self.dt * (inverse(self.half @ h) @ p)).astype(s.dtype), self.whole @ h
