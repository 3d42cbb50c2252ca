"""How to feed a noisy microstructure to a macro model: averages (7.1) and clocks compared.

The mean spin U of 400 lattices rises at a constant speed, and each answers with one of its spins,
whose mean is U as well. That answer is noisy: averages over the last t₀ reduce the noise, by the
factor that theory gives for its correlation time, but all except one lag behind. A slower clock
saves micro steps and makes the noise last longer, so that the same average is less effective.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)
SITES, T0, TAU = 400, 0.1, 0.01
RUNS = (
    ("no average", 1.0, None),
    ("uniform", 1.0, fx.Uniform(T0)),
    ("exponential", 1.0, fx.Exponential(T0)),
    ("zero lag", 1.0, fx.ZeroLag(T0)),
    ("zero lag, clock 10", 10.0, fx.ZeroLag(T0)),
)
LAG = {"uniform": 0.5 * T0, "exponential": T0}


class Rising(fx.AbstractMacro):
    """U rises by one in the unit of time."""

    def conditions(self, macro):
        return macro

    def rate(self, t, macro, response):
        return jnp.ones_like(macro)


def main(folder=Path("runs")):
    spin = fx.diffusion.GinzburgLandau(lambda x: x**2, sites=8, coupling=0.5, beta=25.0, replicas=1)
    link = lambda fiber, state, U: state.field[0, 0]
    time = float(fx.sample(spin, 0.0, link=link, steps=20000).correlation_time)
    bundle = fx.Bundle(Rising(), fx.rescale(spin, time=time / TAU), link=link)  # decays in TAU
    print(f"{'':20s}{'bias':>9s}{'spread':>9s}{'theory':>9s}   relaxation/macro time")
    rows, still = [], np.nan
    for name, clock, average in RUNS:
        driver = fx.Seamless(clock=clock, average=average, separation=1.0)
        sol = fx.evolve(bundle, driver, jnp.zeros(SITES), t1=1.0, dt=0.002)
        bias = float(np.mean(sol.response)) - 0.999  # fibers are half a step before the macrostate
        spread = theory = float(np.std(sol.response))
        still = spread if average is None else still
        if average is not None:
            theory = still * float(average.variance_factor(T0 / (TAU * clock))) ** 0.5
        ratio = np.median([look.ratio for look in sol.stats["separation"]])
        rows.append((name, bias, spread, theory))
        print(f"{name:20s}{bias:9.4f}{spread:9.4f}{theory:9.4f}   {ratio:.3f}")
        assert abs(bias + LAG.get(name, 0.0)) < 4.0 * spread / SITES**0.5 + 2e-3
        assert abs(spread / theory - 1.0) < 0.2
    draw(folder / "averages_and_clocks.png", *zip(*rows))


def draw(path, names, bias, spread, theory):
    import matplotlib.pyplot as plt

    path.parent.mkdir(exist_ok=True)
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    axes.errorbar(names, bias, spread, fmt="o", capsize=5, label="mean error and its spread")
    for sign in (-1.0, 1.0):
        axes.plot(names, np.array(bias) + sign * np.array(theory), "k_", markersize=25)
    axes.plot([], [], "k_", label="spread by theory")
    axes.set(ylabel="answer less the truth")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    print(f"Figure: {path}")


if __name__ == "__main__":
    main()
