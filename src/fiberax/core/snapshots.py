"""The carry of a run as named arrays with one row per site, and back, for any number of devices."""

from typing import Any

import jax
import numpy as np

from fiberax.core.errors import BadInput
from fiberax.core.recorder import Snapshot
from fiberax.core.sites import Sites, to_host
from fiberax.core.solution import named_leaves


def snapshot_leaves(sites: Sites, carry: Any) -> dict[str, np.ndarray]:
    """Host copies of all leaves of `carry` by name; those of `carry.section` without padded rows."""
    section = jax.tree.map(lambda x: x[: sites.count], to_host(carry.section))
    named = named_leaves(to_host(carry._replace(section=section)))
    return {name.lstrip("_"): leaf for name, leaf in named}


def restored(sites: Sites, carry: Any, start: Snapshot) -> Any:
    """A carry like `carry` from a snapshot, which must be one of this bundle: same names, shapes and types."""
    names = [name.lstrip("_") for name, _ in named_leaves(carry)]
    leaves, structure = jax.tree.flatten(carry)
    rows = {id(x) for x in jax.tree.leaves(carry.section)}
    found_leaves = []
    for name, leaf in zip(names, leaves, strict=True):
        over_sites = id(leaf) in rows
        shape = (sites.count, *leaf.shape[1:]) if over_sites else leaf.shape
        found = start.leaves.get(name)
        if found is None or found.shape != shape or found.dtype != leaf.dtype:
            have = "is absent" if found is None else f"has shape {found.shape} and type {found.dtype}"
            raise BadInput(
                f"The snapshot does not belong to this bundle: {name} {have}, expected {shape} and {leaf.dtype}. "
                "Go on with the model and options that it was made with."
            )
        found_leaves.append(sites.scattered(found) if over_sites else sites.replicated(found))
    return jax.tree.unflatten(structure, found_leaves)
