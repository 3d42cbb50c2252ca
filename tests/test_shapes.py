"""Shapes in signatures are enforced while tests run, and may be left alone where a wrong one is on purpose."""

import jax.numpy as jnp
import numpy as np
import pytest
from jaxtyping import TypeCheckError

from fiberax.numerics.small import smallest_eigenvalue
from fiberax.physics.homogenization.images import Phases
from fiberax.physics.solids.crystal.shells import Shells

import shapes  # isort: skip


def test_a_wrong_shape_is_refused():
    with pytest.raises(TypeCheckError, match="parameters of fiberax"):
        smallest_eigenvalue(jnp.ones((2, 3)))
    with pytest.raises(TypeCheckError, match="Shells"):
        Shells((), (), 1.0, (), jnp.ones((3, 2)))


def test_the_fixture_leaves_signatures_alone(unchecked):
    Shells((), (), 1.0, (), jnp.ones((3, 2)))


def test_other_types_are_left_to_the_library():
    with pytest.raises(Exception, match="no value for label 1"):
        Phases(np.array([0, 1]), {0: 1.0}, source=3)

    def plain(x: int) -> str:
        return x

    assert shapes.arrays(plain) is plain
