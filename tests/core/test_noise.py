"""Noise by name: moments, and keys that do not depend on who draws."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.noise import draw
from fiberax.core.sites import site_keys


@pytest.mark.parametrize(("noise", "sixth"), [("gaussian", 15.0), ("three-point", 9.0)])
def test_moments(noise, sixth):
    x = np.asarray(draw(jax.random.key(0), (3, 400_001), noise))
    found = np.array([np.mean(x**k) for k in range(1, 7)])
    error = np.array([np.std(x**k) for k in range(1, 7)]) / x.size**0.5
    np.testing.assert_array_less(np.abs(found - [0.0, 1.0, 0.0, 3.0, 0.0, sixth]), 4.5 * error + 2e-3 * sixth)
    near = [np.mean(x[0, 1:] * x[0, :-1]), np.mean(x[0] * x[1]), np.mean(x[0] ** 2 * x[2] ** 2) - 1.0]
    assert np.abs(near).max() < 4.5 * 3.0 / 400_000**0.5


def test_three_values_only():
    x = np.asarray(draw(jax.random.key(1), (5, 7), "three-point", jnp.float32))
    assert x.dtype == np.float32 and x.shape == (5, 7)
    assert set(np.round(np.unique(x), 6)) <= {np.float32(-1.732051), np.float32(0.0), np.float32(1.732051)}


def test_unknown_noise():
    with pytest.raises(fx.BadInput, match="'white' is not one of 'gaussian', 'three-point'"):
        draw(jax.random.key(0), (2,), "white")


def test_keys_of_sites_are_folded_as_documented():
    """fold_in(fold_in(fold_in(key, step), stage), site), without the stage in stage 0, without the site in shared noise."""
    key, ids = jax.random.key(5), jnp.asarray([0, 3, 9], jnp.uint32)
    fold, data = jax.random.fold_in, jax.random.key_data
    step = fold(key, 7)
    own = [data(fold(step, i)) for i in (0, 3, 9)]
    for stage in ((), (0,)):
        np.testing.assert_array_equal(data(site_keys(key, jnp.uint32(7), ids, False, *stage)), own)
    later = fold(step, 2**31 + 1)
    found = site_keys(key, jnp.uint32(7), ids, False, jnp.uint32(1))
    np.testing.assert_array_equal(data(found), [data(fold(later, i)) for i in (0, 3, 9)])
    np.testing.assert_array_equal(data(site_keys(key, jnp.uint32(7), ids, True)), data(step))
