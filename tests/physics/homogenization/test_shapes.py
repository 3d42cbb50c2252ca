"""Diffusion on meshes: orders in space and time, sides, exactness, derivatives, and what is refused."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput, Mismatch
from fiberax.grids import elements
from fiberax.physics.homogenization import Dirichlet, MeshDiffusion, MeshFluxDiffusion, Neumann, Robin


def tensor(U, d):
    """Depends on U, not symmetric, positive definite."""
    full = jnp.array([[2.0 + U, 0.4, 0.1], [-0.2, 1.5 + 0.5 * U**2, 0.3 * U], [0.1, -0.4, 1.0 + 0.2 * U]])
    return full[:d, :d]


class Law(fx.AbstractFlow):
    """A (d, d) of the condition U; a fiber with a state, as cells have."""

    d: int

    def init(self, condition, key):
        return jnp.zeros(())

    def rate(self, state, condition):
        return condition - state

    def link(self, state, condition):
        return tensor(state, self.d)


class FluxLaw(fx.AbstractFlow):
    """Q (d,) of the condition (U, G): the tensor, and a part that grows with the gradient."""

    d: int

    def init(self, condition, key):
        return jnp.zeros(())

    def rate(self, state, condition):
        return condition[0] - state

    def link(self, state, condition):
        return flux_law(state, condition[1])


def flux_law(U, G):
    return tensor(U, G.shape[0]) @ G + 0.3 * (G @ G) * G


def exact(x):
    return 0.5 + 0.4 * jnp.sin(1.3 * x[0] + 0.2) * jnp.cos(x[-1]) + 0.1 * jnp.prod(x)


def flux(law, u, x):
    U, G = jax.value_and_grad(u)(x)
    return tensor(U, x.shape[0]) @ G if law is Law else flux_law(U, G)


def divergence(law, u, x):
    return jnp.trace(jax.jacfwd(lambda x: flux(law, u, x))(x))


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


def manufactured(law, generator, order, n):
    """The error of a steady state with values, fluxes and exchange on the sides."""
    d = 3 if generator in (fx.grids.tets, fx.grids.hexes) else 2
    mesh = bent(generator(cells=(n,) * d, order=order))
    normal = {"right": (0, 1), "top": (1, 1)}
    outward = lambda name: lambda t, x: normal[name][1] * flux(law, exact, x)[normal[name][0]]
    sides = {name: Dirichlet(lambda t, x: exact(x)) for name in mesh.boundaries if name not in normal}
    sides["right"] = Neumann(outward("right"))
    sides["top"] = Robin(lambda t, x: 1.0 + x[0], lambda t, x: exact(x) + outward("top")(t, x) / (1.0 + x[0]))
    model = MeshDiffusion if law is Law else MeshFluxDiffusion
    macro = model(mesh, source=lambda t, U, x: -divergence(law, exact, x) + U**2 - exact(x) ** 2, boundary=sides)
    start = macro.start(lambda x: 0.5 + 0.1 * x[0])
    sol = fx.steady(fx.Bundle(macro, law(d)), fx.Quasistatic(), start)
    assert sol.stats["residuals"][-1] < 1e-9 * sol.stats["residuals"][0]
    return distance(macro, sol.macro[0]), len(sol.stats["residuals"])


@pytest.mark.parametrize(
    ("law", "generator", "order", "cells"),
    [
        (Law, fx.grids.triangles, 1, (8, 16)),
        (Law, fx.grids.quads, 1, (8, 16)),
        (FluxLaw, fx.grids.triangles, 2, (4, 8)),
        (Law, fx.grids.triangles, 2, (4, 8)),
        (FluxLaw, fx.grids.quads, 2, (3, 6)),
        (FluxLaw, fx.grids.tets, 1, (3, 6)),
        (Law, fx.grids.hexes, 1, (3, 6)),
        pytest.param(Law, fx.grids.tets, 2, (2, 4), marks=pytest.mark.slow),
        pytest.param(Law, fx.grids.hexes, 2, (2, 4), marks=pytest.mark.slow),
    ],
)
def test_manufactured_steady_states_have_the_order_of_the_element_plus_one(law, generator, order, cells):
    (coarse, _), (fine, steps) = (manufactured(law, generator, order, n) for n in cells)
    assert np.log2(coarse / fine) > order + 1 - 0.2
    assert steps <= 7  # Newton with the exact Jacobian


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
        sol = fx.steady(fx.Bundle(macro, UNIT), fx.Quasistatic(), macro.start(0.0))
        errors.append(distance(macro, sol.macro[0], corner))
    rates = np.log2(np.array(errors[:-1]) / errors[1:])
    assert np.all((rates > 1.2) & (rates < 1.5)), rates


UNIT = fx.FlowFiber(rate=lambda s, U: U - s, init=lambda U: jnp.zeros(()), link=lambda s, U: jnp.ones(()))
