"""Pair potentials: the schemes by their formulas, lattice sums by published constants, the triangular lattice."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput

P = fx.solids.potentials
Crystal = fx.solids.Crystal
FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2


def lj(r):
    return 4.0 * (r**-12 - r**-6)


def test_schemes_are_their_formulas():
    r, end, on = np.linspace(0.9, 3.0, 43), 2.5, 2.0
    slope = 4.0 * (-12 * end**-13 + 6 * end**-7)
    t = np.clip((r**2 - on**2) / (end**2 - on**2), 0, 1)
    expected = {
        "truncated": lj(r),
        "energy-shifted": lj(r) - lj(end),
        "force-shifted": lj(r) - lj(end) - (r - end) * slope,
        "smooth": lj(r) * (1 - 10 * t**3 + 15 * t**4 - 6 * t**5),
    }
    for scheme, values in expected.items():
        got = P.LennardJones(cutoff=end, scheme=scheme, onset=on if scheme == "smooth" else None).pair(jnp.asarray(r))
        np.testing.assert_allclose(got, np.where(r < end, values, 0.0), rtol=1e-13, atol=1e-16)


def test_derivatives_at_the_cutoff():
    """What jumps, and what does not."""
    below, end, above = jnp.array([2.5 - 1e-9, 2.5, 2.5 + 1e-9])
    jumps = {"truncated": (1, 1, 1), "energy-shifted": (0, 1, 1), "force-shifted": (0, 0, 1), "smooth": (0, 0, 0)}
    for scheme, expected in jumps.items():
        functions = [P.LennardJones(cutoff=2.5, scheme=scheme).pair]
        functions += [jax.grad(functions[0])]
        functions += [jax.grad(functions[1])]
        got = [abs(float(f(below) - f(above))) > 1e-6 for f in functions]
        assert got == [bool(x) for x in expected], scheme
        assert all(np.isfinite(f(end)) for f in functions)


def test_other_forms():
    r = jnp.asarray([1.1, 1.7])
    np.testing.assert_allclose(P.Morse(2.0, 1.5, 1.2, 3.0).pair(r), 2.0 * ((1 - np.exp(-1.5 * (r - 1.2))) ** 2 - 1), rtol=1e-14)
    np.testing.assert_allclose(P.Buckingham(900.0, 0.3, 4.0, 3.0).pair(r), 900 * np.exp(-r / 0.3) - 4 / r**6, rtol=1e-14)
    np.testing.assert_allclose(P.Pair(lambda r: r**2, 1.5).pair(r), [1.21, 0.0], rtol=1e-14)


def test_own_parameters_are_differentiable():
    crystal = lambda k: Crystal(FCC, [[0, 0, 0]], ["X"], P.Pair(lambda r: k * jnp.exp(-r), 1.2), stretch=0.9)
    energy = lambda k: fx.response(crystal(k), np.zeros((3, 3))).energy
    r = 0.5**0.5
    np.testing.assert_allclose(jax.grad(energy)(2.0), 6 * np.exp(-r) * 4 + 3 * np.exp(-1.0) * 4, rtol=1e-12)


@pytest.fixture(scope="module")
def whole():
    return Crystal(1.5 * FCC, [[0, 0, 0]], ["Ar"], P.LennardJones(cutoff=None))


def test_lattice_sums_of_fcc(whole):
    """A12 and A6 in nearest distances: published to all digits given in J. Bruch's and Kittel's tables."""
    from fiberax.physics.solids.potentials.lattice_sum import cells_for, power_sum

    lattice = 2**0.5 * FCC
    cells = cells_for(lattice, np.zeros((1, 3)), 0.8, 0.0)
    sums = [float(power_sum(jnp.asarray(lattice), jnp.zeros((1, 3)), cells, n)) for n in (12, 6)]
    np.testing.assert_allclose(sums, [12.1318801965, 14.4539210437], rtol=1e-10)
    e = fx.solids.equilibrium(whole)
    np.testing.assert_allclose(1.5 * e.scale, 2**0.5 * (2 * sums[0] / sums[1]) ** (1 / 6), rtol=1e-12)
    np.testing.assert_allclose(e.energy, -(sums[1] ** 2) / (2 * sums[0]), rtol=1e-12)
    v = e.voigt
    np.testing.assert_allclose(v[0, 1], v[3, 3], rtol=1e-11)  # Cauchy's relation of pair potentials without stress
    assert v[0, 0] > v[0, 1] > 0


@pytest.mark.slow
def test_lattice_sums_of_the_strained_crystal(whole):
    """Against long truncated sums, whose tail goes like 1/R³, extrapolated; and for several atoms in two dimensions."""
    A = np.random.default_rng(0).uniform(-0.1, 0.1, (3, 3))
    F = np.eye(3) + A
    n = np.arange(-30, 31)
    cells = np.stack(np.meshgrid(n, n, n, indexing="ij"), -1).reshape(-1, 3) @ (1.5 * FCC) @ F.T
    r = np.sort(np.linalg.norm(cells, axis=1))[1:]
    volume = abs(np.linalg.det(1.5 * FCC))
    radius = 16.0
    # smooth weight: the tail of the r⁻⁶ sum beyond is an integral up to terms far below 1e-8
    t = np.clip((r - 0.5 * radius) / (0.5 * radius), 0, 1)
    weight = 1 - t**4 * (35 - 84 * t + 70 * t**2 - 20 * t**3)
    inside = 0.5 * np.sum(weight * lj(r))
    x = np.linspace(0.5 * radius, radius, 20001)
    u = (x - 0.5 * radius) / (0.5 * radius)
    missing = 4 * np.pi * x**2 * lj(x) * (u**4 * (35 - 84 * u + 70 * u**2 - 20 * u**3))
    density = 1 / (volume * np.linalg.det(F))
    tail = 0.5 * density * (np.trapezoid(missing, x) - 16 * np.pi / (3 * radius**3))
    np.testing.assert_allclose(fx.response(whole, A).energy, (inside + tail) / volume, rtol=1e-7)

    flat = P.LennardJones(cutoff=None)
    two = Crystal(np.array([[1.1, 0], [0, 1.1 * 3**0.5]]), [[0, 0], [0.5, 0.5]], ["X", "X"], flat)
    one = Crystal(1.1 * np.array([[1, 0], [0.5, 0.75**0.5]]), [[0, 0]], ["X"], flat)
    A = A[:2, :2]
    A, none = jnp.asarray(A), jnp.zeros((0, 2))
    np.testing.assert_allclose(two.energy(jnp.zeros((1, 2)), A), one.energy(none, A), rtol=1e-13)
    np.testing.assert_allclose(two.link(jnp.zeros((1, 2)), A), one.link(none, A), rtol=1e-12)
    assert np.isnan(one.energy(none, jnp.diag(jnp.asarray([-0.5, 0.0]))))  # beyond the points summed over


def test_nearest_neighbour_triangular_lattice():
    """C11 = 3√3/4 k, C12 = C44 = √3/4 k with k = φ''(r0)."""
    r0 = 2 ** (1 / 6)
    crystal = Crystal(r0 * np.array([[1, 0], [0.5, 0.75**0.5]]), [[0, 0]], ["X"], P.LennardJones(cutoff=1.5), stretch=0.9)
    k = 72.0 * 2 ** (-1 / 3)
    v = fx.solids.equilibrium(crystal).voigt
    expected = 3**0.5 / 4 * k * np.array([[3, 1, 0], [1, 3, 0], [0, 0, 1]])
    np.testing.assert_allclose(v, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: P.LennardJones(scheme="sharp"), "scheme='sharp' is not one of 'truncated'"),
        (lambda: P.LennardJones(epsilon=-1.0), "epsilon=-1.0 must be positive"),
        (lambda: P.LennardJones(cutoff=-1.0), "cutoff=-1.0"),
        (lambda: P.LennardJones(cutoff=None, scheme="smooth"), "scheme='smooth' has nothing to cut off with cutoff=None"),
        (lambda: P.LennardJones(onset=2.0), "onset=2.0 belongs to scheme='smooth' alone; the scheme is 'truncated'"),
        (lambda: P.Morse(1.0, 1.0, 1.0, 3.0, "force-shifted", onset=2.0), "Morse: onset=2.0 belongs to scheme='smooth'"),
        (lambda: P.Buckingham(1.0, 1.0, 1.0, 3.0, onset=2.0), "Buckingham: onset=2.0 belongs to"),
        (lambda: P.Pair(lambda r: r, 3.0, onset=2.0), "Pair: onset=2.0 belongs to"),
        (lambda: P.LennardJones(scheme="smooth", onset=3.0), "onset=3.0 must lie between 0 and the cutoff 2.5"),
        (lambda: P.LennardJones(units="si"), "units='si' is not one of"),
        (lambda: Crystal(FCC, [[0, 0, 0]], ["X"], P.Morse(1.0, 1.0, 1.0, None)), "Morse has no lattice sums"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(BadInput, match=words):
        make()
