"""A closure against its model: FENE-P against FENE dumbbells in shear, Wi from 1 to 100 (6.1).

FENE-P has the mean of |z|² in its spring law. Steady states are alike, which is known exactly for
one of them: the shear stress of FENE-P is Wi/f, where f solves b f³ − (b + 3) f² = 2 Wi². After
the start of the flow its stress overshoots by more: all its springs are alike. The script draws
runs/closures.png.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)
B, SPAN = 50.0, 2.0


def shear(rate):
    return jnp.zeros((3, 3)).at[0, 1].set(rate)


def start(fiber, rate, steps):
    times = np.linspace(0.0, SPAN, steps + 1)[1:]
    bundle = fx.Bundle(fx.fluids.Homogeneous(lambda t: shear(rate)), fiber)
    driver = fx.Seamless(separation=np.inf)
    return fx.evolve(bundle, driver, 0.0, t1=SPAN, dt=SPAN / steps, saveat=times)


def main(folder=Path("runs")):
    springs = fx.fluids.Dumbbell(fx.fluids.FENE(B), dim=3, members=1000)
    closure = fx.fluids.FENEP(B, dim=3)
    rates = np.geomspace(1.0, 100.0, 7)
    kappa = jax.vmap(shear)(jnp.asarray(rates))
    sampled = fx.samples(springs, kappa, steps=1500, replicas=2)
    tau, error = np.asarray(sampled.value), np.asarray(sampled.stderr)
    closed = np.asarray(fx.responses(closure, kappa).value)
    for k, rate in enumerate(rates):
        shown = f"FENE {tau[k, 0, 1] / rate:.4f} ± {error[k, 0, 1] / rate:.4f}"
        shown += f"   FENE-P {closed[k, 0, 1] / rate:.4f}"
        print(f"Wi {rate:5.1f}   viscosity of {shown}")
        f = max(r.real for r in np.roots([B, -B - 3.0, 0.0, -2.0 * rate**2]) if abs(r.imag) < 1e-9)
        assert abs(closed[k, 0, 1] - rate / f) < 1e-8 * rate
    # This component is exact for every spring.
    assert np.all(np.abs(tau[:, 1, 1] - 1.0) < 5.0 * error[:, 1, 1] + 1e-2)
    begun = [start(fiber, 30.0, 400) for fiber in (springs, closure)]
    peaks = [float(np.max(s.response[:, 0, 0, 1]) / s.response[-1, 0, 0, 1]) for s in begun]
    print(f"overshoot of the shear stress at Wi 30: FENE {peaks[0]:.2f}, FENE-P {peaks[1]:.2f}")
    assert peaks[1] > peaks[0] > 1.1
    draw(folder / "closures.png", rates, (tau, error, closed), begun)


def draw(path, rates, steady, begun):
    import matplotlib.pyplot as plt

    path.parent.mkdir(exist_ok=True)
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
    shears, normals = lambda t: t[:, 0, 1] / rates, lambda t: (t[:, 0, 0] - t[:, 1, 1]) / rates**2
    for name, of, color in (("viscosity", shears, "C0"), ("$\\Psi_1$", normals, "C1")):
        tau, error, closed = map(of, steady)
        bars = {"fmt": "o", "capsize": 3, "color": color, "label": f"{name}, FENE"}
        left.errorbar(rates, tau, 2.0 * np.abs(error), **bars)
        left.plot(rates, closed, color=color, label=f"{name}, FENE-P")
    left.set(
        xscale="log", yscale="log", xlabel="Weissenberg number", ylabel="in nkT De and nkT De²"
    )
    left.legend()
    for s, name in zip(begun, ("FENE", "FENE-P"), strict=True):
        right.plot(s.ts, s.response[:, 0, 0, 1], label=name)
    right.set(xlabel="time in relaxation times", ylabel="shear stress, flow started at Wi 30")
    right.legend()
    figure.savefig(path, dpi=150)
    print(f"Figure: {path}")


if __name__ == "__main__":
    main()
