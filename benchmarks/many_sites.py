"""Ten thousand to a million sites: time and memory per site must be flat, and the section must not be copied.

Run: python benchmarks/many_sites.py. Every size runs in a process of its own: peak memory above that of an idle library, per
site, beside the bytes of one section (states and what the library keeps with them), and CPU time per site and step.
"""

import resource
import subprocess
import sys
import time

from common import pin

ENTRIES, STEPS = 32, 40


def one(sites: int) -> None:
    """Run one size and print: sites, CPU ns per site-step, peak bytes per site, bytes of the section per site."""
    import jax
    import jax.numpy as jnp

    import fiberax as fx

    jax.config.update("jax_enable_x64", True)

    class Decay(fx.AbstractMacro):
        """dU/dt = A − U."""

        def conditions(self, macro):
            return macro

        def rate(self, t, macro, response):
            return response - macro

    class Vector(fx.AbstractDynamic):
        """A vector that relaxes to U."""

        def init(self, condition, key):
            return jnp.linspace(0.0, 1.0, ENTRIES)

        def step(self, state, condition, dt, key):
            return state + dt * (condition - state)

        def link(self, state, condition):
            return jnp.mean(state)

    bundle = fx.Bundle(Decay(), Vector())

    def run(count: int, steps: int):
        return fx.evolve(bundle, fx.Seamless(), jnp.ones(count), t1=steps * 1e-3, dt=1e-3, stepper=fx.ForwardEuler())

    run(64, 1)
    idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    run(sites, STEPS + 1)
    start = time.process_time()
    run(sites, 1)
    once = time.process_time() - start
    start = time.process_time()
    solution = run(sites, STEPS + 1)
    spent = time.process_time() - start - once
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    section = sum(x.nbytes for x in jax.tree.leaves(solution.section))
    print(sites, spent / (sites * STEPS) * 1e9, (peak - idle) / sites, section / sites)


def main() -> None:
    """A table over the sizes."""
    pin()
    print(f"{'sites':>10s} {'ns of CPU per site-step':>24s} {'peak bytes per site':>20s} {'section bytes per site':>23s}")
    for sites in (10_000, 30_000, 100_000, 300_000, 1_000_000):
        command = [sys.executable, __file__, str(sites)]
        words = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        print(f"{int(words[0]):10d} {float(words[1]):24.1f} {float(words[2]):20.0f} {float(words[3]):23.0f}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        one(int(sys.argv[1]))
    else:
        main()
