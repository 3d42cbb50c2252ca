"""Stillinger-Weber: the published triple sum by plain loops, silicon's constants, files."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.physics.solids.potentials.stillinger_weber import NAMED, Parameters

P = fx.solids.potentials
GPA = 160.21766208
FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
FILE = """# a comment
Si Si Si {epsilon} {sigma} {a} {lam} {gamma}
   {costheta0} {A} {B} {p} {q} 0.0
"""


def by_loops(p: Parameters, r):
    """Site energy by the formula of the paper, triple by triple."""
    length, cut = np.linalg.norm(r, axis=0), p.a * p.sigma
    near = [k for k in range(r.shape[1]) if length[k] < cut]
    two = lambda x: p.A * p.epsilon * (p.B * (p.sigma / x) ** p.p - (p.sigma / x) ** p.q) * np.exp(p.sigma / (x - cut))
    g = lambda x: np.exp(p.gamma * p.sigma / (x - cut))
    total = 0.5 * sum(two(length[k]) for k in near)
    for j, k in itertools.combinations(near, 2):
        cosine = r[:, j] @ r[:, k] / (length[j] * length[k])
        total += p.lam * p.epsilon * (cosine - p.costheta0) ** 2 * g(length[j]) * g(length[k])
    return total


@pytest.mark.parametrize("parameters", [NAMED["Si"][1], Parameters(1.3, 2.0, 1.7, 20.0, 1.1, -0.4, 7.0, 0.6, 3.5, 0.5)])
def test_is_the_published_formula(parameters):
    rng = np.random.default_rng(0)
    r = rng.standard_normal((3, 9))
    r *= rng.uniform(2.0, 4.5, 9) / np.linalg.norm(r, axis=0)
    r[:, 0] *= parameters.a * parameters.sigma / np.linalg.norm(r[:, 0])  # one right at the cutoff
    potential = P.StillingerWeber(parameters)
    got = potential.site_energy("X", ("X",) * 9, jnp.asarray(r))
    np.testing.assert_allclose(got, by_loops(parameters, r), rtol=1e-12)
    slope = jax.grad(lambda r: potential.site_energy("X", ("X",) * 9, r))(jnp.asarray(r))
    assert np.all(np.isfinite(slope))
    np.testing.assert_allclose(slope[:, 0], 0.0, atol=1e-14)


@pytest.fixture(scope="module")
def silicon():
    return fx.solids.Crystal(5.5 * FCC, [[0, 0, 0], [0.25] * 3], ["Si", "Si"], P.StillingerWeber("Si"))


def test_silicon(silicon):
    """Balamane, Halicioglu, Tiller (1992): 151.4, 76.4, 56.4 GPa, 109.8 unrelaxed; a = 5.431 Å."""
    e = fx.solids.equilibrium(silicon)
    v, fixed = GPA * e.voigt, GPA * e.voigt_unrelaxed
    np.testing.assert_allclose([v[0, 0], v[0, 1], v[3, 3], fixed[3, 3]], [151.4, 76.4, 56.4, 109.8], atol=0.06)
    np.testing.assert_allclose(5.5 * e.scale, 5.431, atol=1e-4)
    np.testing.assert_allclose(e.energy_per_atom, -2 * 2.1683, rtol=1e-4)
    np.testing.assert_allclose(e.energy, 2 * e.energy_per_atom, rtol=1e-14)
    np.testing.assert_allclose(v, v.T, atol=1e-9)
    assert np.abs(e.stress).max() < 1e-11
    assert GPA * fx.solids.stability(e.crystal, np.zeros((3, 3))).acoustic == pytest.approx((v[0, 0] - v[0, 1]) / 2, rel=1e-9)


def test_file_and_name_agree(tmp_path):
    path = tmp_path / "mine.sw"
    path.write_text(FILE.format(**NAMED["Si"][1]._asdict()))
    read, named = P.StillingerWeber(str(path)), P.StillingerWeber("Si")
    r = jnp.linspace(2.0, 3.9, 7)
    np.testing.assert_array_equal(jnp.stack(read.radial("Si", "Si", r)), jnp.stack(named.radial("Si", "Si", r)))
    assert read.elements == ("Si",)
    with pytest.raises(BadInput, match="no entry for Ge"):
        P.StillingerWeber(path, species="Ge")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: P.StillingerWeber(3.0), "a name, a file or Parameters"),
        (lambda: P.StillingerWeber(NAMED["Si"][1]._replace(sigma=-1.0)), "sigma=-1.0 must be positive"),
        (lambda: P.StillingerWeber("nothing.sw"), "nothing.sw"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(BadInput, match=words):
        make()
