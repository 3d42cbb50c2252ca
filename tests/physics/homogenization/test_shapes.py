"""Diffusion on meshes: orders in space and time, sides, exactness, derivatives, and what is refused."""

import re

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput, Mismatch, NotConverged
from fiberax.grids import elements
from fiberax.physics.homogenization import Dirichlet, MeshDiffusion, MeshFluxDiffusion, Neumann, Robin


def tensor(U, d):
    """Depends on U, not symmetric, positive definite."""
    full = jnp.array([[2.0 + U, 0.4, 0.1], [-0.2, 1.5 + 0.5 * U**2, 0.3 * U], [0.1, -0.4, 1.0 + 0.2 * U]])
    return full[:d, :d]


def flux_law(U, G):
    return tensor(U, G.shape[0]) @ G + 0.3 * (G @ G) * G


def exact(x):
    return 0.5 + 0.4 * jnp.sin(1.3 * x[0] + 0.2) * jnp.cos(x[-1]) + 0.1 * jnp.prod(x)


def flux(model, u, x):
    U, G = jax.value_and_grad(u)(x)
    return tensor(U, x.shape[0]) @ G if model is MeshDiffusion else flux_law(U, G)


def divergence(model, u, x):
    return jnp.trace(jax.jacfwd(lambda x: flux(model, u, x))(x))


def law(macro):
    """The response of a site to its condition."""
    d = macro.mesh.dim
    return (lambda c: tensor(c, d)) if isinstance(macro, MeshDiffusion) else (lambda c: flux_law(*c))


@eqx.filter_jit
def newton(macro, respond, u, t=0.0, shift=0.0, base=0.0):
    """One Newton step for rate = shift (U − base), and the size of its residual."""
    conditions = macro.conditions(u)
    response, tangents = jax.vmap(respond)(conditions), jax.vmap(jax.jacfwd(respond))(conditions)
    residual = macro.rate(t, u, response) - shift * (u - base)
    found = macro.solve_linearised(t, -residual, u, response, tangents, jnp.asarray(shift))
    return u + found, jnp.linalg.norm(residual)


def steady(macro, respond, start):
    u, sizes = macro.start(start), []
    for _ in range(12):
        u, size = newton(macro, respond, u)
        sizes.append(float(size))
        if size <= 1e-11 * sizes[0]:
            return u
    raise AssertionError(sizes)


def distance(macro, field, u=exact):
    """Error in L2, by a quadrature of its own."""
    mesh = macro.mesh
    table = elements.table(mesh.kind, mesh.order, 8)
    corners = mesh.points[mesh.cells]
    places = np.einsum("qk,eki->eqi", table.values, corners)
    weights = np.abs(np.linalg.det(np.einsum("eki,qkj->eqij", corners, table.gradients))) * table.weights
    found = np.einsum("qk,ek->eq", table.values, np.asarray(field)[mesh.unknowns][mesh.cells])
    right = np.asarray(jax.vmap(jax.vmap(u))(jnp.asarray(places)))
    return float(np.sqrt(np.sum(weights * (found - right) ** 2)))


def bent(mesh):
    """No symmetry that could help; sides stay where they are."""
    return mesh.mapped(lambda x: x + 0.05 * np.prod(np.sin(np.pi * x), axis=1, keepdims=True))


def manufactured(model, generator, order, n):
    """A steady state with values, fluxes and exchange on the sides, and a source that depends on U."""
    d = 3 if generator in (fx.grids.tets, fx.grids.hexes) else 2
    mesh = bent(generator(cells=(n,) * d, order=order))
    outward = lambda axis: lambda t, x: flux(model, exact, x)[axis]
    sides = {name: Dirichlet(lambda t, x: exact(x)) for name in mesh.boundaries if name not in ("right", "top")}
    sides["right"] = Neumann(outward(0))
    sides["top"] = Robin(lambda t, x: 1.0 + x[0], lambda t, x: exact(x) + outward(1)(t, x) / (1.0 + x[0]))
    return model(mesh, source=lambda t, U, x: exact(x) ** 2 - divergence(model, exact, x) - U**2, boundary=sides)


@pytest.mark.parametrize(
    ("model", "generator", "order", "cells"),
    [
        (MeshDiffusion, fx.grids.triangles, 1, (8, 16)),
        (MeshFluxDiffusion, fx.grids.quads, 1, (8, 16)),
        (MeshFluxDiffusion, fx.grids.triangles, 2, (4, 8)),
        (MeshDiffusion, fx.grids.quads, 2, (3, 6)),
        (MeshDiffusion, fx.grids.tets, 1, (3, 6)),
        (MeshFluxDiffusion, fx.grids.hexes, 1, (3, 6)),
        pytest.param(MeshFluxDiffusion, fx.grids.tets, 2, (2, 4), marks=pytest.mark.slow),
        pytest.param(MeshDiffusion, fx.grids.hexes, 2, (2, 4), marks=pytest.mark.slow),
    ],
)
def test_manufactured_steady_states_have_the_order_of_the_element_plus_one(model, generator, order, cells):
    errors = []
    for n in cells:
        macro = manufactured(model, generator, order, n)
        errors.append(distance(macro, steady(macro, law(macro), lambda x: 0.5 + 0.1 * x[0])))
    assert np.log2(errors[0] / errors[1]) > order + 1 - 0.2


@pytest.mark.parametrize(
    "options",
    [{"source": lambda t, U, x: 1.0 - U}, {"boundary": {"left": Robin(2.0)}}, {"source": lambda t, U, x: -jnp.sin(x[0]) * U}],
)
def test_without_given_values_the_jacobian_is_exact_where_it_can_be_inverted(options):
    macro = MeshDiffusion(fx.grids.quads(cells=(3, 3)), **options)
    u, ones = jnp.zeros(16), jnp.ones(macro.positions().shape[0])
    jacobian = np.asarray(jax.jacfwd(lambda u: macro.rate(0.0, u, ones))(u))
    residual = jnp.cos(jnp.arange(16.0))
    found = macro.solve_linearised(0.0, residual, u, ones, 0 * ones, jnp.zeros(()))
    np.testing.assert_allclose(jacobian @ found, residual, atol=1e-9)


@pytest.mark.parametrize("model", [MeshDiffusion, MeshFluxDiffusion])
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_assembled_jacobian_is_the_derivative_of_the_rate(model, shift):
    macro = manufactured(model, fx.grids.triangles, 2, 2)
    u = macro.start(exact) + 0.1 * jnp.sin(7.0 * jnp.arange(25.0)) * ~macro.held
    rate = lambda u: macro.rate(0.3, u, jax.vmap(law(macro))(macro.conditions(u)))
    jacobian = np.asarray(jax.jacfwd(rate)(u)) - shift * np.eye(25)
    free = np.asarray(macro.free)
    residual = np.where(macro.held, 0.0, np.cos(np.arange(25.0)))
    conditions = macro.conditions(u)
    response, tangents = jax.vmap(law(macro))(conditions), jax.vmap(jax.jacfwd(law(macro)))(conditions)
    found = macro.solve_linearised(0.3, jnp.asarray(residual), u, response, tangents, jnp.asarray(shift))
    np.testing.assert_allclose(jacobian[np.ix_(free, free)] @ found[free], residual[free], atol=1e-8)
    assert not np.any(np.asarray(found)[np.asarray(macro.held)])


def test_harmonic_function_of_an_l_shape_converges_at_the_rate_of_its_corner():
    """r^(2/3) sin(2θ/3): uniform refinement gives 4/3 in L2 (twice 2/3), whatever the order of the element."""

    def corner(x):
        angle = jnp.arctan2(x[1], x[0]) - jnp.pi / 2  # from the upper side of the missing quarter
        angle = jnp.where(angle < 0.0, angle + 2 * jnp.pi, angle)
        return jnp.sum(x**2) ** (1 / 3) * jnp.sin(2 / 3 * angle)

    errors = []
    for n in (8, 16, 32):
        mesh = fx.grids.l_shape((2.0, 2.0), (n, n), "triangle").mapped(lambda x: x - 1.0)
        macro = MeshDiffusion(mesh, boundary=Dirichlet(lambda t, x: corner(x)))
        errors.append(distance(macro, steady(macro, jnp.ones_like, 0.0), corner))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all((rates > 1.2) & (rates < 1.5)), rates


FIBER = fx.FlowFiber(rate=lambda s, U: U - s, init=lambda U: jnp.zeros(()), link=lambda s, U: 1.0 + s)
UNIT = fx.FlowFiber(rate=lambda s, U: U - s, init=lambda U: jnp.zeros(()), link=lambda s, U: jnp.ones(()))


def test_an_annulus_with_exchange_has_its_closed_form():
    """U = a + b ln r between a held hole and a round outer side with b/R = h (outside − U(R)); curved elements, order 3."""
    inner, outer, h, outside, inside = 1.0, 2.0, 0.7, 3.0, 1.0
    b = h * (outside - inside) / (1 / outer + h * np.log(outer / inner))
    around = lambda part: np.hstack([np.cos(2 * np.pi * part), np.sin(2 * np.pi * part)])
    errors, flows = [], []
    for n in (3, 6):
        ring = fx.grids.quads((0.0, 0.0), (1.0, 1.0), (n, 6 * n), (False, True), order=2)
        ring = ring.mapped(lambda x: (inner + (outer - inner) * x[:, :1]) * around(x[:, 1:]))
        macro = MeshDiffusion(ring, boundary={"left": Dirichlet(inside), "right": Robin(h, outside)})
        u = steady(macro, jnp.ones_like, 0.0)
        errors.append(distance(macro, u, lambda x: inside + b * jnp.log(jnp.sqrt(x @ x) / inner)))
        flows.append(abs(float(macro.inflow(u, jnp.ones(macro.positions().shape[0]), "left")) + 2 * np.pi * b))
    assert np.log2(errors[0] / errors[1]) > 2.8 and errors[1] < 1e-4
    assert np.log2(flows[0] / flows[1]) > 3.5 and flows[1] < 1e-3


def test_box_and_mesh_have_the_same_limit():
    """A(U) = 1 + U on both; Kirchhoff's V = U + U²/2 is harmonic, here linear in x."""
    right = lambda x: np.sqrt(1 + 3 * x) - 1  # V = 3x/2, from U = 0 to U = 1
    box = fx.grids.Box((0.0, 0.0), (1.0, 0.5), (20, 6), periodic=(False, True))
    on_box = fx.homogenization.Diffusion(box, boundary=((Dirichlet(0.0), Dirichlet(1.0)), None))
    mesh = fx.grids.quads((0.0, 0.0), (1.0, 0.5), (20, 6), (False, True))
    on_mesh = MeshDiffusion(mesh, boundary={"left": Dirichlet(0.0), "right": Dirichlet(1.0)})
    assert on_mesh.example().shape == (21 * 6,)
    found = fx.steady(fx.Bundle(on_box, FIBER), fx.Quasistatic(), jnp.full((20, 6), 0.5)).macro[0]
    np.testing.assert_allclose(found, right(box.centres[..., 0]), atol=2e-3)
    sol = fx.steady(fx.Bundle(on_mesh, FIBER), fx.Quasistatic(), jnp.full(126, 0.5))  # a start without the given values
    np.testing.assert_allclose(sol.macro[0], right(mesh.points[mesh.representatives][:, 0]), atol=5e-4)
    assert on_mesh.inflow(sol.macro[0], sol.response[0], "right") == pytest.approx(1.5 * 0.5, rel=1e-9)
    assert len(sol.stats["residuals"]) <= 7


def wave(t, x):
    """Linear in x, so that elements of order 2 and their lumped mass are exact and the error is that of the steps."""
    return 1.0 + jnp.sin(2 * t) * (x[0] + 0.5 * x[1])


def motion(stepper, dt, t1=0.4):
    """The error at the end of a motion with moving given values, from a start that does not have them."""
    mesh = fx.grids.quads(cells=(2, 2), order=2)
    pull = lambda t, x: jax.jvp(lambda t: wave(t, x), (t,), (jnp.ones_like(t),))[1]
    spread = lambda t, x: jnp.trace(jax.jacfwd(lambda x: (1.0 + wave(t, x)) * jax.grad(wave, 1)(t, x))(x))
    outward = lambda t, x: (1.0 + wave(t, x)) * jax.grad(wave, 1)(t, x)[0]
    sides = {"left": Dirichlet(wave), "bottom": Dirichlet(wave), "top": Dirichlet(wave), "right": Neumann(outward)}
    macro = MeshDiffusion(mesh, source=lambda t, U, x: pull(t, x) - spread(t, x), boundary=sides)
    start = jnp.where(macro.held, 7.0, 1.0)
    sol = fx.evolve(fx.Bundle(macro, FIBER), fx.Quasistatic(), start, t1=t1, dt=dt, stepper=stepper, saveat=[0.0, t1])
    np.testing.assert_allclose(sol.macro[0], 1.0, atol=1e-12)  # the given values are set before the first record
    at = np.asarray(macro.held)
    places = jnp.asarray(mesh.points)[at]
    np.testing.assert_allclose(sol.macro[1][at], jax.vmap(lambda x: wave(t1, x))(places), atol=1e-12)
    return distance(macro, sol.macro[1], lambda x: wave(t1, x))


def test_implicit_steps_are_of_order_two_with_given_values_that_move():
    coarse, fine = (motion(fx.SDIRK2(), dt) for dt in (0.05, 0.025))
    assert np.log2(coarse / fine) > 1.8 and fine < 1e-3


def test_explicit_steps_keep_to_the_stability_limit_and_agree():
    assert motion(fx.Heun(), 0.002) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("generator", "order", "rate"), [(fx.grids.quads, 2, 3), (fx.grids.triangles, 2, 2), (fx.grids.quads, 1, 2)]
)
def test_order_in_space_of_motion_with_the_lumped_mass(generator, order, rate):
    """Where the mode sin(πx)sin(πy) decays: its rate has an error of the order that the lumping leaves."""
    errors, mode = [], lambda x: jnp.sin(jnp.pi * x[0]) * jnp.sin(jnp.pi * x[1])
    for n in (4, 8):
        mesh = generator(cells=(n, n), order=order)
        macro = MeshDiffusion(mesh, boundary=Dirichlet(0.0))
        sol = fx.evolve(fx.Bundle(macro, UNIT), fx.Quasistatic(), macro.start(mode), t1=0.05, dt=0.05 / 64, stepper=fx.SDIRK2())
        errors.append(distance(macro, sol.macro[0], lambda x: np.exp(-2 * np.pi**2 * 0.05) * mode(x)))
    assert rate - 0.3 < np.log2(errors[0] / errors[1]) < rate + 0.7


@pytest.mark.parametrize("sides", [None, {}, {"left": Neumann(0.5), "right": Neumann(lambda t, x: -0.2 * t)}])
def test_the_total_changes_through_sides_and_source_alone(sides):
    around = (sides is None, True)
    mesh = fx.grids.triangles((0.0, 0.0), (1.0, 2.0), (3, 4), around, order=2)
    macro = MeshDiffusion(mesh, source=lambda t, U, x: U**2, boundary=sides)
    u = jax.random.normal(jax.random.key(0), macro.example().shape)
    a = jax.random.normal(jax.random.key(1), (macro.positions().shape[0], 2, 2))
    total = float(jnp.sum(macro.mass * macro.rate(3.0, u, a)))
    given = float(jnp.sum(macro.space.weights.ravel() * macro.conditions(u) ** 2))
    assert total == pytest.approx(given + (2.0 * (0.5 - 0.6) if sides else 0.0), rel=1e-11)
    assert float(jnp.sum(macro.mass)) == pytest.approx(2.0, rel=1e-12)


def test_periodic_cells_are_solved_up_to_a_constant():
    """−ΔU = 8π² sin sin over a torus."""
    mode = lambda x: jnp.sin(2 * jnp.pi * x[0]) * jnp.sin(2 * jnp.pi * x[1])
    errors = []
    for n in (4, 8):
        mesh = fx.grids.quads(cells=(n, n), periodic=True, order=2)
        macro = MeshDiffusion(mesh, source=lambda t, U, x: 8 * jnp.pi**2 * mode(x))
        u = steady(macro, jnp.ones_like, 0.0)
        errors.append(distance(macro, u - macro.average(macro.conditions(u)), mode))
    assert np.log2(errors[0] / errors[1]) > 2.8


def test_derivatives_pass_through_steady_states_and_steps():
    sides = {"left": Dirichlet(1.0), "top": Robin(1.0, 1.0)}
    template = MeshDiffusion(fx.grids.quads(cells=(2, 2)), source=1.0, boundary=sides)

    def model(value):
        changed = (value**2, jnp.full(3, value), value)
        return eqx.tree_at(
            lambda m: (m.source.value, m.supports[0].value, m.inflows[0].condition.coefficient), template, changed
        )

    def rest(value):
        return jnp.sum(fx.steady(fx.Bundle(model(value), FIBER), fx.Quasistatic(), jnp.ones(9)).macro ** 2)

    def moved(value):
        run = fx.evolve(
            fx.Bundle(model(value), FIBER), fx.Quasistatic(), jnp.ones(9), t1=0.2, dt=0.1, stepper=fx.SDIRK2(tolerance=1e-12)
        )
        return jnp.sum(run.macro[-1] ** 2)

    for function in (rest, moved):
        both = jax.jit(jax.value_and_grad(function))
        difference = (both(1.5 + 1e-4)[0] - both(1.5 - 1e-4)[0]) / 2e-4
        assert float(both(1.5)[1]) == pytest.approx(float(difference), rel=1e-6)


def test_values_fluxes_and_sources_as_numbers_arrays_and_functions():
    mesh = fx.grids.quads(cells=(3, 4))
    nodes, sides = mesh.nodes("left"), mesh.facets("right")
    centre = mesh.points[mesh.cells].mean(axis=1)[:, 0]
    one = MeshDiffusion(
        mesh,
        source=2.0 * centre,
        boundary={"left": Dirichlet(mesh.points[nodes, 1]), "right": Robin(np.full(4, 2.0), np.ones(4)), "top": Neumann(0.5)},
    )
    two = MeshDiffusion(
        mesh,
        source=lambda t, U, x: 2.0 * (jnp.floor(3 * x[0]) + 0.5) / 3,
        boundary={
            "left": Dirichlet(lambda t, x: x[1] * t),
            "right": Robin(lambda t, x: 2.0 * t, 1.0),
            "top": Neumann(lambda t, x: 0.5 * t),
        },
    )
    assert len(sides) == 4
    u, a = jnp.cos(jnp.arange(20.0)), jnp.ones(one.positions().shape[0])
    np.testing.assert_allclose(one.prescribed(1.0, u), two.prescribed(1.0, u), atol=1e-14)
    np.testing.assert_allclose(one.rate(1.0, u, a), two.rate(1.0, u, a), atol=1e-12)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"mesh": fx.grids.Box((0.0, 0.0), (1.0, 1.0))}, r"mesh must be a fx\.grids\.Mesh, such as"),
        ({"boundary": {"hot": Dirichlet(1.0)}}, "no boundary 'hot'. Its boundaries: 'bottom', 'left', 'right', 'top'"),
        ({"boundary": {"left": 1.0}}, r"boundary\['left'\] is 1.0. Give Dirichlet, Neumann or Robin"),
        ({"boundary": (None, None)}, "dictionary from names .* The mesh has the boundaries 'bottom', 'left'"),
        ({"boundary": {"left": Dirichlet(np.ones(7))}}, r"shape \(7,\). Give a number, an array over the 4 nodes"),
        ({"boundary": {"left": Neumann(np.ones(7))}}, r"Neumann flux has the shape \(7,\). .* the 3 sides"),
        ({"boundary": {"left": Dirichlet(lambda t, x: x)}}, "must give one number"),
        ({"boundary": {"left": Dirichlet(np.nan)}}, "not finite"),
        ({"source": np.ones(5)}, r"source has the shape \(5,\). Give a number, one for each of 9 cells"),
        ({"source": "hot"}, "source must be numbers or a function"),
        ({"solver": 3}, "solver is fx.solids.Direct"),
        ({"order": 3}, "order = 3"),
        ({"mesh": fx.grids.quads(periodic=True), "boundary": Dirichlet(0.0)}, "periodic sides; give boundary as a dictionary"),
    ],
)
def test_what_does_not_fit_is_refused(change, words, unchecked):
    with pytest.raises(BadInput, match=words):
        MeshDiffusion(**({"mesh": fx.grids.quads(cells=(3, 3))} | change))


def test_other_refusals(unchecked):
    mesh = fx.grids.quads(cells=(2, 2))
    with pytest.raises(BadInput, match=r"coefficient = -1\.0 is negative"):
        Robin(-1.0, 0.0)
    with pytest.raises(BadInput, match=r"Use fx\.homogenization\.MeshDiffusion"):
        fx.homogenization.Diffusion(mesh)
    with pytest.raises(BadInput, match="which is for meshes"):
        fx.homogenization.Diffusion(fx.grids.Box(0.0, 1.0, 4, periodic=False), boundary={"left": Dirichlet(0.0)})
    with pytest.raises(Mismatch, match=r"needs a response \(2, 2\) or a number"):
        fx.Bundle(MeshDiffusion(mesh), fx.FlowFiber(lambda s, U: U - s, lambda U: jnp.zeros(()), lambda s, U: jnp.ones(3)))
    with pytest.raises(BadInput, match=r"start: the value must have the shape \(9,\)"):
        MeshDiffusion(mesh).start(np.ones(4))


def test_multigrid_and_imported_meshes_give_the_same():
    """A mesh of scikit-fem with its names, once with each solver; the Jacobian is nearly symmetric."""
    pytest.importorskip("pyamg")
    import skfem

    theirs = skfem.MeshTri.init_tensor(np.linspace(0, 1, 6), np.linspace(0, 1, 6)).with_boundaries(
        {"west": lambda x: x[0] == 0.0, "east": lambda x: x[0] == 1.0}
    )
    mesh, found = fx.grids.from_skfem(theirs), []
    for solver in (None, fx.solids.Multigrid()):
        macro = MeshDiffusion(mesh, boundary={"west": Dirichlet(0.0), "east": Dirichlet(1.0)}, solver=solver)
        found.append(steady(macro, lambda U: 1.0 + 0.01 * U, 0.5))
    np.testing.assert_allclose(found[0], found[1], atol=1e-9)
    exact = (np.sqrt(1.0 + 0.02 * (mesh.points[:, 0] * 1.005)) - 1.0) / 0.01
    np.testing.assert_allclose(found[0], exact, atol=1e-5)


@pytest.mark.parametrize(("generator", "order"), [("quads", 1), ("triangles", 1), ("quads", 2)])
def test_inflow_where_boundaries_with_given_values_meet(generator, order):
    """U = x³ − 3xy²: 1, 2, 0 and −3 through left, right, bottom and top. A corner belongs to two of them."""
    errors = []
    for n in (4, 8):
        mesh = getattr(fx.grids, generator)(cells=(n, n), order=order)
        macro = MeshDiffusion(
            mesh, boundary=dict.fromkeys(mesh.boundaries, Dirichlet(lambda t, x: x[0] ** 3 - 3 * x[0] * x[1] ** 2))
        )
        u = steady(macro, jnp.ones_like, 0.0)
        found = {name: float(macro.inflow(u, jnp.ones(len(macro.positions())), name)) for name in mesh.boundaries}
        assert abs(sum(found.values())) < 1e-12
        errors.append(max(abs(found[name] - flow) for name, flow in {"left": 1, "right": 2, "bottom": 0, "top": -3}.items()))
    assert np.log2(errors[0] / errors[1]) > order + 0.9 and errors[1] < 0.06


def test_inflow_through_both_ends_of_a_line_and_the_faces_of_a_block():
    line = MeshDiffusion(fx.grids.interval(cells=4), boundary={"left": Dirichlet(0.0), "right": Dirichlet(2.0)})
    u = steady(line, jnp.ones_like, 0.0)
    assert [float(line.inflow(u, jnp.ones(len(line.positions())), name)) for name in ("left", "right")] == pytest.approx(
        [-2.0, 2.0]
    )
    mesh = fx.grids.hexes(cells=(2, 2, 2))
    block = MeshDiffusion(mesh, boundary=dict.fromkeys(mesh.boundaries, Dirichlet(lambda t, x: x[0] + 2 * x[1])))
    u = steady(block, jnp.ones_like, 0.0)
    found = {name: float(block.inflow(u, jnp.ones(len(block.positions())), name)) for name in mesh.boundaries}
    exact = {"left": -1, "right": 1, "front": 0, "back": 0, "bottom": -2, "top": 2}
    assert found == pytest.approx(exact, abs=1e-12)


@pytest.mark.parametrize("order", [1, 2])
def test_inflows_of_all_sides_and_the_source_balance(order):
    """A plate with a hole: two given values, fluxes that are numbers, arrays and functions, an exchange, and a source."""
    mesh = fx.grids.holed((2.0, 2.0), 0.4, (4, 4), order=order)
    sides = {
        "left": Dirichlet(1.0),
        "bottom": Dirichlet(lambda t, x: x[0]),
        "top": Neumann(lambda t, x: 0.7 + x[0] ** 2),
        "hole": Neumann(-jnp.linspace(0.1, 0.4, len(mesh.facets("hole")))),
        "right": Robin(2.0, ambient=0.5),
    }
    assert set(sides) == set(mesh.boundaries)
    macro = MeshDiffusion(mesh, source=0.3, boundary=sides)
    sol = fx.steady(fx.Bundle(macro, FIBER), fx.Quasistatic(1e-12), macro.start(0.5))
    flows = {name: float(macro.inflow(sol.macro[0], sol.response[0], name)) for name in sides}
    given = float(macro.space.weights.sum()) * 0.3
    assert abs(sum(flows.values()) + given) < 1e-10 and min(map(abs, flows.values())) > 1e-2
    assert flows["top"] == pytest.approx(2 * 0.7 + 2 / 3, rel=1e-12)


def test_inflow_is_of_sides_on_which_something_is_given():
    macro = MeshDiffusion(fx.grids.quads(cells=(2, 2)), boundary={"left": Dirichlet(0.0)})
    with pytest.raises(fx.BadInput, match="nothing is given on the boundary 'right' by this name"):
        macro.inflow(macro.start(0.0), jnp.ones(macro.positions().shape[0]), "right")


@pytest.mark.parametrize("model", ["mesh", "box"])
def test_a_source_of_another_form_is_named(model):
    h = fx.homogenization

    def made(source):
        if model == "mesh":
            return h.MeshDiffusion(fx.grids.l_shape((2.0, 2.0), cells=(2, 2), kind="triangle"), source=source)
        return h.Diffusion(fx.grids.Box((0.0, 0.0), (1.0, 1.0), cells=(4, 4)), source=source)

    words = r"Diffusion: source cannot be called as source\(t, U, x\) .* position x \(2,\): .*2 positional"
    with pytest.raises(fx.BadInput, match=words):
        made(lambda t, x: 1.0)
    with pytest.raises(fx.BadInput, match=r"source\(t, U, x\) must give one number; its shape is \(2,\)"):
        made(lambda t, U, x: x)
    made(lambda t, U, x: jnp.log(U) * x[1])


def test_a_mesh_whose_nodes_are_all_given_leaves_nothing_to_solve_for():
    with pytest.raises(BadInput, match="values are given at every node"):
        fx.homogenization.MeshDiffusion(fx.grids.quads(cells=(1, 1)), boundary=fx.homogenization.Dirichlet(2.0))


def two_squares():
    """Two unit squares, the second 3 to the right."""
    one = fx.grids.quads(cells=(2, 2))
    away = one.points + np.array([3.0, 0.0])
    cells = np.concatenate([one.cells, one.cells + len(away)])
    sides = {"left": one.facets("left"), "far": one.facets("right") + len(away)}
    return fx.grids.Mesh(np.concatenate([one.points, away]), cells, "quad", sides)


def test_a_part_of_a_mesh_that_nothing_holds_is_told():
    with pytest.warns(UserWarning, match=r"2 parts that share no nodes. 1 of them, one with a node at \(3, 0\)"):
        MeshDiffusion(two_squares(), boundary={"left": Dirichlet(2.0)})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"boundary": {"left": Neumann(2.0)}}, r"2 comes in .* 0 from the source, together 2 .*\(Robin\)"),
        ({"boundary": {"left": Robin(0.0)}, "source": lambda t, U, x: x[0]}, "0.5 from the source"),
        ({"boundary": {"left": Neumann(2.0)}, "source": -2.0}, None),
        ({"boundary": {"left": Robin(1.0)}, "source": -2.0}, None),
        ({"boundary": {"left": Dirichlet(1.0)}, "source": -2.0}, None),
        ({"source": lambda t, U, x: 1.0 - U}, None),
        ({}, None),
    ],
)
def test_fluxes_and_sources_on_a_mesh_balance_or_the_sum_is_told(options, words):
    for model in (MeshDiffusion, MeshFluxDiffusion):
        macro = model(fx.grids.quads(cells=(2, 2), order=2), **options)
        told = macro.no_steady_state(0.0, macro.start(0.3))
        assert told is None if words is None else re.search(words, told)


def test_each_part_of_a_mesh_has_to_balance():
    with pytest.warns(UserWarning, match="2 parts"):
        macro = MeshDiffusion(two_squares(), boundary={"left": Dirichlet(0.0), "far": Neumann(1.0)})
    told = macro.no_steady_state(0.0, macro.start())
    assert "holds U in the part of the mesh with a node at (3, 0)" in told and "together 1 and" in told
    with pytest.raises(NotConverged, match="there is no steady state"):
        fx.steady(fx.Bundle(macro, FIBER), fx.Quasistatic(), macro.start())
