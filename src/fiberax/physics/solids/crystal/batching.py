"""Kernels that have the batch of fibers last, behind functions of one fiber.

Fibers are mapped with the site axis first; kernels of few components run fastest with it last, in chunks that stay in the
cache. `trailing` gives a function of one fiber whose `jax.vmap` moves the axis to the end and calls the kernel once. It works
under jit, loops, shard_map and nested vmap; derivatives are left to the caller (a custom rule around it).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_batching import custom_vmap

_CHUNK = 64  # small fibers at a time on a CPU


def trailing(kernel: Callable, size: int = 1) -> Callable:
    """`kernel(parameters, arrays)` with any trailing batch axes in every array, as a function to be mapped.

    `parameters` and `arrays` are trees of arrays. A batch of parameters is mapped in the ordinary way. `size`: how much larger
    a fiber is than a small one; chunks are shorter by that.
    """
    chunk = max(1, _CHUNK // size)

    @custom_vmap
    def call(parameters, arrays):
        return kernel(parameters, arrays)

    @call.def_vmap
    def rule(count, batched, parameters, arrays):
        if any(jax.tree.leaves(batched[0])):
            axes = jax.tree.map(lambda b: 0 if b else None, batched)
            out = jax.vmap(kernel, in_axes=axes, axis_size=count)(parameters, arrays)
        else:
            moved = jax.tree.map(lambda x, b: _last(x, b, count), arrays, batched[1])
            out = _in_chunks(lambda arrays: call(parameters, arrays), moved, count, chunk)
        return out, jax.tree.map(lambda _: True, out)

    return call


def together(function: Callable, kinds: list, arrays: list) -> list:
    """`function(kind, array)` for each pair, of which those of one kind are computed at once.

    `function` acts on each entry of the array (n, *batch) by itself and gives a tree of arrays like it. One call for all
    groups of bonds of a kind compiles in the time of one. Two are faster apart, where each fits into the cache.
    """
    if len(kinds) <= 2:
        return [function(kind, array) for kind, array in zip(kinds, arrays, strict=True)]
    found: dict[int, Any] = {}
    for kind in dict.fromkeys(kinds):
        places = [k for k, other in enumerate(kinds) if other == kind]
        ends = np.cumsum([arrays[k].shape[0] for k in places])
        whole = function(kind, jnp.concatenate([arrays[k] for k in places]))
        for k, end in zip(places, ends, strict=True):
            found[k] = jax.tree.map(lambda x, end=end, k=k: x[end - arrays[k].shape[0] : end], whole)
    return [found[k] for k in range(len(kinds))]


def _last(x, batched: bool, size: int):
    return jnp.moveaxis(x, 0, -1) if batched else jnp.broadcast_to(x[..., None], (*x.shape, size))


def _in_chunks(function: Callable, arrays: Any, size: int, chunk: int) -> Any:
    """`function` over the trailing axis of `arrays`, in chunks on a CPU; the result has the axis in front."""
    if size <= max(1, 2 * chunk - 1) or jax.default_backend() != "cpu":
        return jax.tree.map(lambda x: jnp.moveaxis(x, -1, 0), function(arrays))
    count = -(-size // chunk)
    length = -(-size // count)
    rows = jnp.minimum(jnp.arange(count * length), size - 1).reshape(count, length)
    out = jax.lax.map(lambda row: function(jax.tree.map(lambda x: x[..., row], arrays)), rows)

    def flat(x):
        return jnp.moveaxis(x, -1, 1).reshape(count * length, *x.shape[1:-1])[:size]

    return jax.tree.map(flat, out)
