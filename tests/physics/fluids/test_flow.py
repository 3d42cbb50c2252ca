"""Flows in channels and periodic boxes against closed forms: series, dispersion relations, decaying vortices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.physics.fluids.boundary import parse_sides
from fiberax.physics.fluids.fluid import Creeping
from fiberax.testing import check_bundle, observed_order

DRIVER = fx.Seamless(separation=np.inf)


def channel(cells, **arguments):
    return fx.fluids.Flow(fx.grids.Box(0.0, 1.0, cells=cells, periodic=False), **arguments)


def square(cells, dim=2, **arguments):
    return fx.fluids.Flow(fx.grids.Box((0.0,) * dim, (2.0 * np.pi,) * dim, cells=(cells,) * dim), **arguments)


def gaussian(De=1.0, dim=2):
    """Oldroyd-B fibers, with a scheme that compiles fast."""
    return fx.relax(fx.fluids.GaussianDensity(De=De, dim=dim), friction=1.0, scheme=fx.Explicit())


def end(flow, fiber, t1, steps, start=None, transport=None):
    """Velocity at `t1`."""
    bundle = fx.Bundle(flow, fiber, transport=transport)
    start = bundle.macro.start() if start is None else start
    run = jax.jit(lambda macro: fx.evolve(bundle, DRIVER, macro, t1=t1, dt=t1 / steps).macro)
    macro = run(start)
    return np.asarray(macro.value if isinstance(macro, fx.Inertialess) else macro)[-1]


def largest(x):
    return float(np.max(np.abs(x)))


# Oldroyd-B fluids in a channel: every sine mode obeys Re u' = f − ν q² u − ((1−ν)/De) q s, s' = q u − s/De, a pair of
# exponentials (Waters and King, Rheol. Acta 9, 1970).

RE, NU, DE = 0.8, 0.3, 0.5


def of_mode(q, t, f=0.0, u0=0.0):
    """Amplitude at t from u0 and s = 0, by the roots of Re s + q² (ν + (1 − ν)/(1 + De s)) = 0."""
    a, b, c = RE * DE, RE + NU * DE * q**2, q**2
    root = np.sqrt((b**2 - 4.0 * a * c).astype(complex))
    first, second = (-b + root) / (2.0 * a), (-b - root) / (2.0 * a)
    rest, slope = f / q**2, (f - NU * q**2 * u0) / RE
    weight = (slope - second * (u0 - rest)) / (first - second)
    return (rest + weight * np.exp(first * t) + (u0 - rest - weight) * np.exp(second * t)).real


K = np.arange(1, 2000)
CONSTANT = 4.0 / (np.pi * K) * (K % 2)  # 1 in sine modes
HEIGHT = -2.0 * (-1.0) ** K / (np.pi * K)  # y


def on_nodes(y, amplitudes):
    return np.sin(np.pi * np.outer(y, K)) @ amplitudes


def test_start_up_of_poiseuille_flow_is_that_of_waters_and_king():
    t, errors = 0.4, []
    for cells in (16, 32):
        flow = channel(cells, Re=RE, viscosity_ratio=NU, force=1.0)
        truth = on_nodes(flow.nodes, of_mode(np.pi * K, t, f=CONSTANT))
        errors.append(largest(end(flow, gaussian(DE), t, cells // 2) - truth))
    assert errors[1] < 2e-3 * largest(truth), errors
    assert observed_order(errors, [2.0, 1.0]) > 1.9, errors


def test_time_steps_of_the_channel_are_of_second_order():
    """Against the exact solution of the equations on the nodes: the sine modes, with q² as the differences have it."""
    t, cells = 0.4, 16
    k = np.arange(1, cells)
    q = 2.0 * cells * np.sin(0.5 * np.pi * k / cells)
    shapes = np.sin(np.pi * np.outer(np.arange(cells + 1), k) / cells)
    truth = shapes @ of_mode(q, t, f=2.0 / cells * shapes.sum(axis=0))
    flow = channel(cells, Re=RE, viscosity_ratio=NU, force=lambda y, t: jnp.ones_like(y))
    errors = [largest(end(flow, gaussian(DE), t, steps) - truth) for steps in (8, 16)]
    assert observed_order(errors, [2.0, 1.0]) > 1.9, errors


def test_start_up_of_couette_flow_under_a_wall_set_in_uniform_acceleration():
    """U = t y + w: w is driven by −y."""
    t, errors = 0.4, []
    walls = {"bottom": fx.fluids.Wall(), "top": fx.fluids.Wall(lambda s, t: t)}
    for cells in (16, 32):
        flow = channel(cells, Re=RE, viscosity_ratio=NU, boundary=walls)
        truth = t * flow.nodes + on_nodes(flow.nodes, of_mode(np.pi * K, t, f=-RE * HEIGHT))
        errors.append(largest(end(flow, gaussian(DE), t, cells // 2) - truth))
    assert observed_order(errors, [2.0, 1.0]) > 1.9, errors


def test_impulsive_start_of_couette_flow():
    """The wall jumps at t = 0. Newtonian: order 2. Oldroyd-B: the stress layer at the wall keeps the memory of the jump."""
    t, errors = 0.4, []
    top = {"top": fx.fluids.Wall(1.0)}
    for cells in (16, 32):
        flow = channel(cells, Re=RE, boundary=top)
        truth = flow.nodes - on_nodes(flow.nodes, HEIGHT * np.exp(-((np.pi * K) ** 2) * t / RE))
        truth[-1] = 1.0  # where the series of y does not converge
        errors.append(largest(end(flow, gaussian(), t, cells // 2) - truth))
    assert observed_order(errors, [2.0, 1.0]) > 1.9, errors
    flow = channel(32, Re=RE, viscosity_ratio=NU, boundary=top)
    truth = flow.nodes + on_nodes(flow.nodes, of_mode(np.pi * K, t, u0=-HEIGHT))
    off = (end(flow, gaussian(DE), t, 40) - truth)[:-1]
    assert largest(off) < 2e-3 and np.mean(np.abs(off)) < 2e-4, (largest(off), np.mean(np.abs(off)))


def test_creeping_start_up_of_poiseuille_flow():
    """Re = 0: every mode relaxes in ν De, and the parabola is exact on the nodes."""
    t, F = 0.3, 2.0
    flow = channel(8, Re=0.0, viscosity_ratio=NU, force=F)
    slow = 1.0 - np.exp(-t / (NU * DE))
    y = flow.inner.nodes
    truth = 0.5 * F * y * (1.0 - y) * (1.0 - (1.0 - NU) * slow) / NU
    errors = [largest(end(flow, gaussian(DE), t, steps) - truth) for steps in (16, 32)]
    assert errors[1] < 5e-3 * largest(truth) and observed_order(errors, [2.0, 1.0]) > 1.85, errors
    start = fx.Bundle(flow, gaussian(DE)).macro.start()
    np.testing.assert_allclose(start.value, 0.5 * F * y * (1.0 - y) / NU, atol=1e-12)


def test_a_shear_wave_decays_by_the_dispersion_relation():
    """In the periodic channel to order 2; in the periodic square, where q is exact, what is left is the time step's."""
    t, q, errors = 0.5, 2.0, []
    for cells in (16, 32):
        flow = fx.fluids.Flow(fx.grids.Box(0.0, 2.0 * np.pi, cells=cells), Re=RE, viscosity_ratio=NU)
        start = flow.start(velocity=lambda y: jnp.sin(q * y))
        truth = of_mode(np.array(q), t, u0=1.0) * np.sin(q * flow.nodes)
        errors.append(largest(end(flow, gaussian(DE), t, cells // 2, start) - truth))
    assert observed_order(errors, [2.0, 1.0]) > 1.9, errors
    flow = square(8, Re=RE, viscosity_ratio=NU)
    start = flow.start(velocity=lambda x: jnp.stack([jnp.sin(q * x[..., 1]), jnp.zeros_like(x[..., 0])], -1))
    truth = of_mode(np.array(q), t, u0=1.0) * start
    errors = [largest(end(flow, gaussian(DE), t, n, start, fx.Fixed()) - truth) for n in (8, 16)]
    assert observed_order(errors, [2.0, 1.0]) > 1.9, errors


def test_a_shear_wave_carried_along_decays_likewise():
    """Galilean invariance of flow and fibers together: the wave of before in a frame that moves across it."""
    t, V, errors = 0.4, 1.5, []
    wave = lambda t: lambda x: jnp.stack([jnp.sin(x[..., 1] - V * t), V + 0.0 * x[..., 0]], -1)
    for cells in (8, 16):
        flow = fx.fluids.Flow(fx.grids.Box((0.0, 0.0), (2.0, 2.0 * np.pi), cells=(4, cells)), Re=RE, viscosity_ratio=NU)
        truth = flow.start(velocity=wave(t)).at[0].multiply(of_mode(np.array(1.0), t, u0=1.0))
        errors.append(largest(end(flow, gaussian(DE), t, cells, flow.start(velocity=wave(0.0))) - truth))
    assert errors[1] < 5e-3 and observed_order(errors, [2.0, 1.0]) > 1.8, errors


# Periodic boxes


def vortices(t, Re, drift=(0.7, -0.4)):
    """Taylor-Green vortices that drift: an exact solution of the Navier-Stokes equations."""

    def velocity(x):
        y = x - jnp.array(drift) * t
        decay = jnp.exp(-2.0 * t / Re)
        u, v = jnp.cos(y[..., 0]) * jnp.sin(y[..., 1]), -jnp.sin(y[..., 0]) * jnp.cos(y[..., 1])
        return jnp.array(drift) + decay * jnp.stack([u, v], -1)

    return velocity


def test_vortices_decay_as_taylor_and_green_say():
    Re, t = 5.0, 1.0
    flow, errors = square(8, Re=Re), []
    for steps in (10, 20):
        u = end(flow, gaussian(), t, steps, flow.start(velocity=vortices(0.0, Re)), fx.Fixed())
        errors.append(largest(u - flow.start(velocity=vortices(t, Re))))
        assert largest(divergence(flow, u)) < 1e-12
    assert observed_order(errors, [2.0, 1.0]) > 1.9, errors
    rate = flow.rate(0.0, flow.start(velocity=vortices(0.0, Re)), jnp.zeros((64, 2, 2)))
    exact = jax.jvp(lambda t: flow.start(velocity=vortices(t, Re)), (0.0,), (1.0,))[1]
    np.testing.assert_allclose(rate, exact, atol=1e-12)


def test_a_beltrami_flow_keeps_its_shape_and_decays():
    """Arnold, Beltrami, Childress: ∇×U = U, so that the energy falls as exp(−2νt/Re)."""
    Re, t, (A, B, C) = 2.0, 1.0, (1.0, 0.7, 0.4)

    def abc(x):
        x, y, z = jnp.moveaxis(x, -1, 0)
        s, c = jnp.sin, jnp.cos
        return jnp.stack([A * s(z) + C * c(y), B * s(x) + A * c(z), C * s(y) + B * c(x)], -1)

    flow = square(4, dim=3, Re=Re)
    start, energies = flow.start(velocity=abc), []
    for steps in (5, 10):
        u = end(flow, gaussian(dim=3), t, steps, start, fx.Fixed())
        assert largest(divergence(flow, u)) < 1e-12
        assert largest(u - start * np.sum(u * start) / np.sum(start**2)) < 1e-12
        energies.append(np.sum(u**2) / np.sum(start**2) - np.exp(-2.0 * t / Re))
    assert abs(energies[1]) < 1e-3 and observed_order(np.abs(energies), [2.0, 1.0]) > 1.9, energies


def divergence(flow, u):
    """By another way than the flow's own: numpy's full transform."""
    modes = np.fft.fftn(u, axes=range(1, u.ndim))
    k = np.meshgrid(*(np.fft.fftfreq(n, h / (2.0 * np.pi)) for n, h in zip(flow.grid.cells, flow.grid.spacing)), indexing="ij")
    return np.fft.ifftn(sum(1j * a * b for a, b in zip(k, modes))).real


def stream(x, y):
    """ψ, a stream function with all wave numbers, its slopes (2) and curvatures (xx, xy, yy), in numpy."""
    E, mixed, turned = np.exp(np.sin(x) + 0.5 * np.cos(y - 1.0)), np.sin(x + y), 0.5 * np.sin(y - 1.0)
    slopes = E * np.cos(x) + np.cos(x + y), -E * turned + np.cos(x + y)
    xx, xy = E * (np.cos(x) ** 2 - np.sin(x)) - mixed, -E * np.cos(x) * turned - mixed
    return E + mixed, slopes, (xx, xy, E * (turned**2 - 0.5 * np.cos(y - 1.0)) - mixed)


@jax.jit
def seen(flow, U, carried):
    """Gradient, convection less what it should be, projected, and face velocities, of U projected."""
    U = flow.within(0.0, U)
    return flow.gradient(U), flow.within(0.0, flow.convection(0.0, U) - carried), flow.face_velocity(0.0, U)


def test_gradients_convection_and_face_means_are_spectral():
    errors = []
    for cells in (12, 30):
        flow = square(cells)
        _, (a, b), (xx, xy, yy) = stream(*np.moveaxis(flow.grid.centres, -1, 0))
        velocity, kappa = np.stack([b, -a]), np.array([[xy, yy], [-xx, -xy]])
        gradient, convection, faces = seen(flow, velocity, np.einsum("ij...,j...->i...", kappa, velocity))
        assert largest(kappa[0, 1] - kappa[1, 0]) > 1.0
        edge = np.arange(cells + 1.0) * flow.grid.spacing[0]
        psi = stream(*np.meshgrid(edge, edge, indexing="ij"))[0] / flow.grid.spacing[0]
        fluxes = np.diff(psi, axis=1), -np.diff(psi, axis=0)  # exact, over the length of a face
        off = [largest(x - y) for x, y in zip(faces, fluxes, strict=True)]
        errors.append([largest(np.moveaxis(gradient, (-2, -1), (0, 1)) - kappa), largest(convection), *off])
        assert largest(np.diff(faces[0], axis=0) + np.diff(faces[1], axis=1)) < 1e-12
    assert np.all(np.array(errors[1]) < 2e-3 * np.array(errors[0])), errors


@pytest.mark.parametrize(
    "flow",
    [
        channel(5),
        fx.fluids.Flow(fx.grids.Box(0.0, 2.0, cells=6)),
        fx.fluids.Flow(fx.grids.Box((0.0, 1.0), (1.0, 3.0), cells=(6, 9))),
        fx.fluids.Flow(fx.grids.Box((0.0,) * 3, (1.0, 2.0, 3.0), cells=(4, 5, 6))),
    ],
    ids=["walls", "periodic channel", "2D", "3D"],
)
def test_stress_does_the_work_that_gradients_see(flow):
    """Σ τ:κ = −Σ U·(∇·τ) for every τ, and every admissible U."""
    random = np.random.default_rng(0)
    U = flow.within(0.0, jnp.asarray(random.standard_normal(flow.example().shape)))
    tau = jnp.asarray(random.standard_normal((*flow.grid.cells, flow.planes, flow.planes)))
    work, power = jnp.sum(flow.gradient(U) * tau), jnp.sum(U * flow.divergence(tau))
    np.testing.assert_allclose(work, -power, rtol=1e-11)
    kappa = flow.conditions(U)
    np.testing.assert_allclose(jnp.trace(kappa, axis1=1, axis2=2), 0.0, atol=1e-11)


def test_creeping_flow_in_a_periodic_box():
    """ΔU = −F for the four-roll force; a mean force moves nothing."""
    roll = lambda x: jnp.stack([jnp.sin(x[..., 0]) * jnp.cos(x[..., 1]), -jnp.cos(x[..., 0]) * jnp.sin(x[..., 1])], -1)
    flow = square(8, Re=0.0, viscosity_ratio=0.5, force=lambda x, t: 3.0 + 2.0 * roll(x))
    assert isinstance(flow, Creeping)
    paired = flow.with_fiber(gaussian())
    np.testing.assert_allclose(paired.centred(paired.start()), 2.0 * roll(flow.grid.centres), atol=1e-12)
    assert largest(paired.rate(0.0, paired.start(), jnp.broadcast_to(jnp.eye(2), (64, 2, 2))).value) < 1e-12


# Contracts


def test_brownian_dumbbells_flow_as_their_covariance_does():
    flow = channel(6, Re=RE, viscosity_ratio=NU, force=5.0)
    bundle = fx.Bundle(flow, fx.fluids.Dumbbell(De=DE, members=100))
    assert bundle.noise == "shared" and isinstance(bundle.transport, fx.Fixed)
    start = bundle.macro.start()
    one = lambda key: fx.evolve(bundle, DRIVER, start, t1=0.5, dt=0.025, key=key).macro[-1]
    runs = np.asarray(jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(1), 16)))
    off = runs.mean(axis=0) - end(flow, gaussian(DE), 0.5, 20)
    error = runs.std(axis=0, ddof=1) / 4.0
    assert largest(error) < 0.05 * largest(runs)
    assert np.all(np.abs(off) <= 4.0 * error + 1e-12), off / error


@pytest.mark.slow
def test_bundles_pass_the_checks():
    flow = channel(4, viscosity_ratio=0.5, force=1.0)
    assert check_bundle(fx.Bundle(flow, gaussian(0.5)), DRIVER, flow.start(), dt=0.01).gradient > 0.0
    flow = fx.fluids.Flow(fx.grids.Box((0.0, 0.0), (1.0, 1.0), cells=(4, 4)), viscosity_ratio=0.5)
    bundle = fx.Bundle(flow, fx.fluids.Dumbbell(De=0.5, members=20))
    assert isinstance(bundle.transport, fx.Convected) and float(bundle.macro.parameters.De) == 0.5
    start = flow.start(velocity=lambda x: jnp.stack([jnp.sin(2.0 * np.pi * x[..., 1]), 0.0 * x[..., 0]], -1))
    assert check_bundle(bundle, DRIVER, start, dt=0.01, gradient=False).sites == 16


def test_fibers_in_space_see_a_flow_in_the_plane():
    flow = channel(4, Re=0.0, viscosity_ratio=0.5, force=1.0).with_fiber(
        fx.relax(fx.fluids.GaussianDensity(3, 2.0), friction=1.0)
    )
    kappa = flow.conditions(flow.start())
    assert kappa.shape == (4, 3, 3) and largest(kappa[:, 0, 1]) > 0.1
    assert largest(kappa.at[:, 0, 1].set(0.0)) == 0.0
    np.testing.assert_allclose(flow.inner.parameters.De, 2.0)
    assert flow.positions().shape == (4, 2) and flow.centred(flow.start()).shape == (4, 2)


def test_results_have_names():
    pytest.importorskip("xarray")
    flow = channel(4, Re=0.0, viscosity_ratio=0.5, force=1.0)
    data = fx.evolve(fx.Bundle(flow, gaussian()), DRIVER, flow.with_fiber(gaussian()).start(), t1=0.1, dt=0.1).to_xarray()
    assert data.macro_value.shape == (1, 5) and data.response.dims == ("time", "y", "i", "j")
    np.testing.assert_allclose(data.y, [0.125, 0.375, 0.625, 0.875])


@pytest.mark.parametrize("Re", [0.0, 1.0])
@pytest.mark.parametrize("grid", [fx.grids.Box(0.0, 1.0, 4, False), fx.grids.Box((0.0, 0.0), (1.0, 1.0), (4, 4))])
def test_single_precision(Re, grid):
    with jax.enable_x64(False):
        fiber = fx.relax(fx.fluids.GaussianDensity(), friction=1.0, scheme=fx.Explicit())
        flow = fx.fluids.Flow(grid, Re, 0.5).with_fiber(fiber)
        response = jnp.broadcast_to(jnp.eye(2), (flow.conditions(flow.start()).shape[0], 2, 2))
        macro = flow.start()
        for tree in (macro, flow.rate(0.0, macro, response), flow.conditions(macro)):
            assert all(x.dtype == jnp.float32 and bool(jnp.all(jnp.isfinite(x))) for x in jax.tree.leaves(tree))


def test_a_run_in_single_precision():
    with jax.enable_x64(False):
        fiber = fx.relax(fx.fluids.GaussianDensity(), friction=1.0, scheme=fx.Explicit())
        bundle = fx.Bundle(channel(4, viscosity_ratio=0.5, force=1.0), fiber)
        macro = jax.jit(lambda u: fx.evolve(bundle, DRIVER, u, t1=0.1, dt=0.05).macro)(bundle.macro.start())
        assert macro.dtype == jnp.float32 and bool(jnp.all(jnp.isfinite(macro)))


WALLED = fx.grids.Box((0.0, 0.0), (1.0, 2.0), cells=(4, 4), periodic=(True, False))
ROOM = fx.grids.Box((0.0, 0.0), (1.0, 2.0), cells=(4, 4), periodic=False)
Wall, Inflow, Outflow = fx.fluids.Wall, fx.fluids.Inflow, fx.fluids.Outflow


@pytest.mark.parametrize(
    "wrong, words",
    [
        (lambda: fx.fluids.Flow("box"), "fx.grids.Box"),
        (lambda: channel(8, Re=-1.0), "Re must be a number at least 0"),
        (lambda: channel(8, Re="fast"), "'fast'"),
        (lambda: channel(8, viscosity_ratio=1.5), "between 0 and 1"),
        (lambda: channel(8, Re=0.0, viscosity_ratio=0.0), "nothing to solve for"),
        (lambda: channel(8, De=0.0), "De = 0"),
        (lambda: channel(8, dim=4), "2 or 3; it is 4"),
        (lambda: channel(2), "at least 3 cells"),
        (lambda: square(2), "at least 4 cells"),
        (lambda: channel(8, force=(1.0, 2.0)), "force must be a number"),
        (lambda: channel(8, force=np.nan), "not finite"),
        (lambda: square(8, force=lambda x, t: x[..., 0]), "it gives (3, 3)"),
        (lambda: square(8, force=lambda x: x), "cannot be computed"),
        (lambda: square(8).start(velocity=lambda x: x[..., 0]), "as many numbers"),
        (lambda: fx.fluids.Flow(fx.grids.Box((0.0,) * 3, (1.0,) * 3, (4, 4, 4), False)), "every axis must be periodic"),
        (lambda: square(8, boundary=Wall()), "no sides for Wall"),
        (lambda: square(8, boundary={"top": Wall()}), "a side of a periodic axis"),
        (lambda: channel(8, boundary={"left": Wall()}), "no side of this grid. Sides are bottom, top"),
        (lambda: channel(8, boundary={"top": 1.0}), "must be a Wall, Inflow or Outflow; it is 1.0"),
        (lambda: channel(8, boundary=Outflow()), "a channel has a Wall on either side"),
        (lambda: channel(8, boundary=[Wall()]), "dict of them by side"),
        (lambda: Wall("fast"), "'fast'"),
        (lambda: channel(8, boundary={"top": Wall(lambda s: s)}), "a function (s, t)"),
        (lambda: parse_sides(WALLED, {"left": Inflow(1.0)}), "a side of a periodic axis"),
        (lambda: parse_sides(ROOM, {"left": Inflow(1.0)}), "lets in 2 more than it lets out at t = 0"),
        (lambda: parse_sides(ROOM, {"left": Inflow(1.0), "right": Inflow(lambda s, t: -1.0 - t)}), "at t = 0.37"),
        (
            lambda: fx.Bundle(channel(8, viscosity_ratio=0.5), fx.testing.LinearFlow(np.eye(2), np.ones(2), np.ones(2))),
            "has no De. Give De",
        ),
        (lambda: fx.Bundle(channel(8, viscosity_ratio=0.5, dim=2), gaussian(dim=3)), "has dim = 3"),
        (lambda: fx.Bundle(square(4, dim=3), gaussian(dim=2)), "Use fibers of dim = 3"),
        (lambda: channel(8, viscosity_ratio=0.5).rate(0.0, jnp.zeros(9), jnp.zeros((8, 2, 2))), "De is not known"),
        (lambda: channel(8).rate(0.0, jnp.zeros(9), jnp.zeros((8, 2))), "a stress of at least (2, 2)"),
    ],
)
def test_what_cannot_be_is_refused_in_words(wrong, words):
    with pytest.raises(fx.BadInput) as error:
        wrong()
    assert words in str(error.value), str(error.value)


def test_balanced_inflow_needs_no_outflow():
    sides = parse_sides(ROOM, {"left": Inflow(lambda s, t: s * t), "right": Inflow(lambda s, t: -s * t)})
    assert set(sides) == {"left", "right", "bottom", "top"} and isinstance(sides["top"], Wall)
    assert set(parse_sides(WALLED, Wall(2.0))) == {"bottom", "top"}
