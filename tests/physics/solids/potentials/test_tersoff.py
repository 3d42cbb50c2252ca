"""Tersoff's potential: the published formula by plain loops, published crystals, derivatives where neighbours come and go."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import brentq

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.physics.solids.potentials.parameters import tersoff_set, tersoff_sets

Tersoff = fx.solids.potentials.Tersoff
GPA = 160.21766208
FCC = np.array([[0.0, 1, 1], [1, 0, 1], [1, 1, 0]]) / 2
DIAMOND = np.array([[0.0, 0, 0], [0.25, 0.25, 0.25]])
# Small deformations: the short neighbour list is the only one, and half as much is compiled.
ONE_LIST = {"stretch": 0.95, "shift": 0.06}


def by_loops(entries, centre, names, r):
    """The site energy, written down a second time from the papers, one bond and one triple at a time."""

    def cut(x, p):
        if x <= p["R"] - p["D"]:
            return 1.0
        return 0.0 if x >= p["R"] + p["D"] else 0.5 - 0.5 * math.sin(math.pi * (x - p["R"]) / (2 * p["D"]))

    total = 0.0
    for j, a in enumerate(names):
        p, length, zeta = entries[centre, a, a], np.linalg.norm(r[:, j]), 0.0
        for k, b in enumerate(names):
            if k == j:
                continue
            q, other = entries[centre, a, b], np.linalg.norm(r[:, k])
            h = r[:, j] @ r[:, k] / length / other - q["costheta0"]
            angular = q["gamma"] * (1 + q["c"] ** 2 / q["d"] ** 2 - q["c"] ** 2 / (q["d"] ** 2 + h**2))
            zeta += cut(other, q) * angular * math.exp((q["lambda3"] * (length - other)) ** q["m"])
        order = (1 + (p["beta"] * zeta) ** p["n"]) ** (-1 / (2 * p["n"]))
        bond = p["A"] * math.exp(-p["lambda1"] * length) - order * p["B"] * math.exp(-p["lambda2"] * length)
        total += 0.5 * cut(length, p) * bond
    return total


@eqx.filter_jit
def site_energy(potential, centre, names, r):
    return potential.site_energy(centre, names, r)


def neighbours(rng, count, low, high):
    r = rng.normal(size=(3, count))
    return r / np.linalg.norm(r, axis=0) * rng.uniform(low, high, count)


@pytest.mark.parametrize("name", ["Si(B)", "Si(C)", "SiC", "SiGe"])
def test_is_the_published_formula(name):
    rng, entries = np.random.default_rng(3), tersoff_set(name)
    species = sorted({triple[0] for triple in entries})
    names = tuple(str(name) for name in rng.choice(species, 5))
    r = neighbours(rng, 5, 1.9, 3.3)
    energy = site_energy(Tersoff(name), species[0], names, jnp.asarray(r))
    # Seven digits of c²/d² cancel in the formula as it is printed.
    np.testing.assert_allclose(energy, by_loops(entries, species[0], names, r), rtol=1e-11)


def test_a_triple_that_is_switched_off():
    """All zeros, as in files: that neighbour screens nothing."""
    rng, entries = np.random.default_rng(3), tersoff_set("SiC")
    names, r = ("C", "Si", "C", "Si"), neighbours(rng, 4, 1.9, 2.2)
    zeros = dict.fromkeys(entries["Si", "Si", "Si"], 0.0)
    off = entries | {("Si", "C", "Si"): zeros}
    harmless = zeros | {"m": 3, "d": 1.0, "n": 1.0, "R": 1e-3, "D": 1e-4}
    want = by_loops(entries | {("Si", "C", "Si"): harmless}, "Si", names, r)
    assert abs(want - by_loops(entries, "Si", names, r)) > 1e-3
    np.testing.assert_allclose(site_energy(Tersoff(off), "Si", names, jnp.asarray(r)), want, rtol=1e-11)
    assert np.all(np.isfinite(jax.grad(lambda r: Tersoff(off).site_energy("Si", names, r))(jnp.asarray(r))))


def test_one_power_for_every_entry():
    rng = np.random.default_rng(5)
    entries = {t: e | {"m": 1 if t[2] == "C" else 3, "lambda3": 0.7, "gamma": 0.6} for t, e in tersoff_set("SiC").items()}
    names, r = ("C", "Si", "Si", "C"), neighbours(rng, 4, 1.7, 2.6)
    energy = site_energy(Tersoff(entries), "Si", names, jnp.asarray(r))
    np.testing.assert_allclose(energy, by_loops(entries, "Si", names, r), rtol=1e-11)


def test_batches_are_the_single_fibers():
    rng, potential = np.random.default_rng(7), Tersoff("SiC")
    names, batch = ("Si", "C", "C"), np.stack([neighbours(rng, 3, 1.6, 2.6) for _ in range(4)], axis=-1)
    single = [site_energy(potential, "C", names, jnp.asarray(batch[..., k])) for k in range(4)]
    np.testing.assert_allclose(site_energy(potential, "C", names, jnp.asarray(batch)), single, rtol=1e-14)


# J. Tersoff, Phys. Rev. B 38, 9902 (1988) and 39, 5566 (1989): lattice constant in Å and energy per atom in eV.
@pytest.mark.parametrize(
    ("name", "species", "constant", "cohesion"),
    [("Si(C)", "Si Si", 5.432, -4.63), ("C", "C C", 3.566, -7.37), ("Ge", "Ge Ge", 5.657, -3.85), ("SiC", "Si C", 4.32, -6.16)],
)
def test_published_crystals(name, species, constant, cohesion):
    crystal = fx.solids.Crystal(FCC * constant, DIAMOND, species.split(), Tersoff(name), **ONE_LIST)
    stress = jax.jit(lambda s: crystal.link(jnp.zeros((1, 3)), s * jnp.eye(3))[0, 0])
    scale = brentq(stress, -0.005, 0.005, xtol=1e-12)
    energy = crystal.energy(jnp.zeros((1, 3)), scale * jnp.eye(3)) * crystal.volume / 2
    assert constant * (1 + scale) == pytest.approx(constant, abs=2e-3)
    assert float(energy) == pytest.approx(cohesion, abs=2e-2)


def test_elastic_constants_of_silicon():
    # 142.5, 75.4, 69.0 GPa, C44 without relaxation 119 GPa: J. Tersoff, Phys. Rev. B 38, 9902 (1988), table II.
    crystal = fx.solids.Crystal(FCC * 5.4320, DIAMOND, ["Si", "Si"], Tersoff("Si(C)"), **ONE_LIST)
    zero, rest = jnp.zeros((3, 3)), jnp.zeros((1, 3))  # by symmetry no shift is the relaxed one
    moduli = np.asarray(crystal.assemble(rest, zero, 2)[2]) * GPA
    sheared = [crystal.link(rest, zero.at[0, 1].set(h))[0, 1] for h in (1e-5, -1e-5)]
    rigid = float(sheared[0] - sheared[1]) / 2e-5 * GPA
    assert [moduli[0, 0, 0, 0], moduli[0, 0, 1, 1], moduli[0, 1, 0, 1]] == pytest.approx([142.5, 75.4, 69.0], abs=0.3)
    assert rigid == pytest.approx(119, abs=0.6)


@pytest.mark.parametrize("far", [2.7, 3.0, 3.0 + 1e-9, 4.0])
def test_derivatives_stay_finite_where_neighbours_come_and_go(far):
    # The third atom at both ends of the cutoff function and beyond; then the first bond has no other: ζ = 0.
    r = jnp.array([[2.35, 0.0, 0.0], [0.0, far, 0.0]]).T
    energy = lambda r: site_energy(Tersoff("Si(D)"), "Si", ("Si", "Si"), r)
    slope, bend = jax.jit(lambda r: (jax.grad(energy)(r), jax.hessian(energy)(r)))(r)
    assert np.all(np.isfinite(slope)) and np.all(np.isfinite(bend))
    if far >= 3.0:
        assert np.max(np.abs(slope[:, 1])) < 1e-14
        np.testing.assert_allclose(energy(r), energy(r[:, :1].repeat(2, 1).at[:, 1].set(9.0)), rtol=1e-14)


def test_derivatives_are_those_of_the_energy():
    rng = np.random.default_rng(11)
    names, r = ("Si", "C", "C", "Si"), jnp.asarray(neighbours(rng, 4, 1.6, 2.5))
    energy = jax.jit(lambda r: Tersoff("SiC").site_energy("C", names, r))
    way, step = jnp.asarray(rng.normal(size=r.shape)), 1e-5
    slope = jax.jvp(energy, (r,), (way,))[1]
    assert float(energy(r + step * way) - energy(r - step * way)) / 2 / step == pytest.approx(float(slope), rel=1e-8)
    gradient = jax.jit(jax.grad(energy))
    bend = jax.jvp(gradient, (r,), (way,))[1]
    sides = [gradient(r + sign * step * way) for sign in (1, -1)]
    np.testing.assert_allclose((sides[0] - sides[1]) / 2 / step, bend, rtol=1e-6, atol=1e-6 * np.abs(bend).max())


def test_a_file_with_other_names(tmp_path):
    entry = tersoff_set("Si(C)")["Si", "Si", "Si"]
    path = tmp_path / "x.tersoff"
    path.write_text("Si(X) Si(X) Si(X) " + " ".join(repr(float(x)) for x in entry.values()))
    r = jnp.asarray(neighbours(np.random.default_rng(1), 4, 2.2, 2.9))
    found = site_energy(Tersoff(path, types={"Si": "Si(X)"}), "Si", ("Si",) * 4, r)
    np.testing.assert_allclose(found, site_energy(Tersoff("Si(C)"), "Si", ("Si",) * 4, r), rtol=1e-15)


def test_what_it_refuses(tmp_path):
    with pytest.raises(BadInput, match=r"'Si\(Z\)'.: neither a file nor one of the sets Si\(B\)"):
        Tersoff("Si(Z)")
    with pytest.raises(BadInput, match="no species 'O', only Si"):
        Tersoff("Si(D)").site_energy("O", ("Si",), jnp.ones((3, 1)))
    with pytest.raises(BadInput, match=r"types\['Si'\]='Si\(D\)' is not in the set 'C'"):
        Tersoff("C", types={"Si": "Si(D)"})
    pure = {t: e for t, e in tersoff_set("SiC").items() if len(set(t)) == 1}
    with pytest.raises(BadInput, match="no entry Si C C"):
        Tersoff(pure).site_energy("Si", ("C", "C"), jnp.ones((3, 2)))
    entry = tersoff_set("Si(C)")["Si", "Si", "Si"]
    for key, value in (("m", 2), ("D", -0.1), ("d", 0.0), ("n", 0.0)):
        with pytest.raises(BadInput, match=f"{key}={value}.*Si Si Si|{key}={value}"):
            Tersoff({("Si", "Si", "Si"): entry | {key: value}})
    assert all(Tersoff(name).cutoff > 2.0 for name in tersoff_sets())
