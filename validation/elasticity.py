"""Bodies of crystals against all their atoms: the limit in which the Cauchy-Born rule is exact, at second order.

References: full lattice statics and dynamics written here with the potentials' formulas, nothing of the library in them (E and
Ming, Arch. Ration. Mech. Anal. 183, 2007, for the order). The spacing ε goes to zero at a fixed body and fixed loads.
"""

import jax
import jax.numpy as jnp
import numpy as np
from table import Table, orders

import fiberax as fx

SPACING = 1.11


def pair(r, onset=1.75, cutoff=2.45):
    """Lennard-Jones, cut off twice differentiably: first and second neighbours of the triangular lattice."""
    t = jnp.clip((r**2 - onset**2) / (cutoff**2 - onset**2), 0.0, 1.0)
    return 4.0 * (r**-12 - r**-6) * (1.0 - 10.0 * t**3 + 15.0 * t**4 - 6.0 * t**5)


HEIGHT = np.sqrt(3.0) / 2.0


def load(x):
    """A force without mean over the unit cell [0, 1] x [0, √3/2], strains of some percent."""
    a, b = 2.0 * jnp.pi * x[0], 2.0 * jnp.pi * x[1] / HEIGHT
    return 12.0 * jnp.array([jnp.sin(a) * jnp.cos(b) + 0.5 * jnp.sin(2.0 * b), jnp.cos(a + b)])


def lattice_statics(n: int):
    """Positions (n², 2) and displacements of a periodic triangular lattice of n x n atoms under `load`, Newton on all atoms."""
    eps = 1.0 / n
    i, j = (k.ravel() for k in np.meshgrid(np.arange(n), np.arange(n), indexing="ij"))
    place = eps * np.stack([i + 0.5 * (j % 2), HEIGHT * j], axis=1)
    offsets = [(a, b) for b in range(-3, 4) for a in range(-4, 5) if (a, b) != (0, 0)]
    pairs = []
    for a, b in offsets:
        # Row by row: one step up moves the atom by half a spacing to the right, told by the parity of its row.
        shift = np.floor((b + (j % 2)) / 2).astype(int)
        bond = np.stack([a + b * 0.5 + 0.0 * i, HEIGHT * b + 0.0 * i], axis=1)
        if np.linalg.norm(bond[0]) * SPACING > 3.2:
            continue
        other = ((i + a + shift) % n) * n + (j + b) % n
        pairs.append((np.arange(n * n), other, bond))
    one, two, bond = (np.concatenate(x) for x in zip(*pairs))
    force = jax.vmap(load)(jnp.asarray(place))
    # Energy per reference volume and load, both over the volume of one atom: force per volume times its area.
    area = HEIGHT * SPACING**2

    def energy(flat):
        u = flat.reshape(-1, 2)
        length = jnp.linalg.norm(SPACING * (bond + (u[two] - u[one]) / eps), axis=1)
        return 0.5 * jnp.sum(pair(length)) / area - jnp.sum(force * u)

    slope, curve = jax.jit(jax.grad(energy)), jax.jit(jax.hessian(energy))
    flat = jnp.zeros(2 * n * n)
    pin = jnp.tile(jnp.eye(2), (n * n, 1))
    for _ in range(12):
        residual = slope(flat)
        residual = residual - pin @ (pin.T @ residual) / n**2
        step = jnp.linalg.solve(curve(flat) + pin @ pin.T, residual)
        flat = flat - step
        if float(jnp.abs(step).max()) < 1e-13:
            break
    return place, np.asarray(flat.reshape(-1, 2))


def triangular():
    """The same crystal, as a fiber."""
    lattice = SPACING * np.array([[1.0, 0.0], [0.5, HEIGHT]])
    return fx.solids.Crystal(
        lattice, [[0.0, 0.0]], ["A"], fx.solids.potentials.LennardJones(cutoff=2.45, scheme="smooth", onset=1.75)
    )


def body_statics(cells: int):
    """Nodes and displacements of the periodic body of that crystal under the same load."""
    mesh = fx.grids.quads((0.0, 0.0), (1.0, HEIGHT), cells=(cells, cells), periodic=True, order=2)
    body = fx.solids.Elasticity(mesh, body_force=lambda x, t: load(x))
    sol = fx.steady(fx.Bundle(body, triangular()), fx.Quasistatic(), body.start())
    return mesh, sol.macro.position[0][mesh.unknowns]


def atoms_2d(out):
    """Periodic triangular Lennard-Jones crystal under a body force: atoms against body as the spacing halves."""
    table = Table("atoms_2d", "triangular LJ, first and second neighbours: largest difference", ("atoms", "largest |u|"))
    mesh, u = body_statics(32)
    number = {tuple(np.rint(64 * p / [1.0, HEIGHT]).astype(int)): k for k, p in enumerate(mesh.points)}
    sizes, errors = (8, 16, 32), []
    for n in sizes:
        place, found = lattice_statics(n)
        same = u[[number[tuple(k)] for k in np.rint(64 * (place % [1.0, HEIGHT]) / [1.0, HEIGHT]).astype(int)]]
        gap = (found - found.mean(axis=0)) - (same - same.mean(axis=0))
        errors.append(np.abs(gap).max())
        table.below(errors[-1], 8.0 / n**2 * np.abs(same).max(), n * n, np.abs(same - same.mean(axis=0)).max())
    order = orders([1 / n for n in sizes], errors)
    table.between(order[0], 1.7, 2.4, "order, 8 to 16", "")
    table.between(order[1], 1.8, 2.2, "order, 16 to 32", "")
    return table.close(out)


def chain_energy(r):
    """Lennard-Jones with its well at 1, to second neighbours."""
    return r**-12 - 2.0 * r**-6


def start(x):
    """A displacement of the periodic chain of length 1, strains up to 3 %."""
    return 0.03 / (2.0 * jnp.pi) * jnp.sin(2.0 * jnp.pi * x)


STRETCHED, TIME = 1.0, 0.08


def chain_dynamics(n: int):
    """Displacements (n,) at `TIME` of n atoms of mass ε, by velocity Verlet in steps far below those of their fastest wave."""
    eps = 1.0 / n
    x = eps * jnp.arange(n)

    def force(u):
        def energy(u):
            return eps * sum(jnp.sum(chain_energy(k * STRETCHED + (jnp.roll(u, -k) - u) * STRETCHED / eps)) for k in (1, 2))

        return -jax.grad(energy)(u) / eps

    steps = 16000
    dt = TIME / steps

    @jax.jit
    def run(u):
        def step(carry, _):
            u, v, f = carry
            v = v + 0.5 * dt * f
            u = u + dt * v
            f = force(u)
            return (u, v + 0.5 * dt * f, f), None

        return jax.lax.scan(step, (u, jnp.zeros(n), force(u)), None, length=steps)[0][0]

    return np.asarray(x), np.asarray(run(start(x)))


def body_dynamics(cells: int):
    """Nodes and displacements at `TIME` of the body of that chain, by elements of order 2 and central differences."""
    mesh = fx.grids.interval(cells=cells, periodic=True, order=2)
    fiber = fx.EnergyFiber(
        lambda s, a: chain_energy(STRETCHED * (1.0 + a[0, 0])) + chain_energy(2.0 * STRETCHED * (1.0 + a[0, 0])),
        lambda a: jnp.zeros((0,)),
    )
    body = fx.solids.Elasticity(mesh)
    begin = body.start(displacement=lambda x: start(x[0]))
    sol = fx.evolve(fx.Bundle(body, fiber), fx.Quasistatic(), begin, t1=TIME, dt=TIME / 4000, stepper=fx.Verlet())
    return mesh.points[:, 0], sol.macro.position[-1][mesh.unknowns, 0]


def chain_1d(out):
    """Periodic Lennard-Jones chain in motion: atoms against body as the spacing halves."""
    table = Table("chain_1d", "LJ chain to second neighbours, a nonlinear wave: largest difference", ("atoms", "largest |u|"))
    nodes, u = body_dynamics(128)
    number = {round(256 * x): k for k, x in enumerate(nodes)}
    sizes, errors = (16, 32, 64), []
    for n in sizes:
        x, found = chain_dynamics(n)
        same = u[[number[round(256 * p)] for p in x]]
        errors.append(np.abs(found - same).max())
        table.below(errors[-1], 40.0 / n**2 * np.abs(same).max(), n, np.abs(same).max())
    order = orders([1 / n for n in sizes], errors)
    table.between(order[0], 1.7, 2.3, "order, 16 to 32", "")
    table.between(order[1], 1.8, 2.2, "order, 32 to 64", "")
    return table.close(out)
