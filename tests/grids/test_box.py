import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput, FiberaxError


def test_centres_spacing_and_volume():
    grid = fx.grids.Box((0.0, -1.0), (1.0, 1.0), cells=(4, 8), periodic=(True, False))
    assert grid.dim == 2
    assert grid.centres.shape == (4, 8, 2)
    assert grid.spacing == (0.25, 0.25)
    assert grid.volume == 0.0625
    assert np.allclose(grid.centres[0, 0], (0.125, -0.875))
    assert np.allclose(grid.centres[-1, -1], (0.875, 0.875))
    assert grid.periodic == (True, False)


def test_one_dimension_takes_numbers():
    assert fx.grids.Box(0.0, 2.0, cells=4) == fx.grids.Box((0.0,), (2.0,), cells=(4,))
    assert fx.grids.Box(0.0, 2.0, cells=4).centres.shape == (4, 1)


def test_boxes_are_values():
    one, two = (fx.grids.Box((0.0, 0.0), (1.0, 1.0), cells=(4, 4)) for _ in range(2))
    assert one == two and hash(one) == hash(two)
    assert one.centres.shape == (4, 4, 2)  # asked for twice: the first answer is kept
    assert one.centres is one.centres


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"lower": 0.0, "upper": 0.0, "cells": 4}, "along x upper = 0.0 is not above"),
        ({"lower": (0.0, 0.0), "upper": (1.0, -1.0), "cells": (4, 4)}, "along y"),
        ({"lower": (0.0, 0.0), "upper": (1.0, 1.0), "cells": (4,)}, "lengths differ"),
        ({"lower": (0.0, 0.0), "upper": (1.0, 1.0), "cells": (4, 4), "periodic": (True,) * 3}, "periodic 3"),
        ({"lower": 0.0, "upper": float("nan"), "cells": 4}, "finite"),
        ({"lower": 0.0, "upper": 1.0, "cells": 0}, "at least one"),
        ({"lower": 0.0, "upper": 1.0, "cells": 2.5}, "whole number"),
        ({"lower": (0.0,) * 4, "upper": (1.0,) * 4, "cells": (2,) * 4}, "4 axes"),
    ],
)
def test_what_is_no_box_is_said(arguments, told):
    with pytest.raises(BadInput, match=told) as caught:
        fx.grids.Box(**arguments)
    assert isinstance(caught.value, FiberaxError) and isinstance(caught.value, ValueError)
