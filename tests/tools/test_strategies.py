"""The comparison of strategies at a tiny size: errors and costs as they must be, the cheapest setting chosen, refusals told."""

import csv
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, Decay

VALIDATION = Path(__file__).parents[2] / "validation"


@pytest.fixture
def tools(monkeypatch):
    monkeypatch.syspath_prepend(str(VALIDATION))
    before = set(sys.modules)
    import strategy_problems
    import strategy_scan

    yield strategy_problems, strategy_scan
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == VALIDATION:
            del sys.modules[name]


def test_a_problem_is_compared(tools, tmp_path):
    problems, scan = tools
    problem = problems.linear(tiny=True)
    kept = ("seamless", "HMM", "surrogate")
    problem = problem.__class__(
        **vars(problem) | {"settings": tuple(s for s in problem.settings if s.strategy in kept), "seeds": 8}
    )
    found, failures = scan.compare(problem, tmp_path, targets=(0.5, 1e-9))
    assert not failures
    by_name = {m.setting.strategy: m for m in found}
    assert "no tangent" in by_name["surrogate"].refused
    seamless, hmm = by_name["seamless"], by_name["HMM"]
    # 200 macro steps of half a slowed relaxation time, 10 steps of two bursts of 20; four sites.
    assert (seamless.steps, hmm.steps) == (4 * 200, 4 * 10 * 2 * 20)
    # With clock M the spread of U at t is √(½·2Mε·½(1 − e^(−2t))/members), here for the norm of four independent sites.
    expected = np.sqrt(0.5 * 100.0 * 1e-4 * (1.0 - np.exp(-2.0)) / 64) / (1.0 - np.exp(-1.0))
    assert 0.6 < seamless.spread / expected < 1.5
    for measured in (seamless, hmm):
        np.testing.assert_allclose(measured.error, np.hypot(measured.bias, measured.spread), rtol=1e-12)
        assert measured.cpu > 0.0 and measured.memory >= 4 * 64 * 8
    with open(tmp_path / "linear.csv") as file:
        rows = {(row["target"], row["strategy"]): row for row in csv.DictReader(file)}
    assert rows["0.5", "HMM"]["parameters"] == hmm.setting.words
    assert "its floor is" in rows["1e-09", "seamless"]["parameters"]
    assert (tmp_path / "linear.png").exists()
    told = (tmp_path / "linear.md").read_text()
    assert "| surrogate | refused | refused |" in told and "has no tangent for the table" in told
    title, again = scan.read(tmp_path / "linear_all.csv")
    assert title == problem.title and [m.error for m in again] == [m.error for m in found]


class Loaded(Decay):
    """At rest at the load t where A = t, which is U = t + a t³ for a cubic flow."""

    def rate(self, t, macro, response):
        return t - response


def test_a_body_at_rest_is_compared(tools, tmp_path):
    """The times are loads: those that were asked for are compared, whatever the load step."""
    scan = tools[1]
    bundle, times = fx.Bundle(Loaded(2), CubicFlow(a=0.5)), (0.5, 1.0)
    truth = lambda: np.array([t + 0.5 * t**3 for t in times])[:, None] * np.ones(2)
    settings = (
        scan.Setting("nested", "step 0.25", bundle, fx.Quasistatic(1e-10), 0.25, None),
        scan.Setting("monolithic", "step 0.5", bundle, fx.Monolithic(), 0.5, None),
        scan.Setting("seamless", "", bundle, fx.Seamless(), 0.5, None),
    )
    problem = scan.Problem("rest", "a body at rest", jnp.zeros(2), times, truth, settings, at_rest=True)
    nested, monolithic, seamless = scan.compare(problem, tmp_path)[0]
    assert nested.error < 1e-8 and monolithic.error < 1e-8 and "carries states in time" in seamless.refused
    assert nested.steps > 0 and monolithic.steps > 0
