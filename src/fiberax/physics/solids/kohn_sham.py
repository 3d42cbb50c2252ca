"""Solids from Kohn-Sham electrons (3.17)-(3.22): local density approximation, plane waves, Bloch orbitals; spec sections 5, 6.

Per cell, in hartree and bohr,

    E = Σ_k w_k Σ_b f_kb ⟨ψ_kb| −½∇² + V_nl |ψ_kb⟩ + Coulomb + ∫ρ ε_xc(ρ) − T S,    W = E/Ω₀,

in the convention of electronic-structure codes. `electrons/bloch.py` says how A enters: through wave vectors alone, so that
with the fixed basis P = ∂W/∂A at fixed coefficients and occupations is the exact derivative of the discrete W at its minimum.

W of insulators is that of the orbitals' span, whose gradient Hc − cΛ needs no multipliers. In motion they are held orthonormal:
`fx.relax(fiber, mass, friction)` solves m c'' + η c' = −(Hc − cΛ), Λ = c†Hc − m c'†c', the equations of R. Car and
M. Parrinello (Phys. Rev. Lett. 55 (1985) 2471) with the half gradient per orbital, by their iteration.
"""

import functools
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from fiberax.core.errors import BadInput, Mismatch
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
_STEP, _FINE = 1e-4, 1e-9  # of A for tangents of metals, and the tolerance of their electrons
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
        basis: "fixed": integers of the undeformed sphere. "cutoff": the sphere of the deformed lattice (stretches up to 1.2),
            as other codes do at each cell; W jumps where a wave enters, and P, which is the Hellmann-Feynman stress without
            Pulay's term, differs from the slope of W by (2/3)(E_cut/Ω) dE/dE_cut: much at low cutoff.
        shift: Of the k-grid, in fractions of its step.

    W is in hartree per bohr³ of the reference. The state of insulators is the array of coefficients times √w_k
    (k, bands, g, 2), real and imaginary parts last; that of metals `Occupied`. The tangent of metals is found by differences
    of P; other derivatives of their response are NaN. Raises `BadInput`.
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
        self.shift = _three_numbers(who, shift)
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
        c = _first_orbitals(s, self.bands, self.electrons)
        if self.smearing is None:
            return self._stored(c)
        filled = jnp.clip(self.electrons - 2.0 * jnp.arange(self.bands), 0.0, 2.0)
        return Occupied(_packed(c), jnp.broadcast_to(filled, c.shape[:2]), jnp.zeros(()))

    def _stored(self, c: bloch.Coefficients) -> Float[Array, "k bands g 2"]:
        return _packed(c) * self._table.weights[:, None, None, None] ** 0.5

    def coefficients(self, state) -> bloch.Coefficients:
        """Complex coefficients of the orbitals."""
        if isinstance(state, Occupied):
            return _unpacked(state.orbitals)
        return _unpacked(state) * self._table.weights[:, None, None] ** -0.5

    def energy(self, state, condition):
        s, c, share = self._setting(condition), self.coefficients(state), self._share(state)
        held = 0.0 if isinstance(state, Occupied) else 2.0 * h.held(c, jnp.asarray(self._table.weights))
        c = c if isinstance(state, Occupied) else h.spanning(c)
        density = bloch.count(s.points, bloch.to_grid(s.points, c), share) / s.cell.volume
        lattice, places = np.asarray(self.lattice), np.asarray(self.positions)
        points = cells.points(lattice, self.ions, places, places, condition)
        heat = state.heat if isinstance(state, Occupied) else 0.0
        return (h.of_orbitals(s, c, share) + h.of_density(s, density) + points + heat + held) / self.volume

    def energy_and_link(self, state, condition):
        return jax.value_and_grad(lambda A: self.energy(state, A))(condition)

    def metric(self, state):
        """4/Ω₀: δW/δc is the half gradient H c per orbital."""
        return 4.0 / self.volume

    @property
    def dense_limit(self):
        return 0

    @property
    def conjugate(self):
        return True

    def link(self, state, condition):
        """P at fixed coefficients and occupations."""
        return self.energy_and_link(state, condition)[1]

    def tangent(self, state, condition):
        """Of metals by central differences of P, each solved anew; None else."""
        if self.smearing is None:
            return None

        def stress(A):
            return self.link(self.solve(A, state, _FINE)[0], A)

        steps = _STEP * jnp.eye(9).reshape(9, 3, 3)
        slopes = jax.lax.map(lambda d: (stress(condition + d) - stress(condition - d)) / (2.0 * _STEP), steps)
        return jnp.moveaxis(slopes, 0, -1).reshape(3, 3, 3, 3)

    def precondition(self, residual, condition, shift):
        if isinstance(residual, Occupied):
            return jax.tree.map(lambda r: r * jnp.nan, residual)
        kinetic = jnp.nan_to_num(self._setting(condition).kinetic)
        return -residual / (kinetic[:, None, :, None] + h.DEEP + shift)

    def restrain(self, state, condition, normal_at):
        """Orthonormal orbitals: nearest ones, or c + c₀X with Hermitian X, as Car and Parrinello find it."""
        _refuse_motion(state)
        c = self.coefficients(state)
        if normal_at is None:
            return self._stored(h.orthonormal(c))
        start = self.coefficients(normal_at)
        return self._stored(c + h.mix(start, h.lagrange(h.inner(c, c), h.inner(start, c))))

    def restrain_velocity(self, state, velocity, condition):
        _refuse_motion(state)
        c, v = self.coefficients(state), self.coefficients(velocity)
        along = h.inner(c, v)
        return self._stored(v - 0.5 * h.mix(c, along + jnp.swapaxes(along.conj(), 1, 2)))

    def solve_stage(self, condition, base, shift, state, tolerance):
        _refuse_motion(base)
        return super().solve_stage(condition, base, shift, state, tolerance)

    def solve(self, condition, state, tolerance):
        """Direct minimisation, or self-consistency where occupations are fractional, to a residual of `tolerance` hartree."""
        s = self._setting(condition)
        if self.smearing is None:
            c, out = minimum(s, self._share(state), self.coefficients(state), tolerance)
            return self._stored(c), out
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


def wannier(fiber: KohnSham, state: Any) -> Complex[Array, "bands n1 n2 n3"]:
    """Orbitals w_b = N_k^{−1/2} Σ_k ψ_kb, localised on the crystal of N_k cells (3.21), at the grid points of that crystal.

    Their translates by lattice vectors are orthonormal, mean(w̄_a(y) w_b(y − R)) = δ_ab δ_R0, whatever the phases of ψ_kb.
    Raises `BadInput`.
    """
    if any(fiber.shift):
        raise BadInput(
            f"wannier: the k-grid is shifted by {fiber.shift}, so that orbitals are not periodic. Use shift=(0, 0, 0)."
        )
    points, counts = fiber._table, fiber.kgrid
    psi = bloch.to_grid(points, fiber.coefficients(state)).reshape(len(points.k), fiber.bands, *points.shape)
    size = np.multiply(points.shape, counts)
    y = np.stack(np.meshgrid(*(np.arange(n) / m for n, m in zip(size, points.shape)), indexing="ij"))
    total = jnp.zeros((fiber.bands, *size), complex)
    for k, values in zip(points.k, psi):
        wave = jnp.tile(values, (1, *counts)) * jnp.exp(2j * jnp.pi * np.einsum("i,inml->nml", k, y))
        alone = np.linalg.norm(2.0 * k - np.round(2.0 * k)) < 1e-9
        total = total + (wave if alone else 2.0 * wave.real)  # −k has the conjugate orbital
    return total / np.prod(counts) ** 0.5


def _refuse_motion(state) -> None:
    if isinstance(state, Occupied):
        raise Mismatch(
            "KohnSham: orbitals with fractional occupations have no motion of Car and Parrinello: occupations would have to "
            "move too, and the energy is not conserved at the crossing of levels. Use Quasistatic, or smearing=None."
        )


def _packed(c: bloch.Coefficients) -> Float[Array, "k bands g 2"]:
    return jnp.stack([c.real, c.imag], axis=-1)


def _unpacked(c: Float[Array, "k bands g 2"]) -> bloch.Coefficients:
    return c[..., 0] + 1j * c[..., 1]


def _three(who: str, kgrid: Any) -> tuple[int, int, int]:
    found = (kgrid,) * 3 if isinstance(kgrid, int) else tuple(kgrid)
    if len(found) != 3 or not all(isinstance(n, int | np.integer) and n >= 1 for n in found):
        raise BadInput(f"{who}: kgrid must be three whole numbers, at least 1; it is {kgrid!r}.")
    a, b, c = (int(n) for n in found)
    return a, b, c


def _three_numbers(who: str, shift: Any) -> tuple[float, float, float]:
    found = np.asarray(shift, float)
    if found.shape != (3,) or not np.all(np.isfinite(found)):
        raise BadInput(f"{who}: shift must be three numbers, fractions of the k-grid's step; it is {shift!r}.")
    return float(found[0]), float(found[1]), float(found[2])
