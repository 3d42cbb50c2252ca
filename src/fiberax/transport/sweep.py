"""One pass over a section, each new state a combination of a few old ones: a sparse matrix times the ensemble.

Sites are walked in chunks, and within a chunk in blocks of a few KiB, a site or so, whose stencils are gathered row by row, so
that the cost is near that of the memory traffic. The loops keep the compiler from fusing: row numbers computed for every entry
of a state, and combinations computed again for every use, would cost several times the rest.
A row number below the number of sites means that site's state, a larger one inflow data.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

_CHUNK_BYTES = {"cpu": 2**18, "other": 2**28}
_BLOCK_BYTES = {"cpu": 2**12, "other": 2**28}


def sweep(combine: Callable, finish: Callable, state: Any, inflow: Any, stencil: Any, rows: Callable, into: Any = None) -> Any:
    """The states after a pass, sites first, as the only new copy.

    Args:
        combine: `combine(take, home, part)` of a block of sites: trees like the states `home` of the block at first;
            `take(row)` gathers the states of one row number for each site.
        finish: `finish(combined, home)` gives the new states of a chunk; `finish(combined, home, old)` with `into`.
        state: States (sites, ...).
        inflow: Inflow data (rows, ...) of the same structure, or None where nothing can flow in.
        stencil: A tree of arrays with a leading site axis.
        rows: `rows(stencil of a chunk)` gives the `part` for `combine`; all row numbers are (chunk, k) in `part.rows`.
        into: States that are read only at their own sites, as `old`, and overwritten by the result.
    """
    count = jax.tree.leaves(state)[0].shape[0]
    bytes_per_site = max(1, sum(x.nbytes // count for x in jax.tree.leaves(state)))
    backend = "cpu" if jax.default_backend() == "cpu" else "other"
    most = [limit[backend] // bytes_per_site for limit in (_CHUNK_BYTES, _BLOCK_BYTES)]

    def chunk(out, start, length):
        home, part = _cut(state, start, length), rows(_cut(stencil, start, length))

        def combined(take):
            block = lambda start, length: combine(take, *_cut((home, part), start, length))
            empty = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(lambda: block(0, length)))
            return _pieces(lambda made, start, length: _put(made, block(start, length), start), empty, length, most[1])

        if inflow is None:
            made = combined(lambda row: _take(state, row))
        else:
            mixed = lambda: combined(lambda row: _take_either(state, inflow, row))
            inside = lambda: combined(lambda row: _take(state, row))
            made = jax.lax.cond(jnp.any(part.rows >= count), mixed, inside)
        new = finish(made, home) if into is None else finish(made, home, _cut(out, start, length))
        return _put(out, new, start)

    return _pieces(chunk, jax.tree.map(jnp.zeros_like, state) if into is None else into, count, most[0])


def _pieces(function: Callable, out: Any, count: int, most: int) -> Any:
    """`out` after `function(out, start, length)` on equal pieces of up to `most` rows, and on the rows that are left over."""
    pieces = -(-count // min(max(most, 1), count))
    length = -(-count // pieces)
    whole = count // length
    if whole == 1:
        out = function(out, 0, length)
    else:
        out = jax.lax.fori_loop(0, whole, lambda k, out: function(out, k * length, length), out)
    return function(out, whole * length, count - whole * length) if count > whole * length else out


def _cut(tree: Any, start: Any, length: int) -> Any:
    return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, length), tree)


def _put(tree: Any, rows: Any, start: Any) -> Any:
    return jax.tree.map(lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, start, 0), tree, rows)


def _take(state: Any, row: Int[Array, " block"]) -> Any:
    if row.shape == (1,):  # a slice is cheaper than a gather
        return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, row[0], 1, allow_negative_indices=False), state)
    return jax.tree.map(lambda x: x.at[row].get(mode="promise_in_bounds"), state)


def _take_either(state: Any, inflow: Any, row: Int[Array, " block"]) -> Any:
    count = jax.tree.leaves(state)[0].shape[0]
    inside, entering = _take(state, jnp.minimum(row, count - 1)), _take(inflow, jnp.maximum(row - count, 0))
    within = row < count
    return jax.tree.map(lambda x, y: jnp.where(within.reshape((-1,) + (1,) * (x.ndim - 1)), x, y), inside, entering)


def scaled(weight: Array, tree: Any) -> Any:
    """`weight` (block,) times states (block, ...), in the precision of the states."""
    return jax.tree.map(lambda x: weight.astype(x.dtype).reshape((-1,) + (1,) * (x.ndim - 1)) * x, tree)
