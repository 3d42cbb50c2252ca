"""Tersoff's bond-order potential, the form of J. Tersoff, Phys. Rev. B 37, 6991 (1988) and 39, 5566 (1989), for any species.

    E_i = ½ Σ_j f_C(r_ij) [A exp(−λ₁ r_ij) − b_ij B exp(−λ₂ r_ij)]      b_ij = (1 + (β ζ_ij)^n)^(−1/2n)
    ζ_ij = Σ_{k≠j} f_C(r_ik) g(θ_ijk) exp[(λ₃ (r_ij − r_ik))^m]         g = γ [1 + c²/d² − c²/(d² + (cos θ − cos θ₀)²)]
    f_C(r) = 1 below R − D, ½ − ½ sin(π(r − R)/2D), 0 beyond R + D: C1, so tangents jump where a neighbour passes R ± D

Each ordered triple (i, j, k) has its own parameters, as in LAMMPS's pair_tersoff: n, β, λ₂, B, λ₁, A and the R, D of f_C(r_ij)
from (i, j, j), the others, and the R, D of f_C(r_ik), from (i, j, k).
"""

import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.physics.solids.potentials.base import AbstractPotential
from fiberax.physics.solids.potentials.files import TERSOFF, Triple, read_tersoff
from fiberax.physics.solids.potentials.parameters import tersoff_set, tersoff_sets

# ζ below which the bond order is 1: with n < 1 its derivative grows without bound towards ζ = 0, where no third atom is left.
_ALONE = 1e-40
# Least half width of the cutoff function in Å; some files have D = 0, a jump.
_SHARP = 1e-9


class Tersoff(AbstractPotential):
    """Tersoff's potential, units "metal".

    Args:
        source: A named set ("Si(B)", "Si(C)", "Si(D)", "C", "Ge", "SiC", "SiGe"; `parameters.py` has their papers), a file in
            LAMMPS's `.tersoff` format, or a dict from triples of elements to the parameters `files.TERSOFF`.
        types: Species to name of that species in `source`, where they differ, such as {"Si": "Si(D)"}.
    """

    parameters: Float[Array, "species species species 14"]
    cutoff: float = eqx.field(static=True)
    units: str = eqx.field(static=True)
    species: tuple[str, ...] = eqx.field(static=True)
    label: str = eqx.field(static=True)
    _known: frozenset[Triple] = eqx.field(static=True)
    _power: int | None = eqx.field(static=True)
    _screened: bool = eqx.field(static=True)

    def __init__(self, source: str | os.PathLike | dict[Triple, dict[str, float]], types: dict[str, str] | None = None):
        entries, self.label = _entries(source)
        entries = _renamed(entries, types or {}, self.label)
        entries = {triple: _checked(entry, triple, self.label) for triple, entry in entries.items()}
        self.species = tuple(sorted({name for triple in entries for name in triple}))
        table = np.zeros((len(self.species),) * 3 + (len(TERSOFF),))
        for triple, entry in entries.items():
            table[tuple(self.species.index(name) for name in triple)] = [entry[key] for key in TERSOFF]
        powers = {int(entry["m"]) for entry in entries.values()}
        self._power = powers.pop() if len(powers) == 1 else None
        self._screened = any(entry["lambda3"] != 0 for entry in entries.values())
        self._known = frozenset(entries)
        self.cutoff = float(max(entry["R"] + entry["D"] for entry in entries.values()))
        self.units = "metal"
        self.parameters = jnp.asarray(table)

    @property
    def elements(self) -> tuple[str, ...] | None:
        """Species of the set or file."""
        return self.species

    def site_energy(self, centre, neighbours, r):
        """½ Σ_j of the bonds of one atom."""
        if not neighbours:
            return jnp.zeros(r.shape[2:])
        pair, triple = self._pick(centre, neighbours, r.ndim - 2)
        length = jnp.sqrt(jnp.sum(r**2, axis=0))
        inside = length < self.cutoff
        safe = jnp.where(inside, length, self.cutoff)
        zeta = self._zeta(triple, r / length, safe)
        order = _bond_order(pair["beta"], pair["n"], zeta)
        repulsion = pair["A"] * jnp.exp(-pair["lambda1"] * safe)
        attraction = order * pair["B"] * jnp.exp(-pair["lambda2"] * safe)
        return 0.5 * jnp.sum(_range(safe, pair["R"], pair["D"]) * (repulsion - attraction), axis=0)

    def _zeta(self, p, unit, length):
        """ζ_ij for all j, (n, *batch); the inner sum runs over the first axis, k."""
        n = length.shape[0]
        cosine = jnp.sum(unit[:, :, None] * unit[:, None], axis=0)
        tilt = (cosine - p["costheta0"]) ** 2
        # 1 + c²/d² − c²/(d² + h²) without the cancellation
        angular = p["gamma"] * (1.0 + (p["c"] / p["d"]) ** 2 * tilt / (p["d"] ** 2 + tilt))
        terms = _range(length[:, None], p["R"], p["D"]) * angular
        if self._screened:
            terms = terms * jnp.exp(self._lead(p["lambda3"] * (length[None] - length[:, None]), p["m"]))
        other = ~np.eye(n, dtype=bool).reshape((n, n) + (1,) * (length.ndim - 1))
        return jnp.sum(jnp.where(other, terms, 0.0), axis=0)

    def _lead(self, x, m):
        if self._power is None:
            return jnp.where(m == 3, x**3, x)
        return x**self._power

    def _pick(self, centre, neighbours, batch):
        """Parameters of the bonds (n, 1...) and triples (k, j, 1...), of size 1 where all neighbours are of one species."""
        for name in (centre, *neighbours):
            if name not in self.species:
                raise BadInput(f"Tersoff: {self.label} has no species {name!r}, only {', '.join(self.species)}.")
        here = (neighbours[0],) if len(set(neighbours)) == 1 else neighbours
        missing = sorted({(centre, a, b) for a in set(here) for b in set(here)} - self._known)
        if missing:
            raise BadInput(f"Tersoff: {self.label} has no entry {' '.join(missing[0])}.")
        index = np.array([self.species.index(name) for name in here])
        own = self.parameters[self.species.index(centre)]
        ones = (1,) * batch
        pair = own[index, index].reshape(len(here), *ones, len(TERSOFF))
        triple = own[index[None, :], index[:, None]].reshape(len(here), len(here), *ones, len(TERSOFF))
        name = lambda table: {key: table[..., k] for k, key in enumerate(TERSOFF)}
        return name(pair), name(triple)


def _range(r, centre, half):
    """Tersoff's cutoff function f_C."""
    t = (r - centre) / jnp.maximum(half, _SHARP)
    inside = jnp.abs(t) < 1.0
    wave = 0.5 - 0.5 * jnp.sin(0.5 * jnp.pi * jnp.where(inside, t, 0.0))
    return jnp.where(inside, wave, jnp.where(t < 0, 1.0, 0.0))


def _bond_order(beta, n, zeta):
    """(1 + (βζ)^n)^(−1/2n), through logarithms, so that no power overflows."""
    bonded = (zeta > _ALONE) & (beta > 0)
    log = jnp.log(jnp.where(bonded, beta * zeta, 1.0))
    order = jnp.exp(-jax.nn.softplus(n * log) / jnp.where(bonded, 2.0 * n, 2.0))
    return jnp.where(bonded, order, 1.0)


def _entries(source):
    if isinstance(source, dict):
        return source, "the given dict"
    if source in tersoff_sets():
        return tersoff_set(str(source)), f"the set {source!r}"
    if not os.path.exists(source):
        raise BadInput(f"Tersoff({str(source)!r}): neither a file nor one of the sets {', '.join(tersoff_sets())}.")
    return read_tersoff(source), f"the file {source}"


def _renamed(entries, types, label):
    """The entries with species in place of the names of the source; without types unchanged."""
    if not types:
        return entries
    there = {name for triple in entries for name in triple}
    for species, name in types.items():
        if name not in there:
            raise BadInput(f"Tersoff: types[{species!r}]={name!r} is not in {label}, which has {', '.join(sorted(there))}.")
    chosen = {(a, b, c): (types[a], types[b], types[c]) for a in types for b in types for c in types}
    return {new: entries[old] for new, old in chosen.items() if old in entries}


# An entry whose cutoff R + D is zero acts on nothing, as in LAMMPS; these numbers do so without a division by zero.
_OFF = dict.fromkeys(TERSOFF, 0.0) | {"m": 3, "d": 1.0, "n": 1.0}


def _checked(entry, triple, label):
    missing = [key for key in TERSOFF if key not in entry]
    if missing:
        raise BadInput(f"Tersoff: the entry {' '.join(triple)} of {label} lacks {', '.join(missing)}.")
    if entry["R"] == entry["D"] == 0:
        return _OFF
    if entry["m"] not in (1, 3):
        raise BadInput(f"Tersoff: m={entry['m']} in the entry {' '.join(triple)} of {label}; the form has m = 1 or 3.")
    if entry["d"] == 0 or entry["R"] <= 0 or entry["D"] < 0:
        where = f"the entry {' '.join(triple)} of {label}"
        raise BadInput(f"Tersoff: d={entry['d']}, R={entry['R']}, D={entry['D']} in {where}; need d != 0, R > 0, D >= 0.")
    if triple[1] == triple[2] and not entry["n"] > 0:
        raise BadInput(f"Tersoff: n={entry['n']} in the entry {' '.join(triple)} of {label} must be positive.")
    return entry
