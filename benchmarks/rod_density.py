"""One density of rods under `Seamless`: CPU time of a step, in products of C with a dense matrix of the same size.

Degree 16, 152 unknowns, in shear at Wi = 10, dilute and with the mean field of Maier and Saupe. The peer is the plain product
y = A x in C; as a second one, the two implicit stages of the same step by scipy's dense factors, whose result must agree.
A dilute step may take at most 2 ms.

Run: python benchmarks/rod_density.py (gcc needed).
"""

import ctypes
import subprocess
import sys
import tempfile
from pathlib import Path

from common import interleave, pin

pin()

import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numpy as np  # noqa: E402
from scipy.linalg import lu_factor, lu_solve  # noqa: E402

import fiberax as fx  # noqa: E402

jax.config.update("jax_enable_x64", True)
DEGREE, RATE, DT, STEPS, LIMIT = 16, 10.0, 0.02, 400, 2e-3


def library():
    """The C kernel, compiled."""
    path = Path(tempfile.mkdtemp()) / "kernel.so"
    source = str(Path(__file__).with_suffix(".c"))
    subprocess.run(
        ["gcc", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", source, "-o", str(path), "-lm"], check=True
    )
    return ctypes.CDLL(str(path))


def in_c(matrix):
    """A function that makes as many products as there are steps."""
    kernel, x, y = library(), np.ones(len(matrix)), np.zeros(len(matrix))
    pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)
    return lambda: kernel.products(pointer(matrix), pointer(x), pointer(y), len(matrix), STEPS)


def in_scipy(matrix, source):
    """A function that gives the state after all steps from the isotropic one."""

    def steps():
        gamma = 1.0 - 0.5**0.5
        shift, ratio, state = 1.0 / (gamma * DT), (1.0 - gamma) / gamma, np.zeros(len(matrix))
        for _ in range(STEPS):
            before = state
            for _ in range(2):
                base = state + ratio * (before - state)
                before = lu_solve(lu_factor(matrix - shift * np.eye(len(matrix))), -source - shift * base)
            state = before
        return state

    return steps


def seamless(fiber, kappa):
    """A function that gives the carried state after all steps."""
    bundle = fx.Bundle(fx.fluids.Homogeneous(kappa[None]), fiber)
    driver, start = fx.Seamless(separation=np.inf), np.asarray(0.0)
    run = lambda: fx.evolve(bundle, driver, start, t1=STEPS * DT, dt=DT)
    return lambda: np.asarray(run().section.state[0])


def main() -> int:
    """Agreement first, then the times; 1 where a dilute step takes too long."""
    kappa = RATE * jnp.zeros((3, 3)).at[0, 1].set(1.0)
    dilute, crowded = (fx.fluids.RodDensity(p, degree=DEGREE) for p in (None, fx.fluids.MaierSaupe(4.0)))
    rest = jnp.zeros(dilute.laplacian.size - 1)
    matrix, source = np.array(dilute.jacobian(rest, kappa)), np.asarray(dilute.rate(rest, kappa))
    runs = {"fiberax, dilute": seamless(dilute, kappa), "fiberax, mean field": seamless(crowded, kappa)}
    runs |= {"C, dense product": in_c(matrix), "scipy, dense stages": in_scipy(matrix, source)}
    # Fibers are half a step behind: the first step of theirs is half as long.
    off = np.max(np.abs(runs["fiberax, dilute"]() - runs["scipy, dense stages"]()))
    assert off < 1e-6, off
    cost = {name: seconds / STEPS for name, seconds in interleave(runs, repeats=5).items()}
    for name, seconds in cost.items():
        products = seconds / cost["C, dense product"]
        print(f"{len(matrix)} unknowns, {name:20s} {1e3 * seconds:8.4f} ms, {products:7.1f} products of C")
    print(f"fiberax / scipy = {cost['fiberax, dilute'] / cost['scipy, dense stages']:.2f}")
    return int(cost["fiberax, dilute"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
