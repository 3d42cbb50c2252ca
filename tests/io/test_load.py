"""Run folders as labelled data."""

import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.core.errors import BadInput

pytest.importorskip("xarray")


def test_results_have_names_dimensions_and_units(tmp_path):
    run = tmp_path / "run"
    given = ["crystal", "--material", "lj-triangular", "--rows", "3", "--high", "0.02", "--low", "-0.02", "--no-figures"]
    assert cli.main(["run", *given, "--quiet", "--out", str(run)]) == 0
    assert (run / "table.csv").is_file() and not [*(run / "figures").glob("*")]  # files of numbers are no figures
    data = fx.load(run)
    assert data["P"].attrs["units"] == "eps/sigma^2" and data["P"].dims == ("strain", "i", "J")
    assert data["C"].dims == ("strain", "i", "J", "k", "L")
    np.testing.assert_allclose(data["strain"], [-0.02, 0.0, 0.02], atol=1e-15)
    assert data.equals(fx.load(run / "results.nc"))
    (run / "results.nc").write_bytes(b"no file of results")
    with pytest.raises(BadInput, match=r"results\.nc cannot be read"):
        fx.load(run)
    (run / "results.nc").unlink()
    with pytest.raises(BadInput, match="holds no results yet"):
        fx.load(run)


def test_what_is_no_run_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no run folder"):
        fx.load(tmp_path)
