"""Patches against the whole periodic lattice and closed forms of their coupling; with the drivers; misuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import fiberax as fx
from fiberax.testing import LinearFlow

LENGTH, COUNT, HALF, SPACING = 2.0 * np.pi, 7, 6, 2.0 * np.pi / (7 * 24)
PERIODIC = np.asarray([3.0, 0.4, 1.3])  # diffusivities of neighbouring bonds; `HALF` and the pitch are multiples of three


def diffusion(bonds):
    """A lattice whose bonds repeat; on a patch they begin at its left end."""

    def rate(values, places):
        k = jnp.asarray(np.resize(bonds, len(places) - 1)).reshape(-1, *[1] * (values.ndim - 1))
        return jnp.diff(k * jnp.diff(values, axis=0), axis=0) / SPACING**2

    return rate


def bundle(bonds, order=None, count=COUNT):
    return fx.Bundle(fx.Patches(LENGTH, count, order), fx.Patch(diffusion(bonds), HALF, SPACING))


def eigenvalues(model):
    """Of the coupled equations, the slowest first."""
    start = jnp.zeros(model.macro.count)
    y, unravel = ravel_pytree((start, fx.section(model, start)))
    vector_field = fx.coupled_ode(model).vector_field
    jacobian = jax.jacfwd(lambda y: ravel_pytree(vector_field(0.0, unravel(y), None))[0])(y)
    found = np.linalg.eigvals(jacobian)
    return found[np.argsort(-found.real)]


def lattice(bonds):
    """Eigenvalues of the whole lattice, the slowest first."""
    n = round(LENGTH / SPACING)
    k, rows = np.resize(bonds, n), np.arange(n)
    matrix = np.zeros((n, n))
    for i in rows:
        matrix[i, (i + 1) % n] += k[i]
        matrix[i, i - 1] += k[i - 1]
        matrix[i, i] -= k[i] + k[i - 1]
    return np.sort(np.linalg.eigvalsh(matrix))[::-1] / SPACING**2


@pytest.mark.parametrize("bonds", [np.ones(1), PERIODIC], ids=["homogeneous", "periodic"])
def test_spectral_coupling_has_the_eigenvalues_of_the_whole_lattice(bonds):
    found, truth = eigenvalues(bundle(bonds)), lattice(bonds)
    np.testing.assert_allclose(found[1:COUNT], truth[1:COUNT], rtol=1e-6)
    assert abs(found[0]) < 1e-9
    assert found[COUNT].real < 5.0 * truth[COUNT - 1]  # a gap: all others belong to the patches


@pytest.mark.parametrize("order", [2, 4])
def test_polynomial_coupling_has_its_closed_form(order):
    """cos(q HALF) is the mean of both ends of a wave over its centre, and the eigenvalue −4 sin²(q/2)/SPACING²."""
    ratio, angle = HALF / 24, 2.0 * np.pi * np.arange(1, 4) / COUNT
    nodes = np.arange(-order // 2, order // 2 + 1)
    # The interpolating polynomial at +ratio, of a wave at the nodes; its even part is the mean of both ends.
    polynomial = np.linalg.solve(np.vander(nodes, increasing=True).astype(float), np.cos(np.outer(nodes, angle)))
    mean = ratio ** np.arange(order + 1) @ polynomial
    truth = -4.0 * np.sin(np.arccos(mean) / HALF / 2.0) ** 2 / SPACING**2
    np.testing.assert_allclose(eigenvalues(bundle(np.ones(1), order))[1:7:2], truth, rtol=1e-8)


@pytest.mark.parametrize("count", [7, 8])
def test_spectral_coupling_interpolates_waves_exactly(count):
    """In both directions, and for an even number the fastest wave as a cosine."""
    model = fx.Patches(LENGTH, count).with_fiber(fx.Patch(diffusion(np.ones(1)), 2, 0.1))
    x, most = model.positions()[:, 0], (count - 1) // 2
    waves = lambda x: np.stack([np.sin(most * x + 0.3), np.cos(x), np.cos(count / 2 * x) if count % 2 == 0 else x * 0], axis=1)
    edges = model.conditions(jnp.asarray(waves(x)))
    np.testing.assert_allclose(edges.right[:, :2], waves(x + 0.2)[:, :2], atol=1e-12)
    np.testing.assert_allclose(edges.left[:, :2], waves(x - 0.2)[:, :2], atol=1e-12)
    np.testing.assert_allclose(edges.left[:, 2], np.cos(count / 2 * 0.2) * waves(x)[:, 2], atol=1e-12)


def test_patches_in_equilibrium():
    """With the harmonic mean K, a wave decays by −(4K/w²) sin²(w/2), w the half width of a patch."""
    width, mean = HALF * SPACING, 1.0 / np.mean(1.0 / PERIODIC)
    model = bundle(PERIODIC)
    start = jnp.asarray(np.cos(model.macro.positions()[:, 0]))
    held = fx.evolve(model, fx.Quasistatic(1e-12), start, t1=1e-3, dt=1e-3, stepper=fx.ForwardEuler())
    slope = (held.macro[-1] - start) / 1e-3
    np.testing.assert_allclose(slope, -4.0 * mean / width**2 * np.sin(0.5 * width) ** 2 * start, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("dt", "stepper", "error"),
    [(2e-4, None, 1e-4), (0.05, fx.Projective(inner=5e-4, steps=20, outer=fx.Outer.PRK2), 1e-3)],
    ids=["gap-tooth", "projective"],
)
def test_carried_patches_move_as_the_lattice(dt, stepper, error):
    """Where the centres are extrapolated they take their patches with them."""
    model = bundle(np.ones(1))
    start = jnp.asarray(np.cos(model.macro.positions()[:, 0]))
    carried = fx.evolve(model, fx.Seamless(separation=np.inf), start, t1=0.2, dt=dt, stepper=stepper)
    np.testing.assert_allclose(carried.macro[-1], np.exp(0.2 * lattice(np.ones(1))[1]) * start, atol=error)


def test_several_fields():
    """Two fields of one patch do not mix; the response of each is that of one alone."""
    model = fx.Bundle(fx.Patches(LENGTH, COUNT, 2), fx.Patch(diffusion(PERIODIC), HALF, SPACING))
    U = jax.random.normal(jax.random.key(0), (COUNT, 2))
    responses = lambda U: fx.responses(model.fiber, model.macro.conditions(U)).value
    np.testing.assert_allclose(responses(U)[:, 1], responses(U[:, 1]), rtol=1e-9)


def test_misuse_is_told():
    for make, told in (
        (lambda: fx.Patches(0.0, 5), "length"),
        (lambda: fx.Patches(1.0, 2), "count"),
        (lambda: fx.Patches(1.0, 5, 3), "order is an even number"),
        (lambda: fx.Patches(1.0, 5, 6), "needs 7 centres; there are 5"),
        (lambda: fx.Patch(diffusion(np.ones(1)), 1, 0.1), "half"),
        (lambda: fx.Patch(diffusion(np.ones(1)), 3, 0.0), "spacing"),
    ):
        with pytest.raises(fx.BadInput, match=told):
            make()
    for fiber, told in (
        (LinearFlow(np.eye(2), np.ones(2), np.ones(2)), "fx.Patch; it is a LinearFlow"),
        (fx.Patch(diffusion(np.ones(1)), 6, 0.02), "overlap"),
    ):
        with pytest.raises(fx.Mismatch, match=told):
            fx.Bundle(fx.Patches(1.0, 5), fiber)
    with pytest.raises(fx.Mismatch, match="not known before"):
        fx.Patches(1.0, 5).conditions(jnp.zeros(5))
