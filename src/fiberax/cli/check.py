"""`fiberax check`: checks of a model, and the cost of a run, before anything long is computed."""

import dataclasses
import math
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx
from fiberax.cases.base import Evolve, Loading, Problem, Steady, Table
from fiberax.cli.display import duration
from fiberax.cli.memory import bytes_of, memory_words, size_words, table_words
from fiberax.cli.table import FEWEST, sampled
from fiberax.core.bundle import check_fit
from fiberax.core.errors import BadInput, FiberaxError
from fiberax.core.fiber import code_in_words
from fiberax.core.schedule import schedule

PATIENCE = 60.0  # seconds that one trial step may take
SAMPLE = 16
_LOOKED_AT = 4096  # sites of a run whose start is looked at
_ILL_POSED = (
    "With these responses the macro model is ill-posed at the start (negative diffusion, lost ellipticity): its shortest waves "
    "grow fastest. Look at the sign of the response."
)


def check(problem: Problem, placement: Any) -> None:
    """Check a problem and print what was found, with an estimate of memory and time.

    Raises `CheckFailed`, `Mismatch`, `BadInput` and `FiberFailure` with what is wrong.
    """
    if isinstance(problem, Table):
        _check_table(problem, placement)
    else:
        _check_bundle(problem, placement)
    print("All checks passed.")


def _check_table(problem: Table, placement: Any) -> None:
    conditions = np.asarray(problem.conditions, float)
    _tell("memory", table_words(problem, conditions))
    _check_fiber(problem.fiber, problem.link, conditions[len(conditions) // 2])
    if problem.sampling is not None:
        begin = len(conditions) // 2 // problem.batch * problem.batch
        spent = _time_sampling(problem, conditions[begin : begin + problem.batch], placement)
        _tell("time", f"about {duration(spent * len(conditions))} for the averages of {len(conditions)} conditions")
        return
    seconds = _time_responses(problem.fiber, problem.link, conditions[: problem.batch], placement, problem.tolerance)
    _tell("time", f"about {duration(seconds * len(conditions))} for {len(conditions)} conditions")


def _check_bundle(problem: Evolve | Steady | Loading, placement: Any) -> None:
    bundle, macro0 = problem.bundle, jax.tree.map(np.asarray, problem.macro0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(macro0):
        bad = np.argwhere(~np.isfinite(leaf))
        if len(bad):
            raise BadInput(f"macro0{jax.tree_util.keystr(path)} is not finite at index {bad[0].tolist()}.")
    conditions, state, response = check_fit(bundle, macro0)
    sites = jax.tree.leaves(conditions)[0].shape[0]
    held = bundle.macro.conditions(macro0)
    _tell("shapes", f"{sites} sites; macro model, fiber, link and driver fit together")
    _tell("memory", memory_words(problem, bytes_of(state), sites))  # before all that takes long
    problem.driver.prepare(bundle.fiber)
    some = np.unique(np.linspace(0, sites - 1, SAMPLE).round().astype(int))
    _check_fiber(bundle.fiber, bundle.link, jax.tree.map(lambda leaf: leaf[some[len(some) // 2]], held))
    if isinstance(problem, Steady | Loading):
        _cost_of_steady(problem, jax.tree.map(lambda leaf: leaf[some], held), sites, placement)
        return
    plan = schedule(problem.t0, problem.t1, problem.dt, problem.saveat)
    records = sum(stretch.save for stretch in plan.stretches) + plan.save_start
    _tell("disk", f"{size_words(records * (bytes_of(macro0) + sites * bytes_of(response)))} for {records} records")
    if problem.expected:
        _tell("expect", problem.expected)
    _try_step(problem, plan, jax.tree.map(lambda leaf: leaf[some], held), sites, placement)


def _check_fiber(fiber: Any, link: Any, condition: Any) -> None:
    report = fx.testing.check_fiber(fiber, condition, link)
    _tell("fiber", f"{report.entries} numbers in a state; {len(report.checked)} checks passed")
    for law, deviation in report.deviations.items():
        _tell("", f"{law}: relative deviation {deviation:.1e}")


def _try_step(problem: Evolve, plan: Any, sample: Any, sites: int, placement: Any) -> None:
    """One step of the whole bundle where that is quick, else an estimate from a few sites."""
    if problem.driver.slaved:
        guess = _time_responses(problem.bundle.fiber, problem.bundle.link, sample, placement) * sites
        if guess > PATIENCE:
            _tell("time", f"a step takes {duration(guess)} or more, {plan.steps} steps {duration(guess * plan.steps)}")
            _tell("", "too long to try: the step and its gradient are not checked")
            return
    dt = plan.stretches[0].dt
    transport = problem.bundle.transport
    divided = isinstance(transport, fx.Convected) and transport.scheme != "semi-lagrangian"  # has no reverse mode
    gradient = sites <= 4096 and not divided
    report = fx.testing.check_bundle(
        problem.bundle, problem.driver, problem.macro0, dt, problem.t0, problem.stepper, gradient=gradient
    )
    words = "" if report.gradient is None else ", with a finite gradient"
    _tell("bundle", f"one step of {dt:.4g} works{words}")
    if problem.driver.slaved:
        _check_stability(problem, dt)
    total = duration(_time_step(problem, dt, report.seconds, plan.steps) * plan.steps)
    _tell("time", f"{duration(report.compile_seconds)} to compile, then about {total} for {plan.steps} steps")


def refuse_ill_posed(problem: Problem) -> None:
    """Raise `BadInput` where a run in time begins with a macro model of which the shortest waves grow fastest.

    Implicit steps damp them, so that such a run could end without a word. Not looked at where it takes long: many sites, or
    fibers that are sampled.
    """
    if not isinstance(problem, Evolve) or not problem.driver.slaved:
        return
    if isinstance(problem.bundle.fiber, fx.AbstractDynamic):
        return
    conditions = check_fit(problem.bundle, jax.tree.map(np.asarray, problem.macro0))[0]
    if jax.tree.leaves(conditions)[0].shape[0] > _LOOKED_AT:
        return
    try:
        found = fx.stiffness(problem.bundle, problem.macro0, problem.driver, problem.t0)
    except FiberaxError:
        return  # the run itself says what is wrong
    if found.ill_posed:
        raise BadInput(_ILL_POSED)


def _check_stability(problem: Evolve, dt: float) -> None:
    """Say how long an explicit step may be; refuse a macro model that the fibers make ill-posed. Raises `BadInput`."""
    found = fx.stiffness(problem.bundle, problem.macro0, problem.driver, problem.t0)
    if found.ill_posed:
        raise BadInput(_ILL_POSED)
    known = f"about {found.step:.4g}" if not math.isnan(found.step) else "not measured (no finite derivative)"
    _tell("step", f"limit of explicit steps: {known}; this run takes {dt:.4g}")


def _time_step(problem: Evolve, dt: float, first: float, most: int) -> float:
    """Seconds of one step among `most`: `first`, one step by itself, counts the start of a run as well."""
    steps, spent = 0, 0.0
    while steps < most and spent < min(3.0 * first, PATIENCE / 4):  # until the steps take longer than the start
        steps = min(most, max(20, 4 * steps)) if first < PATIENCE / 80 else min(most, 4 * steps + 1)
        begun, end = time.perf_counter(), problem.t0 + (1 + steps) * dt
        fx.evolve(problem.bundle, problem.driver, problem.macro0, t0=problem.t0, t1=end, dt=dt, stepper=problem.stepper)
        spent = time.perf_counter() - begun
    return max(spent - first, 0.0) / steps


def _cost_of_steady(problem: Steady | Loading, sample: Any, sites: int, placement: Any) -> None:
    if not problem.driver.slaved:
        raise BadInput("A steady state needs a driver whose response is a function of the condition: fx.Quasistatic().")
    seconds = _time_responses(problem.bundle.fiber, problem.bundle.link, sample, placement) * sites
    _tell("time", f"about {duration(seconds)} for the responses of each Newton step")


def _time_responses(fiber: Any, link: Any, conditions: Any, placement: Any, tolerance: float | None = 1e-8) -> float:
    """Seconds of one response in a batch, compiled. Raises `BadInput` where one is not found."""
    for _ in range(2):
        begun = time.perf_counter()
        found = fx.responses(fiber, conditions, link, tolerance=tolerance, placement=placement)
        results = np.asarray(jax.block_until_ready(found.result))
        spent = time.perf_counter() - begun
    if results.any():
        worst = int(np.argmax(results != 0))
        condition = jax.tree.map(lambda leaf: np.asarray(leaf)[worst].tolist(), conditions)
        raise BadInput(
            f"The fiber finds no equilibrium under the condition {condition}: {code_in_words(fiber, int(results[worst]))}."
        )
    return spent / len(results)


def _time_sampling(problem: Table, conditions: np.ndarray, placement: Any) -> float:
    """Seconds of the averages of one row, from a short run of a batch, compiled."""
    assert problem.sampling is not None
    chosen, spent = problem.sampling, 0.0
    short = dataclasses.replace(problem, sampling=dataclasses.replace(chosen, steps=FEWEST, span=None))
    for _ in range(2):
        begun = time.perf_counter()
        jax.block_until_ready(sampled(short, conditions, 0, placement).value)
        spent = time.perf_counter() - begun
    if chosen.span is None:
        steps = chosen.steps
    else:
        steps = chosen.span / float(problem.fiber.timestep(jnp.asarray(conditions[0])) if chosen.dt is None else chosen.dt)
    return spent / len(conditions) * steps / FEWEST


def _tell(what: str, text: str) -> None:
    print(f"{what:<8} {text}", flush=True)
