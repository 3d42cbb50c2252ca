"""Solids from Kohn-Sham electrons (3.17)-(3.22): local density approximation, plane waves, Bloch orbitals; spec sections 5, 6.

Per cell, in hartree and bohr,

    E = Σ_k w_k Σ_b f_kb ⟨ψ_kb| −½∇² + V_nl |ψ_kb⟩ + Coulomb + ∫ρ ε_xc(ρ) − T S,    W = E/Ω₀,

in the convention of electronic-structure codes. `electrons/bloch.py` says how A enters: through wave vectors alone, so that with
the fixed basis P = ∂W/∂A at fixed coefficients and occupations is the exact derivative of the discrete W at its minimum.

Its metric makes the rate of `fx.relax(fiber, mass, friction)` the half gradient per orbital: m c'' + η c' = −(Hc − cΛ), Car and
Parrinello's equations (Phys. Rev. Lett. 55 (1985) 2471), orthonormality kept by their iteration.
"""

import functools
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractEnergy
from fiberax.physics.solids.electrons import bloch, fourier, gth, lda
from fiberax.physics.solids.electrons import cell as cells
from fiberax.physics.solids.electrons import hamiltonian as h
from fiberax.physics.solids.electrons.ions import GTHLocal, Ion, placed
from fiberax.physics.solids.electrons.occupations import Smearing, checked_smearing
from fiberax.physics.solids.electrons.scf import Occupied, self_consistent
from fiberax.physics.solids.electrons.stiefel import minimum

Basis = Literal["fixed", "cutoff"]

_ROOM = 1.2  # largest stretch of a cell that basis="cutoff" bears
_FEW = 60  # plane waves of the dense problem from which orbitals begin


class KohnSham(AbstractEnergy):
    """Electrons in orbitals in a crystal; condition the displacement gradient A (3, 3), response P (3, 3) in hartree/bohr³.

    Args:
        lattice: Rows are lattice vectors, bohr.
        atoms: List of (symbol or ion, fractional position).
        pseudopotentials: "gth-lda": symbols take Goedecker's, Teter's and Hutter's separable ones. Ions of `fx.solids.ions` are
            local charges of their own.
        cutoff: ½|q|² (hartree) up to which plane waves of the undeformed cell are in the basis.
        kgrid: Points along the three reciprocal vectors; those that differ by time reversal are one.
        xc: "lda_pw", "lda_pz", "lda_vwn" or None.
        smearing: None for insulators, f = 2, found by direct minimisation; for metals ("fermi", kT), ("gaussian", s) or
            ("cold", s), hartree: W is the free energy, found by self-consistency.
        bands: Orbitals for each k; by default electrons/2, and with smearing a fifth more, at least four.
        basis: "fixed": integers of the undeformed sphere. "cutoff": the sphere of the deformed lattice (stretches up to 1.2), as
            other codes do at each cell; W jumps where a wave enters, and P, which is the Hellmann-Feynman stress without
            Pulay's term, differs from the slope of W by (2/3)(E_cut/Ω) dE/dE_cut: much at low cutoff.
        shift: Of the k-grid, in fractions of its step.

    W is in hartree per bohr³ of the reference. The state of insulators is the array of coefficients (k, bands, g, 2), real and
    imaginary parts last; that of metals `Occupied`. Raises `BadInput`.
    """

    lattice: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    ions: tuple[Ion, ...]
    symbols: tuple[str | None, ...] = eqx.field(static=True)
    positions: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    kgrid: tuple[int, int, int] = eqx.field(static=True)
    shift: tuple[float, float, float] = eqx.field(static=True)
    xc: lda.Functional | None = eqx.field(static=True)
    smearing: Smearing | None = eqx.field(static=True)
    bands: int = eqx.field(static=True)
    basis: Basis = eqx.field(static=True)

    def __init__(
        self,
        lattice: Any,
        atoms: Any,
        pseudopotentials: Literal["gth-lda"] = "gth-lda",
        cutoff: float = 15.0,
        kgrid: Any = (4, 4, 4),
        xc: lda.Functional | None = "lda_pw",
        smearing: tuple[str, float] | None = None,
        bands: int | None = None,
        basis: Basis = "fixed",
        shift: Any = (0.0, 0.0, 0.0),
    ):
        who = "KohnSham"
        rows = fourier.checked_lattice(who, lattice)
        self.lattice = tuple(map(tuple, rows.tolist()))
        if pseudopotentials != "gth-lda":
            raise BadInput(f"{who}: pseudopotentials={pseudopotentials!r} is not 'gth-lda'. Ions of your own go into atoms.")
        atoms = [atoms] if isinstance(atoms, tuple) else list(atoms)
        self.symbols = tuple(atom[0] if isinstance(atom[0], str) else None for atom in atoms)
        found = placed(who, [(GTHLocal(a[0]) if isinstance(a[0], str) else a[0], *a[1:]) for a in atoms])
        self.ions, self.positions = tuple(i for i, _ in found), tuple(tuple(p.tolist()) for _, p in found)
        if not 0.5 <= float(cutoff) < 1e4:
            raise BadInput(f"{who}: cutoff must be an energy in hartree, 0.5 or more; it is {cutoff!r}.")
        self.cutoff = float(cutoff)
        self.kgrid = _three(who, kgrid)
        self.shift = tuple(float(s) for s in shift)
        if xc is not None and xc not in get_args(lda.Functional):
            raise BadInput(f"{who}: xc={xc!r} is not one of None, {', '.join(map(repr, get_args(lda.Functional)))}.")
        if basis not in get_args(Basis):
            raise BadInput(f"{who}: basis={basis!r} is not one of 'fixed', 'cutoff'.")
        self.xc, self.basis = xc, basis
        self.smearing = checked_smearing(who, smearing)
        self.bands = self._checked_bands(who, bands)

    def _checked_bands(self, who: str, bands: int | None) -> int:
        half = self.electrons / 2.0
        if self.smearing is None:
            if abs(half - round(half)) > 1e-9:
                raise BadInput(
                    f"{who}: {self.electrons:g} electrons do not fill bands. Give smearing=('fermi', kT), as for metals."
                )
            if bands is not None and bands != round(half):
                raise BadInput(f"{who}: an insulator of {self.electrons:g} electrons has {half:g} bands, not {bands}.")
            found = round(half)
        else:
            found = int(np.ceil(half) + max(4, np.ceil(0.2 * half))) if bands is None else bands
            if not isinstance(found, int) or found <= half:
                raise BadInput(f"{who}: bands = {bands!r}; {self.electrons:g} electrons need more than {half:g}, some empty.")
        waves = int(self._table.there.sum(axis=1).min())
        if found > waves:
            raise BadInput(f"{who}: {found} bands need as many plane waves; cutoff = {self.cutoff:g} gives {waves}. Raise it.")
        return found

    @property
    def volume(self) -> float:
        """Ω₀, bohr³."""
        return float(abs(np.linalg.det(np.asarray(self.lattice))))

    @property
    def electrons(self) -> float:
        """Electrons per cell, as many as neutralise the ions."""
        return float(sum(ion.charge for ion in self.ions))

    @property
    def unmixable(self):
        return "orbitals have phases, and bands an order, of their own at each site: their mean means nothing"

    @property
    def _table(self) -> bloch.Table:
        k, weights = bloch.kpoints(self.kgrid, self.shift)
        room = _ROOM**2 if self.basis == "cutoff" else 1.0
        return _tables(self.lattice, tuple(map(tuple, k.tolist())), tuple(weights.tolist()), self.cutoff * room)

    def _setting(self, condition) -> h.Setting:
        points, lattice = self._table, np.asarray(self.lattice)
        F, _ = fourier.deformation(condition)
        cell = cells.deformed(lattice, points.shape, self.ions, np.asarray(self.positions), condition)
        q = bloch.waves(points, lattice, F)
        kinetic, there = bloch.energies_of_waves(q), points.there
        if self.basis == "cutoff":
            there = there & (kinetic <= self.cutoff)
            borne = jnp.linalg.norm(F, ord=2) <= _ROOM
            kinetic = jnp.where(borne, kinetic, jnp.nan)
        potentials = [None if symbol is None else gth.parameters(symbol) for symbol in self.symbols]
        projectors, strength = bloch.projectors(points, q, cell.volume, potentials, np.asarray(self.positions))
        return h.Setting(points, self.xc, cell, kinetic, there, jnp.where(there[:, None], projectors, 0.0), strength)

    def _share(self, state) -> Float[Array, "k bands"]:
        """Weight times occupation, w f."""
        weights = jnp.asarray(self._table.weights)[:, None]
        f = state.occupations if isinstance(state, Occupied) else jnp.full((1, self.bands), 2.0)
        return weights * f

    def init(self, condition, key):
        s = self._setting(condition)
        c = _packed(_first_orbitals(s, self.bands, self.electrons))
        if self.smearing is None:
            return c
        filled = jnp.clip(self.electrons - 2.0 * jnp.arange(self.bands), 0.0, 2.0)
        return Occupied(c, jnp.broadcast_to(filled, c.shape[:2]), jnp.zeros(()))

    def energy(self, state, condition):
        s, c, share = self._setting(condition), unpacked(_orbitals(state)), self._share(state)
        density = bloch.count(s.points, bloch.to_grid(s.points, c), share) / s.cell.volume
        lattice, places = np.asarray(self.lattice), np.asarray(self.positions)
        points = cells.points(lattice, self.ions, places, places, condition)
        heat = state.heat if isinstance(state, Occupied) else 0.0
        return (h.of_orbitals(s, c, share) + h.of_density(s, density) + points + heat) / self.volume

    def energy_and_link(self, state, condition):
        return jax.value_and_grad(lambda A: self.energy(jax.lax.stop_gradient(state), A))(condition)

    def constraint(self, state, condition):
        """Real and imaginary parts of c†c − 1 at each k, upper triangles."""
        c = unpacked(_orbitals(state))
        i, j = np.triu_indices(self.bands)
        off = (h.inner(c, c) - jnp.eye(self.bands))[:, i, j]
        return jnp.concatenate([off.real.ravel(), off.imag[:, i != j].ravel()])

    def metric(self, state):
        """4 w/Ω₀: δW/δc is the half gradient H c per orbital."""
        c = _orbitals(state)
        mass = jnp.broadcast_to((4.0 / self.volume) * jnp.asarray(self._table.weights)[:, None, None, None], c.shape)
        return Occupied(mass, 1.0 / self.volume, 1.0 / self.volume) if isinstance(state, Occupied) else mass

    def solve(self, condition, state, tolerance):
        """Direct minimisation, or self-consistency where occupations are fractional, to a residual of `tolerance` hartree."""
        s = self._setting(condition)
        if self.smearing is None:
            c, out = minimum(s, self._share(state), unpacked(state), tolerance)
            return _packed(c), out
        found, out = self_consistent(s, self.smearing, self.electrons, jnp.asarray(self._table.weights), state, tolerance)
        return found, out


@functools.lru_cache(maxsize=64)
def _tables(lattice: tuple, k: tuple, weights: tuple, cutoff: float) -> bloch.Table:
    return bloch.table(np.asarray(lattice), np.asarray(k), np.asarray(weights), cutoff)


def _first_orbitals(s: h.Setting, bands: int, electrons: float) -> bloch.Coefficients:
    """Lowest orbitals of the first plane waves in the potential of the ions and of a density like theirs, but wider."""
    points, shape = s.points, s.points.shape
    wide = s.cell.ions * jnp.exp(-0.5 * s.cell.g2)
    density = jnp.maximum(fourier.backward(shape, wide), 1e-6)
    density = density * (electrons / s.cell.volume / jnp.mean(density))
    potential = jnp.fft.fftn(h.potential(s, density), norm="forward").reshape(-1)
    few = min(max(_FEW, 3 * bands), points.m.shape[1])
    m, there = points.m[:, :few], s.there[:, :few]
    apart = np.mod(m[:, :, None] - m[:, None], shape)
    place = np.ravel_multi_index(tuple(np.moveaxis(apart, -1, 0)), shape)
    projectors = s.projectors[:, :, :few]
    matrix = potential[place] + jnp.einsum("kpg,pq,kqe->kge", projectors, s.strength, projectors.conj())
    both = there[:, :, None] & there[:, None]
    outside = jnp.where(there, s.kinetic[:, :few], 1e4)
    matrix = jnp.where(both, matrix, 0.0) + outside[:, :, None] * jnp.eye(few)
    vectors = jnp.linalg.eigh(matrix)[1][:, :, :bands]
    return jnp.zeros((len(points.k), bands, points.m.shape[1]), complex).at[:, :, :few].set(jnp.swapaxes(vectors, 1, 2))


def _packed(c: bloch.Coefficients) -> Float[Array, "k bands g 2"]:
    return jnp.stack([c.real, c.imag], axis=-1)


def unpacked(c: Float[Array, "k bands g 2"]) -> bloch.Coefficients:
    """Complex coefficients."""
    return c[..., 0] + 1j * c[..., 1]


def _orbitals(state) -> Float[Array, "k bands g 2"]:
    return state.orbitals if isinstance(state, Occupied) else state


def _three(who: str, kgrid: Any) -> tuple[int, int, int]:
    found = (kgrid,) * 3 if isinstance(kgrid, int) else tuple(kgrid)
    if len(found) != 3 or not all(isinstance(n, int | np.integer) and n >= 1 for n in found):
        raise BadInput(f"{who}: kgrid must be three whole numbers, at least 1; it is {kgrid!r}.")
    a, b, c = (int(n) for n in found)
    return a, b, c
