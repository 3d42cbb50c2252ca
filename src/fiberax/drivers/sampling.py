"""Averages of the link over a fiber's own dynamics under a held condition (5.6), with a standard error (7.1).

The error is that of blocked means (Flyvbjerg and Petersen, J. Chem. Phys. 91, 461, 1989), which rises to a plateau for
blocks longer than the correlation. Of all block lengths n the shortest with n³ > 2 N g² is taken (Lee et al., Phys. Rev. E
83, 066706, 2011), N the number of values and g the variance of their mean over that of independent values; none longer than an
eighth of a replica's run. Beside a fast part of large variance, blocks of that length may not see a slow part that counts in
the mean. So the errors of longer blocks are looked at one after the other, and one is taken where its square exceeds that of
the error so far by more than its own scatter, √(2/blocks) of it. This finds most of such parts, and makes the error of a
series without them too large by some per cent.

A run is long enough if it lasts 50 correlation times: the error from its eighths is then too small by less than a tenth, and
the fifth of it that is left out at the start has reduced the memory of the start to e^(−10).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.core.answer import Words
from fiberax.core.bundle import check_site
from fiberax.core.errors import BadInput, Mismatch
from fiberax.core.fiber import AbstractDynamic
from fiberax.core.link import apply_link
from fiberax.core.platform import check_platform, need_double
from fiberax.core.separation import warn_of_remarks
from fiberax.core.shown import Shown
from fiberax.core.sites import Placement, Sites, each, lay_out, site_keys, together
from fiberax.numerics import trees
from fiberax.numerics.result import Result, text_of

BLOCKS = 128  # stored for each replica
_FEWEST = 8  # blocks of one replica from which a variance is taken
_WARM_UP = 5  # one part in so many is left out at the beginning
_LONG = 50.0  # correlation times, from which a run is long enough


class Sample(Shown):
    """A long-time average. From `fx.samples` every array has a leading batch axis.

    Args:
        value: Mean of the link.
        stderr: Its standard error, a tree like `value`.
        correlation_time: Integrated correlation time of the link (∫₀^∞ of the normalised correlation), fiber time, a tree
            like `value`.
        result: Code of `fx.Result`: `NOT_MIXED` where replicas that began apart have not come to the same mean; `TOO_SHORT`
            where the run of a replica is shorter than 50 of its correlation times (the error is then the largest that was
            found, and the start may still have an influence). A failure that the fiber itself tells of any replica by its
            `verdict` comes before these, and gives NaN.
        steps: Steps of each replica, without those left out at the beginning.
        state: All replicas (leading axis), to go on from.
        words: words(code), a result code in words, with the fiber's `remedy`.
    """

    value: Any
    stderr: Any
    correlation_time: Any
    result: jax.Array
    steps: jax.Array
    state: Any
    words: Callable = eqx.field(static=True, default=text_of, repr=False)


class _Series(NamedTuple):
    """Means of consecutive blocks (replicas, blocks, ...), and mean squares (replicas, ...), of every leaf of the response."""

    blocks: Any
    squares: Any


def sample(
    fiber: AbstractDynamic,
    condition: Any,
    *,
    steps: int = 10_000,
    replicas: int = 4,
    key: jax.Array | None = None,
    dt: float | None = None,
    stderr: float | None = None,
    max_steps: int = 10_000_000,
    link: Callable | None = None,
    state: Any = None,
) -> Sample:
    """Average of the link of a dynamic fiber over its long-time behaviour at a held condition.

    Independent replicas take `steps` steps, after a fifth as many that are left out.

    Args:
        fiber: A fiber with dynamics.
        condition: What it is held at, a tree of finite numbers.
        steps: Steps of each replica, at least 128.
        replicas: Number of replicas, at least 1.
        key: Seed, default key 0.
        dt: Step, fiber time; None for the fiber's own `timestep`.
        stderr: Standard error to reach, in units of the link: the run is doubled until it is long enough and no entry is
            larger. A run that was too short is then left out as well.
        max_steps: Where doubling stops.
        link: As in `fx.Bundle`.
        state: Replicas of an earlier sample to go on from; give another key.

    Returns:
        Mean, standard error and correlation time.

    Raises:
        Mismatch: A fiber without dynamics, or pieces that do not fit.
        BadInput: Conditions or numbers that cannot be computed with.
    """
    many = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float, x))[None], condition)
    state = None if state is None else jax.tree.map(lambda x: x[None], state)
    options = {"steps": steps, "replicas": replicas, "key": key, "dt": dt, "stderr": stderr, "max_steps": max_steps}
    return jax.tree.map(lambda x: x[0], samples(fiber, many, link=link, state=state, **options))


def samples(
    fiber: AbstractDynamic,
    conditions: Any,
    *,
    steps: int = 10_000,
    replicas: int = 4,
    key: jax.Array | None = None,
    dt: Any = None,
    stderr: float | None = None,
    max_steps: int = 10_000_000,
    link: Callable | None = None,
    state: Any = None,
    placement: Placement | None = None,
) -> Sample:
    """`sample` for a batch of conditions, in chunks, over devices.

    Args:
        fiber: A fiber with dynamics.
        conditions: A tree with a leading batch axis on every leaf.
        steps: As in `sample`.
        replicas: As in `sample`.
        key: As in `sample`.
        dt: A number, or one for each condition; None for the fiber's own `timestep` at each condition.
        stderr: As in `sample`; all runs go on until the last has reached it.
        max_steps: As in `sample`.
        link: As in `sample`.
        state: As in `sample`, a leading batch axis.
        placement: Devices and chunks.

    Returns:
        Samples, a leading batch axis on every array.

    Raises:
        Mismatch, BadInput: As `sample`.
    """
    check_platform()
    need_double("fx.sample", 1e-10)
    if not isinstance(fiber, AbstractDynamic):
        raise Mismatch(
            f"fx.sample follows dynamics, and {type(fiber).__name__} has none. Use fx.response, or fx.relax(fiber, ...)."
        )
    conditions = jax.tree.map(lambda x: jnp.asarray(x, jnp.result_type(float, x)), conditions)
    _check(steps, replicas, stderr, max_steps, conditions)
    one = jax.tree.map(lambda x: x[0], conditions)
    like_state, like = check_site(fiber, link, one)
    size = replicas * sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(like_state))
    count, work = jax.tree.leaves(conditions)[0].shape[0], replicas * fiber.workspace
    sites = lay_out(count, size, placement, True, work)
    sampler = _Sampler(fiber, link, sites, jax.random.key(0) if key is None else key, replicas)
    warn_of_remarks(fiber, conditions)
    spans = _timesteps(fiber, conditions, dt, sites.count)
    length, warm = -(-steps // BLOCKS), -(-steps // (BLOCKS * _WARM_UP))
    done = 0

    def run(state, length):
        # Numbers of steps are arrays, so that all of them use one compilation.
        return sampler.run(state, conditions, spans, jnp.asarray(length), jnp.asarray(done), like)

    if state is None:
        state = run(sampler.begin(conditions), warm)[0]
        done = BLOCKS * warm
    state, series, codes = run(state, length)
    found = judged(series, sites.pad(spans), jnp.asarray(length))
    while stderr is not None and BLOCKS * length < max_steps and not _reached(found, codes, stderr, sites.count):
        done += BLOCKS * length
        if np.any(np.asarray(found[3]) == Result.TOO_SHORT):
            state, series, codes = run(state, 2 * length)
        else:
            state, more, codes = run(state, length)
            series = _joined(series, more)
        length *= 2
        found = judged(series, sites.pad(spans), jnp.asarray(length))
    value, error, time, result = found
    if stderr is not None and not _reached(found, codes, stderr, sites.count):
        result = jnp.where(result == 0, jnp.int32(Result.TOO_SHORT), result)
    value, error = trees.where_site(codes == 0, (value, error), jax.tree.map(lambda x: x * jnp.nan, (value, error)))
    result = jnp.where(codes == 0, result, codes)
    count = jnp.full(result.shape, BLOCKS * length)
    return jax.tree.map(lambda x: x[: sites.count], Sample(value, error, time, result, count, state, Words(fiber)))


class _Sampler(eqx.Module):
    fiber: AbstractDynamic
    link: Callable | None
    sites: Sites
    key: jax.Array
    replicas: int = eqx.field(static=True)

    @eqx.filter_jit
    def begin(self, conditions):
        """States (sites, replicas, ...), each replica with a key of its own."""
        conditions = self.sites.pad(conditions)

        def one(key, condition):
            return jax.vmap(lambda k: self.fiber.init(condition, k))(jax.random.split(key, self.replicas))

        first = jax.tree.map(lambda x: x[0], conditions)
        shapes = jax.eval_shape(one, self.key, first)
        empty = jax.tree.map(lambda x: jnp.zeros((self.sites.padded, *x.shape), x.dtype), shapes)
        start = lambda ids, _, c: each(one, site_keys(self.key, jnp.uint32(2**32 - 1), ids, False), c)
        return self.sites.update(start, empty, conditions)

    @eqx.filter_jit
    def run(self, states, conditions, spans, length, done, like):
        """States after `length` steps for each block, the series of the link, and the fiber's verdicts (rows,)."""
        inputs, rows = self.sites.pad((conditions, spans)), self.sites.padded
        zeros = lambda *lead: jax.tree.map(lambda x: jnp.zeros((rows, self.replicas, *lead, *x.shape), x.dtype), like)

        def chunk(ids, section, inputs):
            keys = jax.vmap(lambda i: jax.random.fold_in(self.key, i))(ids)
            one = lambda s, c, dt, k: follow(self.fiber, self.link, s, c, dt, length, done, k)
            return each(one, section[0], *inputs, keys)

        states, series = self.sites.update(chunk, (self.sites.pad(states), _Series(zeros(BLOCKS), zeros())), inputs)
        codes = jnp.max(jax.vmap(jax.vmap(self.fiber.verdict))(states), axis=1)
        return states, series, codes[:rows]


def follow(fiber: AbstractDynamic, link: Callable | None, states, condition, dt, length, done, key) -> tuple[Any, _Series]:
    """Replicas (leading axis) of one fiber after `length` steps for each block, from step number `done`, and their series."""

    def answer(state):
        return apply_link(link, fiber, state, condition)

    def step(k, carry):
        states, total, square = carry
        keys = site_keys(key, jnp.uint32(k), jnp.arange(replicas, dtype=jnp.uint32), False)
        states = together(lambda s, k: fiber.step(s, condition, dt, k), fiber.workspace, states, keys)
        values = jax.vmap(answer)(states)
        add = lambda a, b: jax.tree.map(jnp.add, a, b)
        return states, add(total, values), add(square, jax.tree.map(jnp.square, values))

    def block(carry, number):
        states, square = carry
        first = done + number * length
        none = jax.tree.map(jnp.zeros_like, square)
        states, total, square = jax.lax.fori_loop(first, first + length, step, (states, none, square))
        return (states, square), jax.tree.map(lambda x: x / length, total)

    replicas = jax.tree.leaves(states)[0].shape[0]
    none = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(jax.vmap(answer), states))
    (states, square), blocks = jax.lax.scan(block, (states, none), jnp.arange(BLOCKS))
    squares = jax.tree.map(lambda x: x / (BLOCKS * length), square)
    return states, _Series(jax.tree.map(lambda x: jnp.moveaxis(x, 0, 1), blocks), squares)


def _joined(a: _Series, b: _Series) -> _Series:
    """The series of two runs of equal length, in blocks twice as long."""
    pairs = lambda x: 0.5 * (x[:, :, 0::2] + x[:, :, 1::2])
    blocks = jax.tree.map(lambda x, y: jnp.concatenate([pairs(x), pairs(y)], axis=2), a.blocks, b.blocks)
    return _Series(blocks, jax.tree.map(lambda x, y: 0.5 * (x + y), a.squares, b.squares))


@eqx.filter_jit
def judged(series: _Series, dt, length) -> tuple:
    """Value, standard error and correlation time (trees, sites first), and result codes (sites,); `dt`: one, or (sites,)."""
    leaves, structure = jax.tree.flatten(series.blocks)
    rows = [_statistics(b, s, length) for b, s in zip(leaves, jax.tree.leaves(series.squares), strict=True)]
    value, error, inefficiency, short, apart = (jax.tree.unflatten(structure, column) for column in zip(*rows, strict=True))
    worst = lambda tree: jnp.stack([jnp.any(x.reshape(x.shape[0], -1), axis=1) for x in jax.tree.leaves(tree)]).any(axis=0)
    finite = worst(jax.tree.map(lambda x: ~jnp.isfinite(x), value))
    code = jnp.where(worst(short), jnp.int32(Result.TOO_SHORT), jnp.int32(0))
    code = jnp.where(worst(apart), jnp.int32(Result.NOT_MIXED), code)
    code = jnp.where(finite, jnp.int32(Result.NONFINITE), code)
    time = lambda g: 0.5 * g * jnp.reshape(dt, (-1, *[1] * (g.ndim - 1)))
    return value, error, jax.tree.map(time, inefficiency), code


def _statistics(blocks, squares, length):
    """Mean, standard error, g, and where the run was too short or the replicas stayed apart; blocks (sites, R, B, ...)."""
    replicas, count = blocks.shape[1:3]
    total = replicas * count * length
    value, means = jnp.mean(blocks, axis=(1, 2)), jnp.mean(blocks, axis=2)
    ratio = lambda a, b: a / jnp.where(b > 0.0, b, 1.0)
    # Within replicas: the variance between slow replicas that began apart would make them look fast.
    naive = jnp.maximum(jnp.mean(squares - means**2, axis=1), 0.0) / total
    errors, enough, scatter, levels = [], [], [], blocks
    while levels.shape[2] >= _FEWEST:
        n = levels.shape[2]
        own = levels - jnp.mean(levels, axis=2, keepdims=True)
        errors.append(jnp.sum(own**2, axis=(1, 2)) / (replicas * (n - 1)) / (replicas * n))
        scatter.append((2.0 / (replicas * (n - 1))) ** 0.5)
        enough.append((length * (count // n)) ** 3.0 > 2.0 * total * ratio(errors[-1], naive) ** 2)
        levels = 0.5 * (levels[:, :, 0::2] + levels[:, :, 1::2])
    errors, enough = jnp.stack(errors), jnp.stack(enough)
    first = jnp.argmax(enough, axis=0)
    square = jnp.where(jnp.any(enough, axis=0), jnp.take_along_axis(errors, first[None], axis=0)[0], jnp.max(errors, axis=0))
    for level, share in enumerate(scatter):
        square = jnp.where((level > first) & (errors[level] > (1.0 + share) * square), errors[level], square)
    short = count * length < _LONG * 0.5 * ratio(square, naive)
    square = jnp.where(short, jnp.max(errors, axis=0), square)
    apart = jnp.zeros(value.shape, bool)
    if replicas > 1:
        between = jnp.var(means, axis=1, ddof=1) / replicas
        apart = between > (1.0 + 10.0 * (2.0 / (replicas - 1)) ** 0.5) * square + 1e-24 * value**2
        square = jnp.where(apart, between, square)
    whole = jnp.maximum(jnp.mean(squares, axis=1) - value**2, 0.0) / total
    return value, jnp.sqrt(square), ratio(square, whole), short, apart


def _reached(found: tuple, codes, target: float, count: int) -> bool:
    """Whether all runs are long enough and all errors below their target; those that have failed are left out."""
    error, result, well = found[1], np.asarray(found[3])[:count], np.asarray(codes)[:count] == 0
    small = all(bool(np.all(np.asarray(x)[:count][well] <= target)) for x in jax.tree.leaves(error))
    return small and not np.any(result[well] == Result.TOO_SHORT)


def _timesteps(fiber: AbstractDynamic, conditions, dt: Any, count: int) -> jax.Array:
    """The step of each site, (sites,)."""
    own = jax.vmap(fiber.timestep)(conditions) if dt is None else dt
    if own is None:
        raise BadInput(f"fx.sample: {type(fiber).__name__} has no time step of its own. Give dt, in fiber time.")
    if jnp.shape(own) not in ((), (count,)):
        raise BadInput(f"fx.sample: dt is one number, or one for each of {count} conditions; its shape is {jnp.shape(own)}.")
    bad = [] if trees.is_tracer(own) else [float(x) for x in np.ravel(own) if not 0.0 < float(x) < float("inf")]
    if bad:
        raise BadInput(f"fx.sample: dt must be positive and finite (fiber time); it is {bad[0]}.")
    return jnp.broadcast_to(jnp.asarray(own, jnp.result_type(float)), (count,))


def _check(steps, replicas, stderr, max_steps, conditions) -> None:
    for name, value, least in (("steps", steps, BLOCKS), ("replicas", replicas, 1), ("max_steps", max_steps, BLOCKS)):
        if not isinstance(value, int) or value < least:
            raise BadInput(f"fx.sample: {name} must be a whole number, at least {least}; it is {value!r}.")
    if stderr is not None and not stderr > 0.0:
        raise BadInput(f"fx.sample: stderr must be positive; it is {stderr}.")
    for path, leaf in jax.tree_util.tree_leaves_with_path(conditions):
        if not trees.is_tracer(leaf) and not np.all(np.isfinite(leaf)):
            raise BadInput(f"fx.sample: the condition{jax.tree_util.keystr(path)} has entries that are not finite.")
