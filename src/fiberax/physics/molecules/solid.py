"""A solid at finite temperature as a fiber: a periodic piece of a crystal, held at F = I + A, in thermal motion.

Scaled coordinates s in the box h = F h₀ (columns are lattice vectors), momenta p, energy E of the crystal's own potential:

    ds/dt = h⁻¹ p/m      dp/dt = −∂E/∂x − γ p + noise      P = J σ F⁻ᵀ      σ = (1/V) {∂E/∂ε − (N − 1) T I}

P is the first Piola-Kirchhoff stress. Momenta have been averaged over in closed form, N − 1 because the centre of mass rests.
Steps are those of Leimkuhler and Matthews (BAOAB, J. Chem. Phys. 138 (2013) 174102), whose positions have the right
distribution in a harmonic crystal for any step. A thermostat that only rescales would leave each mode its own energy there.

It has more than five public methods: those of a stochastic fiber with an energy.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fiberax.core.capabilities import AbstractEnergetic
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractStochastic
from fiberax.core.platform import need_double
from fiberax.core.strategies import Forbidden
from fiberax.numerics import trees
from fiberax.numerics.small import determinant
from fiberax.physics.molecules import pairs
from fiberax.physics.molecules.box import OVERFLOW, STALE, THIN
from fiberax.physics.molecules.lattice import inverse, widths

STEPS = 8  # of Verlet in one step of the fiber
_WORDS = {
    OVERFLOW: "an atom has more neighbours than its list holds: raise the capacity of the Solid",
    STALE: "an atom moved so far in one step that its list may miss a pair: raise the skin of the Solid, or lower its dt",
    THIN: "the box has become thinner than its lists allow: take more cells, or smaller deformations",
}
_SKIN = 0.3  # of the nearest distance
_WIDER = 1.12  # radius within which atoms of the undeformed crystal are counted for the capacity of a list
_MORE = 8
_THINNER = 0.8  # down to which widths the axes with one image are laid out
_DT, _FRICTION = 0.1, 0.2  # over and of the fastest frequency


class Atoms(NamedTuple):
    """State of a `Solid`.

    Args:
        positions: Scaled coordinates s (3, n); an atom is at h s, h = F h₀.
        momenta: p (3, n).
        forces: (3, n).
        potential: Potential energy of the last sample.
        code: 0, or the first result code of a failure.
    """

    positions: Float[Array, "3 n"]
    momenta: Float[Array, "3 n"]
    forces: Float[Array, "3 n"]
    potential: Float[Array, ""]
    code: Int[Array, ""]


class Solid(AbstractStochastic, AbstractEnergetic):
    """A periodic piece of a crystal in thermal motion, held at a displacement gradient, at a given temperature.

    Condition A (3, 3); state `Atoms`; response P (3, 3), the first Piola-Kirchhoff stress of the atoms at this instant, in the
    box of this A, whose mean is the thermal stress: the derivative of the free energy per reference volume. It is that of the
    crystal at T = 0, and `fx.solids.Elasticity` in motion takes it as it takes a crystal. `fx.sample(solid, A)` gives the mean
    and its error.

    Units are those of the potential: for eV, Å and atomic masses, T is k_B times the temperature in eV (300 K: 0.025852), and
    times are in units of 10.18 fs.

    Args:
        crystal: A `fx.solids.Crystal` in three dimensions with one species and a potential with a cutoff.
        cells: How many of its cells along each lattice vector.
        temperature: T, k_B = 1.
        mass: Of an atom.
        dt: A Verlet step, None for 0.1 over the fastest frequency. The fiber's own step is 8 of them.
        friction: γ, None for 0.2 of the fastest frequency.
        skin: How much longer the radius of a list is than the cutoff; None for 0.3 of the nearest distance.
        capacity: Places of a list for each atom; None for the number of atoms within 1.12 times the radius of the list in the
            undeformed crystal, and 8.

    Raises:
        BadInput: What is no such crystal, a number out of range, too few cells for the cutoff.
    """

    potential: Any
    lattice: Float[Array, "3 3"]
    start: Float[Array, "3 n"]
    temperature: Float[Array, ""]
    mass: Float[Array, ""]
    friction: Float[Array, ""]
    species: str = eqx.field(static=True)
    particles: int = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    skin: float = eqx.field(static=True)
    double: tuple[bool, ...] = eqx.field(static=True)
    capacity: int = eqx.field(static=True)

    def __init__(
        self,
        crystal: Any,
        cells: tuple[int, int, int] = (4, 4, 4),
        temperature: Any = 0.1,
        mass: Any = 1.0,
        dt: float | None = None,
        friction: float | None = None,
        skin: float | None = None,
        capacity: int | None = None,
    ):
        need_double("fx.molecules.Solid", 0.0)
        _check(crystal, cells)
        real = lambda x: jnp.asarray(x, jnp.result_type(float))
        for name, value in (("temperature", temperature), ("mass", mass), ("dt", dt), ("friction", friction), ("skin", skin)):
            if value is not None and not trees.is_tracer(value) and not 0.0 < float(value) < float("inf"):
                raise BadInput(f"Solid: {name} must be positive and finite; it is {value!r}.")
        self.potential, self.species = crystal.potential, crystal.species[0]
        self.temperature, self.mass = real(temperature), real(mass)
        rows = np.asarray(crystal.lattice) * np.asarray(cells)[:, None]
        self.lattice = real(rows.T)
        places = np.stack(np.meshgrid(*map(np.arange, cells), indexing="ij"), -1).reshape(-1, 1, 3)
        s = ((places + np.asarray(crystal.basis)) / np.asarray(cells)).reshape(-1, 3).T
        self.start, self.particles = real(s - np.floor(s)), s.shape[1]
        self.skin, count = _neighbourhood(s, rows.T, float(crystal.potential.cutoff), None if skin is None else float(skin))
        across = np.asarray(widths(self.lattice))
        if across.min() * _THINNER <= self.radius:
            raise BadInput(
                f"Solid: {self.particles} atoms in {cells} cells make a box whose width, {across.min():.3g}, must be more than "
                f"the radius of its lists, {self.radius:.3g}, over {_THINNER}. Take more cells, or a smaller cutoff or skin."
            )
        self.double = tuple(bool(w * _THINNER < 2.0 * self.radius) for w in across)
        self.capacity = count + _MORE if capacity is None else capacity
        if not isinstance(self.capacity, int) or self.capacity < 1:
            raise BadInput(f"Solid: capacity must be a whole number of neighbours, at least 1; it is {capacity!r}.")
        self.dt, self.friction = 1.0, real(1.0)
        fastest = 1.0 if dt is not None and friction is not None else self._fastest()
        self.dt = _DT / fastest if dt is None else float(dt)
        self.friction = real(_FRICTION * fastest if friction is None else friction)

    @property
    def radius(self) -> float:
        """Of the neighbour lists."""
        return float(self.potential.cutoff) + self.skin

    @property
    def volume(self) -> Float[Array, ""]:
        """Of the undeformed box."""
        return jnp.abs(determinant(self.lattice))

    def init(self, condition, key) -> Atoms:
        """Atoms at their places in the crystal, with momenta of twice the temperature: half of it goes into the lattice."""
        h = self._box(condition)
        p = jnp.sqrt(2.0 * self.mass * self.temperature) * jax.random.normal(key, self.start.shape, self.start.dtype)
        listed = self._list(self.start, h, jnp.sum(h))
        found = self._sums(self.start, h, listed.index)
        code = jnp.where(listed.most > self.capacity, jnp.int32(OVERFLOW), jnp.int32(0))
        return Atoms(self.start, p - jnp.mean(p, axis=1, keepdims=True), found.forces, found.energy, code)

    @property
    def workspace(self):
        """Of a list: a number, vectors to neighbours and their forces for each place."""
        return self.particles * self.capacity * (4 + 7 * 8)

    def timestep(self, condition):
        """8 Verlet steps."""
        return jnp.asarray(STEPS * self.dt)

    def step(self, state: Atoms, condition, dt, key) -> Atoms:
        h, dt = self._box(condition), jnp.asarray(dt, jnp.result_type(float)) / STEPS
        s0 = state.positions - jnp.floor(state.positions)
        s0 = jnp.where(s0 < 1.0, s0, 0.0)
        found, back = self._list(s0, h, dt), inverse(h)
        kept = jnp.exp(-self.friction * dt)
        kick = jnp.sqrt((1.0 - kept**2) * self.mass * self.temperature)

        def verlet(k, carry):
            s, p, f, _, far = carry
            p = p + 0.5 * dt * f
            s = s + 0.5 * dt / self.mass * (back @ p)
            noise = jax.random.normal(jax.random.fold_in(key, k), p.shape, p.dtype)
            p = kept * p + kick * (noise - jnp.mean(noise, axis=1, keepdims=True))
            s = s + 0.5 * dt / self.mass * (back @ p)
            now = self._sums(s, h, found.index)
            moved = jnp.max(jnp.sum((h @ (s - s0)) ** 2, axis=0))
            return s, p + 0.5 * dt * now.forces, now.forces, now.energy, jnp.maximum(far, moved)

        # Forces of the state are those of its own condition; in this one they are computed anew.
        first = self._sums(s0, h, found.index)
        zero = jnp.zeros_like(state.potential)
        carry = (s0, state.momenta, first.forces, state.potential, zero)
        s, p, f, energy, far = jax.lax.fori_loop(0, STEPS, verlet, carry)
        thin = ~jnp.all(widths(h) > self.radius * np.where(self.double, 1.0, 2.0))
        code = state.code
        for number, holds in ((THIN, thin), (OVERFLOW, found.most > self.capacity), (STALE, ~(4.0 * far < self.skin**2))):
            code = jnp.where((code == 0) & holds, jnp.int32(number), code)
        return Atoms(s, p - jnp.mean(p, axis=1, keepdims=True), f, energy, code)

    def link(self, state: Atoms, condition):
        # At this condition, not at that of the last step: stresses that lag behind the strain feed energy into a body.
        F = jnp.eye(3, dtype=self.lattice.dtype) + condition
        kirchhoff = self._held(state, condition).virial - (self.particles - 1) * self.temperature * jnp.eye(3, dtype=F.dtype)
        return kirchhoff @ inverse(F).T / self.volume

    def total_energy(self, state: Atoms, condition):
        """Kinetic and potential energy per reference volume."""
        return (0.5 * jnp.sum(state.momenta**2) / self.mass + self._held(state, condition).energy) / self.volume

    def relaxation_time(self, condition):
        """Of the fluctuations of the stress, which friction damps: about 2/γ."""
        return 2.0 / self.friction

    def verdict(self, state: Atoms):
        return state.code

    def remedy(self, result):
        return _WORDS.get(result, "")

    @property
    def mixing(self):
        return Forbidden("means of the positions of atoms in thermal motion have too little of it")

    def _box(self, condition):
        if jnp.shape(condition) != (3, 3):
            raise Mismatch(f"Solid: the condition is a displacement gradient A (3, 3); its shape is {jnp.shape(condition)}.")
        return (jnp.eye(3, dtype=self.lattice.dtype) + condition) @ self.lattice

    def _held(self, state: Atoms, condition) -> pairs.Sums:
        """Sums at the scaled coordinates of a state and the box of `condition`."""
        h, s = self._box(condition), state.positions - jnp.floor(state.positions)
        s = jnp.where(s < 1.0, s, 0.0)
        return self._sums(s, h, self._list(s, h, jnp.sum(h)).index)

    def _list(self, s, h, time) -> pairs.Neighbours:
        return pairs.neighbours(s, h, self.radius, float(self.potential.cutoff), self.double, self.capacity, time)

    def _sums(self, s, h, index) -> pairs.Sums:
        """Forces, ∂E/∂ε and energy from the site energies of the potential, which may be of many bodies."""
        n = s.shape[1]
        x, table = pairs.images(s, h)
        r = jnp.moveaxis(table.at[index].get(mode="promise_in_bounds") - x[:, None], 0, -1)  # (capacity, 4, n)
        r = jnp.moveaxis(r[:, :3], 1, 0)
        names = (self.species,) * self.capacity
        total = lambda r: jnp.sum(self.potential.site_energy(self.species, names, r))
        energy, pull = jax.value_and_grad(total)(r)
        if self.potential.pairwise:  # both ends of a bond are pulled alike
            forces = 2.0 * jnp.sum(pull, axis=1)
        else:
            ends = index.T % n  # places without a neighbour pull nothing
            forces = jnp.sum(pull, axis=1) - jnp.zeros_like(s).at[:, ends].add(pull)
        return pairs.Sums(forces, jnp.einsum("akn,bkn->ab", pull, r), energy, jnp.zeros((), jnp.int32))

    def _fastest(self) -> float:
        """An estimate of the fastest frequency: √2 times that of one atom among others at rest."""
        index = self._list(self.start, self.lattice, jnp.sum(self.lattice)).index
        first = jnp.zeros(self.particles).at[0].set(1.0)

        @jax.jit
        def stiffness(u):
            moved = self.start + inverse(self.lattice) @ (u[:, None] * first)
            return -self._sums(moved, self.lattice, index).forces[:, 0]

        spring = float(jnp.trace(jax.jacfwd(stiffness)(jnp.zeros(3)))) / 3.0
        if not spring > 0.0:
            raise BadInput(
                "Solid: the atoms of this crystal are not held by their neighbours. Give dt and friction, or stress it."
            )
        return (2.0 * spring / float(self.mass)) ** 0.5


def _neighbourhood(s: np.ndarray, h: np.ndarray, cutoff: float, skin: float | None) -> tuple[float, int]:
    """The skin, by default from the nearest distance of the undeformed crystal, and the most atoms about one.

    Shells of a crystal lie just beyond a cutoff as a rule, so that atoms are counted where they will be looked for.
    """
    far = _WIDER * (cutoff + (_SKIN * cutoff if skin is None else skin))
    reach = np.ceil(far / np.asarray(widths(jnp.asarray(h)))).astype(int) + 1
    shifts = np.stack(np.meshgrid(*(np.arange(-k, k + 1) for k in reach), indexing="ij"), -1).reshape(-1, 3).T
    found = []
    for place in s.T:
        r = np.linalg.norm(h @ (s[:, :, None] - place[:, None, None] + shifts[:, None]).reshape(3, -1), axis=0)
        found.append(r[(r > 1e-9) & (r < far)])
    skin = _SKIN * min(float(r.min(initial=cutoff)) for r in found) if skin is None else skin
    return skin, max(int(np.count_nonzero(r < _WIDER * (cutoff + skin))) for r in found)


def _check(crystal: Any, cells: Any) -> None:
    """Raise `BadInput` for what is no crystal of one species in three dimensions with a cutoff, or no numbers of cells."""
    if not all(hasattr(crystal, name) for name in ("lattice", "basis", "species", "potential")):
        raise BadInput(f"Solid: crystal must be a fx.solids.Crystal; it is a {type(crystal).__name__}.")
    if np.shape(crystal.lattice) != (3, 3):
        raise BadInput("Solid: the crystal must have three dimensions.")
    if len(set(crystal.species)) > 1:
        raise BadInput(f"Solid: one species only; the crystal has {', '.join(sorted(set(crystal.species)))}.")
    if crystal.potential.cutoff is None:
        raise BadInput(f"Solid: {type(crystal.potential).__name__} has no cutoff (lattice sums). Give it one.")
    if not isinstance(cells, tuple) or len(cells) != 3 or any(not isinstance(k, int) or k < 1 for k in cells):
        raise BadInput(f"Solid: cells must be three whole numbers, at least 1; it is {cells!r}.")
