"""Finite volumes of the macroscale: order, conservation, preconditioner, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput, Mismatch, NotConverged
from fiberax.grids import Box
from fiberax.physics.homogenization import Diffusion, Dirichlet, FluxDiffusion, Neumann

L = 2 * np.pi


def exact(x):
    """Periodic over [0, 2π)^d."""
    return jnp.sin(x[0] + 0.3) * jnp.exp(0.5 * jnp.cos(x[-1]))


def tensor(x):
    """Not symmetric, not constant, positive definite."""
    d = x.shape[0]
    full = jnp.array(
        [
            [2 + jnp.sin(x[0] + x[-1]), 0.4 * jnp.cos(x[-1]) + 0.3, 0.2],
            [-0.2 * jnp.sin(x[0]), 1.5 + 0.5 * jnp.cos(x[0] - x[-1]), 0.3 * jnp.sin(x[0])],
            [0.1, -0.4, 1.0],
        ]
    )
    return full[:d, :d]


def flux(x):
    return tensor(x) @ jax.grad(exact)(x)


def source(t, U, x):
    return -jnp.trace(jax.jacfwd(flux)(x))


def given(t, x):
    return exact(x)


def outward(k, sign):
    return Neumann(lambda t, x: sign * flux(x)[k])


CASES = {
    "periodic": lambda d: (True, None),
    "values": lambda d: (False, Dirichlet(given)),
    "fluxes": lambda d: (False, tuple((outward(k, -1), outward(k, 1)) for k in range(d))),
    "mixed": lambda d: (False, tuple((outward(k, -1), Dirichlet(given)) for k in range(d))),
    "one axis periodic": lambda d: ((True,) + (False,) * (d - 1), (None,) + (Dirichlet(given),) * (d - 1)),
}


def steady_error(case, d, n):
    """Error of the discrete steady state, in the root mean square and at worst."""
    periodic, boundary = CASES[case](d)
    end = tuple(L if p else 1.0 for p in (periodic if isinstance(periodic, tuple) else (periodic,) * d))
    macro = Diffusion(Box((0.0,) * d, end, (n,) * d, periodic), source=source, boundary=boundary)
    points = jnp.asarray(macro.positions())
    a = jax.vmap(tensor)(points)

    @jax.jit
    def rate(u):
        return macro.rate(0.0, u.reshape((n,) * d), a).reshape(-1)

    start = jnp.zeros(n**d)
    solution = np.linalg.lstsq(jax.jit(jax.jacfwd(rate))(start), -rate(start), rcond=None)[0]
    error = solution - jax.vmap(exact)(points)
    if case in ("periodic", "fluxes"):
        error = error - error.mean()
    return float(jnp.sqrt(jnp.mean(error**2))), float(jnp.abs(error).max())


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("d", [1, 2])
def test_second_order_in_the_spacing(case, d):
    if d == 1 and case == "one axis periodic":
        case = "periodic"
    coarse, fine = (steady_error(case, d, n) for n in ((20, 40) if d == 1 else (10, 20)))
    assert np.log2(coarse[0] / fine[0]) > 1.9
    assert np.log2(coarse[1] / fine[1]) > 1.8


def test_second_order_in_three_dimensions():
    coarse, fine = (steady_error("mixed", 3, n) for n in (5, 10))
    assert np.log2(coarse[0] / fine[0]) > 1.8


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_sum_changes_through_sides_and_source_alone(dim):
    cells = (5, 4, 3)[:dim]
    grid = Box((0.0,) * dim, (1.0, 2.0, 0.5)[:dim], cells, periodic=(False, True, False)[:dim])
    boundary = ((Neumann(0.7), Neumann(lambda t, x: -0.2 * t)), None, Neumann(0.0))[:dim]
    macro = Diffusion(grid, source=lambda t, U, x: U**2, boundary=boundary if dim > 1 else boundary[0])
    u = jax.random.normal(jax.random.key(0), cells)
    a = jax.random.normal(jax.random.key(1), (u.size, dim, dim))
    total = float(jnp.sum(macro.rate(3.0, u, a))) * grid.volume
    area = grid.volume * np.prod(cells) / (grid.upper[0] - grid.lower[0])
    assert np.allclose(total, (0.7 - 0.6) * area + float(jnp.sum(u**2)) * grid.volume, rtol=1e-11)


@pytest.mark.parametrize(
    ("periodic", "boundary"),
    [
        (True, None),
        (False, Dirichlet(1.0)),
        (False, Neumann(0.0)),
        (False, ((Dirichlet(0.0), Neumann(1.0)), (Neumann(0.0), Dirichlet(1.0)))),
        ((True, False), (None, (Dirichlet(0.0), Neumann(0.3)))),
    ],
    ids=["periodic", "values", "fluxes", "mixed", "one axis"],
)
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_preconditioner_is_the_inverse_for_constant_conductivity(periodic, boundary, shift):
    cells = (5, 6)
    macro = Diffusion(Box((0.0, 0.0), (1.0, 2.0), cells, periodic), boundary=boundary)
    a = jnp.broadcast_to(jnp.diag(jnp.array([2.0, 0.7])), (30, 2, 2))
    u = jax.random.normal(jax.random.key(0), cells)

    def apply(v):
        return macro.rate(0.0, v, a) - macro.rate(0.0, jnp.zeros(cells), a) - shift * v

    residual = apply(u)
    back = macro.precondition(residual, u, a, jnp.asarray(shift))
    assert np.allclose(apply(back), residual, atol=1e-11)
    constant = macro.precondition(jnp.ones(cells), u, a, jnp.asarray(shift))
    assert np.all(np.isfinite(constant)) and float(jnp.abs(constant).max()) > 0


def test_isotropic_responses_are_numbers():
    macro = Diffusion(Box((0.0, 0.0), (1.0, 1.0), (4, 5)))
    u, a = jax.random.normal(jax.random.key(0), (4, 5)), jax.random.uniform(jax.random.key(1), (20,)) + 1
    full = jnp.einsum("s,ij->sij", a, jnp.eye(2))
    assert np.allclose(macro.rate(0.0, u, a), macro.rate(0.0, u, full), atol=1e-11)


def test_values_and_fluxes_as_numbers_arrays_and_functions():
    grid = Box((0.0, 0.0), (1.0, 1.0), (4, 3), periodic=False)
    y = np.asarray(grid.axis(1))
    u, a = jax.random.normal(jax.random.key(0), (4, 3)), jnp.ones(12)
    for kind in (Dirichlet, Neumann):
        array = Diffusion(grid, boundary=((kind(2 * y), kind(0.0)), kind(1.0))).rate(0.5, u, a)
        function = Diffusion(grid, boundary=((kind(lambda t, x: 4 * t * x[1]), kind(0.0)), kind(1.0))).rate(0.5, u, a)
        assert np.allclose(array, function, atol=1e-12)
    assert np.allclose(
        Diffusion(grid, 2.0, Neumann()).rate(0.0, u, a), Diffusion(grid, jnp.full((4, 3), 2.0), Neumann(0.0)).rate(0.0, u, a)
    )


def test_places_and_names():
    grid = Box((0.0, 0.0), (1.0, 1.0), (2, 3))
    macro = Diffusion(grid)
    assert macro.positions().shape == (6, 2)
    assert np.allclose(macro.conditions(jnp.asarray(grid.centres[..., 1])), macro.positions()[:, 1])
    layout = macro.layout()
    assert layout.dims == ("x", "y") and layout.coords["y"].shape == (3,)
    assert macro.example().shape == (2, 3)


class TestFluxDiffusion:
    @pytest.mark.parametrize("case", CASES)
    def test_second_order_in_the_spacing(self, case):
        errors = []
        for n in (10, 20):
            periodic, boundary = CASES[case](2)
            end = tuple(L if p else 1.0 for p in (periodic if isinstance(periodic, tuple) else (periodic,) * 2))
            grid = Box((0.0, 0.0), end, (n, n), periodic)
            if case in ("values", "mixed", "one axis periodic"):
                boundary = self.as_arrays(grid, boundary)
            macro = FluxDiffusion(grid, source=source, boundary=boundary)
            a = jax.vmap(tensor)(jnp.asarray(macro.positions()))

            @jax.jit
            def rate(u, macro=macro, a=a, n=n):
                _, gradient = macro.conditions(u.reshape(n, n))
                return macro.rate(0.0, u.reshape(n, n), jnp.einsum("sij,sj->si", a, gradient)).reshape(-1)

            start = jnp.zeros(n * n)
            solution = np.linalg.lstsq(jax.jit(jax.jacfwd(rate))(start), -rate(start), rcond=None)[0]
            error = solution - jax.vmap(exact)(jnp.asarray(grid.centres.reshape(-1, 2)))
            error = error - error.mean() if case in ("periodic", "fluxes") else error
            errors.append(float(jnp.sqrt(jnp.mean(error**2))))
        assert np.log2(errors[0] / errors[1]) > 1.9

    @staticmethod
    def as_arrays(grid, boundary):
        """Given values as arrays over the cells of the side."""
        entries = boundary if isinstance(boundary, tuple) else (boundary,) * 2

        def side(k, end, condition):
            if not isinstance(condition, Dirichlet):
                return condition
            line = grid.axis(1 - k)
            points = np.stack([np.full_like(line, end), line], -1)[:, :: 1 if k == 0 else -1]
            return Dirichlet(jax.vmap(exact)(jnp.asarray(points)))

        out = []
        for k, entry in enumerate(entries):
            pair = entry if isinstance(entry, tuple) else (entry, entry)
            ends = (grid.lower[k], grid.upper[k])
            out.append(None if entry is None else tuple(side(k, end, c) for end, c in zip(ends, pair)))
        return tuple(out)

    def test_sum_changes_through_sides_alone(self):
        grid = Box((0.0, 0.0), (1.0, 1.0), (4, 3), periodic=(False, True))
        macro = FluxDiffusion(grid, boundary=((Neumann(0.25), Neumann(0.5)), None))
        u = jax.random.normal(jax.random.key(0), (4, 3))
        response = jax.random.normal(jax.random.key(1), macro.positions().shape)
        assert np.allclose(jnp.sum(macro.rate(0.0, u, response)) * grid.volume, 0.75, rtol=1e-11)

    def test_preconditioner_for_a_constant_law(self):
        grid = Box((0.0, 0.0), (1.0, 1.0), (4, 5), periodic=(False, True))
        macro = FluxDiffusion(grid, boundary=((Dirichlet(0.0), Neumann(0.0)), None))
        u = jax.random.normal(jax.random.key(0), (4, 5))
        response = 3.0 * macro.conditions(u)[1]
        assert np.allclose(macro.precondition(macro.rate(0.0, u, response), u, response, jnp.zeros(())), u, atol=1e-10)

    def test_functions_of_time_are_refused_as_values(self):
        with pytest.raises(BadInput, match="without the time"):
            FluxDiffusion(Box(0.0, 1.0, 4, periodic=False), boundary=Dirichlet(lambda t, x: t))


@pytest.mark.parametrize(
    ("periodic", "arguments", "told"),
    [
        (True, {"boundary": Dirichlet(0.0)}, "periodic along every axis"),
        (False, {}, "not periodic along x"),
        ((True, False), {"boundary": (Neumann(), Neumann())}, "periodic there. Give None"),
        ((True, False), {"boundary": (None, None)}, "not periodic along y"),
        (False, {"boundary": (Neumann(), Neumann(), Neumann())}, "3 entries for 2 axes"),
        (False, {"boundary": (Neumann(), (Neumann(),))}, "pair"),
        (False, {"boundary": (Neumann(), "insulated")}, "pair"),
        (False, {"boundary": (Dirichlet(np.zeros(3)), Neumann())}, r"lower x side has an array of shape \(3,\).*\(5,\)"),
        (True, {"source": np.zeros(4)}, r"source has the shape \(4,\)"),
    ],
)
def test_what_does_not_fit_is_said(periodic, arguments, told):
    with pytest.raises(BadInput, match=told):
        Diffusion(Box((0.0, 0.0), (1.0, 1.0), (4, 5), periodic), **arguments)


def test_responses_that_do_not_fit():
    macro = Diffusion(Box((0.0, 0.0), (1.0, 1.0), (3, 3)))
    with pytest.raises(Mismatch, match=r"\(2, 2\) or a number"):
        macro.rate(0.0, jnp.zeros((3, 3)), jnp.zeros((9, 3, 3)))
    flux_macro = FluxDiffusion(macro.grid)
    with pytest.raises(Mismatch, match=r"needs a flux \(2,\)"):
        flux_macro.rate(0.0, jnp.zeros((3, 3)), jnp.zeros((18, 2, 2)))
    with pytest.raises(BadInput, match="Box"):
        Diffusion((4, 4))
    with pytest.raises(BadInput, match="at least three"):
        Diffusion(Box(0.0, 1.0, 2, periodic=False), boundary=Neumann())


def test_two_scales_together_conserve_and_decay():
    """The harmonic mean as the conductivity of a bar, with the fibers solved at every site."""
    grid = Box(0.0, 1.0, 8)
    cell = fx.homogenization.Cell(lambda U, z: (1 + U**2) * (1.1 + jnp.sin(2 * jnp.pi * z[0])), (16,))
    start = 1 + 0.5 * jnp.sin(2 * jnp.pi * grid.centres[..., 0])
    bundle = fx.Bundle(Diffusion(grid), cell)
    sol = fx.evolve(bundle, fx.Quasistatic(), start, t1=0.02, dt=1e-3)
    assert np.allclose(jnp.sum(sol.macro[-1]), 8.0, rtol=1e-12)
    chi, _ = cell.solver.solve(cell, jnp.zeros((1, 16)), 0.0, 1e-9)
    assert np.allclose(sol.response[-1][:, 0, 0], (1 + sol.macro[-1] ** 2) * cell.link(chi, 0.0)[0, 0])
    assert 0.1 < float(jnp.ptp(sol.macro[-1]) / jnp.ptp(start)) < 0.9


def test_fluxes_and_sources_that_do_not_balance_have_no_steady_state():
    """−4 from the source, 4·1 through the sides: balanced. Small against U, so that Newton would take it for converged."""
    grid = Box((0.0, 0.0), (1.0, 1.0), (3, 3), periodic=False)
    fiber = fx.FlowFiber(rate=lambda s, U: U - s, init=lambda U: jnp.zeros(()), link=lambda s, U: 1.0 + 0.0 * s)
    macro = Diffusion(grid, source=-3e-6, boundary=Neumann(1e-6))
    words = r"nothing holds U.* 4e-06 .* sides and -3e-06 from the source, together 1e-06 .*\(Dirichlet\), or .* -1e-06"
    with pytest.raises(NotConverged, match=words):
        fx.steady(fx.Bundle(macro, fiber), fx.Quasistatic(), jnp.full((3, 3), 300.0))


@pytest.mark.parametrize("model", [Diffusion, FluxDiffusion])
def test_what_holds_or_balances_is_not_said_to_have_no_steady_state(model):
    box, ring, u = Box(0.0, 1.0, 4, periodic=False), Box(0.0, 1.0, 4), jnp.ones(4)
    good = [
        model(box, source=-2.0, boundary=Neumann(1.0)),
        model(box, source=1.0, boundary=(Neumann(2.0), Dirichlet(0.0))),
        model(box, source=lambda t, U, x: 1.0 - jnp.maximum(U, 5.0), boundary=Neumann()),
        model(ring, source=jnp.array([1.0, -1.0, 3.0, -3.0])),
    ]
    assert [macro.no_steady_state(0.0, u) for macro in good] == [None] * 4
    assert "1.5 from the source" in model(ring, source=lambda t, U, x: 1.0 + x[0]).no_steady_state(0.0, u)
    moving = model(box, boundary=(Neumann(lambda t, x: t), Neumann(-1.0)))
    assert moving.no_steady_state(1.0, u) is None
    assert "together 1 and not 0" in moving.no_steady_state(2.0, u)


def test_where_nothing_conducts_that_is_said_and_not_that_a_constant_is_open():
    grid = Box(0.0, 1.0, 4, periodic=False)
    fiber = fx.FlowFiber(rate=lambda s, U: U - s, init=lambda U: jnp.zeros(()), link=lambda s, U: 0.0 * s)
    with pytest.warns(UserWarning, match="no rate depends on the macrostate, as where nothing conducts") as told:
        sol = fx.steady(fx.Bundle(Diffusion(grid, boundary=Dirichlet(1.0)), fiber), fx.Quasistatic(), jnp.full(4, 3.0))
    assert np.all(sol.macro == 3.0) and len(told) == 1
    with pytest.raises(NotConverged, match="nothing conducts"):
        fx.steady(fx.Bundle(Diffusion(grid, 1.0, Dirichlet(1.0)), fiber), fx.Quasistatic(), jnp.full(4, 3.0))
