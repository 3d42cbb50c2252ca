"""`fx.Fibers`: a section as a value, driven from outside: trials, noise, ids, storage, rearrangement, transformations."""

import io

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, ElasticPlastic, OrnsteinUhlenbeck, Spring

WALKER = OrnsteinUhlenbeck(k=2.0, diffusion=0.7, members=8)
SEAMLESS = fx.Seamless(separation=np.inf)
QUASISTATIC = fx.Quasistatic(1e-10)
CONDITIONS = np.linspace(0.4, 1.2, 5)
U = jnp.asarray(CONDITIONS)
CUBIC = CubicFlow(a=0.5)


def same(x, y):
    jax.tree.map(np.testing.assert_array_equal, x, y)


def walkers(rows=32, **options):
    return fx.Fibers(WALKER, SEAMLESS, np.zeros(rows), **options)


def test_quasistatic_against_the_closed_form():
    """Value, tangent, energy, counts; numpy in, a pytree out; nothing changes the section that was handed in."""
    fibers = fx.Fibers(Spring(), QUASISTATIC, CONDITIONS)
    begun = fibers.begin(CONDITIONS)
    kept = jax.tree.map(np.array, begun)
    section, answer = fibers.advance(begun, CONDITIONS, tangent=True)
    state, energy, value, slope = Spring().truth(CONDITIONS)
    for got, expected in ((section.sites.state, state), (answer.response, value), (answer.tangent, slope)):
        np.testing.assert_allclose(got, expected, rtol=1e-9)
    np.testing.assert_allclose(answer.energy, energy, rtol=1e-9)
    assert not np.any(answer.result) and np.all(np.asarray(answer.steps) >= 1) and answer.stderr is None
    answer.raise_if_failed()
    same(begun, kept)
    np.testing.assert_array_equal(section.step, 1)
    assert fibers.advance(section, CONDITIONS)[1].tangent is None

    again = fibers.respond(section, CONDITIONS, tangent=True)
    np.testing.assert_allclose(again.response, answer.response, rtol=1e-14)
    np.testing.assert_allclose(again.tangent, answer.tangent, rtol=1e-12)
    off = fibers.respond(section, 1.1 * CONDITIONS)  # at the states as they are
    np.testing.assert_allclose(off.response, -6.0 * (state - 1.21 * CONDITIONS**2) * 1.1 * CONDITIONS, rtol=1e-9)


def test_trees_as_conditions():
    fiber = fx.FlowFiber(lambda u, c: c["a"] * c["b"][0] - u, lambda c: jnp.zeros(()), lambda u, c: {"p": u, "q": c["b"]})
    conditions = {"a": np.arange(1.0, 4.0), "b": np.ones((3, 2))}
    fibers = fx.Fibers(fiber, QUASISTATIC, conditions)
    _, answer = fibers.advance(fibers.begin(conditions), conditions)
    np.testing.assert_allclose(answer.response["p"], [1.0, 2.0, 3.0])
    assert answer.response["q"].shape == (3, 2)


def test_monolithic_takes_one_newton_step_at_a_time():
    fibers = fx.Fibers(CUBIC, fx.Monolithic(), CONDITIONS)
    section, errors = fibers.begin(CONDITIONS), []
    for _ in range(5):
        section, answer = fibers.advance(section, CONDITIONS, tangent=True)
        errors.append(np.max(np.abs(CUBIC.condition_of(answer.response) - CONDITIONS)))
    assert errors[1] > 1e-3 and errors[4] < 1e-9 and errors[0] > errors[1] > errors[2] > errors[3]
    np.testing.assert_allclose(answer.tangent, CUBIC.slope_at(answer.response), rtol=1e-6)


def test_repeated_trials_of_random_fibers_are_equal():
    fibers = walkers()
    first, _ = fibers.advance(fibers.begin(np.zeros(32)), np.full(32, 0.3), dt=0.1)
    one, trial, again = (fibers.advance(first, np.full(32, c), dt=0.1) for c in (0.5, -0.5, 0.5))
    same(one, again)
    assert np.all(np.asarray(one[1].response) != np.asarray(trial[1].response))
    # kept, the step is another one, with noise of its own
    further = fibers.advance(one[0], np.full(32, 0.5), dt=0.1)[0].sites.state
    drift = lambda old: 0.5 + np.exp(-0.2) * (np.asarray(old) - 0.5)
    noise = np.asarray(further) - drift(one[0].sites.state), np.asarray(one[0].sites.state) - drift(first.sites.state)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.25  # 256 numbers: 4 standard errors
    other = walkers(key=jax.random.key(1))
    assert np.all(np.asarray(other.begin(np.zeros(32)).sites.state) != np.asarray(fibers.begin(np.zeros(32)).sites.state))
    moved = other.advance(first, np.full(32, 0.5), dt=0.1)[0].sites.state
    assert np.all(np.asarray(moved) != np.asarray(one[0].sites.state))


def test_ranks_give_the_numbers_of_one_section():
    """Rows 0..15 and 16..31 of two ranks are those of one section of 32, at every step."""
    whole, low, high = walkers(32), walkers(16, ids=np.arange(16)), walkers(16, ids=np.arange(16, 32))
    conditions = np.linspace(0.0, 1.0, 32)
    sections = [f.begin(c) for f, c in ((whole, conditions), (low, conditions[:16]), (high, conditions[16:]))]
    for _ in range(3):
        sections[0], answer = whole.advance(sections[0], conditions, dt=0.1)
        sections[1], left = low.advance(sections[1], conditions[:16], dt=0.1)
        sections[2], right = high.advance(sections[2], conditions[16:], dt=0.1)
        same(sections[0], jax.tree.map(lambda a, b: jnp.concatenate([a, b]), *sections[1:]))
        same(answer.response, np.concatenate([left.response, right.response]))
    assert len(np.unique(np.asarray(answer.response))) == 32


def test_shared_noise_is_one_draw():
    fibers = walkers(noise="shared")
    section, answer = fibers.advance(fibers.begin(np.zeros(32)), np.zeros(32), dt=0.1)
    assert len(np.unique(np.asarray(answer.response))) == 1
    assert len(np.unique(np.asarray(fibers.advance(section, np.zeros(32), dt=0.1)[1].response))) == 1


@pytest.mark.parametrize("fiber, driver", [(WALKER, SEAMLESS), (ElasticPlastic(), QUASISTATIC)], ids=["walker", "plastic"])
def test_saved_and_restored_with_another_chunk(fiber, driver):
    """Through an npz file, into a section of the same rows worked on three at a time."""
    fibers, chunked = (fx.Fibers(fiber, driver, np.zeros(5), placement=fx.Placement(chunk=c)) for c in (None, 3))
    section, _ = fibers.advance(fibers.begin(np.zeros(5)), 2.0 * CONDITIONS, dt=0.1)
    file = io.BytesIO()
    np.savez(file, **fibers.save(section))
    file.seek(0)
    arrays = dict(np.load(file))
    assert all(len(x) == 5 for x in arrays.values())
    found = chunked.restore(arrays)
    same(section, found)
    ours, theirs = fibers.advance(section, CONDITIONS, dt=0.1), chunked.advance(found, CONDITIONS, dt=0.1)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-14), ours, theirs)
    name = next(iter(arrays))
    with pytest.raises(fx.BadInput, match=f"Fibers.restore: {name} is absent"):
        fibers.restore({k: v for k, v in arrays.items() if k != name})
    with pytest.raises(fx.BadInput, match=f"Fibers.restore: {name} has shape"):
        fibers.restore(arrays | {name: arrays[name][..., None]})


def test_averages_are_saved_and_restored():
    """A window of stored values: `begin` needs the time of one advance, and `restore` finds its length in the arrays."""
    driver = fx.Seamless(substeps=2, average=fx.Uniform(0.4), separation=np.inf)
    fibers = fx.Fibers(WALKER, driver, np.zeros(3))
    section = fibers.begin(np.zeros(3), dt=0.1)
    for _ in range(3):
        section, _ = fibers.advance(section, np.full(3, 0.5), dt=0.1)
    found = fibers.restore(fibers.save(section))
    same(section, found)
    same(fibers.advance(section, np.zeros(3), dt=0.1), fibers.advance(found, np.zeros(3), dt=0.1))
    with pytest.raises(fx.BadInput, match="dt"):
        fibers.begin(np.zeros(3))


def test_rows_are_taken_put_and_added():
    fibers = walkers(6)
    section, _ = fibers.advance(fibers.begin(np.zeros(6)), np.arange(6.0), dt=0.1)
    part = fibers.take(section, [4, 1])
    np.testing.assert_array_equal(part.ids, [4, 1])
    alone, answer = fibers.advance(part, np.asarray([4.0, 1.0]), dt=0.1)
    whole, expected = fibers.advance(section, np.arange(6.0), dt=0.1)
    same(alone, fibers.take(whole, [4, 1]))  # noise goes with the rows
    same(answer.response, np.asarray(expected.response)[[4, 1]])
    back = fibers.put(section, [4, 1], alone)
    same(fibers.take(back, [4, 1]), alone)
    same(fibers.take(back, [0, 2, 3, 5]), fibers.take(section, [0, 2, 3, 5]))
    np.testing.assert_array_equal(back.step, [1, 2, 1, 1, 2, 1])
    grown = fibers.put(section, [7, 0, 6], fibers.begin(np.zeros(3), ids=[70, 0, 60]))
    np.testing.assert_array_equal(grown.ids, [0, 1, 2, 3, 4, 5, 60, 70])
    assert fibers.advance(grown, np.zeros(8), dt=0.1)[1].response.shape == (8,)
    for rows in ([7, 8, 0], [6, 7]):
        with pytest.raises(fx.BadInput, match=r"Fibers.put: rows must be 3 numbers"):
            fibers.put(section, rows, fibers.begin(np.zeros(3), ids=[1, 2, 3]))


class Fragile(fx.FlowFiber):
    def remedy(self, result):
        return "Keep the condition below 1" if result else ""


def test_failed_rows_are_described():
    fiber = Fragile(lambda u, c: jnp.where(c > 1.0, jnp.nan, c - u), lambda c: jnp.zeros_like(c), lambda u, c: u)
    fibers = fx.Fibers(fiber, QUASISTATIC, np.zeros(3), ids=[5, 6, 7])
    section, answer = fibers.advance(fibers.begin(np.zeros(3)), np.asarray([0.5, 2.0, 0.7]))
    np.testing.assert_array_equal(answer.result, [0, fx.Result.NONFINITE, 0])
    np.testing.assert_allclose(answer.response, [0.5, np.nan, 0.7])  # it never had a response
    with pytest.raises(fx.FiberFailure, match=r"1 of 3 fibers failed; row 1: .*not finite.*; Keep the condition below 1\."):
        answer.raise_if_failed()
    told = fibers.describe(section)
    assert told["sites"] == 3 and told["bytes"] > 3 * 8
    (row,) = told["failed"]
    assert row["row"] == 1 and row["id"] == 6 and row["result"] == fx.Result.NONFINITE and "below 1" in row["text"]
    section, answer = fibers.advance(section, np.full(3, 0.9))
    np.testing.assert_allclose(answer.response, 0.9)
    assert not np.any(answer.result) and not fibers.describe(section)["failed"]
    _, answer = fibers.advance(section, np.asarray([0.5, 2.0, 0.7]))
    np.testing.assert_allclose(answer.response, [0.5, 0.9, 0.7])  # the last good one


def test_one_time_for_all_and_exactly_that():
    """An advance by dt is a step of the relaxation by dt; with substeps, that many shorter ones."""
    relaxed = fx.relax(Spring(), friction=0.7)
    fibers = fx.Fibers(relaxed, SEAMLESS, CONDITIONS)
    begun = fibers.begin(CONDITIONS)
    section, answer = fibers.advance(begun, CONDITIONS, dt=0.13)
    step = jax.jit(jax.vmap(lambda u, c: relaxed.step(u, c, jnp.asarray(0.13), None)))
    expected = step(begun.sites.state, jnp.asarray(CONDITIONS))
    np.testing.assert_allclose(section.sites.state, expected, rtol=1e-13)
    assert np.all(np.abs(np.asarray(expected)) > 1e-3)
    np.testing.assert_allclose(answer.response, jax.vmap(relaxed.link)(expected, jnp.asarray(CONDITIONS)), rtol=1e-12)
    still, _ = fibers.advance(section, CONDITIONS, dt=0.0)
    np.testing.assert_allclose(still.sites.state, section.sites.state, rtol=1e-13)


def test_transformations():
    """jit, grad and vmap through `advance`: the tangent by another way, and differences for a parameter."""
    conditions = jnp.asarray(CONDITIONS)

    def total(conditions, a, driver=QUASISTATIC, dt=0.0):
        fibers = fx.Fibers(CubicFlow(a=a), driver, conditions)
        section = fibers.begin(jnp.zeros_like(conditions))
        return jnp.sum(fibers.advance(section, conditions, dt=dt)[1].response)

    fibers = fx.Fibers(CUBIC, QUASISTATIC, CONDITIONS)
    answer = fibers.advance(fibers.begin(CONDITIONS), CONDITIONS, tangent=True)[1]
    value, slopes = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(conditions, 0.5)
    np.testing.assert_allclose(value, np.sum(answer.response), rtol=1e-12)
    np.testing.assert_allclose(slopes[0], answer.tangent, rtol=1e-9)
    run = jax.jit(total)
    np.testing.assert_allclose(slopes[1], (run(conditions, 0.501) - run(conditions, 0.499)) / 0.002, rtol=1e-5)

    begun = fibers.begin(CONDITIONS)
    many = jax.vmap(lambda c: fibers.advance(begun, c)[1].response)(jnp.stack([conditions, 1.1 * conditions]))
    np.testing.assert_allclose(many[0], answer.response, rtol=1e-9)
    np.testing.assert_allclose(CUBIC.condition_of(many[1]), 1.1 * CONDITIONS, rtol=1e-8)

    carried = jax.jit(jax.value_and_grad(lambda c: total(c, 0.5, SEAMLESS, 0.2)))
    h = 1e-5 * jnp.asarray([0.0, 1.0, 0.0, 0.0, 0.0])
    difference = (carried(conditions + h)[0] - carried(conditions - h)[0]) / 2e-5
    np.testing.assert_allclose(carried(conditions)[1][1], difference, rtol=1e-7)


def test_wrong_shapes_are_refused():
    fibers = fx.Fibers(CUBIC, QUASISTATIC, CONDITIONS)
    section = fibers.begin(CONDITIONS)
    with pytest.raises(fx.BadInput, match=r"conditions must have the shapes \[\('rows',\)\]; they have \[\(5, 2\)\]"):
        fibers.advance(section, np.zeros((5, 2)))
    with pytest.raises(fx.BadInput, match="the section has 5 rows, the conditions have 4"):
        fibers.advance(section, CONDITIONS[:4])
    with pytest.raises(fx.BadInput, match="conditions must have the shapes"):
        fibers.respond(section, {"a": CONDITIONS})
    with pytest.raises(fx.BadInput, match=r"ids must be one whole number for each of the 5 rows; their shape is \(4,\)"):
        fx.Fibers(CUBIC, QUASISTATIC, CONDITIONS, ids=np.arange(4))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda fibers, section, other: fibers.begin(1.0), r"must have the shapes \[\('rows',\)\]; they have \[\(\)\]"),
        (lambda fibers, section, other: fibers.advance(section, 1.0), "must have the shapes"),
        (lambda fibers, section, other: fibers.advance(None, U), "it is a NoneType"),
        (lambda fibers, section, other: fibers.advance(other, U), "it is of another fiber or driver"),
        (lambda fibers, section, other: fibers.respond(other, U), "it is of another fiber or driver"),
        (lambda fibers, section, other: fibers.advance(section, 1j * U), "must be real numbers"),
        (lambda fibers, section, other: fx.responses(ElasticPlastic(), U[:0]), "have no rows"),
        (lambda fibers, section, other: fx.responses(ElasticPlastic(), U.at[1].set(jnp.nan)), r"at index \[1\] is nan"),
    ],
)
def test_what_is_no_section_and_what_are_no_conditions(unchecked, call, words):
    fibers, others = (fx.Fibers(fiber, fx.Quasistatic(), U) for fiber in (ElasticPlastic(), CubicFlow()))
    with pytest.raises(fx.BadInput, match=words):
        call(fibers, fibers.begin(U), others.begin(U))


def test_random_rows_of_another_number_need_global_numbers():
    fibers = fx.Fibers(OrnsteinUhlenbeck(), fx.Seamless(separation=np.inf), U)
    with pytest.raises(fx.BadInput, match="ids are needed for 2 rows"):
        fibers.begin(U[:2])
    assert fibers.begin(U[:2], ids=[0, 7]).ids.shape == (2,)


@pytest.mark.parametrize("fiber", [Spring(), ElasticPlastic()], ids=lambda fiber: type(fiber).__name__)
def test_derivatives_of_traced_programs(fiber):
    """As without `jit`, of energies without constraints and of fibers with memory."""
    fibers = fx.Fibers(fiber, fx.Quasistatic(), U)
    section = fibers.begin(U)
    tangents = lambda U: jnp.sum(fibers.advance(section, U, tangent=True)[1].tangent)
    values = lambda U: jnp.sum(fibers.advance(section, U)[1].response)
    step = lambda U: jax.lax.scan(lambda a, _: (a + values(U), None), 0.0, length=2)[0]
    np.testing.assert_allclose(jax.grad(jax.jit(tangents))(U), jax.grad(tangents)(U), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(jax.grad(step)(U), 2.0 * jax.grad(values)(U), rtol=1e-12)


def test_donated_sections_are_gone():
    fibers = fx.Fibers(CUBIC, QUASISTATIC, CONDITIONS)
    begun = fibers.begin(CONDITIONS)
    kept, given = fibers.advance(begun, CONDITIONS), fibers.advance(begun, CONDITIONS, donate=True)
    same(kept, given)


BAD_NUMBERS = {
    "twice": ([0, 1, 1], "1 is there more than once"),
    "fractional": ([0, 1, 1.5], r"they are \[0, 1, 1.5\]"),
    "negative": ([0, -1, 2], "the number at place 1 is -1"),
    "large": ([0, 1, 2**31], "the number at place 2 is 2147483648"),
    "larger": ([0, 1, 2**32], "the number at place 2 is 4294967296"),
    "mask": ([True, False, True], r"they are \[True"),
}


@pytest.mark.parametrize("ids", BAD_NUMBERS)
def test_global_numbers_are_different_whole_numbers(ids):
    numbers, message = BAD_NUMBERS[ids]
    for call in (lambda: walkers(3, ids=numbers), lambda: walkers(3).begin(np.zeros(3), ids=numbers)):
        with pytest.raises(fx.BadInput, match=f"Fibers: ids must be a list of different whole numbers.*{message}"):
            call()


def test_rows_that_a_section_does_not_have():
    """Indices of jax are clipped and wrap: row 9 of 8 was row 7."""
    fibers = walkers(8)
    section = fibers.begin(np.zeros(8))
    for rows, message in (([9], "place 0 is 9"), ([0, -1], "place 1 is -1"), ([0.5], "they are"), (3, "they are 3")):
        with pytest.raises(fx.BadInput, match=f"Fibers.take: rows must be a list of whole numbers from 0 to 7; .*{message}"):
            fibers.take(section, rows)
    np.testing.assert_array_equal(fibers.take(section, [2, 2]).ids, [2, 2])
    other = fibers.begin(np.zeros(2), ids=[70, 80])
    for rows, message in (
        ([1, 1], "1 is there more than once"),
        ([8, 8], "8 is there"),
        ([1, 12], "place 1 is 12"),
        ([1, 9], ""),
    ):
        with pytest.raises(fx.BadInput, match=f"Fibers.put: rows must .*{message}"):
            fibers.put(section, rows, other)


def test_a_section_has_rows():
    fibers = fx.Fibers(CubicFlow(), fx.Quasistatic(), np.ones(3))
    none = fibers.take(fibers.begin(np.ones(3)), [])
    with pytest.raises(fx.BadInput, match="Fibers: there are no rows"):
        fibers.advance(none, np.zeros(0))


def test_rows_with_the_noise_of_others_are_not_put():
    fibers = walkers(3)
    section = fibers.begin(np.zeros(3))
    with pytest.raises(fx.BadInput, match=r"Fibers.put: global numbers must be .* different .*; 0 is there more than once"):
        fibers.put(section, [3], fibers.take(section, [0]))
    own = fibers.take(section, [0])._replace(ids=jnp.asarray([7], jnp.uint32))
    np.testing.assert_array_equal(fibers.put(section, [3], own).ids, [0, 1, 2, 7])
    still = fx.Fibers(CUBIC, QUASISTATIC, np.zeros(3))  # draws nothing, so that states may be copied
    section = still.begin(np.zeros(3))
    copied = still.put(section, [1], still.take(section, [0]))
    same(still.restore(still.save(copied)), copied)


@pytest.mark.parametrize("dt", [-1.0, np.nan, np.inf, np.ones(5), None, "a"])
def test_times_that_are_none(dt):
    fibers = fx.Fibers(CUBIC, QUASISTATIC, CONDITIONS)
    with pytest.raises(fx.BadInput, match=r"Fibers.advance: dt must be one finite number, at least 0"):
        fibers.advance(fibers.begin(CONDITIONS), CONDITIONS, dt=dt)


def test_arrays_of_another_number_of_rows():
    fibers = walkers(5)
    arrays = fibers.save(fibers.begin(np.zeros(5)))
    fewer = {name: array[:3] for name, array in arrays.items()}
    with pytest.raises(fx.BadInput, match=r"has shape \(3, 8\) .* expected shape \(5, 8\).* say how many with rows="):
        fibers.restore(fewer)
    np.testing.assert_array_equal(fibers.restore(fewer, rows=3).ids, [0, 1, 2])
    with pytest.raises(fx.BadInput, match=r"has shape \(\)"):
        fibers.restore(arrays | {"step": arrays["step"][0]})
    with pytest.raises(fx.BadInput, match=r"Fibers.restore: ids must be .* 0 is there more than once"):
        fibers.restore(arrays | {"ids": 0 * arrays["ids"]})


def test_a_window_is_as_long_as_its_average():
    """Advances shorter than `begin` was told would fill the stored values before the window is over."""
    fibers = fx.Fibers(WALKER, fx.Seamless(average=fx.Uniform(0.4), separation=np.inf), np.zeros(3))
    section = fibers.begin(np.zeros(3), dt=0.1)
    for dt in (0.1, 0.2, 0.0):
        section, _ = fibers.advance(section, np.zeros(3), dt=dt)
    with pytest.raises(
        fx.BadInput, match=r"steps of dt = 0.05 have \d+ values in the window .* has room for \d+: .* shortest dt"
    ):
        fibers.advance(section, np.zeros(3), dt=0.05)
    for dt in (0.0, -0.1, np.inf):
        with pytest.raises(fx.BadInput, match=r"Fibers.begin: dt must be"):
            fibers.begin(np.zeros(3), dt=dt)
    lagging = fx.Fibers(WALKER, fx.Seamless(average=fx.Exponential(0.4), separation=np.inf), np.zeros(3))
    lagging.advance(lagging.begin(np.zeros(3), dt=0.1), np.zeros(3), dt=0.05)  # one stored value at any step


def test_a_warm_start_takes_fewer_steps():
    """`fx.responses(state=)` begins where another answer ended."""
    cold = fx.responses(CUBIC, CONDITIONS, tangent=True)
    warm = fx.responses(CUBIC, 1.001 * CONDITIONS, state=cold.state)
    assert np.all(np.asarray(warm.steps) < np.asarray(cold.steps)) and not np.any(warm.result)
    np.testing.assert_allclose(CUBIC.condition_of(warm.value), 1.001 * CONDITIONS, rtol=1e-8)
    fibers = fx.Fibers(CUBIC, QUASISTATIC, CONDITIONS)
    section, first = fibers.advance(fibers.begin(CONDITIONS), CONDITIONS)
    assert np.all(np.asarray(fibers.advance(section, 1.001 * CONDITIONS)[1].steps) < np.asarray(first.steps))
