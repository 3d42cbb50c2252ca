"""Figures of a small run of every case hold what those held that were looked at. `python tools/figures.py` draws them anew."""

import json
import re
import runpy
from pathlib import Path

import numpy as np
import pytest
from small_runs import DRAWN

ROOT = Path(__file__).parents[2]
KNOWN = json.loads(Path(__file__).with_name("figures.json").read_text(encoding="utf-8"))
pytest.importorskip("matplotlib")


CHAOTIC = ("liquid-cavity", "liquid-channel")  # round-off decides where their molecules are

NUMBER = r"[-−]?\d+(\.\d+)?(e[-+]\d+)?"


def differences(found, known, place):
    """Where two descriptions differ; numbers by more than a thousandth of the largest beside them."""
    if isinstance(found, dict) and isinstance(known, dict) and set(found) == set(known):
        return [line for key in known for line in differences(found[key], known[key], f"{place}, {key}")]
    if isinstance(found, list) and isinstance(known, list) and len(found) == len(known):
        plain = [isinstance(x, int | float) and isinstance(y, int | float) for x, y in zip(found, known, strict=True)]
        values = np.array([[x, y] for x, y, both in zip(found, known, plain, strict=True) if both], float).reshape(-1, 2)
        least = np.inf if place.startswith(CHAOTIC) else 1e-3 * np.abs(values).max(initial=0.0)
        far = np.abs(values[:, 0] - values[:, 1]) > least
        if "images" in place:  # a scale that begins at zero does so for every run
            far |= (values == 0.0).sum(axis=1) == 1
        others = [k for k, both in enumerate(plain) if not both]
        lines = [f"{place}: {values[:, 0]}, known are {values[:, 1]}"] if far.any() else []
        return lines + [line for k in others for line in differences(found[k], known[k], f"{place}, {k}")]
    if isinstance(found, str) and place.startswith(CHAOTIC):
        found, known = re.sub(NUMBER, "0", found), re.sub(NUMBER, "0", str(known))
    return [] if found == known else [f"{place}: {found!r}, known is {known!r}"]


# The exact law of spins takes minutes in programs that are not optimised, as those of tests.
ROWS = [pytest.param(name, marks=pytest.mark.slow) if name == "spins" else name for name in DRAWN]


@pytest.mark.parametrize("name", ROWS)
def test_figures_are_those_that_were_looked_at(tmp_path, name):
    described = runpy.run_path(str(ROOT / "tools" / "figures.py"))["described"]
    found = json.loads(json.dumps(described(DRAWN[name], tmp_path / "run")))
    assert not (lines := differences(found, KNOWN[name], name)), "\n".join(lines)
