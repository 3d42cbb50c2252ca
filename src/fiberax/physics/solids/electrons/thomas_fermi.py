"""Solids from orbital-free electrons: the Thomas-Fermi-von Weizsäcker fiber (3.8)-(3.16).

With the density pulled back, ρ = (n/(JΩ₀)) u², mean(u²) = 1, the constraint does not contain A, and P = ∂W/∂A at fixed u is
the whole Hellmann-Feynman stress; u lives on a grid in reference coordinates, and A enters through the metric alone, so that P
is the exact derivative of the discrete W. Per cell, in atomic units with C_W = λ_W/2,

    E = C_W ∫|∇√ρ|² + C_TF ∫ρ^{5/3} + ∫ρ ε_xc(ρ) + Coulomb,    W = E/Ω₀,

Coulomb being ½∬(ρ−m)G(ρ−m) in the convention "paper" (3.11), and Hartree + ions + Ewald with the averages of the potentials
at G = 0 in the convention "standard" of electronic-structure codes: E_paper = E_standard − E_Ewald − n V₀ + ½∬mGm and
μ_paper = μ_standard − V₀, where V₀ is the mean of the ions' potential without its Coulomb tail.

`fx.relax(fiber, mass, friction)` is (4.1), m u'' + η u' = −δW/δu + λu, δW = mean(δW/δu δu): δW/δu = (2n/Ω₀) H u with
H = −½λ_W∇² + ∂(..)/∂ρ. Waves of a homogeneous gas decay by m s² + η s + (2n/Ω₀) κ = 0,
κ(G) = λ_W G²/2 + 2ρ ((10/9) C_TF ρ^{−1/3} + 4π/G²).

The Nyquist waves of even grids are no part of the space: the energy is that of u without them, and a spring of middle stiffness
holds them at zero.
"""

from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from fiberax.core.capabilities import AbstractAssembled, AbstractObjective
from fiberax.core.errors import BadInput
from fiberax.core.solvers import Minimise
from fiberax.numerics import trees
from fiberax.physics.solids.electrons import cell as cells
from fiberax.physics.solids.electrons import fourier, lda, moduli
from fiberax.physics.solids.electrons.ions import Ion, check_reach, placed
from fiberax.physics.solids.electrons.rest import Relaxed, electrons_of, places, stiffness, together, twice, with_electrons
from fiberax.physics.solids.electrons.sphere import Normalised, Sphere, ground_state

Convention = Literal["standard", "paper"]
Units = Literal["atomic", "paper"]

_C_TF = 0.3 * (3.0 * np.pi**2) ** (2.0 / 3.0)


class ThomasFermi(AbstractAssembled, AbstractObjective):
    """Electrons without orbitals in a crystal; condition the displacement gradient A (3, 3), response P (3, 3).

    Args:
        lattice: Rows are lattice vectors, bohr.
        ions: One ion at the origin, or a list of (ion, fractional position); see `fx.solids.ions`.
        electrons: n per cell; neutral cells have the sum of the ions' charges.
        grid: Points along the three lattice vectors; fields are spectrally accurate. Odd numbers use every mode, even ones
            leave out the waves at the Nyquist frequency, which have no derivative.
        weizsaecker: λ_W, 1 or 1/5 or 1/9.
        xc: Exchange and correlation of the local density approximation, or None.
        convention: Of the Coulomb energy, see above; the "paper" one is meaningful for neutral cells only.
        units: "atomic" (hartree, bohr), or "paper", with C_TF = 1 and C_W = `weizsaecker` in (3.11).
        relax_positions: Whether ions relax with the density; the first is fixed.

    W is in hartree per bohr³ of the reference. The state is u (n1, n2, n3), or `Relaxed`. Where det(I + A) ≤ 0, and where a
    solve ends in a state with nodes, the outcome has a failure code.

    Raises:
        BadInput: Options that do not fit each other or the ions.
    """

    lattice: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    ions: tuple[Ion, ...]
    positions: tuple[tuple[float, ...], ...] = eqx.field(static=True)
    electrons: Float[Array, ""]
    grid: tuple[int, int, int] = eqx.field(static=True)
    weizsaecker: Float[Array, ""]
    xc: lda.Functional | None = eqx.field(static=True)
    convention: Convention = eqx.field(static=True)
    units: Units = eqx.field(static=True)
    relax_positions: bool = eqx.field(static=True)

    def __init__(
        self,
        lattice: Any,
        ions: Any,
        electrons: float,
        grid: Any = (24, 24, 24),
        weizsaecker: float = 1.0,
        xc: lda.Functional | None = None,
        convention: Convention = "standard",
        units: Units = "atomic",
        relax_positions: bool = False,
    ):
        who = "ThomasFermi"
        rows = fourier.checked_lattice(who, lattice)
        self.lattice = tuple(map(tuple, rows.tolist()))
        self.grid = fourier.checked_grid(who, grid)
        found = placed(who, ions)
        self.ions = tuple(ion for ion, _ in found)
        self.positions = tuple(tuple(position.tolist()) for _, position in found)
        for name, value in (("electrons", electrons), ("weizsaecker", weizsaecker)):
            if not trees.is_tracer(value) and not 0.0 < float(value) < float("inf"):
                raise BadInput(f"{who}: {name} must be a positive number; it is {value!r}.")
        for name, value, kind in (("convention", convention, Convention), ("units", units, Units)):
            _among(name, value, get_args(kind))
        if xc is not None:
            _among("xc", xc, get_args(lda.Functional))
        if units == "paper" and xc is not None:
            raise BadInput(f"{who}: xc={xc!r} is a functional in atomic units. Leave it out, or take units='atomic'.")
        if relax_positions and len(found) < 2:
            raise BadInput(f"{who}: relax_positions needs two ions or more; there is one, which fixes the origin.")
        for k, ion in enumerate(self.ions):
            if ion.core(jnp.zeros(1)) is not None:
                raise BadInput(
                    f"{who}: ions[{k}] has a nonlinear core correction, which only KohnSham knows. Take one without."
                )
        check_reach(who, "ions", self.ions, rows, self.grid)
        self.electrons, self.weizsaecker = jnp.asarray(electrons, float), jnp.asarray(weizsaecker, float)
        self.xc, self.convention, self.units, self.relax_positions = xc, convention, units, relax_positions

    @property
    def volume(self) -> float:
        """Ω₀, bohr³."""
        return float(abs(np.linalg.det(np.asarray(self.lattice))))

    def init(self, condition, key):
        u = jnp.ones(self.grid)
        return Relaxed(u, jnp.zeros((len(self.ions) - 1, 3))) if self.relax_positions else u

    def energy(self, state, condition):
        cell, c_tf, c_w = self._cell(state, condition), *self._constants()
        waves = fourier.forward(electrons_of(state))
        squares = waves.real**2 + waves.imag**2
        kinetic = self.electrons * c_w * jnp.sum(fourier.weights(self.grid) * cell.g2 * squares)
        u = electrons_of(state)
        if not fourier.odd(self.grid):
            u = fourier.backward(self.grid, jnp.where(fourier.kept(self.grid), waves, 0.0))
            kinetic = kinetic + self.electrons * self._spare() * jnp.sum(fourier.lost_weights(self.grid) * squares)
        density = self.electrons / cell.volume * u**2
        local = cell.volume * jnp.mean(c_tf * density ** (5.0 / 3.0) + density * self._exchange(density))
        if self.convention == "paper":
            charge = fourier.forward(density) - cell.ions
            weight = 0.5 * cell.volume * fourier.weights(self.grid) * cell.coulomb
            return (kinetic + local + jnp.sum(weight * (charge.real**2 + charge.imag**2))) / self.volume
        points = cells.points(
            np.asarray(self.lattice), self.ions, np.asarray(self.positions), places(self.positions, state), condition
        )
        return (kinetic + local + cells.electrostatic(cell, self.grid, density) + points) / self.volume

    @property
    def tangent_is_cheap(self):
        return False

    def assemble(self, state, condition, order):
        if order == 1:
            return jax.value_and_grad(lambda A: self.energy(state, A))(condition)

        def energy(u, parameters):
            moved = Relaxed(u, parameters[9:].reshape(-1, 3)) if self.relax_positions else u
            return self.energy(moved, parameters[:9].reshape(3, 3))

        shifts = state.shifts.reshape(-1) if self.relax_positions else jnp.zeros(0)
        u, at = electrons_of(state), jnp.concatenate([condition.reshape(-1), shifts])
        follow = moduli.density_follows(self._sphere(state, condition), u, self._per_volume)
        W, slope, second = moduli.second_derivatives(energy, u, follow, at)
        return W, slope[:9].reshape(3, 3), moduli.tensor(second)

    @property
    def solver(self):
        return _Ground(self.approximate_inverse)

    def constraint(self, state, condition):
        """mean(u²) − 1, (1,)."""
        return jnp.mean(electrons_of(state) ** 2, keepdims=True).reshape(1) - 1.0

    def metric(self, state):
        """The share of the cell that a grid point has; 1 for shifts."""
        share = 1.0 / np.prod(self.grid)
        return Relaxed(share, jnp.ones((len(self.ions) - 1, 3))) if self.relax_positions else share

    @property
    def manifold(self):
        return Normalised()

    def approximate_inverse(self, residual, condition, shift):
        """By κ(G) of the homogeneous gas, wave by wave."""
        cell = self._cell(residual, condition)
        kappa = self._per_volume * self._kappa(cell.volume, cell.g2) + shift
        found = -fourier.backward(self.grid, fourier.forward(electrons_of(residual)) / kappa)
        if not self.relax_positions:
            return found
        return Relaxed(found, -residual.shifts / (self._stiffness(cell.volume) / self.volume + shift))

    @property
    def _per_volume(self):
        """2n/Ω₀: δW/δu over H u."""
        return 2.0 * self.electrons / self.volume

    def _stiffness(self, volume):
        return stiffness(self.electrons, len(self.ions), volume)

    def relaxed(self, state, condition, tolerance):
        """Conjugate gradients on the sphere to a residual of `tolerance` times the kinetic potential of the mean density.

        Ions relax by quasi-Newton steps, until their shifts are as good as `tolerance`, in fractions of the lattice. A
        solve that fails is repeated once with shorter steps.
        """
        if not self.relax_positions:
            return self._ground(state, condition, tolerance)

        def ground(shifts, u, wanted):
            found, out = self._ground(Relaxed(u, shifts), condition, wanted)
            return found.electrons, out

        energy = lambda u, shifts: self.energy(Relaxed(u, shifts), condition) * self.volume
        return together(ground, energy, state, self._stiffness(self._cell(state, condition).volume), tolerance)

    def _ground(self, state, condition, tolerance):
        """Electrons in their ground state, ions where they are."""
        problem = self._sphere(state, condition)
        once = lambda guess, careful: ground_state(problem, guess, tolerance, careful)
        u, out = twice(once, electrons_of(state), lambda: jnp.ones(self.grid))
        return with_electrons(state, u), out

    def stiffness_range(self, condition: Float[Array, "3 3"]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Smallest and largest (2n/Ω₀)κ(G) of the homogeneous gas (hartree/bohr³), k: frequencies in motion are (k/m)^½."""
        F, J = fourier.deformation(condition)
        low, high = self._ends(self.volume * J, fourier.squares(self.grid, fourier.metric(np.asarray(self.lattice), F)))
        return self._per_volume * low, self._per_volume * high

    def density(self, state: Any, condition: Float[Array, "3 3"]) -> Float[Array, "n1 n2 n3"]:
        """ρ (electrons per bohr³ of the deformed cell) at the grid points."""
        return self.electrons / (self.volume * fourier.deformation(condition)[1]) * fourier.within(electrons_of(state)) ** 2

    def _cell(self, state, condition) -> cells.Cell:
        return cells.deformed(np.asarray(self.lattice), self.grid, self.ions, places(self.positions, state), condition)

    def _constants(self):
        """C_TF and C_W."""
        return (_C_TF, 0.5 * self.weizsaecker) if self.units == "atomic" else (1.0, self.weizsaecker)

    def _exchange(self, density):
        """ε_xc(ρ), hartree per electron."""
        if self.xc is None:
            return jnp.zeros_like(density)
        return lda.energy(density, self.xc)

    def _gas(self, volume, g2):
        """κ(G) of the homogeneous gas; without Coulomb energy at G = 0, where the norm is held."""
        rho, (c_tf, c_w) = self.electrons / volume, self._constants()
        return c_w * g2 + 2.0 * rho * ((10.0 / 9.0) * c_tf * rho ** (-1.0 / 3.0) + fourier.coulomb(self.grid, g2))

    def _ends(self, volume, g2):
        """Smallest and largest κ(G) of the waves that are there."""
        there, kappa = fourier.kept(self.grid).copy(), self._gas(volume, g2)
        there[0, 0, 0] = False
        return jnp.min(jnp.where(there, kappa, jnp.inf)), jnp.max(jnp.where(there, kappa, 0.0))

    def _spare(self):
        """κ of the spring that holds Nyquist waves: neither the slowest nor the fastest, and the same in every cell."""
        low, high = self._ends(self.volume, fourier.squares(self.grid, fourier.metric(np.asarray(self.lattice), jnp.eye(3))))
        return 0.5 * (low + high)

    def _kappa(self, volume, g2):
        """κ(G), and that of the spring for Nyquist waves."""
        kappa = self._gas(volume, g2)
        return kappa if fourier.odd(self.grid) else jnp.where(fourier.kept(self.grid), kappa, self._spare())

    def _sphere(self, state, condition) -> Sphere:
        cell, grid = self._cell(state, condition), self.grid
        mean_density, outer = self.electrons / cell.volume, cells.of_ions(cell, grid)
        outer = outer if self.convention == "standard" else outer - cell.mean
        kept = fourier.kept(grid)
        bend = jnp.where(kept, self._constants()[1] * cell.g2, 0.0)
        inverse = jnp.where(kept, 1.0 / self._gas(cell.volume, cell.g2), 0.0)
        power = (5.0 / 3.0) * self._constants()[0] * mean_density ** (2.0 / 3.0)
        exchange = jax.grad(lambda rho: jnp.sum(rho * self._exchange(rho)))

        def both(rho):
            """v_xc and ε_xc in one pass."""
            per_electron, back = jax.vjp(self._exchange, rho)
            return per_electron + back(rho)[0], per_electron

        def precondition(waves):
            wave = inverse * waves
            return fourier.backward(grid, wave), fourier.backward(grid, bend * wave)

        def local(u, hartree):
            kinetic = power * jnp.abs(u) ** (4.0 / 3.0)
            rest, share = (0.0, 0.0) if self.xc is None else both(mean_density * u**2)
            return kinetic + rest + hartree + outer, 0.6 * kinetic + share + 0.5 * hartree + outer

        def bent(u, change):  # v'(ρ) δρ; ρ^{−1/3} δρ has no pole where δρ is 2ρ₀ u p
            magnitude = jnp.abs(u)
            kinetic = (2.0 / 3.0) * power / mean_density * change * jnp.where(magnitude > 0.0, magnitude, 1.0) ** (-2.0 / 3.0)
            return kinetic if self.xc is None else kinetic + jax.jvp(exchange, (mean_density * u**2,), (change,))[1]

        return Sphere(
            laplace=lambda w: fourier.backward(grid, bend * fourier.forward(w)),
            precondition=precondition,
            repel=lambda rho: cells.hartree(cell, grid, rho),
            local=local,
            bend=bent,
            density=mean_density,
            scale=power,
        )


class _Ground(Minimise):
    """Conjugate gradients for the density, and quasi-Newton steps for ions that relax."""

    def solve(self, fiber: ThomasFermi, state, condition, tolerance):
        return fiber.relaxed(state, condition, tolerance)


def _among(name: str, value: Any, choices: tuple) -> None:
    if value not in choices:
        raise BadInput(f"ThomasFermi: {name}={value!r} is not one of {', '.join(map(repr, choices))}.")
