import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.numerics.sparse import Direct, Pattern

sys.path.insert(0, str(Path(__file__).parent))
from bodies import NONE, NeoHooke, distance, equilibrium, manufactured, newton_step

FIBER = NeoHooke()


def plane(x):
    return 0.1 * jnp.array([jnp.sin(2.0 * x[0] + x[1]), jnp.cos(x[0]) * x[1] ** 2])


def solid(x):
    return 0.1 * jnp.array([jnp.sin(2.0 * x[0] + x[1]), jnp.cos(x[0]) * x[2] ** 2, x[0] * jnp.sin(x[1] + x[2])])


@pytest.mark.parametrize(
    ("generator", "order", "cells"),
    [
        (fx.grids.triangles, 1, (8, 16)),
        (fx.grids.quads, 1, (6, 12)),
        (fx.grids.triangles, 2, (4, 8)),
        (fx.grids.quads, 2, (3, 6)),
        pytest.param(fx.grids.hexes, 1, (3, 6), marks=pytest.mark.slow),
    ],
)
def test_manufactured_solutions_converge_in_l2_with_the_order_of_the_element(generator, order, cells):
    exact, dim = (solid, 3) if generator is fx.grids.hexes else (plane, 2)
    stress, force = manufactured(FIBER, exact)
    errors = []
    for n in cells:
        mesh = generator(cells=(n,) * dim, order=order)
        if dim == 2:  # no symmetry that could help
            mesh = mesh.mapped(lambda x: x + 0.06 * np.sin(3.0 * x) * np.cos(2.0 * x[:, ::-1] + 1.0) * x * (1 - x) * 4)
        held = {name: lambda x, t: exact(x) for name in mesh.boundaries if name != "right"}
        traction = {"right": lambda x, t: stress(x)[:, 0]}
        body = fx.solids.Elasticity(mesh, displacement=held, traction=traction, body_force=lambda x, t: force(x))
        errors.append(distance(body, equilibrium(body, FIBER, steps=5)[0], exact))
    assert np.log2(errors[0] / errors[1]) > order + 1 - 0.2
    assert errors[1] < 2e-3


def test_periodic_bodies_are_solved_up_to_a_translation():
    wave = lambda x: 0.02 * jnp.array([jnp.sin(2 * jnp.pi * (x[0] + x[1])), jnp.cos(2 * jnp.pi * x[0])])
    _, force = manufactured(FIBER, wave)
    errors = []
    for n in (4, 8):
        mesh = fx.grids.quads(cells=(n, n), periodic=True, order=2)
        body = fx.solids.Elasticity(mesh, body_force=lambda x, t: force(x))
        position, _ = equilibrium(body, FIBER, steps=6)
        errors.append(distance(body, position, wave, constant=True))
        assert body.mass.shape == (4 * n**2,)
    assert np.log2(errors[0] / errors[1]) == pytest.approx(3.0, abs=0.3)


def affine(mesh, gradient, fiber, steps=5):
    """A body held in the affine deformation all around."""
    held = {name: lambda x, t: gradient @ x for name in mesh.boundaries}
    body = fx.solids.Elasticity(mesh, displacement=held)
    position, stress = equilibrium(body, fiber, steps=steps)
    return body, position, stress


@pytest.mark.parametrize("kind", ["triangle", "quad", "tet", "hex"])
@pytest.mark.parametrize("order", [1, 2])
def test_patches_of_any_shape_carry_an_affine_deformation(kind, order):
    dim = 3 if kind in ("tet", "hex") else 2
    generator = {"triangle": fx.grids.triangles, "quad": fx.grids.quads, "tet": fx.grids.tets, "hex": fx.grids.hexes}[kind]
    mesh = generator(cells=(2,) * dim)  # straight, then raised: curved elements do not hold affine fields nor need to
    middle = np.all(mesh.points == 0.5, axis=1)
    mesh = mesh.mapped(lambda x: x + 0.12 * middle[:, None]).of_order(order)
    gradient = 0.1 * jnp.asarray(np.random.default_rng(0).standard_normal((dim, dim)))
    body, position, stress = affine(mesh, gradient, FIBER)
    np.testing.assert_allclose(position, mesh.points @ gradient.T, atol=1e-13)
    exact = FIBER.link(NONE, gradient)
    np.testing.assert_allclose(stress, np.broadcast_to(exact, stress.shape), atol=1e-12)
    outward = body.reaction(stress, "right")
    np.testing.assert_allclose(outward[0], exact[0, 0], rtol=0.6)  # corners belong to the neighbours too
    np.testing.assert_allclose(body.average(stress), exact, atol=1e-13)


def test_traction_gives_the_exact_homogeneous_state_and_its_reaction():
    # Uniaxial stress along x: P_yy = 0 and P_xx = p.
    gradient = jnp.array([0.2, 0.0])

    def lateral(y):
        return FIBER.link(NONE, jnp.diag(jnp.array([0.2, y])))[1, 1]

    y = 0.0
    for _ in range(20):
        y = y - lateral(y) / jax.grad(lateral)(y)
    gradient = jnp.diag(jnp.array([0.2, y]))
    pull = FIBER.link(NONE, gradient)[0, 0]
    mesh = fx.grids.triangles((0, 0), (2, 1), cells=(4, 3), order=2)
    rollers = {"left": 0, "bottom": [1]}
    body = fx.solids.Elasticity(mesh, fixed=rollers, traction={"right": lambda x, t: jnp.array([t * pull, 0.0])})
    position, stress = equilibrium(body, FIBER, t=1.0)
    np.testing.assert_allclose(position, mesh.points @ gradient.T, atol=1e-12)
    np.testing.assert_allclose(body.reaction(stress, "left", 1.0), [-pull, 0.0], atol=1e-12)
    constant = fx.solids.Elasticity(mesh, fixed=rollers, traction={"right": [float(pull), 0.0]})
    np.testing.assert_allclose(equilibrium(constant, FIBER)[0], position, atol=1e-12)
    # Potential of the load and stored energy.
    energies = jax.vmap(lambda a: FIBER.energy(NONE, a))(body.conditions(fx.Moving(position, None)))
    total = body.energy(fx.Moving(position, jnp.ones_like(position)), energies, 1.0)
    stored = 2.0 * FIBER.energy(NONE, gradient)
    assert float(total) == pytest.approx(float(stored - pull * 0.4 + 0.5 * 2 * 2.0), rel=1e-12)


@pytest.mark.parametrize("supports", [{}, {"left": 0}])
@pytest.mark.parametrize("kind", [fx.grids.triangles, fx.grids.tets])
def test_a_body_that_supports_do_not_hold_is_stretched_by_loads_that_balance(kind, supports):
    """Uniaxial stress: P_xx = μ(F_xx − 1/F_xx) + λ log J / F_xx = p, the lateral components vanish."""
    dim, p = 2 if kind is fx.grids.triangles else 3, 0.1
    lateral = lambda a: brentq(lambda b: b - 1 / b + 1.5 * np.log(a * b ** (dim - 1)) / b, 0.5, 1.5)
    a = brentq(lambda a: a - 1 / a + 1.5 * np.log(a * lateral(a) ** (dim - 1)) / a - p, 0.5, 1.5)
    pull = {"right": [p] + [0.0] * (dim - 1), "left": [-p] + [0.0] * (dim - 1)}
    one = kind(cells=(3, 2, 2)[:dim])
    for mesh in (one, joined(one, 3.0)):
        body = fx.solids.Elasticity(mesh, fixed=supports, traction=pull)
        sol = fx.steady(fx.Bundle(body, FIBER), fx.Quasistatic(1e-10), body.start())
        F = np.asarray(body.conditions(jax.tree.map(lambda x: x[-1], sol.macro))) + np.eye(dim)
        exact = np.diag([a**2] + [lateral(a) ** 2] * (dim - 1))
        np.testing.assert_allclose(np.einsum("sji,sjk->sik", F, F), np.broadcast_to(exact, F.shape), atol=1e-10)


def joined(mesh, gap):
    """Two copies of a mesh side by side, which share no nodes."""
    twice = lambda nodes: np.concatenate([nodes, nodes + len(mesh.points)])
    points = np.concatenate([mesh.points, mesh.points + gap * np.eye(mesh.dim)[0]])
    return fx.grids.Mesh(points, twice(mesh.cells), mesh.kind, {name: twice(sides) for name, sides in mesh.boundaries.items()})


def test_loads_that_move_a_body_are_told_with_their_sum():
    mesh = fx.grids.quads((0, 0), (2, 1), cells=(4, 2))
    for fixed, traction, words in (
        ({}, {"right": [0.3, 0.0]}, "along x, and the loads along x sum to 0.3 and"),
        ({"left": 0}, {"right": [0.0, 0.2], "left": [0.0, 0.3]}, "along y, and the loads along y sum to 0.5 and"),
    ):
        body = fx.solids.Elasticity(mesh, fixed=fixed, traction=traction)
        with pytest.raises(fx.NotConverged, match=words):
            fx.steady(fx.Bundle(body, FIBER), fx.Quasistatic(1e-10), body.start())


def test_newton_converges_quadratically_and_steady_says_so():
    mesh = fx.grids.quads(cells=(4, 4), order=2)
    body = fx.solids.Elasticity(mesh, fixed={"left": True}, displacement={"right": lambda x, t: (0.5 * t, None)})
    sol = fx.steady(fx.Bundle(body, FIBER), fx.Quasistatic(), body.start(), t=1.0)
    after = np.array(sol.stats["residuals"][1:])  # the first is that of the supports
    after = after[after > 1e-10]
    assert len(after) >= 3
    order = np.log(after[2:] / after[1:-1]) / np.log(after[1:-1] / after[:-2])
    assert np.all(order[-1:] > 1.7)
    np.testing.assert_allclose(sol.macro.position[0][mesh.nodes("right"), 0], 0.5, rtol=1e-15)
    own, stress = equilibrium(body, FIBER, t=1.0)
    np.testing.assert_allclose(sol.macro.position[0], own, atol=1e-10)
    np.testing.assert_allclose(sol.response[0], stress, atol=1e-9)
    total = body.reaction(sol.response[0], "left") + body.reaction(sol.response[0], "right")
    np.testing.assert_allclose(total, 0.0, atol=1e-10)


def test_a_jump_at_the_support_is_walked_to_without_turning_cells_inside_out():
    mesh = fx.grids.triangles(cells=(8, 4))
    body = fx.solids.Elasticity(mesh, fixed={"left": True}, displacement={"right": [-0.6, 0.2]})
    jump = body.start().position.at[mesh.nodes("right")].set(jnp.array([-0.6, 0.2]))
    zero = jnp.zeros_like(jump)
    assert bool(body.admissible(fx.Moving(zero, zero))) and not bool(body.admissible(fx.Moving(jump, zero)))
    sol = fx.steady(fx.Bundle(body, FIBER), fx.Quasistatic(), zero)
    assert bool(body.admissible(jax.tree.map(lambda x: x[0], fx.Moving(sol.macro, sol.macro))))
    np.testing.assert_allclose(sol.macro[0][mesh.nodes("right")], [[-0.6, 0.2]] * 5, rtol=1e-14)


@pytest.mark.slow
def test_stiffness_is_the_derivative_of_the_forces_also_where_it_is_not_symmetric():
    mesh = fx.grids.quads(cells=(2, 2), order=2)
    body = fx.solids.Elasticity(mesh, density=2.0, fixed={"left": True})
    rng = np.random.default_rng(1)
    position = 0.05 * jnp.asarray(rng.standard_normal(body.example().position.shape))
    law = lambda a: FIBER.link(NONE, a) + jnp.array([[0.0, 0.3], [0.0, 0.0]]) * a[0, 0] ** 2
    macro = fx.Moving(position, jnp.zeros_like(position))
    force = lambda u: body.balance(0.0, fx.Moving(u, macro.velocity), jax.vmap(law)(body.conditions(fx.Moving(u, None))))
    tangents = jax.vmap(jax.jacfwd(law))(body.conditions(macro))
    residual = jnp.asarray(rng.standard_normal(position.shape))
    for shift in (0.0, 3.0):
        w = body.solve_linearised(0.0, residual, macro, None, tangents, shift)
        back = jax.jvp(force, (position,), (w,))[1] - shift * w
        free = ~np.asarray(body.held)
        np.testing.assert_allclose(back[free], residual[free], rtol=1e-8, atol=1e-10)


def test_multigrid_agrees_with_the_direct_solver(monkeypatch):
    """And it is multigrid that solves."""
    mesh = fx.grids.tets(cells=(6, 3, 3))
    options = dict(fixed={"left": True}, displacement={"right": lambda x, t: (0.2 * x[1], None, -0.1)})
    direct = fx.solids.Elasticity(mesh, **options)
    multigrid = fx.solids.Elasticity(mesh, **options, solver=fx.solids.Multigrid())
    one = equilibrium(direct, FIBER)[0]
    calls = []
    monkeypatch.setattr(Direct, "solve", lambda *arguments: calls.append(arguments))
    other = equilibrium(multigrid, FIBER)[0]
    assert not calls
    np.testing.assert_allclose(one, other, atol=1e-9)


@pytest.mark.parametrize(("kind", "modes"), [(fx.grids.interval, 1), (fx.grids.triangles, 3), (fx.grids.tets, 6)])
def test_near_null_space_is_that_of_rigid_bodies(kind, modes):
    """(x_a − x_b)·(m_a − m_b) = 0 for all pairs of nodes, to first order the distance between them; and there are no more."""
    mesh = kind(cells=4) if kind is fx.grids.interval else kind(cells=(2, 3, 2)[: (modes + 3) // 3])
    near_null = fx.solids.Elasticity(mesh).pattern.near_null
    assert near_null.shape[1] == np.linalg.matrix_rank(near_null) == modes
    apart = mesh.points[:, None] - mesh.points[None]
    for mode in near_null.T.reshape(modes, *mesh.points.shape):
        stretch = np.sum(apart * (mode[:, None] - mode[None]), axis=-1)
        np.testing.assert_allclose(stretch, 0.0, atol=1e-13)


@pytest.mark.parametrize(("diagonal", "message"), [(2.0, "did not reach the tolerance"), (-2.0, "not positive definite")])
def test_multigrid_says_that_it_hands_on(diagonal, message):
    """A matrix with fewer steps than it needs, and one that is negative: the answer is right, by the direct solver."""
    size = 400
    pattern = Pattern(np.stack([np.arange(size - 1), np.arange(1, size)], axis=1), size)
    sign = np.sign(diagonal)
    blocks = np.tile(sign * np.array([[1.0, -1.0], [-1.0, 1.0]]), (size - 1, 1, 1))
    matrix = pattern.matrix(blocks, np.full(size, 1e-3 * sign))
    rhs = np.random.default_rng(0).standard_normal(size)
    with pytest.warns(UserWarning, match=rf"Multigrid: .*{message}.* Direct solves these 400 unknowns"):
        found = fx.solids.Multigrid(max_steps=1).solve(pattern, matrix, rhs, False)
    np.testing.assert_allclose(matrix @ found, rhs, atol=1e-9)


def test_mass_is_that_of_the_body():
    for order in (1, 2):
        mesh = fx.grids.quads(cells=(3, 2), order=order)
        body = fx.solids.Elasticity(mesh, density=lambda x: 1.0 + x[0])
        assert float(body.mass.sum()) == pytest.approx(1.5, rel=1e-13) and float(body.mass.min()) > 0
    cells = np.arange(1.0, 7.0)
    assert float(fx.solids.Elasticity(mesh, density=cells).mass.sum()) == pytest.approx(21.0 / 6)
    # Simpson's weights, which the diagonal of the tensor-product element has too.
    one = fx.solids.Elasticity(fx.grids.quads(cells=(1, 1), order=2)).mass
    assert sorted(np.asarray(one).round(12)) == pytest.approx([1 / 36] * 4 + [4 / 36] * 4 + [16 / 36])


def test_later_supports_override_earlier_ones_and_free_components_stay_free():
    mesh = fx.grids.quads(cells=(2, 2))
    body = fx.solids.Elasticity(
        mesh, fixed={"left": True, "bottom": 1}, displacement={"left": {0: 0.1}, "right": [np.nan, 0.2], "top": (None, None)}
    )
    corner = np.flatnonzero(np.all(mesh.points == 0.0, axis=1))[0]
    values = np.full(body.held.shape, np.nan)
    for support in body.supports:
        values[np.asarray(support.nodes), support.component] = np.asarray(support.at(0.0))
    assert values[corner] == pytest.approx([0.1, 0.0])
    right_bottom = np.flatnonzero(np.all(mesh.points == [1.0, 0.0], axis=1))[0]
    assert np.isnan(values[right_bottom, 0]) and values[right_bottom, 1] == 0.2
    np.testing.assert_array_equal(~np.isnan(values), body.held)
    assert sum(len(s.nodes) for s in body.supports) == int(body.held.sum())


@pytest.mark.slow
@pytest.mark.slow
def test_equilibria_are_differentiated_in_loads_and_parameters():
    mesh = fx.grids.quads(cells=(2, 1))

    def stretch(pull, mu):
        body = fx.solids.Elasticity(mesh, fixed={"left": True}, displacement={"right": (pull, None)})
        sol = fx.steady(fx.Bundle(body, NeoHooke(mu)), fx.Quasistatic(), jnp.zeros((6, 2)))
        return jnp.sum(sol.macro[0] ** 2)

    gradient = jax.grad(stretch, (0, 1))(0.3, 1.0)

    def plain(pull, mu):
        body = fx.solids.Elasticity(mesh, fixed={"left": True}, displacement={"right": (pull, None)})
        return float(jnp.sum(equilibrium(body, NeoHooke(mu))[0] ** 2))

    step = 1e-5
    assert float(gradient[0]) == pytest.approx((plain(0.3 + step, 1.0) - plain(0.3 - step, 1.0)) / (2 * step), rel=1e-6)
    assert float(gradient[1]) == pytest.approx((plain(0.3, 1.0 + step) - plain(0.3, 1.0 - step)) / (2 * step), rel=1e-5)


def test_what_does_not_fit_is_named():
    mesh = fx.grids.quads(cells=(2, 2))
    make = lambda **options: fx.solids.Elasticity(mesh, **options)
    for options, words in (
        ({"fixed": {"lefft": True}}, "no boundary 'lefft'"),
        ({"fixed": {"left": 2}}, "component 2"),
        ({"fixed": ["left"]}, "dictionary"),
        ({"displacement": {"left": [0.0, 0.0, 0.0]}}, "must be 2 numbers"),
        ({"displacement": {"left": lambda x: x}}, "cannot be called"),
        ({"displacement": {"left": {0: lambda x, t: x}}}, "must give"),
        ({"displacement": {"left": {0: np.inf}}}, "not finite"),
        ({"traction": {"left": 1.0}}, "must be 2 numbers"),
        ({"traction": {"left": "much"}}, "must be numbers"),
        ({"body_force": lambda x, t: x[0]}, "must give 2 number"),
        ({"density": -1.0}, "positive"),
        ({"density": np.ones(3)}, "one for each of 4 cells"),
        ({"order": 3}, "order"),
        ({"solver": "direct"}, "solver is"),
    ):
        with pytest.raises(BadInput, match=words):
            make(**options)
    with pytest.raises(BadInput, match=r"fx\.grids\.Mesh"):
        fx.solids.Elasticity(fx.grids.Box((0.0,), (1.0,), (4,)))
    with pytest.raises(BadInput, match="shape"):
        make().start(displacement=np.zeros((3, 2)))
    with pytest.raises(BadInput, match="positive"):
        fx.solids.Multigrid(max_steps=0)
    with pytest.raises(fx.Mismatch, match="3x3"):
        fx.Bundle(make(), fx.EnergyFiber(lambda s, a: jnp.sum(s**2), lambda a: s0()), link=lambda f, s, a: jnp.zeros((3, 3)))


def s0():
    return jnp.zeros((1,))


def test_one_more_newton_step_at_the_solution_changes_nothing():
    mesh = fx.grids.interval(cells=4, order=2)
    body = fx.solids.Elasticity(mesh, fixed={"left": True}, traction={"right": 0.3})
    position, stress = equilibrium(body, FIBER)
    np.testing.assert_allclose(stress, 0.3, rtol=1e-12)
    again, residual, _ = newton_step(body, FIBER, position, jnp.zeros(()))
    np.testing.assert_allclose(again, position, atol=1e-14)
    assert float(jnp.abs(residual).max()) < 1e-10
