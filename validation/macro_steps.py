"""Orders of the macro model in Δx and Δt, and of Seamless in the friction."""

import itertools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import iv
from table import Table, fitted_order

import fiberax as fx

hom = fx.homogenization
TAU = 2 * np.pi


def solution_1d(t, x):
    return 1.2 + 0.4 * jnp.exp(-3 * t) * jnp.cos(TAU * x[0] + 0.7)


def tensor_1d(U):
    return (1 + U**2) * jnp.eye(1)


def solution_2d(t, x):
    return 1.2 + 0.4 * jnp.exp(-3 * t) * jnp.cos(TAU * x[0] + 0.7) * jnp.sin(TAU * x[1] + 0.4)


def tensor_2d(U):
    """Layers normal to (1, 1): arithmetic mean along them, harmonic mean across."""
    nn = 0.5 * jnp.ones((2, 2))
    return (1 + U**2) * (iv(0, 0.5) * (jnp.eye(2) - nn) + nn / iv(0, 0.5))


CELLS = {
    1: hom.Cell(lambda U, z: (1 + U**2) / (1 + 0.5 * jnp.sin(TAU * z[0])), (8,)),
    2: hom.Cell(lambda U, z: (1 + U**2) * jnp.exp(0.5 * jnp.sin(TAU * (z[0] + z[1]))), (10, 10)),
}


def flux(solution, tensor, t, x):
    return tensor(solution(t, x)) @ jax.grad(solution, 1)(t, x)


def manufactured(d, sides, cells):
    """Diffusion whose exact solution is known: source and data on the sides follow from it."""
    solution, tensor = (solution_1d, tensor_1d) if d == 1 else (solution_2d, tensor_2d)

    def source(t, U, x):
        return jax.grad(solution)(t, x) - jnp.trace(jax.jacfwd(lambda x: flux(solution, tensor, t, x))(x))

    def side(kind, axis, sign):
        if kind == "Dirichlet":
            return hom.Dirichlet(solution)
        return hom.Neumann(lambda t, x: sign * flux(solution, tensor, t, x)[axis])

    boundary = tuple(None if s is None else (side(s[0], k, -1.0), side(s[1], k, 1.0)) for k, s in enumerate(sides))
    periodic = tuple(s is None for s in sides)
    grid = fx.grids.Box((0.0,) * d, (1.0,) * d, cells=(cells,) * d, periodic=periodic)
    return hom.Diffusion(grid, source=source, boundary=None if all(periodic) else boundary), solution


def run(d, sides, cells, stepper, T, steps):
    """U(T) and the exact solution at the cell centres."""
    macro, solution = manufactured(d, sides, cells)
    at = lambda t: jax.vmap(lambda x: solution(t, x))(jnp.asarray(macro.grid.centres.reshape(-1, d))).reshape(macro.grid.cells)
    sol = fx.evolve(fx.Bundle(macro, CELLS[d]), fx.Quasistatic(), at(0.0), t1=T, dt=T / steps, stepper=stepper)
    return np.asarray(sol.macro[-1]), np.asarray(at(T))


def macro_order(out):
    """Second order in space and time, with fibers whose A(U) is known."""
    columns = ("d", "sides", "stepper", "refined", "sizes")
    table = Table("macro_order", "order of the largest error in U, manufactured solutions, A(U) from cells", columns)
    sides_1d = {
        "periodic": (None,),
        "Dirichlet": (("Dirichlet", "Dirichlet"),),
        "Neumann": (("Neumann", "Neumann"),),
        "Dirichlet, Neumann": (("Dirichlet", "Neumann"),),
    }
    sides_2d = {"periodic": (None, None), "periodic; Dirichlet, Neumann": (None, ("Dirichlet", "Neumann"))}
    T = 0.1
    for d, sides, sizes in ((1, sides_1d, (20, 40, 80)), (2, sides_2d, (10, 20))):
        for name, side in sides.items():
            both = d == 1 and name in ("periodic", "Dirichlet, Neumann")
            for stepper in (fx.SDIRK2(), fx.Heun())[: 1 + both]:
                explicit = isinstance(stepper, fx.Heun)
                errors = []
                for n in sizes[: 2 if explicit else 3]:
                    steps = round(0.8 * n**2) if explicit else n // 2
                    value, exact = run(d, side, n, stepper, T, steps)
                    errors.append(np.max(np.abs(value - exact)))
                how = "dx, dt ~ dx²" if explicit else "dx, dt ~ dx"
                order = fitted_order(1 / np.array(sizes[: len(errors)], float), errors)
                label = (d, name, type(stepper).__name__, how, ", ".join(map(str, sizes[: len(errors)])))
                table.below(errors[-1], 2.5e-3 if d == 1 else 1e-2, *label[:3], "error", label[4])
                table.between(order, 1.8, 2.3, *label)
    for name, side in (("periodic", (None,)), ("Dirichlet, Neumann", (("Dirichlet", "Neumann"),))):
        for stepper, steps in ((fx.SDIRK2(), (8, 16, 32)), (fx.Heun(), (200, 400, 800))):
            values = [run(1, side, 12, stepper, T, n)[0] for n in steps]
            changes = [np.max(np.abs(a - b)) for a, b in itertools.pairwise(values)]
            order = fitted_order(1 / np.array(steps[:-1], float), changes)
            table.between(order, 1.8, 2.2, 1, name, type(stepper).__name__, "dt alone", ", ".join(map(str, steps)))
    return table.close(out)


def seamless_limit(out):
    """Correctors relaxed beside U, as the friction goes to zero."""
    columns = ("problem", "friction", "relaxation time")
    table = Table("seamless_limit", "largest |U_seamless - U_quasistatic| at T = 0.02, first order in the friction", columns)
    turn = jnp.array([[0.0, 1.0], [-1.0, 0.0]])

    def flow(U, z):
        wave = jnp.sin(TAU * z[0]) * jnp.sin(TAU * z[1])
        return (1 + U**2 * (1 + 0.6 * wave)) * jnp.eye(2) + 2 * U * wave * turn

    problems = {
        "1D": (12, hom.Cell(lambda U, z: 1 + 0.6 * jnp.sin(TAU * z[0]) + U**2 * (1 + 0.7 * jnp.cos(TAU * z[0])), (16,))),
        "2D, non-symmetric": (6, hom.Cell(flow, (8, 8))),
    }
    T = 0.02
    for name, (n, cell) in problems.items():
        d = cell.d
        grid = fx.grids.Box((0.0,) * d, (1.0,) * d, cells=(n,) * d)
        start = 0.5 + 0.5 * jnp.prod(jnp.sin(TAU * jnp.asarray(grid.centres) + 0.3), axis=-1)
        macro = hom.Diffusion(grid)
        reference = fx.evolve(fx.Bundle(macro, cell), fx.Quasistatic(), start, t1=T, dt=T / 400).macro[-1]
        frictions, distances = np.array([0.04, 0.02, 0.01]), []
        for friction in frictions:
            bundle = fx.Bundle(macro, fx.relax(cell, friction=friction))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", fx.ScaleSeparationWarning)
                moved = fx.evolve(bundle, fx.Seamless(), start, t1=T, dt=friction / 200).macro[-1]
            distances.append(np.max(np.abs(np.asarray(moved) - np.asarray(reference))))
            table.below(distances[-1], 0.06 * friction, name, friction, friction / TAU**2)
        table.between(fitted_order(frictions, distances), 0.9, 1.1, name, "order", "")
    return table.close(out)
