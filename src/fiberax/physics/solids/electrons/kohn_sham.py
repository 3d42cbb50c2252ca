"""Solids from Kohn-Sham electrons (3.17)-(3.22): local density approximation, plane waves, Bloch orbitals.

Per cell, in hartree and bohr,

    E = Σ_k w_k Σ_b f_kb ⟨ψ_kb| −½∇² + V_nl |ψ_kb⟩ + Coulomb + ∫ρ ε_xc(ρ) − T S,    W = E/Ω₀,

in the convention of electronic-structure codes. A enters through wave vectors alone (see `bloch.py`), so that
with the fixed basis P = ∂W/∂A at fixed coefficients and occupations is the exact derivative of the discrete W at its minimum.

W of insulators is that of the orbitals' span, whose gradient (4/Ω₀)(Hc − cΛ) needs no multipliers. In motion they are held
orthonormal: `fx.relax(fiber, mass, friction)` solves (4.1), m c'' + η c' = −(4/Ω₀)(Hc − cΛ), (4/Ω₀)Λ = (4/Ω₀)c†Hc − m c'†c',
the equations of R. Car and M. Parrinello (Phys. Rev. Lett. 55 (1985) 2471), by their iteration. 4 is 2 electrons in an orbital
times 2 of a derivative by real and imaginary parts.
"""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractAssembled, AbstractObjective
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.solvers import Minimise
from fiberax.core.strategies import AbstractManifold, Forbidden
from fiberax.physics.solids.electrons import bloch, fourier, lda, moduli
from fiberax.physics.solids.electrons import cell as cells
from fiberax.physics.solids.electrons import hamiltonian as h
from fiberax.physics.solids.electrons.ions import Ion, check_reach, of_atoms, placed
from fiberax.physics.solids.electrons.occupations import Smearing, checked_smearing
from fiberax.physics.solids.electrons.rest import Relaxed, electrons_of, places, stiffness, together, twice, with_electrons
from fiberax.physics.solids.electrons.scf import Occupied, self_consistent
from fiberax.physics.solids.electrons.spectrum import first_orbitals
from fiberax.physics.solids.electrons.stiefel import minimum

Basis = Literal["fixed", "cutoff"]

_ROOM = 1.2  # largest stretch of a cell that basis="cutoff" allows
_STEP, _FINE = 1e-4, 1e-9  # of A for tangents of metals, and the tolerance of their electrons


class KohnSham(AbstractAssembled, AbstractObjective):
    """Electrons in orbitals in a crystal; condition the displacement gradient A (3, 3), response P (3, 3) in hartree/bohr³.

    Args:
        lattice: Rows are lattice vectors, bohr.
        atoms: List of (symbol or ion, fractional position).
        pseudopotentials: "gth-lda": symbols mean `fx.solids.ions.GTH(symbol)`, the separable ones of Goedecker, Teter and
            Hutter; or a file with all of them (UPF, or CP2K's GTH_POTENTIALS); or ions or files by symbol.
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
        relax_positions: Whether ions relax with the electrons; the first is fixed. In motion they move together.

    W is in hartree per bohr³ of the reference. The state of insulators is the array of coefficients times √w_k
    (k, bands, g, 2), real and imaginary parts last; that of metals `Occupied`; with `relax_positions`, either in a `Relaxed`. A
    solve that fails is repeated once with shorter steps. The tangent of metals is found by differences of P; other
    derivatives of their response are NaN.

    Raises:
        BadInput: Options that do not fit each other, the ions or the number of electrons.
    """

    lattice: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    ions: tuple[Ion, ...]
    positions: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    cutoff: float = eqx.field(static=True)
    kgrid: tuple[int, int, int] = eqx.field(static=True)
    shift: tuple[float, float, float] = eqx.field(static=True)
    xc: lda.Functional | None = eqx.field(static=True)
    smearing: Smearing | None = eqx.field(static=True)
    bands: int = eqx.field(static=True)
    basis: Basis = eqx.field(static=True)
    relax_positions: bool = eqx.field(static=True)

    def __init__(
        self,
        lattice: Any,
        atoms: Any,
        pseudopotentials: str | Path | Mapping[str, Ion | str | Path] = "gth-lda",
        cutoff: float = 15.0,
        kgrid: Any = (4, 4, 4),
        xc: lda.Functional | None = "lda_pw",
        smearing: tuple[str, float] | None = None,
        bands: int | None = None,
        basis: Basis = "fixed",
        shift: Any = (0.0, 0.0, 0.0),
        relax_positions: bool = False,
    ):
        who = "KohnSham"
        rows = fourier.checked_lattice(who, lattice)
        self.lattice = tuple(map(tuple, rows.tolist()))
        found = placed(who, of_atoms(who, atoms, pseudopotentials))
        self.ions, self.positions = tuple(i for i, _ in found), tuple(tuple(p.tolist()) for _, p in found)
        if relax_positions and len(found) < 2:
            raise BadInput(f"{who}: relax_positions needs two atoms or more; there is one, which fixes the origin.")
        self.relax_positions = relax_positions
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
        check_reach(who, "atoms", self.ions, rows, self._table.shape)
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
        counts = self._table.there.sum(axis=1)
        waves = int(counts.min())
        if counts.max() < 2:
            raise BadInput(f"{who}: cutoff = {self.cutoff:g} leaves one plane wave, a constant density. Raise it.")
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
    def mixing(self):
        return Forbidden("orbitals have phases, and bands an order, of their own at each site: their mean means nothing")

    @property
    def _table(self) -> bloch.Table:
        k, weights = bloch.kpoints(self.kgrid, self.shift)
        room = _ROOM**2 if self.basis == "cutoff" else 1.0
        return _tables(self.lattice, tuple(map(tuple, k.tolist())), tuple(weights.tolist()), self.cutoff * room)

    def setting_at(self, state: Any, condition: Any, k: np.ndarray) -> h.Setting:
        """Plane waves of the undeformed sphere around a point k (3,), for bands."""
        return self._setting(state, condition, _tables(self.lattice, (tuple(k.tolist()),), (1.0,), self.cutoff))

    def _setting(self, state, condition, points: bloch.Table | None = None) -> h.Setting:
        """At the positions of a state; the electrons in it do not matter."""
        points = self._table if points is None else points
        lattice, at = np.asarray(self.lattice), places(self.positions, state)
        F, _ = fourier.deformation(condition)
        cell = cells.deformed(lattice, points.shape, self.ions, at, condition)
        q = bloch.waves(points, lattice, F)
        kinetic, there = bloch.energies_of_waves(q), points.there
        if self.basis == "cutoff":
            there = there & (kinetic <= self.cutoff)
            borne = jnp.linalg.norm(F, ord=2) <= _ROOM
            kinetic = jnp.where(borne, kinetic, jnp.nan)
        projectors, strength = bloch.projectors(points, q, cell.volume, [ion.projectors for ion in self.ions], at)
        return h.Setting(points, self.xc, cell, kinetic, there, jnp.where(there[:, None], projectors, 0.0), strength)

    def _share(self, electrons) -> Float[Array, "k bands"]:
        """Weight times occupation, w f."""
        weights = jnp.asarray(self._table.weights)[:, None]
        f = electrons.occupations if isinstance(electrons, Occupied) else jnp.full((1, self.bands), 2.0)
        return weights * f

    def init(self, condition, key):
        state = Relaxed(None, jnp.zeros((len(self.ions) - 1, 3))) if self.relax_positions else None
        return with_electrons(state, self._first(self._setting(state, condition)))

    def _first(self, s: h.Setting):
        c = first_orbitals(s, self.bands, self.electrons)
        if self.smearing is None:
            return self.stored(c)
        filled = jnp.clip(self.electrons - 2.0 * jnp.arange(self.bands), 0.0, 2.0)
        return Occupied(_packed(c), jnp.broadcast_to(filled, c.shape[:2]), jnp.zeros(()))

    def stored(self, c: bloch.Coefficients) -> Float[Array, "k bands g 2"]:
        """Coefficients as a state holds them: real and imaginary parts, times the root of the weight of their k point."""
        return _packed(c) * self._table.weights[:, None, None, None] ** 0.5

    def coefficients(self, state) -> bloch.Coefficients:
        """Complex coefficients of the orbitals."""
        electrons = electrons_of(state)
        if isinstance(electrons, Occupied):
            return _unpacked(electrons.orbitals)
        return _unpacked(electrons) * self._table.weights[:, None, None] ** -0.5

    def energy(self, state, condition):
        electrons, s, c = electrons_of(state), self._setting(state, condition), self.coefficients(state)
        share = self._share(electrons)
        held = 0.0 if isinstance(electrons, Occupied) else 2.0 * h.held(c, jnp.asarray(self._table.weights))
        c = c if isinstance(electrons, Occupied) else h.spanning(c)
        density = bloch.count(s.points, bloch.to_grid(s.points, c), share) / s.cell.volume
        lattice, at = np.asarray(self.lattice), places(self.positions, state)
        points = cells.points(lattice, self.ions, np.asarray(self.positions), at, condition)
        heat = electrons.heat if isinstance(electrons, Occupied) else 0.0
        return (h.of_orbitals(s, c, share) + h.of_density(s, density) + points + heat + held) / self.volume

    @property
    def highest_order(self):
        """With the plane waves of each cell's own cutoff, tangents of insulators follow from the implicit function theorem."""
        return 1 if self.smearing is None and self.basis == "cutoff" else 2

    @property
    def tangent_is_cheap(self):
        return False

    def assemble(self, state, condition, order):
        if order == 2 and self.smearing is None:
            return self._moduli(state, condition)
        found = self._energy_and_link(state, condition)
        return found if order == 1 else (*found, self._differences(state, condition))

    def _energy_and_link(self, state, condition):
        return jax.value_and_grad(lambda A: self.energy(state, A))(condition)

    def metric(self, state):
        """1: Σ|c|² is the mean of |ψ|² over the cell."""
        return 1.0

    @property
    def solver(self):
        return _Ground(self.approximate_inverse, dense_limit=0)

    @property
    def manifold(self):
        return Orthonormal()

    def link(self, state, condition):
        """P at fixed coefficients and occupations."""
        return self._energy_and_link(state, condition)[1]

    def _moduli(self, state, condition):
        """W, P and C of an insulator."""

        def energy(parts, parameters):
            electrons, A = self.stored(parts[0] + 1j * parts[1]), parameters[:9].reshape(3, 3)
            moved = Relaxed(electrons, parameters[9:].reshape(-1, 3)) if self.relax_positions else electrons
            return self.energy(moved, A)

        shifts = state.shifts.reshape(-1) if self.relax_positions else jnp.zeros(0)
        share, c = self._share(electrons_of(state)), h.orthonormal(self.coefficients(state))
        s, at = self._setting(state, condition), jnp.concatenate([condition.reshape(-1), shifts])
        follow = moduli.orbitals_follow(s, share, c, 1.0 / self.volume)
        W, slope, second = moduli.second_derivatives(energy, jnp.stack([c.real, c.imag]), follow, at)
        return W, slope[:9].reshape(3, 3), moduli.tensor(second)

    def _differences(self, state, condition):
        """dP/dA by central differences of P, each solved anew."""

        def stress(A):
            return self.link(self.relaxed(state, A, _FINE)[0], A)

        steps = _STEP * jnp.eye(9).reshape(9, 3, 3)
        there = jax.lax.map(lambda d: stress(condition + d), jnp.concatenate([steps, -steps]))
        slopes = (there[:9] - there[9:]) / (2.0 * _STEP)
        return jnp.moveaxis(slopes, 0, -1).reshape(3, 3, 3, 3)

    def approximate_inverse(self, residual, condition, shift):
        """−1/((4/Ω₀)(kinetic energy of the wave + depth) + shift) on orbitals; see `AbstractSolver.approximate_inverse`."""
        electrons, s = electrons_of(residual), self._setting(residual, condition)
        if isinstance(electrons, Occupied):
            return jax.tree.map(lambda r: r * jnp.nan, residual)
        kinetic = jnp.nan_to_num(s.kinetic)
        found = -electrons / (4.0 / self.volume * (kinetic[:, None, :, None] + h.DEEP) + shift)
        if not self.relax_positions:
            return found
        return Relaxed(found, -residual.shifts / (self._stiffness(s) / self.volume + shift))

    def _stiffness(self, s: h.Setting):
        return stiffness(self.electrons, len(self.ions), s.cell.volume)

    def relaxed(self, state, condition, tolerance):
        """Direct minimisation, or self-consistency where occupations are fractional, to a residual of `tolerance` hartree.

        Ions relax by quasi-Newton steps, until their shifts are as good as `tolerance`, in fractions of the lattice.
        """
        if not self.relax_positions:
            return self._ground(state, condition, tolerance)
        stiff = self._stiffness(self._setting(state, condition))

        def ground(shifts, electrons, wanted):
            found, out = self._ground(Relaxed(electrons, shifts), condition, wanted)
            return found.electrons, out

        energy = lambda electrons, shifts: self.energy(Relaxed(electrons, shifts), condition) * self.volume
        return together(ground, energy, state, stiff, tolerance)

    def _ground(self, state, condition, tolerance):
        """Electrons in their ground state, ions where they are."""
        s, weights = self._setting(state, condition), jnp.asarray(self._table.weights)

        def once(guess, careful):
            if self.smearing is not None:
                return self_consistent(s, self.smearing, self.electrons, weights, guess, tolerance, careful)
            c, out = minimum(s, self._share(guess), self.coefficients(guess), tolerance, careful)
            return self.stored(c), out

        electrons, out = twice(once, electrons_of(state), lambda: self._first(s))
        return with_electrons(state, electrons), out

    def density(self, state: Any, condition: Float[Array, "3 3"]) -> Float[Array, "n1 n2 n3"]:
        """ρ (electrons per bohr³ of the deformed cell) on the grid of the cell."""
        points = self._table
        J = fourier.deformation(condition)[1]
        psi = bloch.to_grid(points, self.coefficients(state))
        return bloch.count(points, psi, self._share(electrons_of(state))) / (self.volume * J)


class _Ground(Minimise):
    """Direct minimisation or self-consistency, and quasi-Newton steps for ions that relax."""

    def solve(self, fiber: KohnSham, state, condition, tolerance):
        return fiber.relaxed(state, condition, tolerance)

    def stage(self, fiber, state, condition, base, shift, tolerance):
        _refuse_motion(base)
        return super().stage(fiber, state, condition, base, shift, tolerance)


class Orthonormal(AbstractManifold):
    """Orthonormal orbitals, the Stiefel manifold of every k, as Car and Parrinello keep them."""

    def retract(self, fiber: KohnSham, state, condition, normal_at=None):
        """Nearest ones, or c + c₀X with Hermitian X."""
        _refuse_motion(state)
        c = fiber.coefficients(state)
        if normal_at is None:
            return with_electrons(state, fiber.stored(h.orthonormal(c)))
        start = fiber.coefficients(normal_at)
        found = c + h.mix(start, h.lagrange(h.inner(c, c), h.inner(start, c)))
        return with_electrons(state, fiber.stored(found))

    def project(self, fiber: KohnSham, state, velocity, condition):
        _refuse_motion(state)
        c, v = fiber.coefficients(state), fiber.coefficients(velocity)
        along = h.inner(c, v)
        return with_electrons(velocity, fiber.stored(v - 0.5 * h.mix(c, along + jnp.swapaxes(along.conj(), 1, 2))))


@functools.lru_cache(maxsize=64)
def _tables(lattice: tuple, k: tuple, weights: tuple, cutoff: float) -> bloch.Table:
    return bloch.table(np.asarray(lattice), np.asarray(k), np.asarray(weights), cutoff)


def _refuse_motion(state) -> None:
    if isinstance(electrons_of(state), Occupied):
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
