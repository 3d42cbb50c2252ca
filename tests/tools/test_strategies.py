"""The comparison of strategies at a tiny size: errors and costs as they must be, the cheapest setting chosen, refusals told."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest

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
    assert (tmp_path / "linear.png").exists() and "refused" in (tmp_path / "linear.md").read_text()
