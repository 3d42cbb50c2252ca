"""Dilute rods by their Fokker-Planck equation: its right-hand side against sparse C, scipy and numpy, one pinned core.

2048 fibers, each in a flow of its own, in 91 and 231 even harmonics. The peers use the matrices of the fiber: C as sparse rows
over eight fibers at a time, scipy as sparse matrices, numpy as one dense product. Prints CPU time for each coefficient.

Run: python benchmarks/rods.py (gcc needed).
"""

import ctypes
import subprocess
import tempfile
from pathlib import Path

from common import interleave, pin

pin()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
import scipy.sparse  # noqa: E402

import fiberax as fx  # noqa: E402

jax.config.update("jax_enable_x64", True)
FIBERS = 2048


def library():
    """The C kernel, compiled."""
    path = Path(tempfile.mkdtemp()) / "kernel.so"
    source = str(Path(__file__).with_suffix(".c"))
    subprocess.run(["gcc", "-O3", "-march=native", "-shared", "-fPIC", source, "-o", str(path)], check=True)
    return ctypes.CDLL(str(path))


def peers(fiber, kernel, states, kappa):
    """Functions that give rates (fibers, n - 1) of `states`, without the coefficient of the mass."""
    n = fiber.laplacian.size
    flow, diagonal = np.asarray(fiber.flow).reshape(9, n, n), np.asarray(fiber.laplacian) / float(fiber.De)
    full = np.ascontiguousarray(np.concatenate([np.full((FIBERS, 1), fiber.constant), states], axis=1))
    columns, strains = np.ascontiguousarray(full.T), np.ascontiguousarray(kappa.reshape(FIBERS, 9).T)
    mask = np.any(np.abs(flow) > 1e-14, axis=0)
    row, column = np.nonzero(mask)
    values = np.ascontiguousarray(flow[:, row, column].T)
    start = np.searchsorted(row, np.arange(n + 1)).astype(np.int32)
    column, out = column.astype(np.int32), np.zeros((n, FIBERS))
    sparse = [scipy.sparse.csr_matrix(np.where(mask, matrix, 0.0)) for matrix in flow]
    stacked = np.ascontiguousarray(flow.transpose(2, 0, 1).reshape(n, 9 * n))
    pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)

    def by_c():
        arrays = [pointer(x) for x in (columns, strains, values, start, column, diagonal)]
        kernel.apply(*arrays, ctypes.c_long(FIBERS), n, 9, pointer(out))
        return out[1:].T

    def by_scipy():
        return (diagonal[:, None] * columns + sum(strains[k] * (sparse[k] @ columns) for k in range(9)))[1:].T

    def by_numpy():
        return (diagonal * full + np.einsum("fk,fki->fi", strains.T, (full @ stacked).reshape(FIBERS, 9, n)))[:, 1:]

    return {"C, sparse": by_c, "scipy, sparse": by_scipy, "numpy, dense": by_numpy}


def main():
    """Agreement first, then the times."""
    kernel, random = library(), np.random.default_rng(0)
    for degree in (12, 20):
        fiber = fx.fluids.RodDensity(degree=degree)
        size = fiber.laplacian.size - 1
        states, kappa = 0.1 * random.standard_normal((FIBERS, size)), random.standard_normal((FIBERS, 3, 3))
        kappa -= np.trace(kappa, axis1=1, axis2=2)[:, None, None] * np.eye(3) / 3.0
        rate, held, strain = jax.jit(jax.vmap(fiber.rate)), jnp.asarray(states), jnp.asarray(kappa)
        runs = {"fiberax": lambda rate=rate, held=held, strain=strain: np.asarray(rate(held, strain))}
        runs |= peers(fiber, kernel, states, kappa)
        for name, run in runs.items():
            off = np.max(np.abs(run() - runs["fiberax"]()))
            assert off < 1e-10, (name, off)
        cost = {name: seconds / (FIBERS * size) * 1e9 for name, seconds in interleave(runs).items()}
        for name, value in cost.items():
            print(f"{size + 1:4d} harmonics, {name:14s} {value:7.2f} ns for each coefficient")
        print(f"{size + 1:4d} harmonics: fiberax / C = {cost['fiberax'] / cost['C, sparse']:.2f}, "
              f"numpy / fiberax = {cost['numpy, dense'] / cost['fiberax']:.2f}")  # fmt: skip


if __name__ == "__main__":
    main()
