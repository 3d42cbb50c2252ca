"""Dumbbells with their stress in every step against a hand-written Euler kernel in C, one pinned core.

256 fibers of 1000 dumbbells in two dimensions, each in a shear of its own; fiberax with three-point noise at weak order 2, C
with Gaussian noise at weak order 1. Prints CPU time for each dumbbell and step, in turns in one process, and the ratios.

Run: python benchmarks/dumbbells.py (gcc needed).
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

import fiberax as fx  # noqa: E402

jax.config.update("jax_enable_x64", True)
FIBERS, MEMBERS, STEPS, DT, B = 256, 1000, 10, 1e-2, 50.0


def library():
    """The C kernel, compiled."""
    folder = Path(tempfile.mkdtemp())
    source = Path(__file__).with_suffix(".c")
    # fast-math only in compiling: linked, it would set flush-to-zero for the whole process.
    flags = ["-O3", "-march=native", "-ffast-math", "-fPIC", "-c", str(source), "-o", str(folder / "kernel.o")]
    subprocess.run(["gcc", *flags], check=True)
    subprocess.run(["gcc", "-shared", str(folder / "kernel.o"), "-o", str(folder / "kernel.so"), "-lmvec", "-lm"], check=True)
    return ctypes.CDLL(str(folder / "kernel.so"))


def by_c(kernel, kappa: np.ndarray, b: float):
    """A function that takes STEPS steps and gives the stresses (fibers, 2, 2); `begin` sets the springs at rest."""
    springs = 0.9 * np.random.default_rng(0).standard_normal((FIBERS, 2, MEMBERS)).clip(-3.0, 3.0)
    generators, stress = np.zeros((FIBERS, 32), np.uint64), np.zeros((FIBERS, 2, 2))
    pointer = lambda array: array.ctypes.data_as(ctypes.c_void_p)
    long, real = ctypes.c_long, ctypes.c_double
    kernel.generator_seed(pointer(generators), long(FIBERS), ctypes.c_uint64(1))

    def run(steps=STEPS):
        kernel.run(
            pointer(springs), pointer(kappa), long(FIBERS), long(MEMBERS), long(steps), real(DT), real(1.0), real(b),
            pointer(generators), pointer(stress),
        )  # fmt: skip
        return stress

    return run


def by_fiberax(kappa: np.ndarray, members=MEMBERS, **options):
    """The same, of `fx.fluids.Dumbbell`, springs donated so that there is one copy of them."""
    fiber, kappa = fx.fluids.Dumbbell(members=members, **options), jnp.asarray(kappa)

    def advance(springs, key, steps):
        def body(k, carry):
            keys = jax.vmap(lambda i: jax.random.fold_in(jax.random.fold_in(key, k), i))(jnp.arange(FIBERS))
            springs = jax.vmap(fiber.step, in_axes=(0, 0, None, 0))(carry[0], kappa, DT, keys)
            return springs, jax.vmap(fiber.link)(springs, kappa)

        return jax.lax.fori_loop(0, steps, body, (springs, jnp.zeros((FIBERS, 2, 2))))

    advance = jax.jit(advance, donate_argnums=0)
    begin = jax.jit(jax.vmap(fiber.init))
    held = [begin(kappa, jax.random.split(jax.random.key(0), FIBERS)), 0]

    def run(steps=STEPS):
        held[1] += 1
        held[0], stress = advance(held[0], jax.random.key(held[1]), steps)
        return np.asarray(stress)

    return run


def coupled(noise, sites=256, members=2000):
    """Start-up of a channel driven by a force: the loop, the flow and its bookkeeping beside the kernel of its dumbbells."""
    flow = fx.fluids.Flow(fx.grids.Box(0.0, 1.0, cells=sites, periodic=False), Re=1.0, viscosity_ratio=0.5, force=10.0)
    fiber = fx.fluids.Dumbbell(fx.fluids.FENE(B), members=members)
    bundle, driver = fx.Bundle(flow, fiber, noise=noise), fx.Seamless(separation=np.inf)
    run = lambda steps: fx.evolve(bundle, driver, flow.start(), t1=steps * DT, dt=DT)
    return run, by_fiberax(shears(sites), members=members, spring=fx.fluids.FENE(B)), sites * members


def shears(fibers=FIBERS):
    """Shear rates from 0 to 4, (fibers, 2, 2)."""
    kappa = np.zeros((fibers, 2, 2))
    kappa[:, 0, 1] = np.linspace(0.0, 4.0, fibers)
    return kappa


def main():
    """Agreement first, then the times."""
    kappa, kernel = shears(), library()
    fene, single = {"spring": fx.fluids.FENE(B)}, {"dtype": jnp.float32}
    runs = {
        "C, FENE": by_c(kernel, kappa, B),
        "fiberax, FENE": by_fiberax(kappa, **fene),
        "fiberax, FENE, float32": by_fiberax(kappa, **fene, **single),
        "fiberax, FENE, Gaussian noise": by_fiberax(kappa, **fene, noise="gaussian"),
        "C, Hookean": by_c(kernel, kappa, 0.0),
        "fiberax, Hookean": by_fiberax(kappa),
        "fiberax, Hookean, float32": by_fiberax(kappa, **single),
    }
    print("mean stress xx, xy, yy after 10 units of time")
    for name, run in runs.items():
        mean = run(1000).mean(axis=0)
        print(f"  {name:30s} {mean[0, 0]:8.4f} {mean[0, 1]:8.4f} {mean[1, 1]:8.4f}")
    times = interleave(runs)
    cost = {name: seconds / (FIBERS * MEMBERS * STEPS) * 1e9 for name, seconds in times.items()}
    for name, value in cost.items():
        print(f"{name:30s} {value:7.2f} ns for each dumbbell and step")
    for spring, aim in (("FENE", 3), ("Hookean", 2)):
        ours = cost[f"fiberax, {spring}"]
        print(f"{spring}: fiberax / C = {ours / cost[f'C, {spring}']:.2f} (aim: at most {aim})")
        print(f"{spring}: float64 / float32 = {ours / cost[f'fiberax, {spring}, float32']:.2f} (aim: at least 1.7)")
    whole, kernel, size = coupled("independent")
    part = interleave({"long": lambda: whole(50), "short": lambda: whole(10), "kernel": lambda: kernel(10)}, repeats=5)
    step, alone = (part["long"] - part["short"]) / 40, part["kernel"] / 10
    print(f"coupled channel, 256 x 2000: {step / size * 1e9:.2f} ns for each dumbbell and step, {step / alone:.2f} times its")
    print(f"dumbbells alone, which take {alone / size * 1e9:.2f} ns (aim: at most 1.3)")


if __name__ == "__main__":
    main()
