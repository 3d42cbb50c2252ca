"""The time loop: save times, snapshots and restart, interruption, chunks, noise, one compilation per run."""

import logging
import re
import signal
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.core.parameters import brief, difference
from fiberax.core.schedule import schedule
from fiberax.core.snapshots import origin_leaves
from fiberax.testing import CubicFlow, Decay, ElasticPlastic, Maxwell, OrnsteinUhlenbeck, SharedLoad

CUBIC = fx.Bundle(Decay(5), CubicFlow(a=0.5))
START = jnp.linspace(0.5, 1.5, 5)


def stochastic(sites, noise="independent"):
    return fx.Bundle(Decay(sites), OrnsteinUhlenbeck(members=3), noise=noise)


RANDOM = stochastic(5)
QUIET = fx.Seamless(separation=float("inf"))  # these runs are not about scale separation


class Keeper(fx.AbstractRecorder):
    """Keeps everything; asks for a snapshot at each look, or sends the signal of Ctrl-C at a given one."""

    def __init__(self, interrupt_at=None):
        self.snapshots, self.records = [], []
        self.looks, self.interrupt_at = 0, interrupt_at

    def due(self):
        self.looks += 1
        if self.looks == self.interrupt_at:
            signal.raise_signal(signal.SIGINT)
        return self.interrupt_at is None

    def save(self, snapshot):
        self.snapshots.append(snapshot)

    def record(self, record):
        self.records.append(record)


def run(bundle, driver, **options):
    key = {"key": jax.random.key(4)} if bundle is RANDOM else {}
    options = {"t1": 0.3, "dt": 0.02, "saveat": [0.0, 0.1, 0.2, 0.3]} | key | options
    return fx.evolve(bundle, driver, START, **options)


def identical(x, y):
    assert jax.tree.structure(x) == jax.tree.structure(y)
    for a, b in zip(jax.tree.leaves(x), jax.tree.leaves(y), strict=True):
        np.testing.assert_array_equal(a, b)


def test_schedule_lands_on_every_save_time():
    plan = schedule(0.0, 1.0, 0.3, [0.0, 0.25, 0.7])
    assert plan.save_start
    assert [(s.start, s.end, s.steps, s.save) for s in plan.stretches] == [
        (0.0, 0.25, 1, True),
        (0.25, 0.7, 2, True),
        (0.7, 1.0, 1, False),
    ]
    assert schedule(0.0, 0.3, 0.1, None).steps == 3  # 0.3/0.1 is 2.9999999999999996
    assert schedule(-1.0, 1.0, 5.0, None).stretches[0].dt == 2.0
    assert schedule(0.0, 1.0, 0.1, np.linspace(0, 1, 11)).steps == 10


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0.0, 0.0, 0.1, None), "t1 must be later"),
        ((0.0, 1.0, -0.1, None), "must be positive"),
        ((0.0, np.nan, 0.1, None), "t1 must be a finite"),
        ((0.0, 1.0, 0.1, [0.5, 0.5]), "increasing"),
        ((0.0, 1.0, 0.1, []), "increasing"),
        ((0.0, 1.0, 0.1, [0.5, 1.5]), "must lie within"),
    ],
)
def test_schedule_refuses_in_words(arguments, message):
    with pytest.raises(fx.BadInput, match=message):
        schedule(*arguments)


def test_solution_has_the_promised_shapes_and_values():
    """dU/dt = −A with U = A + a A³: the solution satisfies ∫ dU/A(U) = −t, i.e. ln A + 3a A²/2 falls with slope 1."""
    sol = run(CUBIC, fx.Quasistatic(), dt=0.01)
    np.testing.assert_array_equal(sol.ts, [0.0, 0.1, 0.2, 0.3])
    assert sol.macro.shape == sol.response.shape == sol.result.shape == (4, 5) and not sol.result.any()
    assert sol.section.state.shape == (5,) and sol.stats["steps"] == 30
    np.testing.assert_array_equal(sol.macro[0], START)
    np.testing.assert_allclose(CubicFlow(a=0.5).condition_of(sol.response), sol.macro, rtol=1e-7)
    invariant = np.log(sol.response) + 0.75 * sol.response**2 + sol.ts[:, None]
    np.testing.assert_allclose(invariant - invariant[0], 0.0, atol=1e-4)
    data = sol.to_xarray()
    assert data["macro"].dims == data["response"].dims == ("time", "x")
    np.testing.assert_array_equal(data["x"], np.arange(5))


@pytest.mark.parametrize("bundle, driver", [(CUBIC, fx.Quasistatic()), (RANDOM, QUIET)])
def test_resume_is_bit_identical_from_every_snapshot(bundle, driver):
    keeper = Keeper()
    whole = run(bundle, driver, checkpoint=keeper)
    assert len(keeper.records) == 4 and len(keeper.snapshots) >= 3
    assert {s.step for s in keeper.snapshots} >= {5, 10}  # also where a stretch ends, before its record is out
    for snapshot in keeper.snapshots:
        after = Keeper()
        rest = run(bundle, driver, checkpoint=after, start=snapshot)
        assert len(rest.ts) == 4 - snapshot.saved
        identical(whole.section, rest.section)
        for name in ("ts", "macro", "response", "result"):
            if len(rest.ts):
                np.testing.assert_array_equal(getattr(whole, name)[snapshot.saved :], getattr(rest, name))
        assert [r.index for r in after.records] == list(range(snapshot.saved, 4))


@pytest.mark.parametrize("bundle, driver", [(CUBIC, fx.Quasistatic()), (RANDOM, QUIET)])
@pytest.mark.parametrize("later", [[0.3], [0.0, 0.1, 0.2, 0.3], None])
def test_a_solution_goes_on_as_one_long_run(bundle, driver, later):
    whole = run(bundle, driver)
    part = run(bundle, driver, t1=0.2, saveat=[0.0, 0.1, 0.2])
    rest = run(bundle, driver, saveat=later, start=part)
    identical(whole.section, rest.section)
    for name in ("ts", "macro", "response", "result"):
        np.testing.assert_array_equal(getattr(whole, name), getattr(rest, name))
    assert rest.stats["steps"] == whole.stats["steps"]
    again = run(bundle, driver, t1=0.4, saveat=None, start=rest)
    np.testing.assert_array_equal(again.macro, run(bundle, driver, t1=0.4, saveat=[0.0, 0.1, 0.2, 0.3, 0.4]).macro)


def test_a_solution_goes_on_only_as_its_own_run():
    part = run(CUBIC, fx.Quasistatic(), t1=0.2, saveat=[0.0, 0.2])
    for words, options in (
        ("t1 must be later, and is 0.2", {"t1": 0.2, "saveat": None}),
        ("t = 0.1, which the run of start has passed", {"saveat": [0.0, 0.1, 0.3]}),
        ("from t0 = 0.0, and t0 is 0.1", {"t0": 0.1, "saveat": None}),
        ("snapshot is of a run with the stepper Heun", {"stepper": fx.ForwardEuler()}),
    ):
        with pytest.raises(fx.BadInput, match=words):
            run(CUBIC, fx.Quasistatic(), **({"saveat": [0.3], "start": part} | options))
    with pytest.raises(fx.BadInput, match="macro0 is not the one that run began with"):
        fx.evolve(CUBIC, fx.Quasistatic(), START + 1, t1=0.3, dt=0.02, start=part)
    still = fx.steady(CUBIC, fx.Quasistatic(), START)
    with pytest.raises(fx.BadInput, match="solution of steady or continuation"):
        run(CUBIC, fx.Quasistatic(), start=still)


def test_snapshot_of_another_model_is_refused():
    keeper = Keeper()
    run(CUBIC, fx.Quasistatic(), checkpoint=keeper)
    with pytest.raises(fx.BadInput, match=r"does not belong to this bundle: .* has shape \(5,\).* expected \(5, 3\)"):
        run(RANDOM, QUIET, start=keeper.snapshots[0])


def test_snapshot_goes_on_only_with_the_macrostate_of_its_run():
    keeper = Keeper()
    run(CUBIC, fx.Quasistatic(), checkpoint=keeper)
    with pytest.raises(fx.BadInput, match="macro0 is not the one that run began with"):
        fx.evolve(
            CUBIC, fx.Quasistatic(), START + 1e-12, t1=0.3, dt=0.02, saveat=[0.0, 0.1, 0.2, 0.3], start=keeper.snapshots[0]
        )


def test_snapshot_goes_on_only_with_the_bundle_of_its_run():
    """A history is not dropped, and parameters are compared, up to the round-off of their computation."""
    keeper, start = Keeper(), jnp.full(2, 0.3)
    again = lambda fiber, driver=None, **given: fx.evolve(
        fx.Bundle(Decay(2), fiber), driver or fx.Quasistatic(), start, t1=0.2, dt=0.05, **given
    )
    whole = again(ElasticPlastic(), checkpoint=keeper)
    kept = keeper.snapshots[0]
    with pytest.raises(fx.BadInput, match=r"it has section_history_.* which this run does not carry"):
        again(CubicFlow(), start=kept)
    for given in (kept, whole):
        words = "another bundle: fiber.yield_stress is 1 there, and 1.1 here"
        with pytest.raises(fx.BadInput, match=words):
            fx.evolve(
                fx.Bundle(Decay(2), ElasticPlastic(yield_stress=1.1)), fx.Quasistatic(), start, t1=0.4, dt=0.05, start=given
            )
    np.testing.assert_allclose(again(ElasticPlastic(yield_stress=1.0 + 1e-14), start=kept).macro, whole.macro)


@pytest.mark.parametrize(
    "now, words",
    [
        (SharedLoad(jnp.asarray([1.0, 2.0, 4.0])), r"fiber\.\w+ has other numbers there"),
        (SharedLoad(jnp.asarray([2.0, 1.0, 5.0])), r"fiber\.\w+ has other numbers there"),
        (SharedLoad(jnp.asarray([1.0, 2.0])), r"fiber\.\w+ is array \(3,\) of float64 there, and array \(2,\) of float64 here"),
        (fx.rescale(SharedLoad(jnp.asarray([1.0, 2.0, 5.0])), condition=2.0), "fiber is SharedLoad there, and "),
        (SharedLoad(jnp.asarray([1.0, 2.0, 5.0]) * (1.0 + 1e-13)), ""),
    ],
    ids=["value", "order", "shape", "type", "round-off"],
)
def test_the_first_difference_of_two_bundles_is_told(now, words):
    made, leaves = fx.Bundle(Decay(2), now), brief(fx.Bundle(Decay(2), SharedLoad(jnp.asarray([1.0, 2.0, 5.0])))).leaves()
    found = difference(brief(made), leaves)
    assert re.match(words, found) if words else found == "", found


class Driven(fx.AbstractMacro):
    """One site under dU/dt = 3 cos 2t − A/10."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return 3.0 * jnp.cos(2.0 * t) - 0.1 * response


def driven(**options):
    options = {"t1": 3.0, "dt": 0.05, "saveat": [1.0, 1.7, 3.0]} | options
    return fx.evolve(fx.Bundle(Driven(), Maxwell()), fx.Quasistatic(), jnp.zeros(1), **options)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dt": 0.04}, r"at t = 1 after 20 steps; .* comes to t = 0.8\. Hand in the t0, dt and saveat"),
        ({"t0": 0.5}, r"at t = 1 after 20 steps; .* comes to t = 1.5"),
        ({"t1": 1.03, "saveat": None}, "at t = 1 after 20 steps; .* comes to t = 0.98"),
        ({"stepper": fx.ForwardEuler()}, r"run with the stepper Heun\(\), and this one has ForwardEuler\(\)"),
    ],
    ids=["dt", "t0", "t1", "stepper"],
)
def test_snapshot_goes_on_only_in_a_run_that_comes_by_it(change, message):
    keeper = Keeper()
    whole = driven(checkpoint=keeper)
    snapshot = next(s for s in keeper.snapshots if s.step == 20)
    with pytest.raises(fx.BadInput, match=message):
        driven(start=snapshot, **change)
    longer = driven(start=snapshot, t1=3.5, saveat=[1.0, 1.7, 3.0, 3.5])  # the schedule up to the snapshot is the same
    np.testing.assert_array_equal(longer.macro[:3], whole.macro)


def test_snapshot_goes_on_only_with_the_noise_of_its_run():
    keeper = Keeper()
    run(RANDOM, QUIET, checkpoint=keeper)
    with pytest.raises(fx.BadInput, match=r"run with the key \[0, 4\], and this one has \[0, 3\]"):
        run(RANDOM, QUIET, start=keeper.snapshots[0], key=jax.random.key(3))


def test_snapshot_behind_the_end_and_under_transformations_is_refused():
    keeper = Keeper()
    driven(checkpoint=keeper)
    late = keeper.snapshots[-1]
    with pytest.raises(fx.BadInput, match=r"after 60 steps; .* ends before it, at t = 1.7"):
        driven(start=late, t1=1.7, saveat=[1.0, 1.7])
    jax.tree.map(np.testing.assert_array_equal, driven(start=late).section, driven().section)
    bundle = fx.Bundle(Driven(), Maxwell())
    with pytest.raises(fx.BadInput, match="start cannot be used under jit, grad or vmap"):
        jax.jit(lambda u: fx.evolve(bundle, fx.Quasistatic(), u, t1=3.0, dt=0.05, start=late).macro)(jnp.zeros(1))


@pytest.mark.parametrize(
    "made, now, same",
    [
        (fx.SDIRK2(), fx.SDIRK2(1e-6), True),  # another accuracy of the same scheme
        (fx.Newmark(), fx.Newmark(0.4, 0.6), False),
        (fx.SDIRK2(), fx.BackwardEuler(), False),
    ],
)
def test_the_scheme_is_compared_and_not_its_accuracy(made, now, same):
    leaves = [origin_leaves(stepper, jax.random.key(0))["run_stepper"].tobytes() for stepper in (made, now)]
    assert (leaves[0] == leaves[1]) is same


def test_interrupt_saves_and_stops():
    keeper = Keeper(interrupt_at=1)
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        run(CUBIC, fx.Quasistatic(), checkpoint=keeper)
    assert signal.getsignal(signal.SIGINT) is before
    assert len(keeper.snapshots) == 1 and 0 < keeper.snapshots[0].step < 15
    rest = run(CUBIC, fx.Quasistatic(), start=keeper.snapshots[0])
    np.testing.assert_array_equal(rest.macro[-1], run(CUBIC, fx.Quasistatic()).macro[-1])


@pytest.mark.parametrize("bundle, driver", [(CUBIC, fx.Quasistatic()), (RANDOM, QUIET)])
def test_chunks_and_padding_change_no_digit(bundle, driver):
    whole = run(bundle, driver, saveat=None)
    for chunk in (1, 2):  # 5 sites in chunks of 2: one padded row
        parts = run(bundle, driver, saveat=None, placement=fx.Placement(chunk=chunk))
        identical(
            (whole.macro, whole.response, whole.result, whole.section),
            (parts.macro, parts.response, parts.result, parts.section),
        )


def test_noise_belongs_to_the_site_number():
    """Independent noise differs between sites, is the same site by site whatever their number, and shared noise is one."""
    start = jnp.full(5, 0.3)
    go = lambda bundle, start, seed=0: fx.evolve(bundle, QUIET, start, t1=0.1, dt=0.05, key=jax.random.key(seed)).section.state
    five = go(RANDOM, start)
    assert len(np.unique(five)) == 15
    np.testing.assert_array_equal(five[:3], go(stochastic(3), start[:3]))
    assert np.all(five != go(RANDOM, start, seed=1))
    quiet = OrnsteinUhlenbeck(diffusion=1e-30, members=3)  # the same start at every site
    shared = fx.StochasticFiber(lambda u, c, dt, key: u + jax.random.normal(key, (2,)), lambda c, key: jnp.zeros(2), quiet.link)
    state = go(fx.Bundle(Decay(5), shared, noise="shared"), start)
    np.testing.assert_array_equal(state, np.broadcast_to(state[0], (5, 2)))
    assert len(np.unique(go(fx.Bundle(Decay(5), shared), start))) == 10


def compilations(function):
    """Names of the programs compiled while `function` runs."""
    found = []

    class Handler(logging.Handler):
        def emit(self, record):
            text = record.getMessage()
            if text.startswith("Finished XLA compilation of"):
                found.append(text.split()[4])

    logger, handler = logging.getLogger("jax._src.dispatch"), Handler()
    logger.addHandler(handler)
    level, propagate = logger.level, logger.propagate
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        function()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate = propagate
    return found


@pytest.mark.parametrize("driver", [fx.Quasistatic(1e-7), fx.Seamless(separation=float("inf"))])
def test_one_compilation_per_run(driver):
    """However many stretches, step lengths and save times; and none at all the second time."""
    bundle = fx.Bundle(Decay(4), CubicFlow(a=0.25))
    go = lambda saveat, dt: fx.evolve(bundle, driver, START[:4], t1=0.3, dt=dt, saveat=saveat)
    first = compilations(lambda: go([0.0, 0.1, 0.25, 0.3], 0.02))
    loops = [name for name in first if "run" in name or "trial" in name]
    assert len(loops) == len(set(loops)) >= 1, first
    again = [name for name in compilations(lambda: go([0.05, 0.3], 0.011)) if name in set(loops)]
    assert again == []


def test_progress_is_reported():
    reports = []
    run(CUBIC, fx.Quasistatic(), progress=reports.append)
    last = reports[-1]
    assert (last.step, last.steps, last.sites, last.failed) == (15, 15, 5, 0)
    np.testing.assert_allclose([last.t, last.t1], 0.3)
    assert last.elapsed > 0.0


def test_integers_are_taken_as_numbers():
    sol = fx.evolve(CUBIC, fx.Quasistatic(), np.asarray([1, 2, 3, 4, 5]), t1=0.1, dt=0.1)
    assert sol.macro.dtype == float


def test_progress_can_be_lines(capfd):
    flow = fx.FlowFiber(rate=lambda c, U: U - c, init=lambda U: jnp.zeros(()), link=lambda c, U: 1.0 + c)
    grid = fx.grids.Box((0.0,), (1.0,), cells=(8,), periodic=True)
    bundle = fx.Bundle(fx.homogenization.Diffusion(grid), flow)
    fx.evolve(bundle, fx.Quasistatic(), jnp.ones(8), t1=1e-3, dt=1e-4, progress=True)
    said = capfd.readouterr()
    assert said.out == "" and said.err.splitlines()[-1].startswith("10/10 t = 0.001")


@pytest.mark.parametrize("anew", [False, True])
def test_a_second_run_of_the_same_shapes_compiles_nothing(anew, caplog):
    """The same bundle with other numbers, or one that was made again."""
    cells = 13 if anew else 11  # of no other test: the first run compiles
    grid = fx.grids.Box((0.0,), (1.0,), cells=(cells,), periodic=True)
    make = lambda: fx.Bundle(fx.homogenization.Diffusion(grid), CubicFlow(a=0.5))
    bundle, compiled = make(), []
    for start in (1.0, 1.5):
        with jax.log_compiles(), caplog.at_level("WARNING"):
            fx.evolve(make() if anew else bundle, fx.Quasistatic(), jnp.full(cells, start), t1=1e-3, dt=1e-4)
        compiled.append(sum("Compiling jit(_run)" in line for line in caplog.messages))
        others = sum("Compiling" in line for line in caplog.messages)
        caplog.clear()
    assert compiled[0] >= 1 and compiled[1] == 0 and others == 0


class Marked(fx.AbstractTransport):
    """Moves nothing, and says when a program is written with it."""

    written: ClassVar[list] = []

    def check(self, model, fiber):
        pass

    def apply(self, model, fiber, state, macro, t, dt):
        self.written.append(None)
        return state


def test_a_program_of_cheap_steps_has_one_copy_of_the_transport():
    """Before the fibers' own motion in one step and after it in the next; failures are for a program of their own."""
    bundle = fx.Bundle(Decay(5), OrnsteinUhlenbeck(members=3), transport=Marked())
    Marked.written.clear()
    fx.evolve(bundle, QUIET, START, t1=0.3, dt=0.02, key=jax.random.key(4))
    assert len(Marked.written) == 2  # steps and records


def test_a_recorder_that_keeps_records_leaves_the_last_one_in_the_solution():
    class Disk(Keeper):
        keeps_records = True

    keeper, whole = Disk(), run(CUBIC, fx.Quasistatic())
    last = run(CUBIC, fx.Quasistatic(), checkpoint=keeper)
    assert len(keeper.records) == 4 and last.ts.shape == (1,)
    np.testing.assert_array_equal(last.macro, whole.macro[-1:])
    np.testing.assert_array_equal(last.response, whole.response[-1:])


def test_the_time_left_leaves_out_what_comes_once(monkeypatch):
    """100 s for the compilation and for the first step each, 1 s for every other step: 14 steps are left after the first."""
    from fiberax.core import loop

    now, usual = [0.0], loop._run

    def slow(static, carry):
        count = int(static[5])
        now[0] += 100.0 if count == 0 or int(carry.step) == 0 else count
        return usual(static, carry)

    monkeypatch.setattr(loop, "_run", slow)
    monkeypatch.setattr(loop, "BLOCK", 1)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: now[0])
    reports = []
    run(CUBIC, fx.Quasistatic(), saveat=None, progress=reports.append)
    assert len(reports) > 3 and np.isnan(reports[0].eta)
    for report in reports[1:]:
        assert report.eta == pytest.approx(15 - report.step)
