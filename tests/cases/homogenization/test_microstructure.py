import numpy as np
import pytest

from fiberax.cases.homogenization.microstructure import SHIPPED, gaussian_level_set, write_png
from fiberax.core.errors import BadInput


def test_the_shipped_composite_is_made_from_its_seed(tmp_path):
    image = pytest.importorskip("PIL.Image")
    labels = gaussian_level_set(2)
    with image.open(SHIPPED) as shipped:
        np.testing.assert_array_equal(np.asarray(shipped), 255 * labels)
    write_png(tmp_path / "again.png", labels)
    with image.open(tmp_path / "again.png") as again:
        np.testing.assert_array_equal(np.asarray(again), 255 * labels)


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
