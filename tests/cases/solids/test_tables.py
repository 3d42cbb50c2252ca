"""`--surrogate` of the cases wave and pull: results as without it, up to the tolerance, and other digits than these."""

import numpy as np
import pytest

from fiberax import cli
from fiberax.drivers import surrogate
from fiberax.drivers.paying import Costs
from fiberax.io.results import read_table

WAVE = ["wave", "--cells", "8", "--width", "0.15", "--records", "2"]
BODY = ["pull", "--driver", "nested", "--cells", "1", "--strain", "0.02", "--step", "0.01"]


@pytest.fixture
def paying(monkeypatch):
    """Crystals are solved in microseconds, and a run would leave the table out."""
    monkeypatch.setattr(surrogate, "costs", lambda *_: Costs(solve=1.0, look_up=1e-6))


@pytest.mark.parametrize(("case", "names"), [(WAVE, ("A", "P")), (BODY, ("u", "P"))], ids=["wave", "pull"])
def test_a_crystal_is_tabulated_from_the_command_line(case, names, paying, tmp_path):
    tolerance, found = 1e-3, []
    for more in ([], ["--surrogate", str(tolerance)]):
        folder = tmp_path / str(len(found))
        common = ["--material", "lj-triangular", "--checkpoint-every", "0", "--no-figures", "--plain", "--out", str(folder)]
        assert cli.main(["run", *case, *common, *more]) == 0
        found.append(read_table(folder).arrays)
    for name in names:
        nested, tabulated = (arrays[name] for arrays in found)
        error = np.abs(tabulated - nested).max() / np.abs(nested).max()
        assert 1e-10 < error < tolerance, (name, error)
