"""Bonds between particles, beside the pair potential that acts on bonded pairs as well.

`FENE` has more than five public methods: a box needs forces at every step, and sums, lengths and broken bonds at some.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from fiberax.core.errors import BadInput
from fiberax.physics.molecules.pairs import Sums


class FENE(eqx.Module):
    """Finitely extensible bonds, φ = −½ k R₀² ln(1 − r²/R₀²), of Kremer and Grest (J. Chem. Phys. 92 (1990) 5057).

    Args:
        bonds: Pairs of particle numbers (bonds, 2).
        k: Stiffness, in ε/σ².
        R0: The length that no bond may reach, in σ.

    Raises:
        BadInput: Bonds that are no pairs of different particles, or numbers that are not positive.
    """

    partners: tuple[tuple[int, ...], ...] = eqx.field(static=True)  # for each of the most bonds of a particle
    k: float = eqx.field(static=True)
    R0: float = eqx.field(static=True)

    def __init__(self, bonds, k: float = 30.0, R0: float = 1.5):
        pairs = np.asarray(bonds)
        if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer) or np.any(pairs < 0):
            raise BadInput(f"FENE: bonds must be pairs of particle numbers, (bonds, 2); they are {bonds!r}.")
        if np.any(pairs[:, 0] == pairs[:, 1]):
            raise BadInput(f"FENE: particle {int(pairs[pairs[:, 0] == pairs[:, 1]][0, 0])} is bonded to itself.")
        for name, value in (("k", k), ("R0", R0)):
            if not isinstance(value, int | float) or not 0.0 < value < float("inf"):
                raise BadInput(f"FENE: {name}={value!r} must be a positive number.")
        self.partners, self.k, self.R0 = _partners(pairs), float(k), float(R0)

    @property
    def count(self) -> int:
        """Number of bonds."""
        return sum(row[k] != k for row in self.partners for k in range(len(row))) // 2

    @property
    def particles(self) -> int:
        """One more than the largest number of a bonded particle."""
        return len(self.partners[0]) if self.partners else 0

    def lengths(self, s: Float[Array, "3 n"], h: Float[Array, "3 3"]) -> tuple[Float[Array, "m 3 n"], Float[Array, "m n"]]:
        """Bond vectors, from each particle to each of its partners with the sign of r_i − r_j, and their squares.

        A particle with fewer bonds than others is its own partner, at the distance 0.
        """
        found = []
        for row in self.partners:
            index = np.concatenate([np.array(row, np.int32), np.arange(len(row), s.shape[1], dtype=np.int32)])
            d = s - s[:, index]
            found.append(h @ (d - jnp.round(d)))
        r = jnp.stack(found)
        return r, jnp.sum(r * r, axis=1)

    def factor(self, square: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """−φ'(r)/r; of a bond that is broken that of one that nearly is."""
        return -self.k / (1.0 - self._relative(square))

    def broken(self, square: Float[Array, "*any"]) -> Bool[Array, ""]:
        """Whether a bond has reached R₀."""
        return ~jnp.all(square < self.R0**2)

    def forces(self, s: Float[Array, "3 n"], h: Float[Array, "3 3"]) -> tuple[Float[Array, "3 n"], Bool[Array, ""]]:
        """Forces (3, n), and whether a bond is broken."""
        r, square = self.lengths(s, h)
        return jnp.sum(self.factor(square)[:, None] * r, axis=0), self.broken(square)

    def sums(self, s: Float[Array, "3 n"], h: Float[Array, "3 3"]) -> Sums:
        """The sums over bonds; none counts as near."""
        r, square = self.lengths(s, h)
        pull = self.factor(square)[:, None] * r
        energy = -0.25 * self.k * self.R0**2 * jnp.sum(jnp.log1p(-self._relative(square)))
        virial = 0.5 * jnp.einsum("man,mbn->ab", r, pull)
        return Sums(jnp.sum(pull, axis=0), virial, energy, jnp.zeros((), jnp.int32))

    def _relative(self, square):
        return jnp.minimum(square / self.R0**2, 1.0 - 1e-6)


def linear(beads: int, chains: int) -> np.ndarray:
    """Bonds (bonds, 2) of linear chains whose particles are numbered one chain after the other."""
    first = (np.arange(chains)[:, None] * beads + np.arange(beads - 1)).ravel()
    return np.stack([first, first + 1], axis=1)


def _partners(pairs: np.ndarray) -> tuple[tuple[int, ...], ...]:
    n = int(pairs.max(initial=-1)) + 1
    of: list[list[int]] = [[] for _ in range(n)]
    for a, b in pairs.tolist():
        of[a].append(b)
        of[b].append(a)
    most = max(map(len, of), default=0)
    return tuple(tuple(row[m] if m < len(row) else k for k, row in enumerate(of)) for m in range(most))
