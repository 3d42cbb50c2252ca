"""Loads followed step by step: where the path ends, resumption, the monolithic driver, refusal of failing trials."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from keeper import Keeper

import fiberax as fx
from fiberax.testing import CubicFlow


class Pulled(fx.AbstractMacro):
    """Three bars in a row between a wall and a hand at `reach`·t: stretches U (3,), equal forces, Σ U = reach t."""

    reach: float = 1.0

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        forces = response[:2] - response[1:]
        return jnp.concatenate([-forces, (self.reach * t - jnp.sum(macro))[None]])


class Bond(fx.AbstractMonitored, fx.AbstractEnergy):
    """Two Morse bonds in a row, W = V(p) + V(U − p), V(r) = (1 − e^−r)²: sound while V'' > 0, up to r = ln 2."""

    def init(self, condition, key):
        return 0.5 * condition

    def energy(self, state, condition):
        return (1 - jnp.exp(-state)) ** 2 + (1 - jnp.exp(state - condition)) ** 2

    def stability_margin(self, state, condition):
        curvature = lambda r: 4 * jnp.exp(-2 * r) - 2 * jnp.exp(-r)
        return jnp.minimum(curvature(state), curvature(condition - state))

    def explain(self, state, condition):
        return f"The bond of length {float(state):.3f} is soft."


class Stiff(Bond):
    """The same under another name."""


BUNDLE = fx.Bundle(Pulled(), Bond())
LIMIT = 3 * 2 * np.log(2.0)


def follow(driver=None, **options):
    return fx.continuation(BUNDLE, driver or fx.Quasistatic(), jnp.zeros(3), **options)


def test_path_is_exact_and_ends_where_stability_does():
    sol = follow(t1=6.0, dt=0.5, dt_min=1e-4)
    np.testing.assert_allclose(sol.macro, np.repeat(sol.ts[:, None] / 3, 3, axis=1), atol=1e-9)
    r = sol.ts / 6
    np.testing.assert_allclose(sol.response, np.repeat((2 * np.exp(-r) * (1 - np.exp(-r)))[:, None], 3, axis=1), atol=1e-9)
    assert LIMIT - 4e-4 < sol.ts[-1] < LIMIT
    words = sol.stats["stopped"]
    assert "lost stability" in words
    # Beyond the limit the symmetric state is a saddle, and the solver may be on its way from it.
    assert abs(float(words.split("The bond of length ")[1].split()[0]) - np.log(2.0)) < 0.02
    assert "allow_unstable" not in words  # no option of the path: it has ended
    assert len(sol.stats["newton"]) == len(sol.ts)


def test_unstable_steady_state_is_told_or_allowed():
    start = jnp.full(3, 1.5)
    with pytest.raises(fx.StabilityLost, match="3 of 3 fibers lost stability at the steady state"):
        fx.steady(BUNDLE, fx.Quasistatic(), start, t=4.5)
    found = fx.steady(BUNDLE, fx.Quasistatic(), start, t=4.5, allow_unstable=True)
    np.testing.assert_allclose(found.macro[0].sum(), 4.5, atol=1e-8)


def test_resumed_path_is_the_same():
    class Keeper(fx.AbstractRecorder):
        def __init__(self):
            self.snapshots, self.records = [], []

        def due(self):
            return True

        def save(self, snapshot):
            self.snapshots.append(snapshot)

        def record(self, record):
            self.records.append(record)

    keeper, again = Keeper(), Keeper()
    follow(t1=3.0, dt=0.5, checkpoint=keeper)
    snapshot = keeper.snapshots[3]
    follow(t1=3.0, dt=0.5, checkpoint=again, start=snapshot)
    with pytest.raises(fx.BadInput, match=r"the snapshot is at t = 1.5, outside of this path from t0 = 0 to t1 = 1"):
        follow(t1=1.0, dt=0.5, start=snapshot)
    rest = keeper.records[snapshot.saved :]
    assert len(rest) == len(again.records) > 0
    for a, b in zip(rest, again.records, strict=True):
        assert a.index == b.index and a.t == b.t
        np.testing.assert_array_equal(a.macro, b.macro)
        np.testing.assert_array_equal(a.response, b.response)


def test_a_snapshot_goes_on_only_in_its_own_path():
    """The same first load and macrostate, the same parameters; a later end, other steps and tolerances may be asked for."""
    keeper = Keeper()
    follow(t1=1.0, dt=0.5, checkpoint=keeper)
    start = keeper.snapshots[1]
    for words, bundle, macro0, options in (
        ("path from t0 = 0, and this one has t0 = 0.1", BUNDLE, jnp.zeros(3), {"t0": 0.1}),
        ("macro0 is not the one that path began with", BUNDLE, jnp.full(3, 0.1), {}),
        ("another bundle: macro.reach is 1 there, and 2 here", fx.Bundle(Pulled(2.0), Bond()), jnp.zeros(3), {}),
        ("another bundle: fiber is Bond there, and Stiff here", fx.Bundle(Pulled(), Stiff()), jnp.zeros(3), {}),
    ):
        with pytest.raises(fx.BadInput, match=words):
            fx.continuation(bundle, fx.Quasistatic(), macro0, **({"t1": 1.5, "dt": 0.5, "start": start} | options))
    longer = follow(fx.Quasistatic(1e-9), t1=1.5, dt=0.25, tolerance=1e-8, start=start)
    np.testing.assert_allclose(longer.ts[-1], 1.5)


@pytest.mark.slow
def test_monolithic_agrees_and_converges_quadratically():
    start = jnp.asarray([0.5, 0.8, 0.2])
    nested = fx.steady(BUNDLE, fx.Quasistatic(1e-12), start, t=2.0, tolerance=1e-12)
    joint = fx.steady(BUNDLE, fx.Monolithic(), start, t=2.0, tolerance=1e-12)
    np.testing.assert_allclose(joint.macro, nested.macro, atol=1e-12)
    np.testing.assert_allclose(joint.response, nested.response, atol=1e-12)
    r = np.asarray(joint.stats["residuals"])
    r = r[r > 1e-15]
    assert len(r) > 3 and np.log(r[-1]) < 1.6 * np.log(r[-2])
    with pytest.raises(fx.Mismatch, match="Monolithic needs"):
        fx.Monolithic().prepare(fx.StochasticFiber(lambda u, U, dt, key: u, lambda U, key: U))


def test_line_search_refuses_what_is_not_admissible():
    class Guarded(Pulled):
        """As before, but no stretch may pass 1.2: Newton's full step would."""

        def admissible(self, macro):
            return jnp.all(macro < 1.2)

    bundle = fx.Bundle(Guarded(), CubicFlow(a=0.5), lambda fiber, state, U: state)
    found = fx.steady(bundle, fx.Quasistatic(), jnp.asarray([0.1, 0.1, 0.1]), t=3.0)
    np.testing.assert_allclose(found.macro[0], 1.0, atol=1e-9)
    with pytest.raises(fx.NotConverged):
        fx.steady(bundle, fx.Quasistatic(), jnp.asarray([0.1, 0.1, 0.1]), t=3.9)


@pytest.mark.parametrize("t0, t1", [(-3.0, -1.0), (-1.0, 0.0)])
def test_loads_below_zero(t0, t1):
    """Two paths that differ by their zero of the load are the same."""
    bundle = lambda shift: fx.Bundle(Offset(shift), fx.testing.CubicFlow())
    there = fx.continuation(bundle(0.0), fx.Quasistatic(1e-12), np.zeros(1), t0=t0, t1=t1, dt=0.5)
    moved = fx.continuation(bundle(t0), fx.Quasistatic(1e-12), np.zeros(1), t0=0.0, t1=t1 - t0, dt=0.5)
    np.testing.assert_allclose(there.ts, moved.ts + t0, atol=1e-12)
    np.testing.assert_allclose(there.macro, moved.macro, atol=1e-10)


class Offset(fx.AbstractMacro):
    """t + shift = U + A(U)."""

    shift: float

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return t + self.shift - macro - response


def test_bad_input_is_named():
    with pytest.raises(fx.BadInput, match="t1 must be larger"):
        follow(t1=-1.0, dt=0.1)
    with pytest.raises(fx.BadInput, match="dt must be positive"):
        follow(t1=1.0, dt=0.0)
    with pytest.raises(fx.BadInput, match="dt_min must lie"):
        follow(t1=1.0, dt=0.1, dt_min=0.2)
    with pytest.raises(fx.Mismatch, match="continuation needs a response"):
        follow(fx.Seamless(), t1=1.0, dt=0.1)


def test_progress_begins_before_the_first_equilibrium_and_goes_on_within_steps():
    """At least one report for every Newton step; loads and counts never fall, and the last one is the end."""
    reports = []
    sol = follow(t1=1.0, dt=0.25, progress=reports.append)
    assert reports[0].step == 0 and reports[0].t == 0.0 and np.isnan(reports[0].eta)
    assert len(reports) >= 1 + sum(sol.stats["newton"])
    assert all(a.t <= b.t and a.step <= b.step <= b.steps for a, b in itertools.pairwise(reports))
    assert (reports[-1].step, reports[-1].t) == (sol.stats["steps"], 1.0)


def test_the_time_left_of_a_path_leaves_out_its_first_equilibrium(monkeypatch):
    """100 s for the first, which compiles, and 1 s for each of six load steps; the same where the path is resumed."""
    from fiberax.core import continuation

    class Keeper(fx.AbstractRecorder):
        keeps_records = True

        def __init__(self):
            self.snapshots, self.records = [], []

        def due(self):
            return True

        def save(self, snapshot):
            self.snapshots.append(snapshot)

        def record(self, record):
            self.records.append(record)

    now, usual, calls = [0.0], continuation._Path._equilibrium, []

    def slow(self, carry, t, guess):
        calls.append(t)
        now[0] += 100.0 if len(calls) == 1 else 1.0
        return usual(self, carry, t, guess)

    monkeypatch.setattr(continuation._Path, "_equilibrium", slow)
    monkeypatch.setattr(continuation.time, "perf_counter", lambda: now[0])
    keeper, reports = Keeper(), []
    path = follow(t1=3.0, dt=0.5, checkpoint=keeper, progress=reports.append)
    assert len(keeper.records) == 7 and path.ts.tolist() == [3.0]
    left = {report.t: report.eta for report in reversed(reports)}  # the first report at each load
    assert left == pytest.approx({0.0: np.nan, 0.5: 5.0, 1.0: 4.0, 1.5: 3.0, 2.0: 2.0, 2.5: 1.0, 3.0: 0.0}, nan_ok=True)
    calls.clear()
    reports.clear()
    follow(t1=3.0, dt=0.5, start=keeper.snapshots[2], progress=reports.append)
    left = {report.t: report.eta for report in reversed(reports)}  # the first report at each load
    assert left == pytest.approx({1.0: np.nan, 1.5: np.nan, 2.0: 2.0, 2.5: 1.0, 3.0: 0.0}, nan_ok=True)
