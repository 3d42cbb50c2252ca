"""The Stillinger-Weber potential (F. H. Stillinger and T. A. Weber, Phys. Rev. B 31 (1985) 5262) for one or several species.

    E = Σ_{i<j} φ2(r_ij) + Σ_i Σ_{j<k} λε (cos θ_jik − c0)² g(r_ij) g(r_ik),       r < aσ
    φ2 = Aε (B (σ/r)^p − (σ/r)^q) exp(σ/(r − aσ)),    g = exp(γσ/(r − aσ))

No sum over triples is needed: with the moments over the neighbours of one species s, M_s = Σ g u⊗u, v_s = Σ g u, G_s = Σ g, u
the unit vectors to the neighbours, and K_st = λε, c_st of the triples with neighbours of species s and t,

    Σ_{j<k} = ½ Σ_st K_st [ M_s:M_t − 2 c_st v_s·v_t + c_st² G_s G_t ] − ½ Σ_j K_ss (1 − c_ss)² g_j²

where the last term removes j = k. As in LAMMPS's pair_sw, φ2 and g of a bond i-j have the parameters of the entry (i, j, j),
and λ, ε and c0 of a triple those of its own entry (i, j, k); of (i, j, k) and (i, k, j), which should agree, the mean is taken.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.numerics import trees
from fiberax.physics.solids.potentials.base import AbstractMomentPotential, check_units
from fiberax.physics.solids.potentials.files import Triple, read_sw


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


_AGREE = 1e-4  # relative difference of values that should agree but were rounded


class StillingerWeber(AbstractMomentPotential):
    """Stillinger-Weber for one species, or for several.

    Args:
        parameters: A name ("Si", "Ge"; see `NAMED` for their sources), a file in LAMMPS format, `Parameters` of one species,
            or a dict from triples of species (centre, neighbour, neighbour) to `Parameters`.
        species: Which species of the file or dict; default all of them. Those that are not in the crystal only cost time. For
            `Parameters`: the symbol, default any.
        units: "metal" or "reduced".

    As in LAMMPS a triple or pair is switched off by a zero: ε of an entry, or σ or a, of which the cutoff is the product.

    Exponents p and q and the cutoffs a σ are fixed numbers. Derivatives exist with respect to the rest, scalars for one
    species and arrays by triple for several. A file's `tol`, which shortens cutoffs where LAMMPS can afford it, is not used.
    """

    epsilon: Float[Array, "*triple"]
    sigma: Float[Array, "*triple"]
    lam: Float[Array, "*triple"]
    gamma: Float[Array, "*triple"]
    costheta0: Float[Array, "*triple"]
    A: Float[Array, "*triple"]
    B: Float[Array, "*triple"]
    cutoff: float = eqx.field(static=True)
    species: tuple[str, ...] | None = eqx.field(static=True)
    units: str = eqx.field(static=True)
    _pairs: tuple[tuple[tuple[float, float, float], ...], ...] = eqx.field(static=True)  # p, q, a σ by centre and neighbour

    def __init__(
        self,
        parameters: str | Path | Parameters | Mapping[Triple, Parameters],
        species: str | Sequence[str] | None = None,
        units: str = "metal",
    ):
        check_units("StillingerWeber", units)
        if isinstance(parameters, str) and parameters in NAMED:
            species, parameters = NAMED[parameters]
        names = (species,) if isinstance(species, str) else None if species is None else tuple(species)
        if isinstance(parameters, Parameters):
            if names is not None and len(names) != 1:
                raise BadInput(f"StillingerWeber: Parameters are those of one species, not of {names}. Give a dict of triples.")
            _check(parameters, "")
            chosen, grid = {("", "", ""): parameters}, ("",)
        elif isinstance(parameters, str | Path | Mapping):
            chosen, names = _chosen(parameters, names)
            grid = names
        else:
            raise BadInput(f"StillingerWeber: parameters must be a name, a file, Parameters or a dict; it is {parameters!r}.")

        def table(key):
            values = [[[getattr(chosen[i, j, k], key) for k in grid] for j in grid] for i in grid]
            return jnp.asarray(values[0][0][0] if len(grid) == 1 else np.array(values), jnp.result_type(float))

        self.epsilon, self.sigma, self.lam, self.gamma = (table(key) for key in ("epsilon", "sigma", "lam", "gamma"))
        self.costheta0, self.A, self.B = table("costheta0"), table("A"), table("B")
        pairs = [[chosen[i, j, j] for j in grid] for i in grid]
        self._pairs = tuple(tuple((float(x.p), float(x.q), float(x.a) * float(x.sigma)) for x in row) for row in pairs)
        self.cutoff = max(end for row in self._pairs for _, _, end in row)
        if self.cutoff == 0.0:
            raise BadInput("StillingerWeber: every pair has the cutoff a sigma = 0; at least one must be positive.")
        self.species, self.units = names, units

    @property
    def elements(self):
        return self.species

    @property
    def ranks(self):
        return (0, *(0, 1, 2) * len(self._pairs))  # pair energy with all that belongs to one neighbour; G, v, M by species

    def radial(self, centre, neighbour, r):
        i, j = self._place(centre), self._place(neighbour)
        p, q, end = self._pairs[i][j]
        epsilon, sigma, lam, gamma, c0, A, B = (
            x if x.ndim == 0 else x[i, j, j]
            for x in (self.epsilon, self.sigma, self.lam, self.gamma, self.costheta0, self.A, self.B)
        )
        if end == 0.0:  # a pair that is switched off
            return (jnp.zeros_like(r), *(None,) * (len(self.ranks) - 1))
        # The exponentials and all their derivatives vanish at the cutoff: a point just before it is as good as the cutoff.
        last = end - sigma / 600.0
        inside = r < last
        r = jnp.where(inside, r, 0.75 * end)
        gap, ratio = sigma / (r - end), sigma / r
        tail = 1.0 if q == 0.0 else _power(ratio, q)
        two = A * epsilon * (B * _power(ratio, p) - tail) * jnp.exp(gap)
        g = jnp.where(inside, jnp.exp(gamma * gap), 0.0)
        alone = jnp.where(inside, 0.5 * two, 0.0) - 0.5 * lam * epsilon * (1.0 - c0) ** 2 * g * g
        return (alone, *(x for k in range(len(self._pairs)) for x in ((g if k == j else None,) * 3)))

    def embed(self, centre, moments):
        i, count, total = self._place(centre), len(self._pairs), moments[0]
        of = [moments[1 + 3 * k : 4 + 3 * k] for k in range(count)]
        for s in range(count):
            for t in range(s + 1):
                (G, v, M), (H, w, N) = of[s], of[t]
                strength, linear, square = self._triple(i, s, t)
                three = strength * jnp.sum(M * N, axis=(0, 1)) - 2.0 * linear * jnp.sum(v * w, axis=0) + square * G * H
                total = total + (0.5 if s == t else 1.0) * three
        return total

    def _triple(self, i, s, t):
        """λε times 1, c0 and c0², the mean of the entries (i, s, t) and (i, t, s)."""
        strength, c0 = self.lam * self.epsilon, self.costheta0
        found = (strength, strength * c0, strength * c0**2)
        return found if strength.ndim == 0 else tuple(0.5 * (x[i, s, t] + x[i, t, s]) for x in found)

    def _place(self, name: str) -> int:
        if len(self._pairs) == 1:
            return 0
        if name not in (self.species or ()):
            raise BadInput(f"StillingerWeber: no species {name!r}, only {', '.join(self.species or ())}.")
        return (self.species or ()).index(name)


def _power(x, exponent: float):
    return x ** int(exponent) if exponent == int(exponent) else x**exponent


def _check(p: Parameters, where: str) -> None:
    """Raise `BadInput` for impossible parameters of a pair; traced values are not checked."""
    for name in ("a", "p", "q"):
        if not isinstance(getattr(p, name), int | float):
            raise BadInput(f"StillingerWeber: {name} must be a Python number; it sets the neighbour lists or an exponent.")
    for name in ("epsilon", "sigma", "a"):
        value = getattr(p, name)
        if not trees.is_tracer(value) and not 0.0 <= float(value) < float("inf"):
            raise BadInput(f"StillingerWeber: {name}={value} must be finite and not negative{where}.")
    if trees.is_tracer(p.sigma):
        raise BadInput("StillingerWeber: sigma sets the cutoff and must be a number here; use eqx.tree_at to differentiate.")


def _chosen(source, names: tuple[str, ...] | None) -> tuple[dict[Triple, Parameters], tuple[str, ...]]:
    """The entries of a file or dict for the species `names` (None: for all), complete and symmetric."""
    if isinstance(source, Mapping):
        entries, label = dict(source), "the given dict"
    else:
        label = f"the file {source}"
        renamed = lambda found: {"lam" if key == "lambda" else key: found[key] for key in found if key != "tol"}
        entries = {triple: Parameters(**renamed(found)) for triple, found in read_sw(source).items()}
    known = sorted({triple[0] for triple in entries})
    names = names or tuple(known)
    for i, j, k in ((i, j, k) for i in names for j in names for k in names):
        if (i, j, k) not in entries:
            raise BadInput(
                f"StillingerWeber: {label} has no entry for {' '.join((i, j, k))}; it knows {', '.join(known)}. "
                "Choose those of the crystal by species=..."
            )
    for i, j in ((i, j) for i in names for j in names):
        here, there = entries[i, j, j], entries[j, i, i]
        _check(here, f" in the entry {i} {j} {j} of {label}")
        # Of what is switched off by a zero strength the other numbers do not matter.
        pair = lambda x: (x.epsilon, x.sigma, x.a, x.A, x.B, x.p, x.q) if _acts(x) else (0.0,) * 7
        triple = lambda x: (x.lam * x.epsilon, x.costheta0) if _nonzero(x.lam * x.epsilon) else (0.0, 0.0)
        _same(pair(here), pair(there), f"{i} {j} {j} and {j} {i} {i}", "the pair energy", label)
        for k in names:
            _same(triple(entries[i, j, k]), triple(entries[i, k, j]), f"{i} {j} {k} and {i} {k} {j}", "λε or c0", label)
    return entries, names


def _nonzero(value) -> bool:
    return trees.is_tracer(value) or float(value) != 0.0


def _acts(p: Parameters) -> bool:
    """Whether an entry (i, j, j) has a pair energy."""
    return _nonzero(p.A) and _nonzero(p.epsilon) and p.a * p.sigma > 0.0


def _same(x, y, where: str, what: str, label: str) -> None:
    if not np.allclose(x, y, rtol=_AGREE, atol=0.0):
        raise BadInput(f"StillingerWeber: {what} in the entries {where} of {label} must agree, {x} and {y} do not.")
