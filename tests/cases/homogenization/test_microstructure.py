import sys

import numpy as np
import pytest

from fiberax.cases.homogenization.composite import composite
from fiberax.cases.homogenization.microstructure import SHIPPED, gaussian_level_set
from fiberax.cases.homogenization.steady import SteadyConduction
from fiberax.core.errors import BadInput
from fiberax.physics.homogenization.images import read_labels


def test_the_shipped_composite_is_made_from_its_seed():
    shipped, _ = read_labels(SHIPPED)
    np.testing.assert_array_equal(shipped, 255 * gaussian_level_set(2).astype(int))


def test_the_shipped_composite_needs_no_extra(monkeypatch):
    for module in ("PIL", "tifffile", "matplotlib"):
        monkeypatch.setitem(sys.modules, module, None)
    assert composite(SteadyConduction(), 0.0, 100.0)[0].shape == (64, 64)


@pytest.mark.parametrize("shape", [(40,), (32, 48), (16, 20, 24)])
def test_share_of_phases_and_periodicity(shape):
    labels = gaussian_level_set(5, shape, spacing=0.3, fraction=0.3)
    assert labels.shape == shape
    assert abs(labels.mean() - 0.3) <= 1.0 / labels.size
    for axis in range(len(shape)):
        inside = np.mean(np.diff(labels.astype(int), axis=axis) != 0)
        across = np.mean(np.take(labels, 0, axis) != np.take(labels, -1, axis))
        assert across < 0.05 + 3 * inside


def test_wrong_numbers_are_refused():
    with pytest.raises(BadInput, match=r"fraction = 1\.2"):
        gaussian_level_set(1, fraction=1.2)
    with pytest.raises(BadInput, match="4 pixels"):
        gaussian_level_set(1, (16, 16), spacing=0.1)
