"""Time averages (7.1): normalisation, lags, partial windows; alone and inside Seamless."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax.testing import CubicFlow, Decay, OrnsteinUhlenbeck, observed_order


def averaged(kernel, signal, times):
    """Averages at the end of each span of `times`, the signal taken at its midpoint."""
    spans, middles = jnp.diff(times), 0.5 * (times[1:] + times[:-1])
    samples = kernel.samples(float(jnp.min(spans)))

    @jax.jit
    def run(values):
        def body(memory, inputs):
            return kernel.push(memory, *inputs)

        return jax.lax.scan(body, kernel.begin(values[0], samples), (values, spans))[1]

    return run(signal(middles))


OWN = fx.Kernel(0.4, lambda s: jnp.exp(-3.0 * s))
KERNELS = [fx.Uniform(0.4), fx.Exponential(0.4), fx.ZeroLag(0.4), fx.RaisedCosine(0.4), fx.Parabolic(0.4), OWN]
REGULAR = jnp.linspace(0.0, 4.0, 41)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: type(k).__name__)
def test_constants_are_kept_from_the_first_value_on(kernel):
    constant = lambda t: jnp.full((t.size, 2), 3.25)
    for times in (REGULAR, REGULAR + 0.04 * jnp.sin(7.0 * REGULAR)):
        np.testing.assert_allclose(averaged(kernel, constant, times), 3.25, rtol=1e-14)


@pytest.mark.parametrize(
    "kernel, lag",
    [
        (fx.Uniform(0.4), 0.2),
        (fx.ZeroLag(0.4), 0.0),
        (fx.ZeroLag(0.37), 0.0),
        (fx.RaisedCosine(0.4), 0.2),
        (fx.Parabolic(0.4), 0.2),
    ],
)
def test_lag_on_linear_signals_is_exact(kernel, lag):
    """With windows of whole spans; ZeroLag for any window, and on irregular spans too."""
    values = averaged(kernel, lambda t: 2.0 * t, REGULAR)
    np.testing.assert_allclose(values[5:], 2.0 * (REGULAR[6:] - lag), atol=1e-12)


def test_zero_lag_on_irregular_spans():
    times = REGULAR + 0.04 * jnp.sin(7.0 * REGULAR)
    values = averaged(fx.ZeroLag(0.4), lambda t: 2.0 * t, times)
    np.testing.assert_allclose(values[1:], 2.0 * times[2:], atol=1e-12)


def test_exponential_lags_by_its_time():
    """Up to the second order of the span, and once the start is forgotten."""
    errors = []
    for count in (200, 400):
        times = jnp.linspace(0.0, 20.0, count + 1)
        values = averaged(fx.Exponential(0.4), lambda t: t, times)
        errors.append(abs(float(times[-1] - 0.4 - values[-1])))
    assert observed_order(errors, [2.0, 1.0]) > 1.9


def test_partial_window_is_the_mean_of_what_came():
    values = averaged(fx.Uniform(0.4), lambda t: t, REGULAR)
    np.testing.assert_allclose(values[:3], [0.05, 0.1, 0.15], rtol=1e-12)
    values = averaged(fx.ZeroLag(0.4), lambda t: t, REGULAR)
    np.testing.assert_allclose(values[0], 0.05)  # one value alone: that value
    np.testing.assert_allclose(values[1:3], [0.2, 0.3], rtol=1e-12)


def test_uniform_window_clips_its_oldest_value():
    """A pulse leaves the window of 0.25 after two and a half spans of 0.1."""
    pulse = lambda t: jnp.where(t < 0.1, 1.0, 0.0)
    values = averaged(fx.Uniform(0.25), pulse, REGULAR)
    np.testing.assert_allclose(values[:5], [1.0, 0.5, 0.2, 0.0, 0.0], atol=1e-14)


def test_variances_of_white_noise():
    """Var of the mean of n values: 1/n uniform, 4/n (1 + O(1/n²)) without lag."""
    noise = lambda t: jax.random.normal(jax.random.key(0), (t.size,))
    times = jnp.linspace(0.0, 4000.0, 40001)
    uniform, zero = (averaged(k(4.0), noise, times)[40:] for k in (fx.Uniform, fx.ZeroLag))
    np.testing.assert_allclose(40 * jnp.var(uniform), 1.0, rtol=0.1)
    np.testing.assert_allclose(40 * jnp.var(zero), 4.0, rtol=0.1)


KINDS = [fx.Uniform, fx.Exponential, fx.ZeroLag]
SMOOTH = [fx.RaisedCosine, fx.Parabolic]


@pytest.mark.parametrize("kind", [*KINDS, *SMOOTH])
@pytest.mark.parametrize("ratio", [0.3, 2.0, 15.0])
def test_variance_factors_are_those_of_the_stored_weights(kind, ratio):
    """Σ w_i w_j e^{−|t_i − t_j|/τ}, the weights taken from the kernel; the difference falls with the square of the span."""
    errors = []
    for count in (40, 80):
        span = 1.0 / count
        times = span * jnp.arange((1 if kind is not fx.Exponential else 12) * count + 1)
        weights = np.asarray(averaged(kind(1.0), lambda t: jnp.eye(t.size), times)[-1])
        age = span * np.arange(weights.size)
        exact = weights @ np.exp(-ratio * np.abs(age[:, None] - age)) @ weights
        errors.append(abs(exact / kind(1.0).variance_factor(ratio) - 1.0))
    assert errors[1] < 0.01
    assert errors[1] < 0.3 * errors[0] + 1e-4  # the start of the exponential is forgotten up to e^{−12}


def test_variance_factors_in_closed_form():
    r = np.array([0.01, 1.0, 7.0, 300.0])
    np.testing.assert_allclose(fx.Uniform(1.0).variance_factor(r), 2.0 * (r - 1.0 + np.exp(-r)) / r**2, rtol=1e-9)
    np.testing.assert_allclose(fx.Exponential(2.0).variance_factor(r), 1.0 / (1.0 + r))
    np.testing.assert_allclose(300.0 * fx.ZeroLag(1.0).variance_factor(300.0), 8.0, rtol=0.02)  # (2/r) ∫K²
    with pytest.raises(fx.BadInput, match="must be positive; it is -1"):
        fx.Uniform(1.0).variance_factor(-1.0)


def test_kernels_of_ones_own_and_smooth_ones_in_closed_form():
    """Those that are known under another name, ∫K², and what is left of an oscillation of n periods in the window."""
    r = np.array([0.01, 1.0, 7.0, 300.0, 1e5])
    np.testing.assert_allclose(fx.Kernel(1.0, jnp.ones_like).variance_factor(r), fx.Uniform(1.0).variance_factor(r), rtol=1e-7)
    zero = fx.Kernel(1.0, lambda s: 2.0 - 3.0 * s)
    np.testing.assert_allclose(zero.variance_factor(r), fx.ZeroLag(1.0).variance_factor(r), rtol=1e-7)
    assert zero.square == pytest.approx(4.0) and fx.Kernel(1.0, jnp.ones_like).square == pytest.approx(1.0)
    assert fx.RaisedCosine(1.0).square == pytest.approx(1.5) and fx.Parabolic(1.0).square == pytest.approx(1.2)
    np.testing.assert_allclose(1e5 * fx.RaisedCosine(1.0).variance_factor(1e5), 3.0, rtol=1e-4)
    times = jnp.linspace(0.0, 2.0, 801)
    wave = lambda n: float(jnp.max(jnp.abs(averaged(kernel, lambda t: jnp.sin(2.0 * jnp.pi * n * t), times)[400:])))
    kernel = fx.RaisedCosine(1.0)
    assert wave(1.0) == pytest.approx(0.5, rel=1e-4) and wave(3.0) < 1e-10  # −½ e^(2πis) in K, and nothing of other waves
    exact = (
        abs(
            np.sum(
                np.exp(9.0j * np.pi * (np.arange(40000) + 0.5) / 40000)
                * (1.0 - np.cos(np.pi * (np.arange(40000) + 0.5) / 20000))
            )
        )
        / 40000
    )
    assert wave(4.5) == pytest.approx(exact, rel=0.01)
    kernel = fx.Parabolic(1.0)
    assert wave(3.0) == pytest.approx(12.0 / (6.0 * np.pi) ** 2, rel=0.01)


@pytest.mark.parametrize(
    ("K", "said"),
    [
        (lambda s: 1.0 - 2.0 * s, "the integral of K vanishes"),
        (lambda s: 1.0, r"K gives \(\) for s \(48,\)"),
        (lambda s: jnp.log(s - 0.5), r"K is not finite at s = 0\.0006"),
    ],
)
def test_bad_kernels_are_named(K, said):
    with pytest.raises(fx.BadInput, match=said):
        fx.Kernel(1.0, K)


@pytest.mark.parametrize("kind", KINDS)
def test_variances_of_a_run(kind):
    """Means of Ornstein-Uhlenbeck members (decay time 1/2) averaged inside Seamless over t₀ = 1, at 3000 sites."""
    fiber, sites = OrnsteinUhlenbeck(k=2.0, diffusion=0.6, members=1), 3000
    bundle = fx.Bundle(Held(sites), fiber, link=lambda fiber, state, condition: state[0])
    driver = fx.Seamless(substeps=20, average=kind(1.0), separation=np.inf)
    sol = fx.evolve(bundle, driver, jnp.zeros(sites), t1=6.0, dt=1.0)
    found = np.var(sol.response[0]) / 0.3
    assert abs(found / kind(1.0).variance_factor(2.0) - 1.0) < 4.0 * (2.0 / sites) ** 0.5 + 2e-3


class Held(Decay):
    """Conditions that do not move."""

    def rate(self, t, macro, response):
        return 0.0 * macro


class Stopwatch(fx.AbstractDynamic):
    """The state is the fiber's own time."""

    def init(self, condition, key):
        return jnp.zeros(())

    def step(self, state, condition, dt, key):
        return state + dt

    def link(self, state, condition):
        return state


@pytest.mark.parametrize("average, lag", [(None, 0.0), (fx.Uniform(0.4), 0.2), (fx.ZeroLag(0.4), 0.0), (fx.ZeroLag(0.33), 0.0)])
@pytest.mark.parametrize("substeps", [1, 3])
def test_responses_of_a_run_lag_by_what_the_kernel_says(average, lag, substeps):
    """Fibers live half a step ahead of the macrostate that they answer (leapfrog), in their own time t/clock.

    A record looks at them at its own time; an average is recorded as it acts.
    """
    driver = fx.Seamless(substeps=substeps, clock=2.0, average=average, separation=np.inf)
    sol = fx.evolve(fx.Bundle(Decay(2), Stopwatch()), driver, jnp.ones(2), t1=2.0, dt=0.1, saveat=[1.0, 2.0])
    np.testing.assert_allclose(sol.section.state, (2.0 - 0.05) / 2.0, rtol=1e-12)
    truth = (sol.ts[:, None] - (0.0 if average is None else 0.05 + lag)) / 2.0
    np.testing.assert_allclose(sol.response, np.broadcast_to(truth, (2, 2)), rtol=1e-10)


@pytest.mark.parametrize("kernel", [fx.Uniform, fx.Exponential, fx.ZeroLag])
def test_averaging_time_must_be_positive(kernel):
    with pytest.raises(fx.BadInput, match="t0 must be positive"):
        kernel(0.0)


WINDOWED = [fx.Uniform(4.0), fx.Exponential(4.0), fx.ZeroLag(4.0), fx.RaisedCosine(4.0), fx.Parabolic(4.0)]
WINDOWED.append(fx.Kernel(4.0, lambda s: jnp.exp(-3.0 * s)))


@pytest.mark.parametrize("kernel", WINDOWED, ids=lambda k: type(k).__name__)
def test_averages_of_random_fibers_have_standard_errors(kernel):
    """From blocks: the root mean square of the stated errors is the spread between 400 sites; correlation times are t₀/80."""
    fiber = OrnsteinUhlenbeck(k=20.0, members=4)
    driver = fx.Seamless(average=kernel, separation=np.inf)
    sol = fx.evolve(fx.Bundle(Held(400), fiber), driver, jnp.full(400, 0.6), t1=24.0, dt=0.02)
    stated, spread = np.sqrt(np.mean(np.asarray(sol.stderr[-1]) ** 2)), np.std(sol.response[-1], ddof=1)
    assert abs(stated / spread - 1.0) < 0.25
    deterministic = fx.evolve(fx.Bundle(Held(2), CubicFlow()), driver, jnp.ones(2), t1=0.04, dt=0.02)
    assert deterministic.stderr is None


def test_a_kernel_is_made_and_used_under_a_transformation():
    """Its numbers are plain numbers there, too."""
    square = lambda s: fx.Kernel(0.4, lambda x: jnp.exp(-3.0 * x)).square * s
    expected = 1.5 * (1.0 - np.exp(-6.0)) / (1.0 - np.exp(-3.0)) ** 2
    np.testing.assert_allclose(jax.jit(square)(1.0), expected, rtol=1e-12)
