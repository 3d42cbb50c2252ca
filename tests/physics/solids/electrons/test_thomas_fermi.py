"""Orbital-free electrons: an independent program's numbers, the homogeneous gas, derivatives, dynamics, refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core import equilibrium, lagrangian
from fiberax.core.platform import _say_single
from fiberax.physics.solids.electrons import ewald, fourier
from fiberax.testing import check_fiber

FCC = 4.0 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
ION = fx.solids.ions.Gaussian(3.0, 1.0)
SHEARED = jnp.asarray([[0.0, 0.03, 0.0], [0.0, 0.0, 0.01], [0.0, 0.0, 0.02]])
C_TF = 0.3 * (3 * np.pi**2) ** (2 / 3)


def fcc(grid=16, **options):
    return fx.solids.ThomasFermi(FCC, ION, 3, grid=(grid,) * 3, **options)


@eqx.filter_jit
def solved(fiber, A, tolerance=1e-10):
    state, out = fiber.solver.solve(fiber, fiber.init(A, jax.random.key(0)), A, tolerance)
    return state, out, *fiber.assemble(state, A, 1)


def test_numbers_of_an_independent_program():
    """Case d of an independent program in numpy at 28³; 20³ is converged to its digits."""
    for A, standard, paper, mu, mu_paper in (
        (jnp.zeros((3, 3)), -1.871554403, 1.718925973, 0.426823266, 0.353192188),
        (SHEARED, -1.871559909, 1.718920490, 0.419776109, None),
    ):
        for convention, exact, level in (("standard", standard, mu), ("paper", paper, mu_paper)):
            fiber = fcc(20, convention=convention)
            state, out, W, P = solved(fiber, A)
            assert out.result == 0 and out.steps < 15
            np.testing.assert_allclose(W * fiber.volume, exact, atol=1.5e-9)
            if level is not None:
                np.testing.assert_allclose(fx.solids.chemical_potential(fiber, A, state), level, atol=1.5e-9)
            if convention == "standard" and A is SHEARED:
                sheared = [
                    [-2.28879e-5, 3.25578e-5, 4.420e-7],
                    [3.32811e-5, -2.39626e-5, 9.4413e-6],
                    [1.586e-7, 9.7392e-6, -1.09082e-5],
                ]
                np.testing.assert_allclose(P, sheared, atol=6e-11)


@pytest.mark.slow
def test_conventions_differ_by_what_they_should():
    """E_paper = E_standard − E_Ewald − n V₀ + ½∬mGm, and stresses by the derivative of that."""
    standard, paper = fcc(), fcc(convention="paper")
    state, _, W, P = solved(standard, SHEARED)

    def between(A):
        F, J = fourier.deformation(A)
        volume = standard.volume * J
        g2 = fourier.squares((16,) * 3, fourier.metric(FCC, F))
        own = 0.5 / volume * jnp.sum(fourier.weights((16,) * 3) * fourier.coulomb((16,) * 3, g2) * ION.density(g2) ** 2)
        points = ewald.energy(ewald.tables(FCC, np.zeros((1, 3))), FCC, F, jnp.zeros((1, 3)), jnp.asarray([3.0]))
        return (own - points - 3.0 * ION.at_zero / volume) / standard.volume

    change, slope = jax.value_and_grad(between)(SHEARED)
    other, P_paper = paper.assemble(state, SHEARED, 1)
    np.testing.assert_allclose(other, W + change, rtol=1e-12)
    np.testing.assert_allclose(P_paper, P + slope, atol=1e-14)


@pytest.mark.parametrize("xc", [None, "lda_pw"])
def test_stress_is_the_derivative_of_the_discrete_energy(xc):
    fiber, step = fcc(12, xc=xc), 1e-3
    _, _, _, P = solved(fiber, SHEARED, 1e-12)
    for i, j in ((0, 0), (0, 1), (2, 1)):
        E = jnp.zeros((3, 3)).at[i, j].set(step)
        across = lambda E: (solved(fiber, SHEARED + E, 1e-12)[2] - solved(fiber, SHEARED - E, 1e-12)[2]) / (2 * step)
        slope = (4.0 * across(E) - across(2.0 * E) / 2.0) / 3.0
        np.testing.assert_allclose(P[i, j], slope, atol=2e-12)


@pytest.mark.parametrize("convention", ["standard", pytest.param("paper", marks=pytest.mark.slow)])
def test_moduli_are_the_slope_of_the_stress(convention):
    """Along a direction without symmetry, against stresses of densities solved anew; even grid, with xc."""
    fiber = fcc(8, xc="lda_pw", convention=convention, weizsaecker=0.4)
    direction, step = jnp.asarray([[0.3, -0.5, 0.2], [0.7, 0.1, -0.4], [-0.2, 0.6, 0.5]]), 1e-3
    found = fx.response(fiber, SHEARED, tangent=True, tolerance=1e-11)
    P = [solved(fiber, SHEARED + k * step * direction, 1e-12)[3] for k in (-2, -1, 1, 2)]
    slope = np.tensordot(np.array([1.0, -8.0, 8.0, -1.0]) / (12.0 * step), np.array(P), axes=1)
    np.testing.assert_allclose(np.tensordot(found.tangent, direction, axes=2), slope, rtol=1e-6, atol=1e-9)


@pytest.mark.slow
def test_moduli_are_those_of_automatic_derivatives():
    """With a second ion that relaxes: the implicit function theorem gives the same."""
    ions = [(ION, (0, 0, 0)), (ION, (0.52, 0.5, 0.47))]
    fiber = fx.solids.ThomasFermi(5.0 * np.eye(3), ions, 6, grid=(9,) * 3, relax_positions=True)
    mine = fx.response(fiber, SHEARED, tangent=True, tolerance=1e-10)
    at = lambda A: fiber.link(equilibrium.following(fiber, mine.state, A), A)
    np.testing.assert_allclose(mine.tangent, eqx.filter_jit(jax.jacfwd(at))(SHEARED), rtol=1e-5, atol=1e-8)


@pytest.mark.slow
def test_constraint_in_space_gives_the_same_stress():
    """(4.6), (4.7): with ρ held at points of the reference cell, ∂W − λ∂g, ∂g = n (I+A)^{−T}/J; λ of W per J/Ω₀."""
    fiber = fcc(12)
    state, _, _, P = solved(fiber, SHEARED)
    rho = fx.solids.density(fiber, state, SHEARED)
    mu = fx.solids.chemical_potential(fiber, SHEARED, state)

    def unconstrained(A):  # the energy of a density that is held: it has J mean(ρ) Ω₀ electrons
        J = fourier.deformation(A)[1]
        electrons = jnp.mean(rho) * fiber.volume * J
        held = eqx.tree_at(lambda f: f.electrons, fiber, electrons)
        return held.energy(jnp.sqrt(rho / jnp.mean(rho)), A)

    J, inverse = jnp.linalg.det(jnp.eye(3) + SHEARED), jnp.linalg.inv(jnp.eye(3) + SHEARED).T
    explicit = jax.grad(unconstrained)(SHEARED) - mu * (3.0 / fiber.volume / J) * J * inverse
    np.testing.assert_allclose(explicit, P, atol=1e-13)


def test_frame_and_symmetry():
    fiber, Q = fcc(12), np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0]
    Q = Q * np.linalg.det(Q)
    F = np.eye(3) + np.asarray(SHEARED)
    state, _, W, P = solved(fiber, SHEARED)
    turned, PQ = fiber.assemble(state, jnp.asarray(Q @ F - np.eye(3)), 1)
    np.testing.assert_allclose(turned, W, rtol=1e-12)
    np.testing.assert_allclose(PQ, Q @ P, atol=1e-14)
    np.testing.assert_allclose(P @ F.T, (P @ F.T).T, atol=1e-14)


@pytest.mark.slow
def test_two_cells_have_twice_the_energy():
    double = FCC * np.array([[1.0], [1.0], [2.0]])
    ions = [(ION, (0.0, 0.0, 0.0)), (ION, (0.0, 0.0, 0.5))]
    fiber = fx.solids.ThomasFermi(double, ions, 6, grid=(16, 16, 32), xc="lda_pz")
    one, two = solved(fcc(16, xc="lda_pz"), SHEARED), solved(fiber, SHEARED)
    np.testing.assert_allclose(two[2], one[2], rtol=1e-10)
    np.testing.assert_allclose(two[3], one[3], atol=1e-11)


def test_homogeneous_gas():
    """Case e: a charge without structure; μ = 5/3 C_TF ρ^{2/3}, P = −(2/3) (E_TF/Ω₀) F^{−T}."""
    wide = fx.solids.ions.Gaussian(3.0, 1e-3)
    fiber = fx.solids.ThomasFermi(FCC, wide, 3, grid=(9, 9, 9), convention="paper")
    state, out, W, P = solved(fiber, SHEARED)
    rho = 3.0 / (fiber.volume * np.linalg.det(np.eye(3) + np.asarray(SHEARED)))
    energy = C_TF * rho ** (2 / 3) * 3.0 / fiber.volume
    assert out.result == 0
    np.testing.assert_allclose(W, energy, rtol=1e-12)
    np.testing.assert_allclose(P, -2 / 3 * energy * np.linalg.inv(np.eye(3) + np.asarray(SHEARED)).T, atol=1e-15)
    np.testing.assert_allclose(fx.solids.chemical_potential(fiber, SHEARED, state), 5 / 3 * C_TF * rho ** (2 / 3), rtol=1e-12)


def test_paper_units():
    """C_TF = C_W = 1: the gas has W = ρ^{5/3} J."""
    wide = fx.solids.ions.Gaussian(3.0, 1e-3)
    fiber = fx.solids.ThomasFermi(FCC, wide, 3, grid=(9, 9, 9), convention="paper", units="paper")
    np.testing.assert_allclose(solved(fiber, jnp.zeros((3, 3)))[2], (3.0 / 128.0) ** (5 / 3), rtol=1e-12)


@pytest.mark.parametrize("n", [8, 9])
@pytest.mark.parametrize("mass", [0.0, 40.0])
def test_waves_of_the_gas_decay_as_they_should(mass, n):
    """Case e: m s² + η s + (2n/Ω₀)κ = 0; what a state has of Nyquist waves takes no part."""
    wide, G = fx.solids.ions.Gaussian(3.0, 1e-3), np.sqrt(3.0) * np.pi / 4.0
    fiber = fx.solids.ThomasFermi(FCC, wide, 3, grid=(n, n, n), convention="paper", weizsaecker=0.2)
    rho = 3.0 / fiber.volume
    kappa = 0.1 * G**2 + 2 * rho * (10 / 9 * C_TF * rho ** (-1 / 3) + 4 * np.pi / G**2)
    y = np.arange(n) / n
    wave = 1e-5 * np.cos(2 * np.pi * y)[:, None, None] * np.ones((n, n, n))
    wave = wave + (0.01 * np.cos(np.pi * n * y)[:, None, None] if n % 2 == 0 else 0.0)
    whole = 2.0 * 3.0 / fiber.volume  # δW/δu over H u
    moving = fx.relax(fiber, mass=whole * mass, friction=whole * 2.0, scheme=None if mass else fx.Explicit())
    state = 1.0 + jnp.asarray(wave)
    if mass:
        state = fx.Moving(state, jnp.zeros_like(state))
    A, dt, steps = jnp.zeros((3, 3)), 0.02, 100
    once = eqx.filter_jit(lambda s: jax.lax.fori_loop(0, steps, lambda _, s: moving.step(s, A, dt, jax.random.key(0)), s))
    end = once(state).position if mass else once(state)
    roots = np.roots([mass, 2.0, kappa]) if mass else np.array([-kappa / 2.0])
    t = dt * steps
    exact = (
        (roots[1] * np.exp(roots[0] * t) - roots[0] * np.exp(roots[1] * t)) / (roots[1] - roots[0])
        if mass
        else np.exp(roots[0] * t)
    )
    found = (end[0, 0, 0] - 1.0) / 1e-5
    np.testing.assert_allclose(found, np.real(exact), rtol=2e-4)


SODIUM = 7.98 * 0.5 * np.array([[-1.0, 1.0, 1.0], [1.0, -1.0, 1.0], [1.0, 1.0, -1.0]])


def sodium(n):
    return fx.solids.ThomasFermi(SODIUM, fx.solids.ions.GTHLocal("Na-q1"), electrons=1, grid=(n,) * 3, xc="lda_pw")


@pytest.mark.parametrize("n", [20, 21, 24, *(pytest.param(n, marks=pytest.mark.slow) for n in (22, 23, 25, 26, 27))])
def test_even_grids_have_the_energy_of_odd_ones(n):
    """Sodium on 25³ points, which have no Nyquist waves; spectral accuracy leaves no difference to see."""
    fiber = sodium(n)
    found = fx.response(fiber, jnp.zeros((3, 3)), tolerance=1e-10)
    assert found.result == 0 and found.state.min() > 0.0
    np.testing.assert_allclose(found.energy * fiber.volume, -0.4474627646, atol=2e-10 if n > 20 else 2e-9)


@pytest.mark.parametrize("n", [6, pytest.param((6, 5, 6), marks=pytest.mark.slow)])
def test_even_grids_have_no_modes_of_their_own(n):
    """Curvatures at rest are those of the waves that have a derivative, and one number more, neither first nor last."""
    shape = (n,) * 3 if isinstance(n, int) else n
    fiber = fx.solids.ThomasFermi(SODIUM, fx.solids.ions.Gaussian(1.0, 0.3), 1, grid=shape)
    A = 0.5 * SHEARED
    state, out, _, _ = solved(fiber, A, 1e-12)
    assert out.result == 0
    np.testing.assert_allclose(fourier.within(state), state, atol=1e-14)
    values = lagrangian.curvatures(fiber, state, A)
    kept = np.asarray(fourier.weights(shape)).sum()
    lost = round(np.prod(shape) - kept)
    spare = float(fiber._per_volume * fiber._spare() - 2.0 * lagrangian.multipliers(fiber, state, A)[0])
    held = np.abs(values - spare) < 1e-9 * spare
    assert lost > 0 and held.sum() >= lost
    physical = values[~held]
    assert physical[0] > 0.0 and physical[0] < spare < physical[-1]
    low, high = fiber.stiffness_range(A)
    assert 0.3 * low < physical[0] < 1.5 * low and high < 1.5 * physical[-1]


@pytest.mark.slow
def test_nyquist_waves_of_a_state_are_dropped():
    """In a start, in motion and in the density: from an older run, or from a mean of other states."""
    fiber = fcc(8)
    A = jnp.zeros((3, 3))
    clean = solved(fiber, A)[0]
    y = jnp.arange(8) / 8
    spoilt = clean + 0.3 * jnp.cos(8 * jnp.pi * y)[:, None, None]
    again, out = eqx.filter_jit(lambda s: fiber.solver.solve(fiber, s, A, 1e-10))(spoilt)
    assert out.result == 0
    np.testing.assert_allclose(again, clean, atol=1e-8)
    np.testing.assert_allclose(fx.solids.density(fiber, spoilt, A), fx.solids.density(fiber, clean, A), rtol=1e-12)
    np.testing.assert_allclose(fiber.assemble(spoilt, A, 1)[1], fiber.assemble(clean, A, 1)[1], atol=1e-15)
    start = fx.Moving(spoilt, spoilt - clean)
    moving = fx.relax(fiber, mass=1.0, friction=0.0)
    end = eqx.filter_jit(lambda s: moving.step(s, A, 0.1, None))(start)
    for part in (end.position, end.velocity):
        np.testing.assert_allclose(fourier.within(part), part, atol=1e-13)
    np.testing.assert_allclose(fiber.constraint(end.position, A), 0.0, atol=1e-14)
    level = fx.solids.chemical_potential(fiber, A, spoilt)
    np.testing.assert_allclose(level, fx.solids.chemical_potential(fiber, A, clean), rtol=1e-12)


@pytest.mark.slow
def test_ions_come_to_rest_with_the_density():
    """The middle of a body-centred cell, from beside it."""
    ions = [(ION, (0, 0, 0)), (ION, (0.52, 0.5, 0.47))]
    fiber = fx.solids.ThomasFermi(5.0 * np.eye(3), ions, 6, grid=(12,) * 3, relax_positions=True)
    found = fx.response(fiber, jnp.zeros((3, 3)), tolerance=1e-9)
    assert found.result == 0
    np.testing.assert_allclose(found.state.shifts, [[-0.02, 0.0, 0.03]], atol=1e-7)
    fixed = fx.solids.ThomasFermi(5.0 * np.eye(3), [(ION, (0, 0, 0)), (ION, (0.5, 0.5, 0.5))], 6, grid=(12,) * 3)
    np.testing.assert_allclose(found.value, solved(fixed, jnp.zeros((3, 3)))[3], atol=1e-9)


def test_hard_cells_and_what_is_no_cell():
    fiber = fcc(12)
    for A in (-0.4 * np.eye(3), np.diag([0.5, 0, 0]), np.eye(3, k=1) * 0.8):
        assert solved(fiber, jnp.asarray(A))[1].result == 0
    assert fx.response(fiber, -1.2 * jnp.eye(3)).result != 0


@pytest.mark.slow
def test_promises():
    check_fiber(fcc(9), SHEARED)


def test_local_pseudopotential_and_table_agree(tmp_path):
    """v = −4πm/G² of aluminium, by its formula and by a table of it."""
    gth = fx.solids.ions.GTHLocal("Al")
    g = np.linspace(0.0, 12.0, 600)
    file = tmp_path / "al.txt"
    np.savetxt(file, np.stack([g, gth.density(jnp.asarray(g**2))], axis=1), header="|G|  m(G)")
    table = fx.solids.ions.Tabulated(file)
    at = jnp.linspace(0.0, 11.9, 77) ** 2
    np.testing.assert_allclose(table.density(at), gth.density(at), atol=1e-6)
    small = 1e-3
    limit = 4 * np.pi * (3.0 - gth.density(jnp.asarray(small**2))) / small**2
    np.testing.assert_allclose(gth.at_zero, limit, rtol=1e-5)
    np.testing.assert_allclose(table.at_zero, gth.at_zero, rtol=1e-3)
    assert np.isnan(table.density(jnp.asarray(145.0)))
    with pytest.raises(fx.BadInput, match=r"ions\[0\] is known up to \|G\| = 12/bohr; this grid needs"):
        fx.solids.ThomasFermi(FCC, table, 3)


def test_between_its_rows_a_table_is_the_spline(tmp_path):
    from scipy.interpolate import CubicSpline

    g = np.linspace(0.0, 6.0, 13)  # so few that the spline is another function on every interval
    values = 3.0 * np.cos(g) * np.exp(-0.1 * g**2)
    np.savetxt(tmp_path / "m.txt", np.stack([g, values], axis=1))
    at = np.linspace(0.05, 5.95, 61)
    found = fx.solids.ions.Tabulated(tmp_path / "m.txt").density(jnp.asarray(at**2))
    np.testing.assert_allclose(found, CubicSpline(g, values, bc_type=((1, 0.0), (2, 0.0)))(at), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        ("0 3\n1 2\n2 x\n", "is no table of numbers"),
        ("0 3\n1 2\n", "two columns"),
        ("0 3\n1 2\n2 nan\n3 1\n", "holds nan in row 3"),
        ("1 3\n2 2\n3 1\n4 0\n", "must begin with 0"),
    ],
)
def test_bad_tables_are_named(tmp_path, content, message):
    file = tmp_path / "m.txt"
    if content is not None:
        file.write_text(content)
    with pytest.raises(fx.BadInput, match=message):
        fx.solids.ions.Tabulated(file)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lattice": np.ones((3, 3))}, "lie in a plane"),
        ({"lattice": np.eye(2)}, "three rows of three"),
        ({"electrons": -1.0}, "electrons must be a positive number; it is -1"),
        ({"weizsaecker": 0.0}, "weizsaecker must be a positive number"),
        ({"grid": (8, 8)}, "three whole numbers of points"),
        ({"xc": "pbe"}, "xc='pbe' is not one of 'lda_pw', 'lda_pz', 'lda_vwn'"),
        ({"convention": "other"}, "convention='other' is not one of"),
        ({"units": "paper", "xc": "lda_pw"}, "functional in atomic units"),
        ({"ions": []}, "there is no ion"),
        ({"ions": [(ION, (0, 0))]}, "three finite fractions"),
        ({"ions": [(ION, (0, 0, 0)), (ION, (1, 0, 0))]}, "at the same place"),
        ({"relax_positions": True}, "needs two ions or more"),
    ],
)
def test_bad_input_is_named(arguments, message):
    options = {"lattice": FCC, "ions": ION, "electrons": 3.0} | arguments
    with pytest.raises(fx.BadInput, match=message):
        fx.solids.ThomasFermi(**options)
    with pytest.raises(fx.BadInput, match="no GTH parameters for 'Uuo'"):
        fx.solids.ions.GTHLocal("Uuo")
    with pytest.raises(fx.BadInput, match="alpha must be a positive number"):
        fx.solids.ions.Gaussian(3.0, 0.0)
    with pytest.raises(fx.Mismatch, match="this is a DiatomicChain"):
        fx.solids.chemical_potential(fx.solids.DiatomicChain(lambda r: r**2), jnp.zeros((3, 3)))


def test_single_precision_is_said():
    """Where a state is given, in a warning; where one has to be found, what it cannot do."""
    with jax.enable_x64(False):
        fiber = fcc(6)
        A, state = jnp.zeros((3, 3)), jnp.ones((6, 6, 6))
        for name in ("density", "chemical_potential"):
            call = getattr(fx.solids, name)
            _say_single.cache_clear()
            with pytest.warns(fx.SinglePrecisionWarning, match="jax_enable_x64"):
                call(fiber, state, A) if name == "density" else call(fiber, A, state)
        with pytest.raises(fx.BadInput, match=r"chemical_potential without a state: .*needs double precision"):
            fx.solids.chemical_potential(fiber, A)
    _say_single.cache_clear()
