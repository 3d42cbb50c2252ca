"""What a static 3D solve costs beside its fibers: 20 000 Stillinger-Weber silicon fibers in tetrahedra and hexahedra.

One Newton iteration of a silicon block under tension, on one core: responses (shift relaxed) and tangents of all fibers,
against forces, element stiffness, and the sparse solve, direct and by multigrid. The direct solve is bound by its
factorisation, whose work grows with the square of the unknowns in 3D. Run: python benchmarks/elasticity.py [fibers].
"""

import sys

from common import interleave, pin

pin()

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402

import fiberax as fx  # noqa: E402

jax.config.update("jax_enable_x64", True)
FCC = np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]]) / 2
HELD = {"fixed": {"left": True}, "displacement": {"right": lambda x, t: (0.05 * t, None, None)}}


def silicon():
    """Diamond silicon near rest."""
    return fx.solids.Crystal(5.431 * FCC, [[0.0] * 3, [0.25] * 3], ["Si", "Si"], fx.solids.potentials.StillingerWeber("Si"))


def measure(name, mesh, crystal):
    """Times of the parts of one Newton iteration on a body whose fibers all see different deformations."""
    direct = fx.solids.Elasticity(mesh, **HELD)
    multigrid = fx.solids.Elasticity(mesh, **HELD, solver=fx.solids.Multigrid())
    rng = np.random.default_rng(0)
    edge = (np.ptp(mesh.points, axis=0).prod() / len(mesh.points)) ** (1 / 3)
    stretch = mesh.points @ (0.02 * rng.standard_normal((3, 3))).T
    position = jnp.asarray(stretch + 0.01 * edge * rng.standard_normal(mesh.points.shape))
    macro = fx.Moving(position, jnp.zeros_like(position))
    conditions = direct.conditions(macro)
    respond = lambda tangent: fx.responses(crystal, conditions, tangent=tangent)
    both = respond(True)
    stress, tangents = jnp.asarray(both.value), jnp.asarray(both.tangent)
    forces = eqx.filter_jit(
        lambda body, u, p: body.balance(0.0, fx.Moving(u, u), p) + 0.0 * body.conditions(fx.Moving(u, u)).sum()
    )
    stiffness = eqx.filter_jit(lambda body, c: body.space.stiffness(c))
    newton = eqx.filter_jit(lambda body, r, c: body.solve_linearised(0.0, r, macro, stress, c, 0.0))
    residual = forces(direct, position, stress)
    blocks, diagonal = np.asarray(stiffness(direct, tangents)), np.zeros(direct.pattern.size)
    wait = jax.block_until_ready
    times = interleave(
        {
            "fibers: W + P + shift": lambda: wait(respond(False).value),
            "fibers: with tangent": lambda: wait(respond(True).tangent),
            "conditions and forces": lambda: wait(forces(direct, position, stress)),
            "element stiffness": lambda: wait(stiffness(direct, tangents)),
            "sparse matrix": lambda: direct.pattern.matrix(blocks, diagonal),
            "whole Newton step, direct": lambda: wait(newton(direct, residual, tangents)),
            "whole Newton step, multigrid": lambda: wait(newton(multigrid, residual, tangents)),
        },
        repeats=3,
    )
    one, other = newton(direct, residual, tangents), newton(multigrid, residual, tangents)
    print(f"\n{name}: {len(conditions)} fibers, {direct.pattern.size} unknowns; the solvers agree to", end=" ")
    print(f"{float(jnp.abs(one - other).max() / jnp.abs(one).max()):.1e}")
    fibers = times["fibers: with tangent"]
    for part, seconds in times.items():
        print(f"  {part:<30} {seconds:8.3f} s of CPU  {seconds / fibers:6.2f} of the fibers")


def schemes(mesh, crystal):
    """The whole solve of a block stretched by 2.5 % in one go: atoms solved at every trial, or together with the body."""
    body = fx.solids.Elasticity(mesh, **HELD, solver=fx.solids.Multigrid())
    drivers = {"nested": fx.Quasistatic(), "monolithic": fx.Monolithic()}
    start = body.start().position
    solve = lambda driver: fx.steady(fx.Bundle(body, crystal), driver, start, t=1.0)
    found = {name: solve(driver) for name, driver in drivers.items()}
    times = interleave({name: lambda driver=driver: solve(driver) for name, driver in drivers.items()}, repeats=3)
    apart = float(np.abs(found["nested"].macro - found["monolithic"].macro).max())
    print(f"\nWhole solve, {len(body.conditions(body.start()))} fibers; the displacements differ by at most {apart:.1e}")
    for name, seconds in times.items():
        print(f"  {name:<30} {seconds:8.3f} s of CPU, {found[name].stats['steps']} Newton steps")
    print(f"  monolithic / nested = {times['monolithic'] / times['nested']:.2f}")


def main():
    """Tetrahedra with one fiber each, hexahedra with eight."""
    fibers = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    crystal = silicon()
    n = max(1, round((fibers / 6 / 2) ** (1 / 3)))
    measure("P1 tetrahedra", fx.grids.tets((0, 0, 0), (2, 1, 1), cells=(2 * n, n, n)), crystal)
    n = max(1, round((fibers / 8 / 2) ** (1 / 3)))
    measure("Q1 hexahedra", fx.grids.hexes((0, 0, 0), (2, 1, 1), cells=(2 * n, n, n)), crystal)
    n = max(1, n // 2)
    schemes(fx.grids.hexes((0, 0, 0), (2, 1, 1), cells=(2 * n, n, n)), crystal)


if __name__ == "__main__":
    main()
