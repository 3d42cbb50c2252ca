"""A periodic box of molecules in a homogeneous flow as a fiber (section 7 of the paper; docs: molecules).

In scaled coordinates s, with the box h (columns are lattice vectors), peculiar momenta p and forces F,

    ds/dt = h⁻¹ p/m      dh/dt = κ h      dp/dt = F − κ p − α p      σ = −(1/V) {Σ p⊗p/m + Σ_pairs r⊗f}

These are the SLLOD equations (Evans and Morriss, Statistical Mechanics of Nonequilibrium Liquids, 2nd ed. 2008, chapter 6),
with the streaming motion carried by the box alone. α holds the temperature. The stress of Irving and Kirkwood (J. Chem. Phys.
18 (1950) 817), averaged over a whole periodic box, is the virial.

One step of the fiber is one neighbour list, a fixed number of Verlet steps and one sample of the stress. There are no branches.

It has more than five public methods: those of a stochastic fiber with an energy.
"""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from fiberax.core.capabilities import AbstractEnergetic
from fiberax.core.errors import BadInput
from fiberax.core.fiber import AbstractStochastic
from fiberax.core.platform import need_double
from fiberax.core.strategies import Forbidden
from fiberax.numerics import trees
from fiberax.physics.molecules import pairs
from fiberax.physics.molecules.bonds import FENE
from fiberax.physics.molecules.lattice import Streaming, fresh, reduced, velocity_gradient, widths
from fiberax.physics.molecules.potentials import AbstractPair
from fiberax.physics.molecules.start import melted, packed
from fiberax.physics.molecules.thermostats import AbstractThermostat, Isokinetic

OVERFLOW, STALE, THIN, BROKEN = 100, 101, 102, 103
_WORDS = {
    OVERFLOW: "a particle has more neighbours than its list holds: raise the capacity of the Box",
    STALE: "a pair came within the cutoff that the list did not hold: raise the skin of the Box, or lower its dt",
    THIN: "the box has become thinner than its lists allow: take more particles, or another start of the box",
    BROKEN: "a bond has reached its largest length: lower the dt of the Box",
}
STEPS = 8  # of Verlet in one step of the fiber
_ROOM = 1.35  # capacity of a list over the mean number of neighbours
_MORE = 12
_SKIN = 0.4
_ISOKINETIC = Isokinetic()
_MELT, _SIMPLE, _ROUSE = 10.0, 0.5, 1.5  # τ; a chain of n beads relaxes in 1.5 n² τ (Kremer and Grest 1990)
_REMEMBERS = "chains remember the flow along their way, which boxes at fixed sites do not see; take them in a channel"
_STRINGS = 1.2  # velocity gradient above which particles may be held on strings


class Molecules(NamedTuple):
    """State of a `Box`.

    Args:
        positions: Scaled coordinates s (3, n); a particle is at h s.
        momenta: Peculiar momenta p (3, n).
        forces: (3, n).
        box: h (3, 3), its columns are the lattice vectors.
        stress: σ of the last sample (3, 3), tension positive.
        potential: Potential energy of the last sample.
        heat: What the thermostat has taken out so far.
        near: Ordered pairs within the cutoff at the end of the last step; −1 where not known.
        code: 0, or the first result code of a failure.
        renewed: How often the box was renewed.
    """

    positions: Float[Array, "3 n"]
    momenta: Float[Array, "3 n"]
    forces: Float[Array, "3 n"]
    box: Float[Array, "3 3"]
    stress: Float[Array, "3 3"]
    potential: Float[Array, ""]
    heat: Float[Array, ""]
    near: Int[Array, ""]
    code: Int[Array, ""]
    renewed: Int[Array, ""]


class Box(AbstractStochastic, AbstractEnergetic):
    """Molecules in a periodic box that a flow deforms, at a given temperature.

    Condition κ (3, 3), κ_ij = ∂U_i/∂x_j, or (2, 2) for flows in the x-y plane; its trace is left out. State: `Molecules`.
    Response: the whole stress σ of the shape of κ, tension positive, at the last sample. Units are those of the potential.

    Args:
        potential: `LennardJones()`, `WCA()`, `Pair(function, cutoff)` or an `AbstractPair` of your own.
        particles: Their number, all of mass 1.
        density: Particles per volume.
        temperature: T, k_B = 1.
        bonds: `FENE(bonds)`, or None.
        thermostat: `Isokinetic()` (default), `StochasticRescaling(time)`, or None.
        dt: A Verlet step. The fiber's own step is 8 of them.
        skin: How much longer the radius of a list is than the cutoff.
        images: Along how many axes two images of each particle are looked at, 0, 2 (x and y) or 3. With two images a box may
            become as thin as the radius of a list, with one only as twice that. 0 is enough for shear along an axis and costs
            least, 2 for any flow in the x-y plane. Axes along which the box is shorter than twice the radius always have two.
        renew: Whether a box without bonds that has become too thin is replaced by a new one, from the start with new
            momenta. It is counted in `Molecules.renewed`. By default where there are no bonds.
        capacity: Places of a list for each particle; None for 1.35 times the mean number, and 12.
        start: Scaled coordinates (3, particles) in a cube to begin with. None: a melt is made when the fiber is made.
        equilibration: Duration of the making of that melt; None for 10, or for chains with bonds 1.5 times the square of their
            mean number of beads.
        key: Seed of that melt, default key 0.
        single: Whether positions, distances and the factors of forces are in single precision, as an accelerator likes it; sums
            of forces and stresses, momenta and the box are in double precision in any case. A CPU gains little.

    Raises:
        BadInput: A number out of range, a box too small for its potential, a melt that failed.
    """

    potential: AbstractPair
    temperature: Float[Array, ""]
    bonds: FENE | None
    thermostat: AbstractThermostat | None
    start: Float[Array, "3 n"]
    particles: int = eqx.field(static=True)
    density: float = eqx.field(static=True)
    dt: float = eqx.field(static=True)
    skin: float = eqx.field(static=True)
    double: tuple[bool, ...] = eqx.field(static=True)
    renew: bool = eqx.field(static=True)
    capacity: int = eqx.field(static=True)
    single: bool = eqx.field(static=True)

    def __init__(
        self,
        potential: AbstractPair,
        particles: int = 512,
        density: float = 0.81,
        temperature: Any = 1.0,
        bonds: FENE | None = None,
        thermostat: AbstractThermostat | None = _ISOKINETIC,
        dt: float = 0.005,
        skin: float = _SKIN,
        images: int = 2,
        renew: bool | None = None,
        capacity: int | None = None,
        start: Any = None,
        equilibration: float | None = None,
        key: Any = None,
        single: bool = False,
    ):
        need_double("fx.molecules.Box", 0.0)
        _check(potential, particles, bonds, thermostat, images, renew)
        for name, value in (("density", density), ("temperature", temperature), ("dt", dt), ("skin", skin)):
            _positive(name, value)
        self.potential, self.bonds, self.thermostat = potential, bonds, thermostat
        self.temperature = jnp.asarray(temperature, jnp.result_type(float))
        self.particles, self.density, self.dt, self.skin = particles, float(density), float(dt), float(skin)
        short = self.length < 2.0 * self.radius
        self.double = tuple(short or axis < images for axis in range(3))
        self.renew, self.single = bonds is None if renew is None else renew, bool(single)
        mean = 4.0 / 3.0 * np.pi * self.radius**3 * self.density
        self.capacity = int(np.ceil(_ROOM * mean)) + _MORE if capacity is None else capacity
        if not isinstance(self.capacity, int) or self.capacity < 1:
            raise BadInput(f"Box: capacity must be a whole number of neighbours, at least 1; it is {capacity!r}.")
        if self.length <= self.radius:
            raise BadInput(
                f"Box: {particles} particles at density {density} make a box of length {self.length:.3g}, which must be more "
                f"than the radius of its lists, {self.radius:.3g}. Take more particles, or a smaller cutoff or skin."
            )
        if start is None:
            _positive("equilibration", 1.0 if equilibration is None else equilibration)
            options = {"bonds": bonds, "dt": dt, "skin": skin, "renew": False, "capacity": self.capacity}
            cold = Box(potential, particles, density, temperature, start=packed(particles), **options)
            time = max(_MELT, _relaxation(particles, bonds)) if equilibration is None else equilibration
            start = _molten(cold, time, jax.random.key(0) if key is None else key)
        self.start = jnp.asarray(start, jnp.result_type(float))
        if self.start.shape != (3, particles):
            raise BadInput(f"Box: start must have the shape (3, {particles}); it is {self.start.shape}.")

    @property
    def length(self) -> float:
        """Edge of the cube of that volume."""
        return (self.particles / self.density) ** (1.0 / 3.0)

    @property
    def radius(self) -> float:
        """Of the neighbour lists."""
        return float(self.potential.cutoff) + self.skin

    def init(self, condition, key) -> Molecules:
        """The start in a box that is turned to the flow and deformed by 0.1 τ of it, with momenta of the temperature."""
        kappa = velocity_gradient(condition)
        h, s = fresh(self.length, kappa), self._begun
        p = jnp.sqrt(self.temperature) * jax.random.normal(key, s.shape, h.dtype)
        p = p - jnp.mean(p, axis=1, keepdims=True)
        p = p * jnp.sqrt(self._thermal / self._kinetic(p))
        listed = self._list(s, h, jnp.sum(kappa))
        found = self._sums(s, h, listed.index)
        zero = jnp.zeros((), jnp.int32)
        code = _first(zero, {OVERFLOW: listed.most > self.capacity})
        stress, heat = self._stress(p, found.virial), jnp.zeros_like(found.energy)
        return Molecules(s, p, found.forces, h, stress, found.energy, heat, zero - 1, code, zero)

    @property
    def workspace(self):
        """Of a list: a number, a distance of four numbers and a force factor for each place."""
        return self.particles * self.capacity * (4 + 5 * 8)

    def timestep(self, condition):
        """8 Verlet steps."""
        return jnp.asarray(STEPS * self.dt)

    def step(self, state: Molecules, condition, dt, key) -> Molecules:
        kappa, dt = velocity_gradient(condition), jnp.asarray(dt, jnp.result_type(float))
        state, thin = self._prepared(state, kappa)
        found = self._list(state.positions, state.box, dt)
        lost = (state.near >= 0) & (found.near > state.near)
        flow = Streaming(kappa, dt / STEPS)
        # Symmetric in time: the flow and half a kick, thermostat, the drift, half a kick and the flow, thermostat.

        def moved(s, p, f, h, heat, k):
            p, heat = self._held(self._kicked(flow.slowed @ p, f, flow.dt), heat, flow.dt, jax.random.fold_in(key, k), True)
            return *flow.drift(s, p, h), p, heat

        def verlet(k, carry):
            s, p, f, h, heat, broken = carry
            s, h, p, heat = moved(s, p, f, h, heat, 2 * k)
            f, now = self._forces(s, h, found.index)
            p, heat = self._held(
                flow.slowed @ self._kicked(p, f, flow.dt), heat, flow.dt, jax.random.fold_in(key, 2 * k + 1), True
            )
            return s, p, f, h, heat, broken | now

        none = jnp.zeros((), bool)
        carry = (state.positions, state.momenta, state.forces, state.box, state.heat, none)
        s, p, f, h, heat, broken = jax.lax.fori_loop(0, STEPS - 1, verlet, carry)
        s, h, p, heat = moved(s, p, f, h, heat, 2 * STEPS - 2)
        last = self._sums(s, h, found.index)
        p = flow.slowed @ self._kicked(p, last.forces, flow.dt)
        p, heat = self._held(p, heat, flow.dt, jax.random.fold_in(key, 2 * STEPS - 1), True)
        p, heat = self._held(p, heat, dt, key, False)
        broken |= none if self.bonds is None else self.bonds.broken(self.bonds.lengths(s, h)[1])
        code = _first(state.code, {BROKEN: broken, OVERFLOW: found.most > self.capacity, THIN: thin, STALE: lost})
        stress = self._stress(p, last.virial)
        return Molecules(s, p, last.forces, h, stress, last.energy, heat, last.near, code, state.renewed)

    def link(self, state: Molecules, condition):
        d = jnp.shape(condition)[0]
        return state.stress[:d, :d]

    def remark(self, conditions):
        if self.thermostat is None or trees.is_tracer(conditions):
            return ""
        fastest = float(np.max(np.linalg.norm(np.asarray(conditions), axis=(1, 2)), initial=0.0))
        if not fastest > _STRINGS:
            return ""
        return (
            f"Box: the largest velocity gradient is {fastest:.3g}. The thermostat takes the linear profile of the flow for "
            f"granted; above about {_STRINGS:g} it holds particles on strings, and the viscosity comes out too low."
        )

    def relaxation_time(self, condition):
        """Of the stress of a liquid about 0.5; of chains 1.5 times the square of their mean number of beads."""
        return jnp.asarray(_relaxation(self.particles, self.bonds))

    def verdict(self, state: Molecules):
        return state.code

    def remedy(self, result):
        return _WORDS.get(result, "")

    def total_energy(self, state: Molecules, condition):
        """Kinetic energy of the peculiar momenta and potential energy per volume."""
        return (self._kinetic(state.momenta) + state.potential) / self._volume

    @property
    def mixing(self):
        return Forbidden("means of the positions of particles are positions of no liquid", _REMEMBERS if self._chained else "")

    @property
    def _begun(self) -> Array:
        """Positions of the start in [0, 1)."""
        s = (self.start - jnp.floor(self.start)).astype(jnp.float32 if self.single else self.start.dtype)
        return jnp.where(s < 1.0, s, 0.0)

    @property
    def _chained(self) -> bool:
        return self.bonds is not None and self.bonds.count > 0

    @property
    def _volume(self) -> float:
        return self.particles / self.density

    @property
    def _freedoms(self) -> int:
        return 3 * self.particles - 3

    @property
    def _thermal(self) -> Float[Array, ""]:
        """The mean kinetic energy at the temperature."""
        return 0.5 * self._freedoms * self.temperature

    def _kinetic(self, p):
        return 0.5 * jnp.sum(p * p)

    def _prepared(self, state: Molecules, kappa) -> tuple[Molecules, Array]:
        """The state before a step, its box reduced, and whether the box is too thin for its lists.

        A box that is too thin is renewed where this is allowed: positions are those of the start, and momenta stay.
        """
        # The flow multiplies a total momentum that round-off leaves.
        p = state.momenta - jnp.mean(state.momenta, axis=1, keepdims=True)
        h, s = reduced(state.box, state.positions, self._volume)
        state = state._replace(positions=s, momenta=p, box=h)
        need = self.radius * np.where(self.double, 1.0, 2.0)
        thin = ~jnp.all(widths(h) > need)
        if not self.renew:
            return state, thin
        new = state._replace(
            positions=self._begun,
            forces=jnp.zeros_like(state.forces),  # half a kick is left out
            box=fresh(self.length, kappa),
            near=-jnp.ones_like(state.near),
            renewed=state.renewed + 1,
        )
        return trees.where(thin, new, state), jnp.zeros((), bool)

    def _list(self, s, h, time) -> pairs.Neighbours:
        return pairs.neighbours(s, h, self.radius, float(self.potential.cutoff), self.double, self.capacity, time)

    def _forces(self, s, h, index):
        """Forces, and whether a bond is broken."""
        f = pairs.forces(self.potential, s, h, index)
        if self.bonds is None:
            return f, jnp.zeros((), bool)
        more, broken = self.bonds.forces(s, h)
        return f + more, broken

    def _sums(self, s, h, index) -> pairs.Sums:
        found = pairs.sums(self.potential, s, h, index)
        return found if self.bonds is None else jax.tree.map(jnp.add, found, self.bonds.sums(s, h))

    def _stress(self, p, virial):
        return -(p @ p.T + virial) / self._volume

    def _kicked(self, p, f, dt):
        """Momenta after half a kick of a step `dt`."""
        return p + f * (0.5 * dt if self.thermostat is None else self.thermostat.span(p, f, 0.5 * dt))

    def _held(self, p, heat, dt, key, often: bool):
        """Momenta after the thermostat, if it acts here, and the heat that it has taken out."""
        if self.thermostat is None or self.thermostat.often is not often:
            return p, heat
        kinetic = self._kinetic(p)
        scale = self.thermostat.scale(kinetic, self._thermal, self._freedoms, dt, key)
        return scale * p, heat + kinetic * (1.0 - scale**2)


def _first(code, found: dict):
    """The code of the first failure: `code` if there is one, else the first of `found` that holds."""
    now = jnp.zeros_like(code)
    for number, holds in reversed(found.items()):
        now = jnp.where(holds, jnp.int32(number), now)
    return jnp.where(code == 0, now, code)


def _relaxation(particles: int, bonds: FENE | None) -> float:
    """The time of relaxation: 0.5, and for chains 1.5 times the square of their mean number of beads, as Rouse found."""
    if bonds is None or bonds.count == 0:
        return _SIMPLE
    return _ROUSE * (particles / max(particles - bonds.count, 1)) ** 2


def _molten(cold: Box, duration, key) -> Array:
    """Positions of a melt. Raises `BadInput` where it fails."""
    real = lambda x: jnp.asarray(x, jnp.result_type(float))
    state = melted(cold, real(duration), real(STEPS * cold.dt), key)
    if not trees.is_tracer(state.code) and int(state.code):
        raise BadInput(f"Box: the melt to begin with has failed: {_WORDS[int(state.code)]}.")
    return state.positions - jnp.floor(state.positions)


def _positive(name: str, value) -> None:
    if not trees.is_tracer(value) and not 0.0 < float(value) < float("inf"):
        raise BadInput(f"Box: {name} must be positive and finite; it is {value!r}.")


def _check(potential, particles, bonds, thermostat, images, renew) -> None:
    """Raise `BadInput` for what is no potential, bond, thermostat or number of particles."""
    if not isinstance(potential, AbstractPair):
        raise BadInput(f"Box: potential must be one of fx.molecules, such as LennardJones(); it is {potential!r}.")
    if not isinstance(particles, int) or particles < 2:
        raise BadInput(f"Box: particles must be a whole number, at least 2; it is {particles!r}.")
    if bonds is not None and not isinstance(bonds, FENE):
        raise BadInput(f"Box: bonds must be fx.molecules.FENE(pairs) or None; it is {bonds!r}.")
    if bonds is not None and bonds.particles > particles:
        raise BadInput(f"Box: a bond names particle {bonds.particles - 1}, but there are {particles} particles from 0 on.")
    if thermostat is not None and not isinstance(thermostat, AbstractThermostat):
        raise BadInput(
            f"Box: thermostat must be fx.molecules.Isokinetic(), StochasticRescaling() or None; it is {thermostat!r}."
        )
    if images not in (0, 2, 3):
        raise BadInput(f"Box: images is the number of axes with two images, 0, 2 or 3; it is {images!r}.")
    if renew and bonds is not None:
        raise BadInput("Box: renew=True makes a new box at once, and chains need long to relax. Take more particles instead.")
