"""Embedded-atom potentials: Sutton and Chen's relations, and tables of their functions against the functions themselves."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.physics.solids.potentials.parameters import SUTTON_CHEN
from fiberax.physics.solids.potentials.tables import coefficients, interpolate, interpolate_linear_tail

EAM, SuttonChen = fx.solids.potentials.EAM, fx.solids.potentials.SuttonChen
FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
B2 = np.array([[0.0, 0, 0], [0.5, 0.5, 0.5]])
CUTOFF = 5.2


def fcc_sum(k, reach=40):
    """Σ (a/r)^k over fcc: shells up to reach/2 and the integral over the rest."""
    g = np.arange(-reach, reach + 1)
    x, y, z = np.meshgrid(g, g, g, indexing="ij")
    square = (x**2 + y**2 + z**2)[(x + y + z) % 2 == 0] / 4.0
    square = square[(square > 0) & (square <= (reach / 2) ** 2)]
    return np.sum(square ** (-k / 2)) + 16 * np.pi / (k - 3) * (reach / 2) ** (3 - k)


@pytest.mark.parametrize("element", SUTTON_CHEN)
def test_published_sets_are_in_equilibrium(element):
    # At r = a the pressure vanishes for c = n S_n / (m √S_m): Phil. Mag. Lett. 61, 139, equation (7).
    _, _, c, n, m = SUTTON_CHEN[element]
    assert n * fcc_sum(n) / m / np.sqrt(fcc_sum(m)) == pytest.approx(c, rel=1e-4)


def test_copper_without_a_cutoff():
    epsilon, a, _, n, m = SUTTON_CHEN["Cu"]
    crystal = fx.solids.Crystal(FCC * a, np.zeros((1, 3)), ["Cu"], SuttonChen.named("Cu"))
    A, none = jnp.zeros((3, 3)), jnp.zeros((0, 3))
    # The cohesive energy is ε S_n (2n − m) / 2m where the pressure vanishes; that of Cu is 3.50 eV.
    cohesion = epsilon * fcc_sum(n) * (2 * n - m) / (2 * m)
    assert float(crystal.energy(none, A) * crystal.volume) == pytest.approx(-cohesion, rel=1e-4)
    assert cohesion == pytest.approx(3.50, abs=0.005)
    assert np.max(np.abs(crystal.link(none, A))) * 160.2 < 0.02


def functions(cutoff=CUTOFF):
    """Cu of Sutton and Chen, cut off smoothly, as r φ, ρ and F for a table."""
    epsilon, _, c, _, _ = SUTTON_CHEN["Cu"]
    potential = SuttonChen.named("Cu", cutoff=cutoff)
    radial = jax.jit(lambda r: potential.radial("Cu", "Cu", r))
    return (
        potential,
        lambda r: r * epsilon * np.asarray(radial(jnp.asarray(np.maximum(r, 0.5)))[0]),
        lambda r: np.asarray(radial(jnp.asarray(np.maximum(r, 0.5)))[1]),
        lambda rho: -epsilon * c * np.sqrt(np.maximum(rho, 1.0)),
    )


def block(values):
    return "\n".join(" ".join(repr(float(x)) for x in row) for row in np.array_split(np.asarray(values), 20)) + "\n"


def setfl(path, elements, nr, densities, pairs, embeddings, drho=0.1, nrho=2000):
    dr = (CUTOFF + 0.1) / (nr - 1)
    r, rho = dr * np.arange(nr), drho * np.arange(nrho)
    text = f"a\nb\nc\n{len(elements)} {' '.join(elements)}\n{nrho} {drho!r} {nr} {dr!r} {CUTOFF!r}\n"
    for a in range(len(elements)):
        text += "29 63.5 3.61 fcc\n" + block(embeddings[a](rho))
        own = densities[a] if isinstance(densities[a], tuple) else (densities[a],)
        text += "".join(block(f(r)) for f in own)
    for a in range(len(elements)):
        text += "".join(block(pairs[a + b](r)) for b in range(a + 1))
    path.write_text(text)
    return path


def site_vectors(count=18, seed=0):
    r = np.random.default_rng(seed).normal(size=(3, count))
    return jnp.asarray(r / np.linalg.norm(r, axis=0) * np.random.default_rng(seed + 1).uniform(2.3, 5.6, count))


def test_tables_converge_to_the_functions(tmp_path):
    exact, weighted, density, embedding = functions()
    r, names = site_vectors(), ("Cu",) * 18
    value, slope = jax.jit(jax.value_and_grad(lambda r: exact.site_energy("Cu", names, r)))(r)
    errors = []
    for nr in (201, 401):
        path = setfl(tmp_path / "Cu.eam.alloy", ["Cu"], nr, [density], [weighted], [embedding])
        table = EAM(path)
        found, steep = jax.jit(jax.value_and_grad(lambda r, table=table: table.site_energy("Cu", names, r)))(r)
        errors.append((abs(float(found - value)), np.max(np.abs(steep - slope))))
    # A cubic Hermite spline with slopes of fourth order: 4 in the values, 3 in the derivatives.
    assert errors[1][0] < abs(float(value)) * 2e-5
    assert errors[1][1] < np.max(np.abs(slope)) * 2e-4
    assert errors[0][0] / errors[1][0] > 8 and errors[0][1] / errors[1][1] > 5


def test_crystal_from_a_table_is_the_crystal_of_the_functions(tmp_path):
    exact, weighted, density, embedding = functions()
    path = setfl(tmp_path / "Cu.eam.alloy", ["Cu"], 2001, [density], [weighted], [embedding])
    A = 0.05 * np.random.default_rng(2).uniform(-1, 1, (3, 3))
    got, want = (
        fx.response(fx.solids.Crystal(FCC * 3.61, np.zeros((1, 3)), ["Cu"], p), A, tangent=True) for p in (EAM(path), exact)
    )
    assert float(got.energy) == pytest.approx(float(want.energy), rel=1e-8)
    np.testing.assert_allclose(got.value, want.value, rtol=0, atol=1e-6 * np.abs(want.value).max())
    np.testing.assert_allclose(got.tangent, want.tangent, rtol=0, atol=1e-4 * np.abs(want.tangent).max())


def test_funcfl_is_the_table_of_its_charges(tmp_path):
    _, weighted, density, embedding = functions()
    nr, dr, nrho, drho = 201, 5.3 / 200, 2000, 0.1
    charge = np.sqrt(weighted(dr * np.arange(nr)) / (27.2 * 0.529))
    text = f"a\n29 63.5 3.61 FCC\n{nrho} {drho!r} {nr} {dr!r} {CUTOFF!r}\n"
    text += block(embedding(drho * np.arange(nrho))) + block(charge) + block(density(dr * np.arange(nr)))
    (tmp_path / "Cu.eam").write_text(text)
    other = EAM(setfl(tmp_path / "Cu.eam.alloy", ["Cu"], nr, [density], [weighted], [embedding]))
    r, names = site_vectors(), ("Cu",) * 18
    found = EAM(tmp_path / "Cu.eam")
    assert found.cutoff == other.cutoff and found.units == "metal"
    np.testing.assert_allclose(found.site_energy("Cu", names, r), other.site_energy("Cu", names, r), rtol=1e-12)


def test_alloys_take_each_function_from_its_pair(tmp_path):
    _, weighted, density, embedding = functions()
    scaled = lambda factor, f: lambda x: factor * f(x)
    pairs = [weighted, scaled(3.0, weighted), scaled(5.0, weighted)]
    embeddings = [embedding, scaled(0.5, embedding)]
    alloy = EAM(setfl(tmp_path / "x.eam.alloy", ["A", "B"], 401, [density, scaled(2.0, density)], pairs, embeddings))
    one = EAM(setfl(tmp_path / "y.eam.alloy", ["A"], 401, [density], pairs, embeddings))
    r = site_vectors(4)
    phi, rho = (np.asarray(f) for f in one.radial("A", "A", jnp.linalg.norm(r, axis=0)))
    embed = lambda rho: float(one.embed("A", (0.0, jnp.asarray(rho))))
    names = ("A", "B", "B", "A")
    strong, twice, five = np.array([1.0, 3, 3, 1]), np.array([1.0, 2, 2, 1]), np.array([3.0, 5, 5, 3])
    at_a, at_b = np.sum(strong * phi) + embed(np.sum(twice * rho)), np.sum(five * phi) + 0.5 * embed(np.sum(twice * rho))
    np.testing.assert_allclose(alloy.site_energy("A", names, r), at_a, rtol=1e-12)
    np.testing.assert_allclose(alloy.site_energy("B", names, r), at_b, rtol=1e-12)
    # fs: the density at A of B is listed under B.
    own = [(density, scaled(7.0, density)), (scaled(2.0, density), density)]
    fs = EAM(setfl(tmp_path / "x.eam.fs", ["A", "B"], 401, own, pairs, embeddings))
    np.testing.assert_allclose(fs.site_energy("A", names, r), at_a, rtol=1e-12)
    seven = np.array([7.0, 1, 1, 7])
    np.testing.assert_allclose(fs.site_energy("B", names, r), np.sum(five * phi) + 0.5 * embed(np.sum(seven * rho)), rtol=1e-12)


def test_beyond_the_tables():
    x = np.linspace(0, 1, 11)
    rows = jnp.asarray(coefficients(x**3 - x))
    # The slopes are exact for a cubic but for the two points next to either end, where they are of first and second order.
    at = jnp.array([0.21, 0.5, 0.77])
    np.testing.assert_allclose(interpolate(rows, at * 10)[0], at**3 - at, atol=1e-15)
    assert float(interpolate(rows, jnp.array(12.0))[0]) == pytest.approx(0.0, abs=1e-15)
    assert float(jax.grad(lambda x: interpolate(rows, x)[0])(jnp.array(12.0))) == 0.0
    end = jax.grad(lambda x: interpolate_linear_tail(rows, x))
    assert float(end(jnp.array(10.0))) == pytest.approx((0.9 - 0.9**3), rel=1e-12)  # one-sided
    assert float(end(jnp.array(13.0))) == float(end(jnp.array(10.0)))
    assert float(interpolate_linear_tail(rows, jnp.array(13.0))) == pytest.approx(3 * (0.9 - 0.9**3), rel=1e-12)
    assert np.isfinite(interpolate(rows, jnp.array(-0.5))[0])


def _with(folder, text):
    path = folder / "other.eam.alloy"
    path.write_text(text)
    return path


def test_a_table_that_ends_before_the_cutoff_is_zero_beyond(tmp_path):
    _, weighted, density, embedding = functions()
    path = setfl(tmp_path / "Cu.eam.alloy", ["Cu"], 201, [density], [weighted], [embedding])
    text = path.read_text()
    short, long = (EAM(_with(tmp_path, text.replace(f" {CUTOFF!r}\n", f" {cutoff}\n"))) for cutoff in (5.3, 6.5))
    assert (short.cutoff, long.cutoff) == (5.3, 6.5)
    r = site_vectors() * 1.1
    value, slope = jax.value_and_grad(lambda r: long.site_energy("Cu", ("Cu",) * 18, r))(r)
    np.testing.assert_allclose(value, short.site_energy("Cu", ("Cu",) * 18, r), rtol=1e-13)
    assert np.all(np.isfinite(slope)) and np.all(slope[:, np.linalg.norm(r, axis=0) > 5.31] == 0.0)
    assert np.sum(np.linalg.norm(r, axis=0) > 5.31) > 3


def test_nothing_beyond_the_cutoff_and_finite_derivatives(tmp_path):
    exact, weighted, density, embedding = functions()
    table = EAM(setfl(tmp_path / "Cu.eam.alloy", ["Cu"], 201, [density], [weighted], [embedding]))
    near = jnp.array([[2.5, 0, 0], [0, 2.6, 0]]).T
    for potential in (table, exact, SuttonChen.named("Cu", "2a", scheme="force-shifted")):
        energy = eqx.filter_jit(lambda r, p=potential: p.site_energy("Cu", ("Cu",) * r.shape[1], r))
        for far in (potential.cutoff, potential.cutoff + 1.0, 100.0):
            r = jnp.concatenate([near, jnp.array([[0.0], [0.0], [far]])], axis=1)
            assert float(energy(r)) == pytest.approx(float(energy(near)), rel=1e-15)
        slope, bend = jax.jit(lambda r, e=energy: (jax.grad(e)(r), jax.hessian(e)(r)))(r)
        assert np.all(np.isfinite(bend)) and np.all(slope[:, 2] == 0.0)
    alone = jax.value_and_grad(lambda r: exact.site_energy("Cu", ("Cu",), r))(jnp.array([[9.0], [0.0], [0.0]]))
    assert float(alone[0]) == 0.0 and np.all(alone[1] == 0.0)


def test_derivatives_of_tables(tmp_path):
    _, weighted, density, embedding = functions()
    table = EAM(setfl(tmp_path / "Cu.eam.alloy", ["Cu"], 201, [density], [weighted], [embedding]))
    r = site_vectors(6, seed=4)
    energy = jax.jit(lambda r: table.site_energy("Cu", ("Cu",) * 6, r))
    gradient = jax.jit(jax.grad(energy))
    way, step = jnp.asarray(np.random.default_rng(1).normal(size=r.shape)), 1e-6
    slope, bend = jnp.sum(gradient(r) * way), jax.jvp(gradient, (r,), (way,))[1]
    assert float(energy(r + step * way) - energy(r - step * way)) / 2 / step == pytest.approx(float(slope), rel=1e-7)
    sides = (gradient(r + step * way) - gradient(r - step * way)) / 2 / step
    np.testing.assert_allclose(sides, bend, rtol=0, atol=1e-6 * np.abs(bend).max())


def test_what_they_refuse(tmp_path):
    _, weighted, density, embedding = functions()
    table = EAM(setfl(tmp_path / "Cu.eam.alloy", ["Cu"], 201, [density], [weighted], [embedding]))
    with pytest.raises(BadInput, match="species 'H' is unknown to EAM, which knows Cu"):
        fx.solids.Crystal(FCC * 3.6, np.zeros((1, 3)), ["H"], table)
    with pytest.raises(BadInput, match="no element 'H', only Cu"):
        table.site_energy("H", ("Cu",), jnp.ones((3, 1)))
    with pytest.raises(BadInput, match="no published set for 'W', only for Ni"):
        SuttonChen.named("W")
    with pytest.raises(BadInput, match="n=6, m=9; need n > m > 0"):
        SuttonChen(1.0, 3.6, 39.0, 6, 9, cutoff=7.0)
    with pytest.raises(BadInput, match=r"a=-1\.0 must be positive"):
        SuttonChen(1.0, -1.0, 39.0, 9, 6, cutoff=7.0)
    with pytest.raises(BadInput, match="species 'Au' is unknown to SuttonChen, which knows Cu"):
        fx.solids.Crystal(FCC * 3.61, np.zeros((1, 3)), ["Au"], SuttonChen.named("Cu"))
    with pytest.raises(BadInput, match=r"SuttonChen: scheme='smooth' .* cutoff=None"):
        SuttonChen.named("Cu", scheme="smooth")
    with pytest.raises(BadInput, match=r"SuttonChen: onset=6\.0 belongs to scheme='smooth'"):
        SuttonChen.named("Cu", "2a", scheme="truncated", onset=6.0)
    with pytest.raises(BadInput, match="scheme='shifted' is not one of"):
        SuttonChen(1.0, 3.6, 39.0, 9, 6, cutoff=7.0, scheme="shifted")
    with pytest.raises(BadInput, match="one atom per cell"):
        crystal = fx.solids.Crystal(np.eye(3) * 2.9, B2, ["Cu", "Cu"], SuttonChen.named("Cu"))
        crystal.energy(jnp.zeros((1, 3)), jnp.zeros((3, 3)))
