"""Batching of sites, chunks, devices and processes. No other module knows about them.

Sites lie on a one-dimensional device mesh; every fiber works inside `jax.shard_map`, since the automatic partitioner would
gather the whole batch for FFTs and loops. On a device the sites are computed in chunks, and the section is updated in place.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from fiberax.core.errors import BadInput

_AXIS = "sites"
# Bytes of states per chunk. Solvers run until the slowest fiber of a batch is done and read its data many times: on a CPU they
# are fastest in small batches that fit into the cache. Cheap dynamics reads its data once, and chunks only slow it down.
_SOLVER_BYTES = {"cpu": 2**16, "other": 2**28}
_SWEEP_BYTES = {"cpu": 2**24, "other": 2**28}
_WORK_BYTES = {"cpu": 2**20, "other": 2**32}  # of states and workspace, for dynamics that works on much beside its state


class Placement(eqx.Module):
    """Which devices compute the sites, and how many sites are computed at once.

    Args:
        devices: A number, or a list of jax devices; None for one device, or for all devices where several processes run.
        chunk: Sites per batch on one device; None chooses by the size of a fiber's state.

    Results depend on neither, apart from the last digits of transforms and factorisations that a library computes differently
    in batches.

    Raises:
        BadInput: Fewer devices than asked for, or a chunk below 1.
    """

    devices: tuple | None = eqx.field(static=True, default=None)
    chunk: int | None = eqx.field(static=True, default=None)

    def __init__(self, devices: int | Sequence | None = None, chunk: int | None = None):
        if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
            raise BadInput(f"chunk must be a whole number of sites, at least 1; it is {chunk!r}.")
        if isinstance(devices, int):
            found = jax.devices()
            if not 1 <= devices <= len(found):
                raise BadInput(
                    f"devices={devices} asked for, {len(found)} found. On a CPU start with "
                    f"jax.config.update('jax_num_cpu_devices', {devices}) or `fiberax run ... --devices {devices}`."
                )
            devices = tuple(found[:devices])
        elif devices is not None:
            devices = tuple(devices)
        elif jax.process_count() > 1:
            devices = tuple(jax.devices())
        self.devices = devices
        self.chunk = chunk

    def mesh(self) -> jax.sharding.Mesh | None:
        """One-dimensional mesh over sites; None for a single device."""
        if self.devices is None or len(self.devices) == 1:
            return None
        return jax.make_mesh((len(self.devices),), (_AXIS,), axis_types=(AxisType.Auto,), devices=self.devices)


class Sites(eqx.Module):
    """`count` sites laid out on devices in chunks; arrays over sites have `padded` rows, the last site repeated."""

    count: int = eqx.field(static=True)
    padded: int = eqx.field(static=True)
    chunk: int = eqx.field(static=True)
    mesh: jax.sharding.Mesh | None = eqx.field(static=True)

    def ids(self, given: jax.Array | None = None) -> jax.Array:
        """Global site numbers of all rows (padded,); padded rows repeat the last site. `given`: (count,) or (padded,)."""
        if given is None:
            return jnp.minimum(jnp.arange(self.padded, dtype=jnp.uint32), self.count - 1)
        return self.pad(given) if given.shape[0] == self.count else given

    def update(self, function: Callable, section: Any, inputs: Any, ids: jax.Array | None = None) -> Any:
        """New section, chunk by chunk in place: `function(ids, section, inputs)` on batches with a leading site axis.

        `section` and `inputs` have `padded` rows; scalars among `inputs` are the same for every chunk. `ids` are the
        global site numbers, by default 0, 1, ....
        """
        leaves, structure = jax.tree.flatten(inputs)
        over_rows = [jnp.ndim(x) > 0 for x in leaves]
        rows_of = [x for x, many in zip(leaves, over_rows) if many]
        scalars = [x for x, many in zip(leaves, over_rows) if not many]

        def whole(ids, section, rows_of, scalars):
            rest, one = iter(rows_of), iter(scalars)
            return function(ids, section, jax.tree.unflatten(structure, [next(rest if many else one) for many in over_rows]))

        return self._chunked(whole, self.ids(ids), section, rows_of, scalars)

    def _chunked(self, function: Callable, ids: jax.Array, section: Any, inputs: list, scalars: list) -> Any:
        def local(ids, section, inputs, scalars):
            rows = ids.shape[0]
            if rows <= self.chunk:
                return function(ids, section, inputs, scalars)

            def take(tree, start):
                return jax.tree.map(lambda x: jax.lax.dynamic_slice_in_dim(x, start, self.chunk), tree)

            def body(k, section):
                start = k * self.chunk
                new = function(take(ids, start), take(section, start), take(inputs, start), scalars)
                return jax.tree.map(lambda x, y: jax.lax.dynamic_update_slice_in_dim(x, y, start, 0), section, new)

            return jax.lax.fori_loop(0, rows // self.chunk, body, section)

        if self.mesh is None:
            return local(ids, section, inputs, scalars)
        rows = PartitionSpec(_AXIS)
        # check_vma off: a user's innocent while_loop with constant initial values would be refused under the mesh.
        specs = (rows, rows, rows, PartitionSpec())
        mapped = jax.shard_map(local, mesh=self.mesh, in_specs=specs, out_specs=rows, check_vma=False)
        # The jit matters only where nothing else is jitted: shard_map alone refuses nested calls.
        return jax.jit(mapped)(ids, section, inputs, scalars)

    def update_chosen(
        self, function: Callable, mask: jax.Array, section: Any, inputs: Any, ids: jax.Array, capacity: int
    ) -> Any:
        """`update` of the rows where `mask` (padded,) holds, gathered `capacity` at a time; other rows stay as they are.

        Rows are taken in their order, for any number of devices and chunks. A batch has a fixed size, so that one program is
        enough for any number of chosen rows.
        """
        devices = 1 if self.mesh is None else self.mesh.size
        chunk = min(self.chunk, -(-min(capacity, self.padded) // devices))
        size = devices * chunk * max(1, -(-min(capacity, self.padded) // (devices * chunk)))
        part = Sites(size, size, chunk, self.mesh)
        section, inputs, mask = self._everywhere((section, inputs, mask))

        def body(carry):
            left, section = carry
            rows = jnp.nonzero(left, size=size, fill_value=self.padded)[0]
            pick = lambda x: x if jnp.ndim(x) == 0 else jnp.take(x, rows, axis=0, mode="clip")
            new = part.update(function, jax.tree.map(pick, section), jax.tree.map(pick, inputs), pick(ids))
            section = jax.tree.map(lambda x, y: x.at[rows].set(y, mode="drop"), section, new)
            return left.at[rows].set(False, mode="drop"), section

        return jax.lax.while_loop(lambda carry: jnp.any(carry[0]), body, (mask, section))[1]

    def _everywhere(self, tree: Any) -> Any:
        """`tree` replicated on all devices."""
        if self.mesh is None:
            return tree
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda x: jax.lax.with_sharding_constraint(x, everywhere), tree)

    def pad(self, tree: Any) -> Any:
        """Rows `count` -> `padded` by repeating the last one."""
        extra = self.padded - self.count
        if extra == 0:
            return tree
        return jax.tree.map(lambda x: jnp.concatenate([x, jnp.repeat(x[-1:], extra, axis=0)]), tree)

    def trim(self, tree: Any) -> Any:
        """Rows `padded` -> `count`, replicated on all devices (for the macro model, which is small)."""
        tree = self._everywhere(tree)
        if self.padded == self.count:
            return tree
        return jax.tree.map(lambda x: x[: self.count], tree)

    def replicated(self, tree: Any) -> Any:
        """Host values placed on every device of the mesh."""
        if self.mesh is None:
            return jax.tree.map(jnp.asarray, tree)
        everywhere = NamedSharding(self.mesh, PartitionSpec())
        return jax.tree.map(lambda x: jax.device_put(np.asarray(x), everywhere), tree)

    def scattered(self, tree: Any) -> Any:
        """Host values with `count` rows, padded and spread over the mesh."""
        extra = self.padded - self.count

        def place(x):
            x = np.asarray(x)
            if extra:
                x = np.concatenate([x, np.repeat(x[-1:], extra, axis=0)])
            if self.mesh is None:
                return jnp.asarray(x)
            rows = NamedSharding(self.mesh, PartitionSpec(_AXIS))
            return jax.make_array_from_callback(x.shape, rows, lambda index: x[index])

        return jax.tree.map(place, tree)


def each(function: Callable, *arrays: Any) -> Any:
    """`function` of one site over a chunk: `jax.vmap`, or the plain call where the chunk is one site.

    A loop that is mapped carries its whole state through a selection in every iteration; alone, a fiber is spared that.
    """
    if jax.tree.leaves(arrays)[0].shape[0] > 1:
        return jax.vmap(function)(*arrays)
    return jax.tree.map(lambda x: x[None], function(*jax.tree.map(lambda x: x[0], arrays)))


def together(function: Callable, workspace: int, *arrays: Any) -> Any:
    """`function` of one copy of a fiber over a leading axis of copies: at once, or one by one where that is faster.

    `workspace`: bytes that the function works on for one copy, see `lay_out`.
    """
    copies = jax.tree.leaves(arrays)[0].shape[0]
    budget = _WORK_BYTES["cpu" if jax.default_backend() == "cpu" else "other"]
    if copies > 1 and copies * workspace > budget:
        return jax.lax.map(lambda x: function(*x), arrays)
    return each(function, *arrays) if workspace else jax.vmap(function)(*arrays)


def each_keyed(function: Callable, keys: jax.Array, *arrays: Any) -> Any:
    """`each` of `function(key, ...)` with the keys of `site_keys`; noise that all sites share is drawn once."""
    if keys.ndim == 0:
        return each(functools.partial(function, keys), *arrays)
    return each(function, keys, *arrays)


def lay_out(count: int, bytes_per_site: int, placement: Placement | None, solves: bool, workspace: int = 0) -> Sites:
    """Sites for `count` fibers whose state takes `bytes_per_site`; `solves` says that each step solves for the states.

    `workspace`: bytes that a step works on beside the state.
    """
    placement = Placement() if placement is None else placement
    mesh = placement.mesh()
    devices = 1 if mesh is None else mesh.size
    per_device = -(-count // devices)
    chunk = placement.chunk
    if chunk is None:
        table = _WORK_BYTES if workspace else _SOLVER_BYTES if solves else _SWEEP_BYTES
        budget = table["cpu" if jax.default_backend() == "cpu" else "other"]
        chunk = max(1, budget // max(bytes_per_site + workspace, 1))
    chunk = min(chunk, per_device)
    chunks = -(-per_device // chunk)
    # Chunks of equal size need the fewest padded rows.
    chunk = -(-per_device // chunks)
    return Sites(count, devices * chunks * chunk, chunk, mesh)


def to_host(tree: Any) -> Any:
    """Numpy copies of a tree of arrays, gathered from every process (all processes must call it)."""

    def fetch(x):
        if isinstance(x, jax.Array) and not x.is_fully_addressable and not x.is_fully_replicated:
            from jax.experimental import multihost_utils

            return np.asarray(multihost_utils.process_allgather(x, tiled=True))
        return np.array(x)

    # Programs that still run may contain collectives. Those of the gathering must not start before them.
    return jax.tree.map(fetch, jax.block_until_ready(tree))


_STAGES = 2**31  # added to the stage: a number that no site has


def site_keys(key: jax.Array, step: jax.Array, ids: jax.Array, shared: bool, stage: Any = 0) -> jax.Array:
    """One key for each site in one evaluation: fold_in(fold_in(fold_in(key, step), stage), site).

    With shared noise the site is left out: one key for all. Stage 0 keeps the key of the step; stage s > 0 folds in 2³¹ + s.
    `step` is one number, or one for each row.
    """

    def of_step(step):
        at = jax.random.fold_in(key, step)
        if isinstance(stage, int) and stage == 0:
            return at
        later = jax.random.fold_in(at, jnp.uint32(_STAGES) + jnp.asarray(stage, jnp.uint32))
        return later if isinstance(stage, int) else jax.lax.cond(stage == 0, lambda: at, lambda: later)

    if jnp.ndim(step):
        if shared:
            return of_step(step[0])
        return jax.vmap(lambda s, i: jax.random.fold_in(of_step(s), i))(step, ids)
    at = of_step(step)
    return at if shared else jax.vmap(lambda i: jax.random.fold_in(at, i))(ids)
