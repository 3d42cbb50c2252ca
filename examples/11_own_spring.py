"""A spring law of your own in a rheometer: shear-thinning of dumbbells from five lines (6.3).

The inverse Langevin spring of Cohen, h = (1 − s/3b)/(1 − s/b) with s = |z|², is between FENE and
a freely jointed chain. Its start-up of shear and its steady viscosity have error bars. One thing
is known exactly for every spring: τ_yy = 1 at all shear rates. The script draws
runs/own_spring.png.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)


class Cohen(fx.fluids.AbstractSpring):
    b: float

    def factor(self, square):
        return (1.0 - square / (3.0 * self.b)) / (1.0 - square / self.b)

    @property
    def limit(self):
        return self.b


def shear(rate):
    return jnp.array([[0.0, rate], [0.0, 0.0]])


def main(folder=Path("runs")):
    fluid = fx.fluids.Dumbbell(spring=Cohen(20.0), dim=2, members=400)
    rates = np.array([0.5, 1.0, 2.0, 5.0, 10.0])
    steady = fx.samples(fluid, jax.vmap(shear)(jnp.asarray(rates)), steps=1280, replicas=2)
    stress, error = np.asarray(steady.value), np.asarray(steady.stderr)
    for rate, value, bar in zip(rates, stress, error):
        shown = f"viscosity {value[0, 1] / rate:.4f} ± {bar[0, 1] / rate:.4f}"
        shown += f"   yy {value[1, 1]:.4f} ± {bar[1, 1]:.4f}"
        print(f"rate {rate:5.1f}   {shown}")
    assert np.all(np.abs(stress[:, 1, 1] - 1.0) < 4.0 * error[:, 1, 1] + 2e-3)
    viscosity = stress[:, 0, 1] / rates
    assert np.all(np.diff(viscosity) < 0.0)
    times = np.linspace(0.1, 4.0, 40)
    bundle = fx.Bundle(fx.fluids.Homogeneous(lambda t: shear(2.0)), fluid)
    start = fx.evolve(bundle, fx.Seamless(), 0.0, t1=4.0, dt=0.05, saveat=times)
    draw(folder / "own_spring.png", (rates, viscosity, error[:, 0, 1] / rates), start)


def draw(path, steady, start):
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print("The figure needs matplotlib: pip install 'fiberax[plot]'")
        return
    path.parent.mkdir(exist_ok=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    left.errorbar(steady[0], steady[1], 2.0 * steady[2], fmt="o-", capsize=3)
    left.set(xscale="log", yscale="log", xlabel="shear rate", ylabel="steady viscosity")
    value, bar = start.response[:, 0, 0, 1], 2.0 * start.stderr[:, 0, 0, 1]
    right.fill_between(start.ts, value - bar, value + bar, alpha=0.3)
    right.plot(start.ts, value)
    right.set(xlabel="time", ylabel="shear stress at rate 2, two standard errors")
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print(f"Figure: {path}")


if __name__ == "__main__":
    main()
