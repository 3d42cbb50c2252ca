"""The Stillinger-Weber potential (F. H. Stillinger and T. A. Weber, Phys. Rev. B 31 (1985) 5262) for one species.

    E = Σ_{i<j} φ2(r_ij) + Σ_i Σ_{j<k} λε (cos θ_jik − c0)² g(r_ij) g(r_ik),       r < aσ
    φ2 = Aε (B (σ/r)^p − (σ/r)^q) exp(σ/(r − aσ)),    g = exp(γσ/(r − aσ))

The triples need no triple sum: with M = Σ g u⊗u, v = Σ g u, G = Σ g, u the unit vectors to the neighbours,

    Σ_{j<k} g_j g_k (u_j·u_k − c0)² = ½ [ M:M − 2 c0 v·v + c0² G² − (1 − c0)² Σ g² ]

where the last term takes out j = k.
"""

from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.numerics import trees
from fiberax.physics.solids.potentials.base import AbstractMomentPotential, check_units


class Parameters(NamedTuple):
    """Parameters in the notation of the paper; `epsilon` an energy, `sigma` a length, the rest pure numbers."""

    epsilon: float
    sigma: float
    a: float
    lam: float
    gamma: float
    costheta0: float
    A: float
    B: float
    p: float = 4.0
    q: float = 0.0


_FORM = {"a": 1.80, "lam": 21.0, "gamma": 1.20, "costheta0": -1.0 / 3.0, "A": 7.049556277, "B": 0.6022245584}

# eV and Å. "Si": ε = 50 kcal/mol of the paper, the number that later work and LAMMPS use (Balamane, Halicioglu and Tiller,
# Phys. Rev. B 46 (1992) 2250). "Ge": K. Ding and H. C. Andersen, Phys. Rev. B 34 (1986) 6987, λ = 31, ε = 1.93.
NAMED: dict[str, tuple[str, Parameters]] = {
    "Si": ("Si", Parameters(2.1683, 2.0951, **_FORM)),
    "Ge": ("Ge", Parameters(1.93, 2.181, **{**_FORM, "lam": 31.0})),
}


class StillingerWeber(AbstractMomentPotential):
    """Stillinger-Weber for one species.

    `parameters`: a name ("Si", "Ge"; see `NAMED` for their sources), a file in LAMMPS format, or `Parameters`.
    `species`: the symbol it is for, where that is not known from the name or the file's only element; default any.
    Exponents p and q and the cutoff a σ are fixed numbers; the rest can be differentiated in.
    """

    epsilon: Float[Array, ""]
    sigma: Float[Array, ""]
    lam: Float[Array, ""]
    gamma: Float[Array, ""]
    costheta0: Float[Array, ""]
    A: Float[Array, ""]
    B: Float[Array, ""]
    p: float = eqx.field(static=True)
    q: float = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    species: str | None = eqx.field(static=True)
    units: str = eqx.field(static=True)

    def __init__(self, parameters: str | Path | Parameters, species: str | None = None, units: str = "metal"):
        check_units("StillingerWeber", units)
        if isinstance(parameters, str) and parameters in NAMED:
            species, parameters = NAMED[parameters]
        elif isinstance(parameters, str | Path):
            species, parameters = _from_file(parameters, species)
        if not isinstance(parameters, Parameters):
            raise BadInput(f"StillingerWeber: parameters must be a name, a file or Parameters; it is {parameters!r}.")
        for name in ("a", "p", "q"):
            if not isinstance(getattr(parameters, name), int | float):
                raise BadInput(f"StillingerWeber: {name} must be a Python number; it sets the neighbour lists or an exponent.")
        for name in ("epsilon", "sigma", "a"):
            value = getattr(parameters, name)
            if not trees.is_tracer(value) and not 0.0 < float(value) < float("inf"):
                raise BadInput(f"StillingerWeber: {name}={value} must be positive and finite.")
        if trees.is_tracer(parameters.sigma):
            raise BadInput(
                "StillingerWeber: sigma sets the cutoff and must be a number here; use eqx.tree_at to differentiate."
            )
        number = lambda value: jnp.asarray(value, jnp.result_type(float))
        self.epsilon, self.sigma = number(parameters.epsilon), number(parameters.sigma)
        self.lam, self.gamma, self.costheta0 = number(parameters.lam), number(parameters.gamma), number(parameters.costheta0)
        self.A, self.B, self.p, self.q = number(parameters.A), number(parameters.B), float(parameters.p), float(parameters.q)
        self.cutoff = float(parameters.a) * float(parameters.sigma)
        self.species, self.units = species, units

    @property
    def elements(self):
        return None if self.species is None else (self.species,)

    @property
    def ranks(self):
        return (0, 0, 0, 1, 2)  # pair energy, Σ g², G, v, M

    def radial(self, centre, neighbour, r):
        # The exponentials and all their derivatives vanish at the cutoff: a point just before it is as good as the cutoff.
        last = self.cutoff - self.sigma / 600.0
        inside = r < last
        r = jnp.where(inside, r, 0.75 * self.cutoff)
        gap = self.sigma / (r - self.cutoff)
        ratio = self.sigma / r
        tail = 1.0 if self.q == 0.0 else _power(ratio, self.q)
        two = self.A * self.epsilon * (self.B * _power(ratio, self.p) - tail) * jnp.exp(gap)
        g = jnp.exp(self.gamma * gap)
        two, g = jnp.where(inside, two, 0.0), jnp.where(inside, g, 0.0)
        return two, g * g, g, g, g

    def embed(self, centre, moments):
        two, squares, total, vector, tensor = moments
        c0 = self.costheta0
        three = jnp.sum(tensor**2, axis=(0, 1)) - 2.0 * c0 * jnp.sum(vector**2, axis=0) + c0**2 * total**2
        return 0.5 * two + 0.5 * self.lam * self.epsilon * (three - (1.0 - c0) ** 2 * squares)


def _power(x, exponent: float):
    return x ** int(exponent) if exponent == int(exponent) else x**exponent


def _from_file(path, species: str | None) -> tuple[str, Parameters]:
    """The entry of one element of a LAMMPS file."""
    from fiberax.physics.solids.potentials.files import read_sw

    entries = read_sw(path)
    pure = sorted({triple[0] for triple in entries if len(set(triple)) == 1})
    if species is None:
        if len(pure) != 1:
            raise BadInput(f"StillingerWeber: {path} holds {', '.join(pure) or 'no pure element'}; say species=...")
        species = pure[0]
    if species not in pure:
        raise BadInput(f"StillingerWeber: {path} has no entry for {species} alone; it holds {', '.join(pure)}.")
    found = entries[species, species, species]
    return species, Parameters(**{"lam" if key == "lambda" else key: found[key] for key in found if key != "tol"})
