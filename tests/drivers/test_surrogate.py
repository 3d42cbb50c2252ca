"""The table of responses: errors below its tolerance, few solves, derivative of the interpolant, objectivity, misuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from keeper import Keeper

import fiberax as fx
from fiberax.drivers.ellipsoids import Ellipsoids
from fiberax.drivers.tables import Curve
from fiberax.numerics.polar import polar
from fiberax.testing import CubicFlow, ElasticPlastic, OrnsteinUhlenbeck, Spring

N = 24
START = jnp.linspace(1.4, 0.1, N) ** 2


class Line(fx.AbstractMacro):
    """Diffusion on a line of cells with an uptake A."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        ends = jnp.concatenate([jnp.ones(1) * 2.0, macro, jnp.zeros(1)])
        return 50.0 * (ends[2:] - 2.0 * macro + ends[:-2]) - response


BUNDLE = fx.Bundle(Line(), CubicFlow(a=0.5))
NESTED = fx.Quasistatic(1e-12)


@pytest.mark.parametrize("stepper", [fx.Heun(), fx.SDIRK2()], ids=["explicit", "implicit"])
def test_errors_keep_the_tolerance_and_solves_are_few(stepper):
    options = {"t1": 0.5, "dt": 0.01, "stepper": stepper}
    truth = fx.evolve(BUNDLE, NESTED, START, **options)
    found = fx.evolve(BUNDLE, fx.Surrogate(NESTED, 1e-5, check=0.02, always=True), START, **options)
    made = found.stats["surrogate"]
    assert np.abs(found.macro - truth.macro).max() < 2e-5
    assert made["checked"] > 10 and made["worst"] < 2e-5
    assert made["live"] < 0.1 * made["retrieved"] and 4 <= made["records"] < 60
    assert not found.result.any() and not np.array_equal(found.macro, truth.macro)


@pytest.mark.slow
def test_nothing_depends_on_the_chunk():
    options = {"t1": 0.05, "dt": 0.01}
    found = [
        fx.evolve(BUNDLE, fx.Surrogate(NESTED, 1e-4, always=True), START, placement=fx.Placement(chunk=chunk), **options)
        for chunk in (N, 5, 1)
    ]
    # The last digits depend on how the compiler vectorises arrays of another length.
    for other in found[1:]:
        np.testing.assert_allclose(other.macro, found[0].macro, rtol=1e-13)
        assert other.stats["surrogate"]["records"] == found[0].stats["surrogate"]["records"]
        assert other.stats["surrogate"]["live"] == found[0].stats["surrogate"]["live"]


@pytest.mark.slow
def test_steady_states():
    truth = fx.steady(BUNDLE, NESTED, START).macro
    found = fx.steady(BUNDLE, fx.Surrogate(NESTED, 1e-6, always=True), START)
    assert np.abs(found.macro - truth).max() < 2e-6


def test_a_curve_is_exact_on_cubics_and_its_error_estimate_on_quartics():
    """Between two records of x⁴ the error is 16 s²(1 − s)²·h⁴/16; one value inside tells it, and it decides."""
    table = Curve(tolerance=1e-3, capacity=8, measured=1)
    value = lambda x: jnp.asarray([x**4])
    slope = lambda x: jnp.asarray([[4.0 * x**3]])
    records = table.empty(1, 1, ())
    for x in (0.0, 1.0):
        records = table.learn(records, jnp.asarray([x]), value(x), slope(x), ())
    assert records.count == 2 and not table.find(records, jnp.asarray([[0.5]])).sure[0]
    records = table.learn(records, jnp.asarray([0.3]), value(0.3), slope(0.3), ())
    assert records.count == 3
    np.testing.assert_allclose(records.trust[:2], np.asarray([0.3, 0.7]) ** 4 / 16, rtol=1e-10)  # the largest response is 1
    queries = jnp.asarray([[0.15], [0.65], [0.3], [1.0], [1.1], [-0.1]])
    found = table.find(records, queries)
    np.testing.assert_array_equal(found.sure, [True, False, True, True, False, False])
    cubic = lambda x: jnp.asarray([x**3 - x])
    exact = table.empty(1, 1, ())
    for x in (-1.0, 2.0):
        exact = table.learn(exact, jnp.asarray([x]), cubic(x), jnp.asarray([[3.0 * x**2 - 1.0]]), ())
    at = jnp.linspace(-1.0, 2.0, 7)[:, None]
    np.testing.assert_allclose(table.find(exact, at).value[:, 0], at[:, 0] ** 3 - at[:, 0], atol=1e-12)
    np.testing.assert_allclose(table.slope(exact, at)[:, 0, 0], 3.0 * at[:, 0] ** 2 - 1.0, atol=1e-12)


def test_a_curve_answers_close_to_its_ends():
    """The error x²(x − 0.3)² of the first interval of x⁴ goes on before it, and so does (x − 0.3)²(x − 1)² behind the last."""
    table = Curve(tolerance=1e-3, capacity=8, measured=1)
    records = table.empty(1, 1, ())
    for x in (0.0, 1.0, 0.3):
        records = table.learn(records, jnp.asarray([x]), jnp.asarray([x**4]), jnp.asarray([[4.0 * x**3]]), ())
    at = np.array([-0.1, -0.06, -0.02, 1.01, 1.05, 1.3])
    found = table.find(records, jnp.asarray(at)[:, None])
    np.testing.assert_array_equal(found.sure, [False, False, True, True, False, False])
    left, right = at**2 * (at - 0.3) ** 2, (at - 0.3) ** 2 * (at - 1.0) ** 2
    np.testing.assert_allclose(at**4 - found.value[:, 0], np.where(at < 0.0, left, right), rtol=1e-8)
    first = table.learn(table.empty(1, 1, ()), jnp.zeros(1), jnp.zeros(1), jnp.zeros((1, 1)), ())
    assert not table.find(first, jnp.asarray([[1e-9]])).sure[0]  # one record knows no error


def test_records_that_are_told_by_their_neighbours_are_given_up():
    """A front that moves in small steps leaves as few records as one that jumps."""
    table = Curve(tolerance=1e-4, capacity=32, measured=1)
    learn = jax.jit(lambda records, x: table.learn(records, x[None], jnp.sin(x)[None], jnp.cos(x)[None, None], x))
    records = table.empty(1, 1, jax.ShapeDtypeStruct((), jnp.float64))
    for x in np.linspace(0.0, 1.0, 101):
        records = learn(records, x)
    assert records.count <= 6
    used = np.asarray(records.condition[: int(records.count), 0])
    np.testing.assert_array_equal(np.asarray(records.kept)[np.asarray(records.slot)[: len(used)]], used)
    assert sorted(np.asarray(records.slot)) == list(range(32))
    at = np.linspace(0.0, 1.0, 301)
    found = table.find(records, jnp.asarray(at)[:, None])
    assert np.mean(found.sure) > 0.95
    assert np.abs(found.value[:, 0] - np.sin(at))[np.asarray(found.sure)].max() < 1e-4 * np.sin(1.0) * 2.0


@pytest.mark.parametrize(
    ("f", "entries", "share"),
    [
        (lambda x: jnp.stack([jnp.sin(x[0] + x[1]), x[2] ** 2, jnp.exp(0.3 * x[0]) * x[1]]), 3, 0.8),
        (lambda x: jnp.stack([x[0] * x[1]]), 2, 0.95),  # no error along either axis, so that values there tell nothing
        (lambda x: jnp.stack([jnp.sin(0.3 * x[0]) + jnp.cos(6.0 * x[1]), x[0] * x[1] ** 2]), 2, 0.8),  # bends, and back
    ],
    ids=["smooth", "saddle", "waves"],
)
@pytest.mark.parametrize("random", [True, False], ids=["random", "path"])
def test_ellipsoids_grow_and_keep_the_tolerance(f, entries, share, random):
    """Asked at random or along a path: the error of every sure answer is below twice the tolerance, of most below it."""
    table = Ellipsoids(tolerance=1e-2, capacity=700, measured=jax.eval_shape(f, jnp.zeros(entries)).shape[0])

    def ask(records, x):
        found, value = table.find(records, x[None]), f(x)
        error = jnp.linalg.norm(found.value[0] - value) / jnp.where(records.count > 0, records.scale[0], 1.0)
        learnt = jax.lax.cond(found.sure[0], lambda r: r, lambda r: table.learn(r, x, value, jax.jacfwd(f)(x), ()), records)
        return learnt, (found.sure[0], error)

    path = 0.5 + 0.5 * jnp.sin(jnp.linspace(0.0, 50.0, 2500)[:, None] * (1.0 + 0.37 * jnp.arange(entries)))
    points = jax.random.uniform(jax.random.key(0), (2500, entries)) if random else path
    records, (sure, errors) = jax.jit(lambda r, p: jax.lax.scan(ask, r, p))(table.empty(entries, table.measured, ()), points)
    errors = np.asarray(errors)[np.asarray(sure)]
    assert np.mean(sure[-500:]) > share and not records.full
    assert errors.max() < 2e-2 and np.mean(errors < 1e-2) > 0.99


def test_solids_are_tabulated_by_their_stretch_and_turn_exactly():
    """The response to Q F is Q times that to F to the last digits, from the same record; the tangent is the interpolant's."""
    crystal = fx.solids.Crystal(
        1.1 * np.array([[1.0, 0.0], [0.5, 0.75**0.5]]), [[0.0, 0.0]], ["Ar"], fx.solids.potentials.LennardJones(scheme="smooth")
    )
    A = 0.02 * jax.random.normal(jax.random.key(1), (6, 2, 2))
    driver = fx.Surrogate(fx.Quasistatic(1e-10), 1e-2, check=0.0)
    fibers = fx.Fibers(crystal, driver, A)
    section, first = fibers.advance(fibers.begin(A), A, tangent=True)
    angle = 0.7
    Q = jnp.asarray([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = jnp.einsum("ij,rjk->rik", Q, jnp.eye(2) + A) - jnp.eye(2)
    live = int(section.sites.shared.counts.live)
    after, second = fibers.advance(section, turned, tangent=True)
    assert int(after.sites.shared.counts.live) == live
    assert not np.any(after.sites.memory.live)
    np.testing.assert_allclose(second.response, jnp.einsum("ij,rjk->rik", Q, first.response), atol=1e-13)

    np.testing.assert_allclose(second.energy, first.energy, rtol=1e-12)

    def interpolant(A):
        return fibers.advance(after, A)[1].response

    step, row = 1e-6, 1
    for i, j in ((0, 0), (0, 1), (1, 0)):
        moved = turned.at[row, i, j].add(step), turned.at[row, i, j].add(-step)
        slope = (interpolant(moved[0])[row] - interpolant(moved[1])[row]) / (2.0 * step)
        np.testing.assert_allclose(second.tangent[row, :, :, i, j], slope, rtol=1e-6, atol=1e-6)


def test_energies_are_interpolated_with_their_response_as_slope():
    """W = 3/8 U⁴ of the spring: two records tell its cubic response, and the energy asks for more."""
    fiber, U = Spring(3.0, 1.0), jnp.linspace(0.5, 1.5, 200)
    fibers = fx.Fibers(fiber, fx.Surrogate(fx.Quasistatic(1e-12), 1e-6, check=0.0), U)
    section, answer = fibers.advance(fibers.begin(U), U)
    assert np.sum(section.sites.memory.live) < 60
    np.testing.assert_allclose(answer.energy, fiber.truth(U)[1], atol=2e-6 * answer.energy.max())
    np.testing.assert_allclose(answer.response, fiber.truth(U)[2], atol=2e-6 * answer.response.max())


def test_a_quadratic_energy_is_answered_by_one_record():
    """W = ½ c·Cc with a linear response: the tangent of the response is the second derivative of the energy."""
    C = jnp.asarray([[2.0, 0.5, 0.0], [0.5, 3.0, 0.2], [0.0, 0.2, 1.0]])
    fiber = fx.EnergyFiber(lambda state, c: 0.5 * c @ C @ c + 0.5 * jnp.sum(state**2), lambda c: jnp.zeros(1))
    asked = jax.random.normal(jax.random.key(2), (80, 3))
    driver = fx.Surrogate(fx.Quasistatic(1e-10), 1e-5, check=0.0)
    fibers = fx.Fibers(fiber, driver, asked)
    section, answer = fibers.advance(fibers.begin(asked), asked)
    assert driver.stats(section.sites)["surrogate"]["live"] < 20
    np.testing.assert_allclose(answer.response, asked @ C, atol=1e-12)
    np.testing.assert_allclose(answer.energy, 0.5 * jnp.sum(asked @ C * asked, axis=1), rtol=1e-10)


def test_checks_leave_right_answers_and_mend_wrong_ones():
    """A narrow bump in the response that the records did not see; every answer is checked."""
    bump = lambda c: c + 0.1 * jnp.exp(-0.5 * ((c - 0.6) / 0.02) ** 2)
    fiber = fx.FlowFiber(lambda state, c: bump(c) - state, lambda c: jnp.zeros_like(c), lambda state, c: state)
    driver = fx.Surrogate(fx.Quasistatic(1e-10), 1e-4, check=1.0)
    fibers = fx.Fibers(fiber, driver, jnp.zeros(3))
    section, _ = fibers.advance(fibers.begin(jnp.zeros(3)), jnp.asarray([0.0, 1.0, 0.3]))
    before = driver.stats(section.sites)["surrogate"]
    assert before["records"] == 2  # all of a line
    section, answer = fibers.advance(section, jnp.asarray([0.1, 0.25, 0.4]))
    made = driver.stats(section.sites)["surrogate"]
    assert not np.any(section.sites.memory.live) and made["records"] == 2 and made["worst"] < 1e-8
    assert made["live"] - before["live"] == made["checked"] - before["checked"] == 3
    asked = jnp.asarray([0.1, 0.6, 0.25])
    section, answer = fibers.advance(section, asked)
    made = driver.stats(section.sites)["surrogate"]
    np.testing.assert_allclose(answer.response, bump(asked), atol=1e-8)
    assert made["worst"] > 0.09 and made["records"] > 2 and section.sites.memory.live[1]


def test_polar_factors():
    F = jnp.eye(3) + 0.4 * jax.random.normal(jax.random.key(3), (3, 3))
    F = F * jnp.sign(jnp.linalg.det(F))
    from scipy.linalg import polar as reference

    for found, expected in zip(polar(F), reference(np.asarray(F)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-13)
    slope = jax.jvp(lambda F: polar(F)[0], (jnp.eye(3),), (jnp.asarray([[0.0, 1, 0], [-1, 0, 0], [0, 0, 0]]),))[1]
    np.testing.assert_allclose(slope, [[0, 1, 0], [-1, 0, 0], [0, 0, 0]], atol=1e-13)


def test_resume_is_bit_identical_and_a_section_can_be_saved():
    keeper, driver, options = Keeper(), fx.Surrogate(NESTED, 1e-4, always=True), {"t1": 0.05, "dt": 0.01}
    whole = fx.evolve(BUNDLE, driver, START, checkpoint=keeper, **options)
    middle = next(s for s in keeper.snapshots if 0 < s.step < 5)
    rest = fx.evolve(BUNDLE, driver, START, start=middle, **options)
    jax.tree.map(np.testing.assert_array_equal, (rest.macro[-1], rest.section), (whole.macro[-1], whole.section))
    fibers = fx.Fibers(CubicFlow(a=0.5), driver, START)
    section, _ = fibers.advance(fibers.begin(START), START)
    again = fibers.restore(fibers.save(section))
    jax.tree.map(np.testing.assert_array_equal, again, section)
    part = fibers.take(section, [3, 1])
    jax.tree.map(np.testing.assert_array_equal, part.sites.shared, section.sites.shared)


def test_states_that_are_written_belong_to_their_conditions():
    """The response of this fiber is its state."""

    class Written(fx.AbstractRecorder):
        wants_states = True

        def __init__(self):
            self.records = []

        def due(self):
            return False

        def save(self, snapshot):
            pass

        def record(self, record):
            self.records.append(record)

    written = Written()
    found = fx.evolve(BUNDLE, fx.Surrogate(NESTED, 1e-4, always=True), START, t1=0.05, dt=0.01, checkpoint=written)
    record = written.records[-1]
    np.testing.assert_allclose(CubicFlow(a=0.5).condition_of(record.state), record.macro, rtol=1e-9)
    assert np.abs(found.section.state - record.state).max() > 1e-6  # sites that the table answered had older ones
    steady = fx.steady(BUNDLE, fx.Surrogate(NESTED, 1e-4, always=True), START)
    np.testing.assert_allclose(CubicFlow(a=0.5).condition_of(steady.section.state), steady.macro[0], rtol=1e-9)


def test_a_full_table_goes_on():
    found = fx.evolve(BUNDLE, fx.Surrogate(NESTED, 1e-8, capacity=5, always=True), START, t1=0.02, dt=0.01)
    truth = fx.evolve(BUNDLE, NESTED, START, t1=0.02, dt=0.01)
    assert found.stats["surrogate"]["full"]
    np.testing.assert_allclose(found.macro, truth.macro, rtol=1e-7)


def test_misuse_is_told():
    for options, told in (
        ({"tolerance": 0.0}, "tolerance"),
        ({"capacity": 2}, "capacity"),
        ({"check": 2.0}, "check"),
        ({"inner": fx.Seamless()}, "inner"),
    ):
        with pytest.raises(fx.BadInput, match=told):
            fx.Surrogate(**options)
    for fiber, told in ((ElasticPlastic(), "history"), (OrnsteinUhlenbeck(), "no tangent")):
        with pytest.raises(fx.Mismatch, match=told):
            fx.evolve(fx.Bundle(Line(), fiber), fx.Surrogate(), START, t1=0.1, dt=0.1)
    with pytest.raises(fx.BadInput, match="derivatives"):
        jax.grad(lambda a: fx.evolve(fx.Bundle(Line(), CubicFlow(a)), fx.Surrogate(), START, t1=0.02, dt=0.01).macro.sum())(0.5)


def test_one_assembly_gives_energy_tangent_and_slope_also_of_a_mapped_fiber():
    """The energy of a plane wave's fiber depends on the strain by n · P n; factors of energy and response are not mixed up."""
    crystal = fx.solids.Crystal(
        1.1 * np.array([[1.0, 0.0], [0.5, 0.75**0.5]]), [[0.0, 0.0]], ["Ar"], fx.solids.potentials.LennardJones(scheme="smooth")
    )
    strained = fx.solids.uniaxial(crystal)
    fiber = fx.Mapped(strained, condition=lambda c: 0.5 * c, response=lambda r: 3.0 * r, energy=2.0)
    strain = jnp.asarray(0.04)
    state = fiber.init(strain, jax.random.key(0))
    energy, response, tangent, slope = fiber.assemble_all(state, strain)
    alone = lambda c: fiber.energy(state, c)  # one atom: nothing relaxes
    np.testing.assert_allclose(energy, alone(strain), rtol=1e-12)
    np.testing.assert_allclose(slope, jax.grad(alone)(strain), rtol=1e-10)
    np.testing.assert_allclose(response, 3.0 * slope, rtol=1e-10)  # energy 2 and inner strain 1/2
    np.testing.assert_allclose(tangent, 3.0 * jax.grad(jax.grad(alone))(strain), rtol=1e-9)
