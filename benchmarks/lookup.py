"""Look-up in tables of responses: µs per site, beside a nearest-neighbour query of scipy's KD-tree, in one run.

Run: python benchmarks/lookup.py. 1000 sites ask tables of 100, 1000 and 10 000 records in 1, 2, 3, 6 and 9 entries; responses
have as many entries. A table answers with a value and whether it may be used; the tree gives the number of the nearest record.
"""

from common import interleave, pin

pin()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from scipy.spatial import cKDTree  # noqa: E402

from fiberax.drivers.ellipsoids import Ellipsoids  # noqa: E402
from fiberax.drivers.tables import Curve, Records  # noqa: E402

jax.config.update("jax_enable_x64", True)

SITES = 1000


def filled(table: Curve | Ellipsoids, entries: int) -> Records:
    """A full table of random numbers whose records are as wide as the distance between them."""
    n, rng = table.capacity, np.random.default_rng(0)
    records = table.empty(entries, entries, ())
    condition = rng.random((n, entries))
    if entries == 1:
        condition.sort(axis=0)
        trust = jnp.zeros((n,))
    else:
        trust = jnp.broadcast_to(n ** (1.0 / entries) * jnp.eye(entries), (n, entries, entries))
    draw = lambda *shape: jnp.asarray(rng.standard_normal(shape))
    full = records._replace(count=jnp.asarray(n, records.count.dtype), condition=jnp.asarray(condition), trust=trust)
    return full._replace(value=draw(n, entries), slope=draw(n, entries, entries))


def main() -> None:
    """A table over records and entries."""
    print(f"{'entries':>8s} {'records':>8s} {'table, µs per site':>20s} {'KD-tree, µs per site':>22s} {'ratio':>7s}")
    for entries in (1, 2, 3, 6, 9):
        for count in (100, 1000, 10_000):
            table = (Curve if entries == 1 else Ellipsoids)(1e-4, count, entries)
            records = filled(table, entries)
            asked = jnp.asarray(np.random.default_rng(1).random((SITES, entries)))
            find, tree, points = jax.jit(table.find), cKDTree(np.asarray(records.condition)), np.asarray(asked)
            times = interleave(
                {
                    "table": lambda find=find, records=records, asked=asked: jax.block_until_ready(find(records, asked)),
                    "tree": lambda tree=tree, points=points: tree.query(points),
                }
            )
            ours, theirs = (1e6 * times[name] / SITES for name in ("table", "tree"))
            print(f"{entries:8d} {count:8d} {ours:20.2f} {theirs:22.2f} {ours / theirs:7.2f}", flush=True)


if __name__ == "__main__":
    main()
