"""Embedded-atom potentials E_i = F(Σ_j ρ(r_ij)) + ½ Σ_j φ(r_ij): tabulated ones of any elements, and Sutton and Chen's."""

import os
from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.physics.solids.potentials.base import AbstractMomentPotential
from fiberax.physics.solids.potentials.files import Kind, read_eam
from fiberax.physics.solids.potentials.lattice_sum import power_sum
from fiberax.physics.solids.potentials.pair import Pair, Scheme, check_scheme
from fiberax.physics.solids.potentials.parameters import SUTTON_CHEN
from fiberax.physics.solids.potentials.tables import coefficients, interpolate, interpolate_linear_tail


class EAM(AbstractMomentPotential):
    """Embedded-atom potential from a DYNAMO table, units "metal" (M. S. Daw, M. I. Baskes, Phys. Rev. B 29, 6443 (1984)).

    Interpolated as LAMMPS does: the cubic Hermite spline of `tables.py` through F(ρ), ρ(r) and r φ(r) (of `funcfl`:
    27.2·0.529 Z²). Exactly zero from the cutoff of the file on, even if the table is longer. Where the table is shorter, its
    last value is used up to the cutoff; by more than a grid step it must be zero. F is extrapolated linearly above the table,
    and by its first cubic below zero. LAMMPS puts a `funcfl` table on a grid of its own, which is that of the file less its
    last point: the slopes within the last steps, where a table is zero as a rule, differ.

    Args:
        path: A `setfl` (`eam.alloy`), `eam.fs` or `funcfl` file.
        kind: The format; "auto" looks at the name (".fs") and the content.
    """

    rows: Float[Array, "centre neighbour m 8"]
    embedding: Float[Array, "centre m 4"]
    cutoff: float = eqx.field(static=True)
    units: str = eqx.field(static=True)
    species: tuple[str, ...] = eqx.field(static=True)
    masses: tuple[float, ...] = eqx.field(static=True)
    lattices: tuple[tuple[float, str], ...] = eqx.field(static=True)
    dr: float = eqx.field(static=True)
    drho: float = eqx.field(static=True)
    label: str = eqx.field(static=True)

    def __init__(self, path: str | os.PathLike, kind: Kind = "auto"):
        tables = read_eam(path, kind)
        # The cubics of r φ and of ρ are in one row: one gather finds both.
        density = np.swapaxes(tables.density, 0, 1)
        self.rows = jnp.asarray(np.concatenate([coefficients(tables.pair), coefficients(density)], axis=-1))
        self.embedding = jnp.asarray(coefficients(tables.embedding))
        self.cutoff = tables.cutoff
        self.units = "metal"
        self.species, self.masses, self.lattices = tables.elements, tables.masses, tables.lattices
        self.dr, self.drho = tables.dr, tables.drho
        self.label = str(path)

    @property
    def elements(self) -> tuple[str, ...] | None:
        """Elements of the file."""
        return self.species

    @property
    def ranks(self):
        """Pair energy and density."""
        return (0, 0)

    def radial(self, centre, neighbour, r):
        """½ φ and ρ."""
        inside = r < self.cutoff
        safe = jnp.where(inside, r, 0.75 * self.cutoff)
        weighted, density = interpolate(self.rows[self._place(centre), self._place(neighbour)], safe / self.dr)
        return jnp.where(inside, 0.5 * weighted / safe, 0.0), jnp.where(inside, density, 0.0)

    def embed(self, centre, moments):
        """Pair energy plus F of the density."""
        pair, density = moments
        return pair + interpolate_linear_tail(self.embedding[self._place(centre)], density / self.drho)

    def _place(self, name):
        if name not in self.species:
            raise BadInput(f"EAM: {self.label} has no element {name!r}, only {', '.join(self.species)}.")
        return self.species.index(name)


class SuttonChen(AbstractMomentPotential):
    """E_i = ε [½ Σ_j (a/r_ij)^n − c √(Σ_j (a/r_ij)^m)], species alike (A. Sutton, J. Chen, Phil. Mag. Lett. 61, 139 (1990)).

    Args:
        epsilon: Energy ε.
        a: Length; the equilibrium lattice constant of fcc where c = n S_n / (m √S_m) with the fcc sums S_k = Σ (a/r)^k.
        c: Strength of the embedding, a pure number.
        n: Exponent of the repulsion.
        m: Exponent of the density, below n.
        cutoff: A length, in the unit of `a`. None: none, by converged lattice sums, for crystals of one atom per cell. The
            published parameters belong to the full sums: only those are in equilibrium at the published lattice constants.
        scheme: How both powers are cut off, see `pair.py`; by default "smooth".
        onset: Where the smooth scheme begins, by default 0.8 of the cutoff.
        units: "metal" for the published sets.
        element: The one species that the parameters are for; None takes any.
    """

    epsilon: Float[Array, ""]
    a: Float[Array, ""]
    c: Float[Array, ""]
    n: float = eqx.field(static=True)
    m: float = eqx.field(static=True)
    cutoff: float | None = eqx.field(static=True)
    scheme: Scheme = eqx.field(static=True)
    onset: float | None = eqx.field(static=True)
    units: str = eqx.field(static=True)
    element: str | None = eqx.field(static=True)

    def __init__(
        self,
        epsilon,
        a,
        c,
        n,
        m,
        cutoff: float | None,
        scheme: Scheme | None = None,
        onset=None,
        units="metal",
        element: str | None = None,
    ):
        if not n > m > 0:
            raise BadInput(f"SuttonChen: n={n}, m={m}; need n > m > 0.")
        if not (isinstance(a, jax.Array) or 0.0 < float(a) < float("inf")):
            raise BadInput(f"SuttonChen: a={a} must be positive and finite.")
        self.epsilon, self.a, self.c = (jnp.asarray(value, jnp.result_type(float)) for value in (epsilon, a, c))
        if cutoff is None and (scheme is not None or onset is not None):
            raise BadInput(
                f"SuttonChen: scheme={scheme!r} and onset={onset!r} have nothing to cut off with cutoff=None. Give a cutoff, "
                "or leave them out."
            )
        self.scheme = "truncated" if cutoff is None else "smooth" if scheme is None else scheme
        self.n, self.m, self.cutoff, self.units = n, m, cutoff, units
        self.onset, self.element = onset, element
        check_scheme("SuttonChen", self.scheme, onset)
        self._power(n)

    @classmethod
    def named(
        cls, element: str, cutoff: float | Literal["2a"] | None = None, scheme: Scheme | None = None, onset=None
    ) -> "SuttonChen":
        """The published set of an element, for that element only.

        Args:
            element: Ni, Cu, Rh, Pd, Ag, Ir, Pt, Au, Pb or Al.
            cutoff: In Å. None (default): the lattice constants are the published ones (to their 1e-5). "2a" is faster and
                allows any cell; with the smooth scheme the lattice constants are 0.0003 to 0.0013 Å less (Al: 0.005 Å).
            scheme: As for `SuttonChen`.
            onset: As for `SuttonChen`.

        Returns:
            The potential, in eV and Å.

        Raises:
            BadInput: There is no published set for the element.
        """
        if element not in SUTTON_CHEN:
            raise BadInput(f"SuttonChen: no published set for {element!r}, only for {', '.join(SUTTON_CHEN)}.")
        epsilon, a, c, n, m = SUTTON_CHEN[element]
        return cls(epsilon, a, c, n, m, 2.0 * a if cutoff == "2a" else cutoff, scheme, onset, element=element)

    @property
    def elements(self) -> tuple[str, ...] | None:
        """The element, where it is known."""
        return None if self.element is None else (self.element,)

    @property
    def ranks(self):
        """Both power sums."""
        return (0, 0)

    def _power(self, exponent):
        return Pair(lambda r: (self.a / r) ** exponent, self.cutoff, self.scheme, self.onset, self.units)  # pyright: ignore

    def radial(self, centre, neighbour, r):
        """(a/r)^n and (a/r)^m, cut off."""
        return self._power(self.n).pair(r), self._power(self.m).pair(r)

    def embed(self, centre, moments):
        """The site energy; zero for an atom alone."""
        repulsion, density = moments
        bound = density > 0.0
        root = jnp.where(bound, jnp.sqrt(jnp.where(bound, density, 1.0)), 0.0)
        return self.epsilon * (0.5 * repulsion - self.c * root)

    def lattice_energy(self, lattice, positions, species, cells):
        """By converged sums."""
        n, m = self.n, self.m
        if len(positions) != 1 or n != int(n) or m != int(m):
            raise BadInput("SuttonChen without a cutoff takes whole exponents and one atom per cell. Give it a cutoff.")
        return self.embed("", tuple(self.a**k * power_sum(lattice, positions, cells, int(k)) for k in (n, m)))
