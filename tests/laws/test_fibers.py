"""Laws of single fibers, over all models: response = dW_CB/dU, tangent, constraints, batch = single, honest flags."""

import jax
import numpy as np

import fiberax as fx
from fiberax.testing import check_fiber


def test_fiber_keeps_its_promises(model):
    condition = jax.tree.map(lambda x: x[2], model.conditions)
    report = check_fiber(model.fiber, condition)
    assert max(report.deviations.values()) < 1e-5
    assert ("response is dW_CB/dU" in report.checked) == isinstance(model.fiber, fx.AbstractEnergy)
    r = fx.response(model.fiber, condition, tangent=True)  # nothing above compared zero with zero
    for tree in (r.value, r.tangent):
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(tree)) > 1e-2
