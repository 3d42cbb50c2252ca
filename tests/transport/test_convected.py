"""Transport of states: exact translations and rotations, characteristics, what enters and what does not, bounds, refusals."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import observed_order

SCHEMES = ("semi-lagrangian", "weno", "upwind")


class Carrier(fx.AbstractCarrier):
    """A prescribed motion given on the faces; every fiber is held at the velocity gradient 0, or at `held`."""

    box: Any
    faces: Any
    held: Any

    def __init__(self, box, faces, held=None, dim=2):
        self.box, self.faces = box, tuple(map(jnp.asarray, faces))
        self.held = jnp.zeros((int(np.prod(box.cells)), dim, dim)) if held is None else jnp.asarray(held)

    @property
    def grid(self):
        return self.box

    def conditions(self, macro):
        return self.held

    def rate(self, t, macro, response):
        return response[:, 0]

    def face_velocity(self, t, macro):
        return self.faces

    def transport(self):
        return fx.Convected()


def passive(shape=(1,), value=0.0):
    """A fiber without dynamics, `value` where something flows in."""
    return fx.StochasticFiber(lambda s, c, dt, key: s, lambda c, key: jnp.full(shape, value), lambda s, c: s)


@eqx.filter_jit
def go(bundle, state, dt, steps=1):
    """States after `steps` transports by `dt`."""
    once = lambda _, s: bundle.transport.apply(bundle.macro, bundle.fiber, s, jnp.zeros(1), 0.0, dt)
    return jax.lax.fori_loop(0, steps, once, state)


def bundle_of(box, faces, scheme="semi-lagrangian", fiber=None, inflow=None, **options):
    fiber = passive() if fiber is None else fiber
    return fx.Bundle(Carrier(box, faces, **options), fiber, transport=fx.Convected(scheme, inflow))


def line(cells, speed=1.0, periodic=True):
    """An interval of length 1 and a uniform motion in it."""
    return fx.grids.Box(0.0, 1.0, cells, periodic=periodic), (jnp.full(cells + 1, speed),)


def from_stream(box, psi):
    """Velocities on faces from a stream function at the corners: divergence-free to round-off."""
    corners = [box.lower[k] + box.spacing[k] * np.arange(box.cells[k] + 1) for k in range(2)]
    values = psi(*np.meshgrid(*corners, indexing="ij"))
    return np.diff(values, axis=1) / box.spacing[1], -np.diff(values, axis=0) / box.spacing[0]


def cells(cells, periodic=False):
    """A square with a cellular flow in it; its walls do not leak but for round-off."""
    box = fx.grids.Box((0, 0), (1, 1), cells, periodic=periodic)
    return box, from_stream(box, lambda x, y: np.sin(np.pi * x) * np.sin(np.pi * y) / np.pi)


@pytest.mark.parametrize(
    "scheme, sizes, order", [("semi-lagrangian", (32, 64), 2.9), ("weno", (32, 64), 2.4), ("upwind", (64, 128), 0.85)]
)
def test_translated_profile_returns(scheme, sizes, order):
    """Once around a periodic interval, at a Courant number that does not hit the cells."""
    errors = []
    for n in sizes:
        (box, faces), steps = line(n), 3 * n // 4 + 1
        start = np.exp(np.sin(2 * np.pi * box.centres))
        end = go(bundle_of(box, faces, scheme), start, 1.0 / steps, steps=steps)
        errors.append(np.mean(np.abs(end - start)))
    assert order < observed_order(errors, 1.0 / np.asarray(sizes)) < order + 0.8, errors


@pytest.mark.slow
def test_rotated_blob_returns():
    """A full turn of the square, corners flowing out and in: order 2 or better, the steps as long as a few cells."""
    errors = []
    for n in (24, 48):
        box = fx.grids.Box((-1, -1), (1, 1), (n, n), periodic=False)
        faces = from_stream(box, lambda x, y: -np.pi * (x**2 + y**2))  # period 1
        x = box.centres.reshape(-1, 2)
        start = np.exp(-12.0 * ((x[:, :1] - 0.35) ** 2 + x[:, 1:] ** 2))
        errors.append(np.abs(go(bundle_of(box, faces), start, 1.0 / n, steps=n) - start).max())
    assert errors[1] < 0.03 and observed_order(errors, (1 / 24, 1 / 48)) > 1.8, errors


@pytest.mark.slow
@pytest.mark.parametrize("scheme, order", [("semi-lagrangian", 1.8), ("weno", 1.8), ("upwind", 0.7)])
def test_cellular_flow_along_characteristics(scheme, order):
    """Between walls, against paths x(t) traced by scipy."""
    from scipy.integrate import solve_ivp

    errors, profile = [], lambda x: np.cos(np.pi * x[:, :1]) + x[:, 1:] ** 2 * (1.0 + x[:, :1])
    for n in (16, 32):
        box, faces = cells((n, n))
        centres = box.centres.reshape(-1, 2)

        def back(t, y):
            x, y = y.reshape(2, -1)
            u, v = np.sin(np.pi * x) * np.cos(np.pi * y), -np.cos(np.pi * x) * np.sin(np.pi * y)
            return -np.concatenate([u, v])

        path = solve_ivp(back, (0.0, 0.5), centres.T.ravel(), rtol=1e-9, atol=1e-9).y[:, -1].reshape(2, -1).T
        end = go(bundle_of(box, faces, scheme), jnp.asarray(profile(centres)), 1.0 / n, steps=n // 2)
        errors.append(np.sqrt(np.mean((end - profile(path)) ** 2)))
    assert observed_order(errors, (1 / 16, 1 / 32)) > order and errors[1] < 0.05, errors


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_whole_cells_are_exact(dim):
    """Shifts by whole cells, more than one, along every axis; the middle axis of three has walls or an inflow."""
    box = fx.grids.Box((0.0,) * dim, (1.0,) * dim, (6, 5, 7)[:dim], periodic=(True, False, True)[:dim])
    moves = (2, 2, -3)[:dim]
    shape = lambda k: tuple(n + (m == k) for m, n in enumerate(box.cells))
    faces = [jnp.full(shape(k), moves[k] * box.spacing[k]) for k in range(dim)]
    start = np.random.default_rng(0).standard_normal((int(np.prod(box.cells)), 2))
    end = go(bundle_of(box, faces, fiber=passive((2,), 5.0)), start, 1.0).reshape(*box.cells, 2)
    expected = np.roll(start.reshape(*box.cells, 2), moves, axis=tuple(range(dim)))
    if dim > 1:
        expected[:, :2] = 5.0
    np.testing.assert_allclose(end, expected, atol=1e-13)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_constants_stay(scheme):
    """A homogeneous section is what it was to the last digits, in a flow that is not even divergence-free."""
    random, box = np.random.default_rng(1), fx.grids.Box((0, 0), (1, 2), (7, 5), periodic=(True, False))
    faces = random.standard_normal((8, 5)), random.standard_normal((7, 6))
    faces[0][-1] = faces[0][0]
    start = jnp.broadcast_to(jnp.asarray([0.1, 1.0 / 3.0, -7e3]), (35, 3))
    fiber = fx.StochasticFiber(lambda s, c, dt, key: s, lambda c, key: jnp.asarray([0.1, 1.0 / 3.0, -7e3]), lambda s, c: s)
    np.testing.assert_array_equal(go(bundle_of(box, faces, scheme, fiber), start, 0.1, steps=4), start)


def test_upwind_keeps_totals_and_bounds_at_any_step():
    """At a Courant number of 6, in one call."""
    box, faces = cells((12, 10))
    start = np.random.default_rng(2).random((120, 1))
    end = go(bundle_of(box, faces, "upwind"), start, 0.5)
    np.testing.assert_allclose(end.sum(), start.sum(), rtol=1e-13)
    assert start.min() <= end.min() and end.max() <= start.max() and np.abs(end - start).max() > 0.1


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_enters(scheme):
    """A channel: data of the inflow arrive with the flow's speed along its lines; walls and outflow let nothing in."""
    n, m, speed, dt, steps = 40, 6, 1.0, 0.04, 10
    box = fx.grids.Box((0, 0), (1, 1), (n, m), periodic=False)
    leak = 1e-17 * np.random.default_rng(3).standard_normal((n, m + 1))  # walls of a solver that rounds
    profile = 1.0 + np.arange(m)[:, None]
    poison = {"right": jnp.full((m, 1), 1e6), "bottom": jnp.full((n, 1), 1e6), "top": jnp.full((n, 1), -1e6)}
    bundle = bundle_of(box, (jnp.full((n + 1, m), speed), leak), scheme, inflow={"left": profile, **poison})
    end = np.asarray(go(bundle, jnp.zeros((n * m, 1)), dt, steps=steps)).reshape(n, m) / profile.T
    reach = speed * dt * steps
    np.testing.assert_allclose(
        end.sum(axis=0) / n, reach, rtol=2e-3 if scheme == "upwind" else 2e-2
    )  # the others keep no totals
    x, width = box.axis(0), {"semi-lagrangian": 0.1, "weno": 0.12, "upwind": 0.35}[scheme]
    np.testing.assert_allclose(end[x < reach - width], 1.0, atol=2e-2)
    np.testing.assert_allclose(end[x > reach + width], 0.0, atol=2e-2)


def test_inflow_is_of_order_two():
    """Steady data that vary along the side, and a smooth state that is carried out, in a shear flow along x."""
    errors = []
    for n in (16, 32):
        box = fx.grids.Box((0, 0), (1, 1), (n, n), periodic=False)
        y = box.axis(1)
        speed = 0.5 + y
        x, data = box.centres[..., 0], np.sin(3.0 * y)
        whole = lambda x, data=data: np.where(x < 0.0, 1.0, np.cos(np.minimum(-x, 0.0) * 4.0)) + data
        bundle = bundle_of(box, (np.tile(speed, (n + 1, 1)), np.zeros((n, n + 1))), inflow={"left": 1.0 + data[:, None]})
        end = go(bundle, jnp.asarray(whole(x).reshape(-1, 1)), 0.5 / (n // 4), steps=n // 4)
        errors.append(np.sqrt(np.mean((end.reshape(n, n) - whole(x - 0.5 * speed)) ** 2)))
    assert observed_order(errors, (1 / 16, 1 / 32)) > 1.6 and errors[1] < 1e-3, errors


def test_default_inflow_is_the_fiber_at_rest():
    fiber = fx.fluids.GaussianDensity(dim=2)
    box, faces = line(8, periodic=False)
    start = jnp.tile(jnp.asarray([[3.0, 1.0], [1.0, 2.0]]), (8, 1, 1))
    end = go(bundle_of(box, faces, fiber=fiber, held=np.ones((8, 2, 2))), start, 0.5)
    np.testing.assert_allclose(end[:4], np.broadcast_to(np.eye(2), (4, 2, 2)), atol=1e-12)
    np.testing.assert_allclose(end[4:], start[4:], atol=1e-12)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_fene_stays_within_reach(scheme):
    """Across a front between springs near their limit, where interpolation of high order overshoots."""
    box, faces = line(20)
    angle = np.linspace(0.0, 6.0, 30)
    out = 0.999 * np.sqrt(8.0) * np.stack([np.cos(angle), np.sin(angle)])
    start = jnp.asarray(np.where(np.arange(20)[:, None, None] < 10, out, -0.2 * out))
    free = go(bundle_of(box, faces, scheme, passive((2, 30))), start, 0.03, steps=7)
    held = go(bundle_of(box, faces, scheme, fx.fluids.Dumbbell(fx.fluids.FENE(8.0), members=30)), start, 0.03, steps=7)
    assert (scheme == "semi-lagrangian") == bool(jnp.max(jnp.sum(free**2, axis=1)) >= 8.0)
    assert jnp.max(jnp.sum(held**2, axis=1)) < 8.0
    if scheme == "upwind":
        np.testing.assert_allclose(held.mean(axis=0), start.mean(axis=0), atol=1e-13)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_conformation_stays_positive(scheme):
    box, faces = line(20)
    axes = jnp.asarray([[[100.0, 9.9], [9.9, 1.0]], [[1.0, 0.0], [0.0, 1.0]]])
    start = axes[(jnp.arange(20) >= 10).astype(int)]
    least = lambda c: float(jnp.min(jnp.linalg.eigvalsh(c)))
    free = go(bundle_of(box, faces, scheme, passive((2, 2))), start, 0.03, steps=7)
    held = go(bundle_of(box, faces, scheme, fx.fluids.GaussianDensity(dim=2)), start, 0.03, steps=7)
    assert least(held) > 0.0 and (scheme != "semi-lagrangian" or least(free) < 0.0)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_rods_have_no_head(scheme):
    """Any sense of any rod of any site: the same tensors mm afterwards, and unit length."""
    box, faces = line(16)
    angle = 2 * np.pi * box.axis(0)[:, None] + np.linspace(0.0, 3.0, 5)
    rods = np.stack([np.cos(angle), np.sin(angle), np.full_like(angle, 0.5)], axis=1) / np.sqrt(1.25)
    signs = np.random.default_rng(4).choice([-1.0, 1.0], (16, 1, 5))
    bundle = bundle_of(box, faces, scheme, fx.fluids.Rod(members=5), dim=3)
    plain, mixed = (np.asarray(go(bundle, jnp.asarray(start), 0.02, steps=5)) for start in (rods, rods * signs))
    square = lambda m: np.einsum("sik,sjk->sijk", m, m)
    np.testing.assert_allclose(square(mixed), square(plain), atol=1e-12)
    np.testing.assert_allclose(np.sum(mixed**2, axis=1), 1.0, rtol=1e-14)
    assert np.mean(np.abs(square(plain) - square(rods))) > 0.05


@pytest.mark.parametrize("scheme", SCHEMES)
def test_states_of_several_leaves(scheme):
    """Leaves of different shapes and precisions go the same way as each by itself."""
    box, faces = cells((9, 8))
    random = np.random.default_rng(5)
    start = {"a": jnp.asarray(random.random((72, 2, 3))), "b": jnp.asarray(random.random(72), jnp.float32)}
    init = lambda c, key: {"a": jnp.zeros((2, 3)), "b": jnp.zeros((), jnp.float32)}
    both = fx.StochasticFiber(lambda s, c, dt, key: s, init, lambda s, c: s["a"])
    end = go(bundle_of(box, faces, scheme, both), start, 0.1)
    assert end["b"].dtype == jnp.float32
    np.testing.assert_allclose(end["a"], go(bundle_of(box, faces, scheme, passive((2, 3))), start["a"], 0.1), atol=1e-14)
    np.testing.assert_allclose(end["b"], go(bundle_of(box, faces, scheme, passive(())), start["b"], 0.1), atol=1e-6)


def test_order_two_with_sources():
    """dU/dt = s, ds/dt + ds/dx = sin(2πx) − s: in closed form along the characteristics, x − t."""
    n, t1, k = 96, 0.8, 2.0 * np.pi
    box, faces = line(n)
    x = box.centres[:, 0]
    relax = lambda s, c, dt, key: c[0] + (s - c[0]) * jnp.exp(-dt)
    fiber = fx.StochasticFiber(relax, lambda c, key: jnp.ones(1), lambda s, c: s)
    bundle = fx.Bundle(Carrier(box, faces, np.sin(k * x)[:, None, None]), fiber)
    # s = e^{−t} + Im e^{ikx} (1 − e^{−(1+ik)t})/(1+ik), and its integral over time.
    decay = 1.0 + 1j * k
    truth = 1.0 - np.exp(-t1) + (np.exp(1j * k * x) * (t1 - (1.0 - np.exp(-decay * t1)) / decay) / decay).imag
    errors, steps = [], (0.1, 0.05, 0.025)
    for dt in steps:
        found = fx.evolve(bundle, fx.Seamless(separation=np.inf), np.zeros(n), t1=t1, dt=dt).macro[0]
        errors.append(np.abs(found - truth).max())
    assert 1.8 < observed_order(errors, steps) < 2.3 and errors[-1] < 1e-3, errors


@pytest.mark.slow
def test_gradients():
    """Of a functional of the end with respect to the speed, against a difference of values."""
    box, faces = cells((8, 8))
    start = jnp.asarray(box.centres.reshape(-1, 2)[:, :1] ** 2)
    value = jax.jit(lambda a: jnp.sum(go(bundle_of(box, [a * f for f in faces]), start, 0.1, steps=3) ** 3))
    difference = (value(1.3 + 1e-5) - value(1.3 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.jit(jax.grad(value))(1.3), difference, rtol=1e-6)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_copy_of_the_ensemble(scheme):
    box, faces = cells((32, 32))
    bundle = bundle_of(box, faces, scheme, passive((2, 500)))
    state = jax.ShapeDtypeStruct((1024, 2, 500), jnp.float64)
    program = jax.jit(
        lambda s: bundle.transport.apply(bundle.macro, bundle.fiber, s, jnp.zeros(1), 0.0, 0.01), donate_argnums=0
    )
    memory = program.lower(state).compile().memory_analysis()
    assert memory.temp_size_in_bytes < 1.25 * 8 * 1024 * 1000


class Integers(fx.AbstractStochastic):
    def init(self, condition, key):
        return {"z": jnp.zeros(2), "count": jnp.zeros((), jnp.int32)}

    def step(self, state, condition, dt, key):
        return state

    def link(self, state, condition):
        return state["z"]


class Unmixable(Integers):
    @property
    def mixing(self):
        return fx.Forbidden("a crystal is no mean of crystals")


class Example(Carrier):
    def example(self):
        return jax.ShapeDtypeStruct((8,), jnp.float64)


def test_refusals():
    box, faces = line(8, periodic=False)
    carrier = Carrier(box, faces)
    with pytest.raises(fx.BadInput, match="scheme='fast' is not one of 'semi-lagrangian', 'weno', 'upwind'"):
        fx.Convected("fast")
    with pytest.raises(fx.BadInput, match="dict from sides"):
        fx.Convected(inflow=3.0)
    with pytest.raises(fx.Mismatch, match=r"a crystal is no mean of crystals\. Use fx\.Fixed"):
        fx.Bundle(carrier, Unmixable())
    with pytest.raises(fx.Mismatch, match=r"fx\.AbstractCarrier; Homogeneous is none"):
        fx.Bundle(fx.fluids.Homogeneous(np.zeros((2, 2))), passive(), transport=fx.Convected())
    with pytest.raises(fx.Mismatch, match=r"state\['count'\] of Integers is int32"):
        fx.Bundle(Example(box, faces), Integers())
    with pytest.raises(fx.BadInput, match="side 'top'; the grid has left, right"):
        bundle_of(box, faces, inflow={"top": np.zeros((8, 1))})
    with pytest.raises(fx.BadInput, match=r"inflow\['left'\] must hold a state of StochasticFiber for each of the 1 cells"):
        go(bundle_of(box, faces, inflow={"left": np.zeros((2, 1))}), jnp.zeros((8, 1)), 0.1)


class Tight(Carrier):
    """A motion along walls, which says so."""

    @property
    def tight(self):
        return "left", "right", "bottom", "top"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_walls_that_are_known_to_be_tight_leave_inflow_out_of_the_program(scheme):
    box = fx.grids.Box((0, 0), (1, 1), (6, 5), periodic=False)
    faces = from_stream(box, lambda x, y: x * (1 - x) * y * (1 - y))
    state, found, sizes = jnp.asarray(np.random.default_rng(0).standard_normal((30, 1))), [], []
    for kind in (Carrier, Tight):
        bundle = fx.Bundle(kind(box, faces), passive(), transport=fx.Convected(scheme))
        move = lambda s, b=bundle: b.transport.apply(b.macro, b.fiber, s, jnp.zeros(1), 0.0, 0.2)
        sizes.append(len(str(jax.make_jaxpr(move)(state))))
        found.append(jax.jit(move)(state))
    np.testing.assert_allclose(found[0], found[1], rtol=1e-13, atol=1e-15)
    assert sizes[1] < 0.75 * sizes[0], sizes


def test_the_walls_of_a_flow_are_tight():
    sides = {"left": fx.fluids.Inflow(1.0), "right": fx.fluids.Outflow()}
    flow = fx.fluids.Flow(fx.grids.Box((0, 0), (1, 1), (4, 4), periodic=False), Re=0.0, boundary=sides)
    assert set(flow.tight) == set(flow.inner.tight) == {"bottom", "top"}
