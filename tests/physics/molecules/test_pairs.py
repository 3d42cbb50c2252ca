"""Lists and sums over pairs against sums over all images, derivatives of the energy and lattice sums."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.physics.molecules import lattice, pairs

LJ = fx.molecules.LennardJones(1.6)
RADIUS = 1.9
SIDE = 4.3


def scattered(particles, seed=0):
    """Scaled coordinates of particles that do not overlap: a lattice whose points are moved by a tenth of their distance."""
    edge = round(particles ** (1 / 3))
    grid = np.stack(np.meshgrid(*[np.arange(edge)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    moved = grid + 0.5 + 0.1 * np.random.default_rng(seed).uniform(-1.0, 1.0, grid.shape)
    return jnp.asarray(moved.T / edge)


def all_images(potential, s, h):
    """½ Σ φ over all pairs and all images within the cutoff, from the definition."""
    s, h = np.asarray(s), np.asarray(h)
    reach = np.ceil(potential.cutoff / np.asarray(lattice.widths(jnp.asarray(h)))).astype(int) + 1
    cells = np.stack(np.meshgrid(*[np.arange(-n, n + 1) for n in reach], indexing="ij"), axis=-1).reshape(-1, 3)
    d = s[:, :, None, None] - s[:, None, :, None] - cells.T[:, None, None, :]
    r = np.sqrt(np.sum(np.tensordot(h, d, axes=1) ** 2, axis=0))
    r = r[(r > 1e-9) & (r < potential.cutoff)]
    phi = lambda r: np.asarray(potential.phi(jnp.asarray(r)))
    return 0.5 * np.sum(phi(r) - phi(potential.cutoff)), r.size


@jax.jit
def from_list(s, h):
    found = pairs.neighbours(s, h, RADIUS, LJ.cutoff, (True, True, False), 60, h[0, 0])
    return pairs.sums(LJ, s, h, found.index), found


def reduced(s, h, look=True):
    """The box in a reduced basis. Its energy from a list is that of all images in the basis before."""
    after, moved = lattice.reduced(h, s, SIDE**3)
    if look and float(lattice.widths(after).min()) > RADIUS:
        sums, found = from_list(moved, after)
        energy, count = all_images(LJ, s, h)
        assert int(found.most) <= 60
        assert int(found.near) == int(sums.near) == count
        np.testing.assert_allclose(sums.energy, energy, rtol=1e-10)
    return moved, after


def test_energies_along_planar_extension():
    """To a strain of 8, at the angle of Kraynik and Reinelt, where the box never becomes thin."""
    s, kappa = scattered(64), jnp.asarray(lattice.velocity_gradient(jnp.diag(jnp.asarray([1.0, -1.0]))))
    h = lattice.fresh(SIDE, kappa)
    least = np.inf
    for k in range(32):
        s, h = reduced(s, lattice.exponential(0.25 * kappa) @ h, k % 2 == 1)
        least = min(least, float(lattice.widths(h).min()))
    assert least > 0.84 * SIDE


@pytest.mark.slow
def test_energies_along_a_random_planar_history():
    """To a strain of 30: a box that is wide enough has all of its pairs, whatever the flow was."""
    rng, s, h = np.random.default_rng(1), scattered(64), SIDE * jnp.eye(3)
    wide, strain = 0, 0.0
    kappa = np.zeros((2, 2))
    for k in range(120):
        kappa = 0.9 * kappa + 0.4 * rng.standard_normal((2, 2))
        step = lattice.exponential(0.2 * lattice.velocity_gradient(jnp.asarray(kappa)))
        s, h = reduced(s, step @ h, k % 6 == 0)
        strain += 0.2 * float(np.linalg.norm(kappa))
        wide += k % 6 == 0 and float(lattice.widths(h).min()) > RADIUS
    assert strain > 30.0
    assert wide > 10  # of 20 looks
    assert float(jnp.max(lattice.widths(h))) < 3.0 * SIDE  # reduced, whatever the strain


def test_a_list_that_is_too_thin_or_too_short_is_told():
    s, thin = scattered(64), jnp.diag(jnp.asarray([3.0 * SIDE, SIDE / 3.0, SIDE]))
    sums, found = from_list(s, thin)
    energy, count = all_images(LJ, s, thin)
    assert float(lattice.widths(thin).min()) < RADIUS
    assert count > int(found.near) and abs(float(sums.energy) - energy) > 1e-3
    found = pairs.neighbours(s, SIDE * jnp.eye(3), RADIUS, LJ.cutoff, (True, True, False), 5, jnp.zeros(()))
    assert int(found.most) > 5


@pytest.mark.parametrize("double", [(False, False, False), (True, True, False), (True, True, True)])
def test_lists_hold_each_pair_once_from_both_ends(double):
    """For a number of particles that does not fill the words, in a box that is skew."""
    s = scattered(64)[:, :61]
    h = jnp.asarray([[SIDE, 0.4, 0.1], [0.0, SIDE, 0.3], [0.2, 0.0, SIDE]])
    found = pairs.neighbours(s, h, RADIUS, 1.6, double, 60, jnp.zeros(()))
    x, table = (np.asarray(a) for a in pairs.images(s, h))
    assert x.shape == (61, 4) and table.shape == (27 * 61 + 1, 4)
    index = np.asarray(found.index)
    i, k = np.nonzero(index < 27 * 61)
    j = index[i, k] % 61
    r = x[i] - table[index[i, k]]
    assert np.all(np.linalg.norm(r, axis=1) < RADIUS)
    ends = lambda i, j, r: sorted(zip(i.tolist(), j.tolist(), *np.round(r[:, :3], 9).T.tolist()))
    assert ends(i, j, r) == ends(j, i, -r)
    assert len({(a, b) for a, b in zip(i.tolist(), index[i, k].tolist())}) == i.size > 500


def agrees(sums, s, h):
    found = sums(s, h)
    strained = jax.grad(lambda e: sums(s, (jnp.eye(3) + e) @ h).energy)(jnp.zeros((3, 3)))
    np.testing.assert_allclose(found.virial, -strained, rtol=1e-8, atol=1e-8)
    slope = jax.grad(lambda x: sums(lattice.inverse(h) @ x, h).energy)(h @ s)
    np.testing.assert_allclose(found.forces, -slope, rtol=1e-8, atol=1e-8)
    assert np.abs(found.virial).max() > 1.0
    np.testing.assert_allclose(found.forces.sum(axis=1), 0.0, atol=1e-11)


def test_virial_is_the_derivative_of_the_energy():
    """By strain at fixed scaled coordinates; forces are the derivative by positions. Pairs and bonds."""
    s, h = scattered(64), jnp.asarray([[SIDE, 0.5, 0.0], [0.0, SIDE, 0.0], [0.0, 0.0, SIDE]])
    index = from_list(s, h)[1].index
    bonds = fx.molecules.FENE([[0, 1], [1, 2], [5, 9]], R0=3.0)
    agrees(lambda s, h: pairs.sums(LJ, s, h, index), s, h)
    agrees(bonds.sums, s, h)


def test_lattice_sums_of_a_face_centred_crystal():
    """Σ r⁻¹² = 12.13188 and Σ r⁻⁶ = 14.45392 at the distance 1 of neighbours (Ashcroft and Mermin, table 20.2)."""
    basis = np.array([[0.0, 0.0, 0.0], [0.5, 0.5, 0.0], [0.5, 0.0, 0.5], [0.0, 0.5, 0.5]])
    cells = np.stack(np.meshgrid(*[np.arange(3)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    s, reach = jnp.asarray((cells + basis).reshape(-1, 3).T / 3.0), 4.2
    h = 3.0 * 2.0**0.5 * jnp.eye(3)
    found = pairs.neighbours(s, h, reach + 0.02, reach, (True, True, True), 480, jnp.zeros(()))
    rest = lambda n: 4.0 * np.pi * 2.0**0.5 / (n - 3) * reach ** (3 - n)  # beyond the cutoff, as an integral
    for n, exact, error in ((12, 12.13188, 1e-5), (6, 14.45392, 0.02)):
        potential = fx.molecules.Pair(lambda r, n=n: r**-n, reach)
        sums = pairs.sums(potential, s, h, found.index)
        total = (2.0 * float(sums.energy) + int(sums.near) * reach**-n) / 108
        assert abs(total + rest(n) - exact) < error, (n, total + rest(n))


def test_potentials():
    lj, wca = fx.molecules.LennardJones(), fx.molecules.WCA()
    r = jnp.asarray([0.9, 1.0, 1.1, 1.5, 2.4, 2.6])
    exact = 4.0 * (r**-12 - r**-6)
    np.testing.assert_allclose(lj.energy(r**2), np.where(r < 2.5, exact - 4.0 * (2.5**-12 - 2.5**-6), 0.0), atol=1e-14)
    np.testing.assert_allclose(wca.energy(r**2), np.where(r < 2.0 ** (1 / 6), exact + 1.0, 0.0), atol=1e-14)
    own = fx.molecules.Pair(lambda r: 4.0 * (r**-12 - r**-6), 2.5)
    np.testing.assert_allclose(own.factor(r**2), lj.factor(r**2), rtol=1e-12)
    np.testing.assert_allclose(own.energy(r**2), lj.energy(r**2), rtol=1e-12)
    assert float(lj.factor(r**2)[-1]) == 0.0 and abs(float(lj.factor(r**2)[0])) > 1.0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: fx.molecules.LennardJones(0.0), "must be a positive length"),
        (lambda: fx.molecules.Pair(3.0, 2.0), "must be a function"),
        (lambda: fx.molecules.FENE([[0, 0]]), "bonded to itself"),
        (lambda: fx.molecules.FENE([0, 1]), "pairs of particle numbers"),
        (lambda: fx.molecules.FENE([[0, 1]], R0=-1.0), "R0=-1.0 must be"),
        (lambda: fx.molecules.StochasticRescaling(0.0), "must be a positive number"),
        (lambda: fx.molecules.chains(beads=1), "beads must be a whole number"),
    ],
)
def test_refusals(make, message):
    with pytest.raises(fx.BadInput, match=message):
        make()
