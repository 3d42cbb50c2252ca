"""Columns of a case: numbers and arrays are written, and what is neither is named."""

import numpy as np
import pytest

import fiberax as fx
from fiberax.cli.table import by_row
from fiberax.io.labels import Output
from fiberax.io.recorder import own_columns


@pytest.mark.parametrize("value", [1.0, 2, True, np.float32(3.0), [1.0, 2.0], np.ones((2, 3))])
def test_numbers_become_arrays(value):
    (found,) = own_columns({"exact.U": value}, Output()).values()
    assert isinstance(found, np.ndarray) and found.shape == np.shape(value)
    np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize("value", [None, "1.0", [[1.0], [1.0, 2.0]], 1j, {"a": 1.0}])
def test_what_is_no_number_is_named(value):
    with pytest.raises(fx.BadInput, match=r"The column .exact\.U. must be a real number or an array"):
        own_columns({"exact.U": value}, Output())


def test_columns_of_a_batch_have_a_row_each():
    assert by_row({"exact.U": np.ones((3, 2))}, 3)
    for wrong in (np.ones(()), np.ones(2)):
        with pytest.raises(fx.BadInput, match=r"The column .exact\.U. must have 3 rows"):
            by_row({"exact.U": wrong}, 3)
