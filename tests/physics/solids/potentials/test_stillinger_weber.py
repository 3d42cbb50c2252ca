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


def alloy(rng):
    """Entries for two species, pairs and triples the same from either side."""
    entries, spread = {}, lambda low, high: float(rng.uniform(low, high))
    for a in "AB":
        for b in "AB":
            if a <= b:
                pair = Parameters(
                    spread(1, 2), spread(1.9, 2.2), spread(1.6, 1.9), spread(20, 30), 1.2, -0.3, 7.0, 0.6, 3.5, 0.5
                )
                entries[a, b, b] = entries[b, a, a] = pair
    for a in "AB":  # in an entry of three different atoms only λ, ε and c0 are used
        mixed = Parameters(spread(1, 2), 0.0, 0.0, spread(20, 30), 0.0, spread(-0.5, 0.5), 0.0, 0.0, 0.0, 0.0)
        entries[a, "A", "B"] = entries[a, "B", "A"] = mixed
    for a, b in ("AB", "BA"):  # the triples of an atom with two of the other species are its own
        entries[a, b, b] = entries[a, b, b]._replace(gamma=spread(1.0, 1.4))
    return entries


def alloy_by_loops(entries, centre, names, r):
    """Site energy triple by triple; the bond i-j has the parameters of (i, j, j), but λ, ε and c0 are those of the triple."""
    length, total, g = np.linalg.norm(r, axis=0), 0.0, []
    for x, name in zip(length, names, strict=True):
        p = entries[centre, name, name]
        end = p.a * p.sigma
        if x >= end:
            g.append(0.0)
            continue
        total += 0.5 * p.A * p.epsilon * (p.B * (p.sigma / x) ** p.p - (p.sigma / x) ** p.q) * np.exp(p.sigma / (x - end))
        g.append(np.exp(p.gamma * p.sigma / (x - end)))
    for j, k in itertools.combinations(range(len(names)), 2):
        p = entries[centre, names[j], names[k]]
        cosine = r[:, j] @ r[:, k] / (length[j] * length[k])
        total += p.lam * p.epsilon * (cosine - p.costheta0) ** 2 * g[j] * g[k]
    return total


@pytest.mark.parametrize("centre", ["A", "B"])
def test_two_species(centre, tmp_path):
    rng = np.random.default_rng(8)
    entries, names = alloy(rng), tuple("ABBABAAB")
    r = rng.standard_normal((3, 8))
    r *= rng.uniform(2.0, 3.9, 8) / np.linalg.norm(r, axis=0)
    path = tmp_path / "AB.sw"
    path.write_text("".join(f"{' '.join(t)} {' '.join(repr(x) for x in p)} 0.0\n" for t, p in entries.items()))
    potential = P.StillingerWeber(path)
    want = alloy_by_loops(entries, centre, names, r)
    np.testing.assert_allclose(potential.site_energy(centre, names, jnp.asarray(r)), want, rtol=1e-12)
    assert potential.elements == ("A", "B")
    assert potential.cutoff == max(p.a * p.sigma for t, p in entries.items() if t[1] == t[2])
    one = P.StillingerWeber(entries, species=centre)
    np.testing.assert_allclose(
        one.site_energy(centre, (centre,) * 8, jnp.asarray(r)), by_loops(entries[centre, centre, centre], r), rtol=1e-12
    )


def test_triples_and_pairs_that_are_switched_off():
    """As files do: epsilon = 0 in a triple, and no reach at all in a pair."""
    rng = np.random.default_rng(8)
    entries, names = alloy(rng), tuple("ABBABAAB")
    r = rng.standard_normal((3, 8))
    r *= rng.uniform(2.0, 3.9, 8) / np.linalg.norm(r, axis=0)
    off = {("A", "A", "B"): dict(epsilon=0.0), ("A", "B", "A"): dict(epsilon=0.0, costheta0=0.9)}
    pair = {("B", "B", "B"): dict(sigma=0.0), ("A", "B", "B"): dict(epsilon=0.0), ("B", "A", "A"): dict(epsilon=0.0, A=1.0)}
    full = {centre: alloy_by_loops(entries, centre, names, r) for centre in "AB"}
    for changes in (off, pair):
        changed = entries | {triple: entries[triple]._replace(**change) for triple, change in changes.items()}
        potential = P.StillingerWeber(changed)
        for centre in "AB" if changes is pair else "A":
            want = alloy_by_loops(changed, centre, names, r)
            assert abs(want - full[centre]) > 1e-3
            value, slope = jax.value_and_grad(lambda r, c=centre, V=potential: V.site_energy(c, names, r))(jnp.asarray(r))
            np.testing.assert_allclose(value, want, rtol=1e-12)
            assert np.all(np.isfinite(slope))
    with pytest.raises(BadInput, match=r"epsilon=-1\.0 must be finite and not negative in the entry A A A"):
        P.StillingerWeber(entries | {("A", "A", "A"): entries["A", "A", "A"]._replace(epsilon=-1.0)})
    with pytest.raises(BadInput, match="at least one must be positive"):
        P.StillingerWeber(NAMED["Si"][1]._replace(sigma=0.0))


def test_the_stress_of_a_compound_is_the_slope_of_its_energy():
    rng = np.random.default_rng(1)
    crystal = fx.solids.Crystal(5.43 * FCC, [[0, 0, 0], [0.25] * 3], ["A", "B"], P.StillingerWeber(alloy(rng)), stretch=0.9)
    A, shifts = 0.05 * rng.uniform(-1, 1, (3, 3)), 0.1 * rng.uniform(-1, 1, (1, 3))
    energy, way, h = jax.jit(lambda A: crystal.energy(shifts, A)), rng.uniform(-1, 1, (3, 3)), 1e-5
    slope = (energy(A + h * way) - energy(A - h * way)) / (2 * h)
    assert float(jnp.sum(crystal.link(shifts, A) * way)) == pytest.approx(float(slope), rel=1e-8)


def test_silicon_under_two_names_is_silicon():
    two = P.StillingerWeber({(a, b, c): NAMED["Si"][1] for a in "AB" for b in "AB" for c in "AB"})
    r = jnp.asarray(np.random.default_rng(2).uniform(-3, 3, (3, 6)))
    np.testing.assert_allclose(
        two.site_energy("A", tuple("ABBABA"), r), P.StillingerWeber("Si").site_energy("Si", ("Si",) * 6, r), rtol=1e-13
    )


@pytest.fixture(scope="module")
def silicon():
    return fx.solids.Crystal(5.5 * FCC, [[0, 0, 0], [0.25] * 3], ["Si", "Si"], P.StillingerWeber("Si"))


@pytest.mark.slow
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
    with pytest.raises(BadInput, match="no entry for Ge Ge Ge; it knows Si"):
        P.StillingerWeber(path, species="Ge")


def one_sided(*triple, **changed):
    entries = alloy(np.random.default_rng(0))
    return entries | {triple: entries[triple]._replace(**changed)}


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: P.StillingerWeber(3.0), "a name, a file, Parameters or a dict"),
        (lambda: P.StillingerWeber(NAMED["Si"][1]._replace(sigma=-1.0)), "sigma=-1.0 must be finite and not negative"),
        (lambda: P.StillingerWeber("nothing.sw"), "nothing.sw"),
        (lambda: P.StillingerWeber(NAMED["Si"][1], species=("A", "B")), "those of one species"),
        (lambda: P.StillingerWeber({("A", "A", "A"): NAMED["Si"][1], ("B", "B", "B"): NAMED["Ge"][1]}), "no entry for A A B"),
        (
            lambda: P.StillingerWeber(one_sided("A", "B", "B", A=6.0)),
            "pair energy in the entries A B B and B A A .* must agree",
        ),
        (lambda: P.StillingerWeber(one_sided("A", "A", "B", lam=6.0)), "λε or c0 in the entries A A B and A B A .* must agree"),
        (lambda: P.StillingerWeber(one_sided("A", "B", "B", sigma=0.0)), "entries A B B and B A A .* must agree, .0.0"),
    ],
)
def test_bad_input(make, words):
    with pytest.raises(BadInput, match=words):
        make()
