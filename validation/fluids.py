"""Validation of complex fluids: `python validation/fluids.py [name ...]`, without a name everything.

Members against densities, which share neither equations nor code, and both against closed forms; weak orders of the schemes.
Each case prints a table, writes it to runs/validation/NAME.csv, and fails where a number misses its bound.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from table import Table, fitted_order, run

import fiberax as fx

jax.config.update("jax_enable_x64", True)

fluids = fx.fluids
SEAMLESS = fx.Seamless(separation=np.inf)
SIGMAS = 4.0
COLUMNS = ("fiber", "flow", "rate x De", "stress", "its standard error")


def flow(kind, rate, dim):
    """κ of a simple shear, of planar or of uniaxial extension."""
    kappa = np.zeros((dim, dim))
    if kind == "shear":
        kappa[0, 1] = rate
    elif kind == "planar extension":
        kappa[0, 0], kappa[1, 1] = rate, -rate
    else:
        np.fill_diagonal(kappa, (rate, -0.5 * rate, -0.5 * rate))
    return kappa


def leading(kind, stress):
    """τ_xy of a shear, τ_xx − τ_yy of an extension."""
    return stress[0, 1] if kind == "shear" else stress[0, 0] - stress[1, 1]


def deviation(value, error, exact):
    """The largest deviation in standard errors; entries that do not fluctuate must be exact to 1e-9."""
    value, error, exact = (np.asarray(x, float) for x in (value, error, exact))
    off = np.abs(value - exact)
    return float(np.max(np.where(error > 1e-12, off / np.maximum(error, 1e-300), np.where(off < 1e-9, 0.0, np.inf))))


def sampled(table, name, fiber, exact, flows, De=1.0, **options):
    """Rows of long-time averages of `fiber` against the stresses `exact`, for all `flows` (kind, rate) at once."""
    conditions = jnp.asarray(np.stack([flow(kind, rate, fiber.dim) for kind, rate in flows]))
    found = fx.samples(fiber, conditions, key=jax.random.key(11), **options)
    for k, (kind, rate) in enumerate(flows):
        value, error = np.asarray(found.value[k]), np.asarray(found.stderr[k])
        sigmas = deviation(value, error, exact[k]) if int(found.result[k]) == 0 else np.nan
        table.below(
            sigmas, SIGMAS, name, kind, De * rate, leading(kind, value), error[0, 1] if kind == "shear" else error[0, 0]
        )


def steady_states(density, flows):
    """Steady stresses by the density; every solve must succeed."""
    conditions = jnp.asarray(np.stack([flow(kind, rate, density.dim) for kind, rate in flows]))
    found = fx.responses(density, conditions)
    assert not np.any(found.result), found.result
    return np.asarray(found.value)


def steady_fene(out):
    """Steady flows of FENE dumbbells in two and three dimensions."""
    table = Table("steady_fene", "FENE dumbbells: members against density, deviation in standard errors", COLUMNS)
    flows = [("shear", rate) for rate in (0.1, 1.0, 3.0, 10.0)] + [("planar extension", rate) for rate in (0.3, 1.0)]
    for dim, b, degree, more in ((2, 50.0, 32, []), (3, 20.0, 16, [("uniaxial extension", rate) for rate in (0.3, 1.0)])):
        exact = steady_states(fluids.DumbbellDensity(fluids.FENE(b), dim, degree=degree), flows + more)
        fiber = fluids.Dumbbell(fluids.FENE(b), dim, members=250)
        sampled(table, f"FENE({b:.0f}), {dim}D", fiber, exact, flows + more, steps=8000)
    fiber = fluids.Dumbbell(fluids.FENE(50.0), 2, members=250, control=True)
    slow = [("shear", rate) for rate in (0.01, 0.1)]
    exact = steady_states(fluids.DumbbellDensity(fluids.FENE(50.0), 2), slow)
    sampled(table, "FENE(50), 2D, with control", fiber, exact, slow, steps=8000, dt=0.05)
    return table.close(out)


def oldroyd_b(out):
    """Hookean dumbbells and Rouse chains, whose stress is known at any rate."""
    table = Table("oldroyd_b", "Hookean dumbbells and chains against closed forms, deviation in standard errors", COLUMNS)

    def exact(kind, rate, times, dim):
        """Σ over the relaxation times λ of the Oldroyd-B stress."""
        total = np.zeros((dim, dim))
        for lam in times:
            kappa = lam * flow(kind, rate, dim)
            if kind == "shear":
                total += np.eye(dim) + kappa + kappa.T + 2.0 * kappa @ kappa.T
            else:
                total += np.diag(1.0 / (1.0 - 2.0 * np.diag(kappa)))
        return total

    De = 0.8
    flows = [("shear", 0.5), ("shear", 5.0), ("planar extension", 0.25)]
    density = fluids.GaussianDensity(2, De)
    for (kind, rate), value in zip(flows, steady_states(density, flows), strict=True):
        off = np.abs(value - exact(kind, rate, [De], 2)).max()
        table.below(off / np.abs(value).max(), 1e-9, "GaussianDensity (relative)", kind, De * rate, leading(kind, value), 0.0)
    truth = [exact(*f, [De], 2) for f in flows]
    sampled(table, "Hookean, 2D", fluids.Dumbbell(members=250, De=De), truth, flows, De, steps=16_000, dt=0.03)
    modes = [De / (2.0 * np.sin(0.5 * np.pi * p / 5.0) ** 2) for p in range(1, 5)]
    flows = [("shear", 0.5), ("shear", 2.0), ("uniaxial extension", 0.05)]
    truth = [exact(*f, modes, 3) for f in flows]
    chain = fluids.Chain(springs=4, dim=3, members=100, De=De)
    sampled(table, "4 Hookean springs, 3D", chain, truth, flows, De, steps=32_000, dt=0.1)
    return table.close(out)


def followed(fiber, kappa, times, dt):
    """One site in the flow `kappa` from rest on; its responses are those of half a step before the time in any case."""
    bundle = fx.Bundle(fluids.Homogeneous(kappa), fiber)
    options = {"saveat": times, "key": jax.random.key(2), "stepper": fx.ForwardEuler()}
    return fx.evolve(bundle, SEAMLESS, 0.0, t1=float(times[-1]), dt=dt, **options)


def start_up(out):
    """Start-up of shear at Wi = 5 and 10: the overshoot, by members and by density; and Oldroyd-B in closed form."""
    table = Table("start_up", "start-up of shear: members against density, deviation in standard errors", COLUMNS)
    times, Wi = np.array([0.1, 0.2, 0.4, 0.7, 1.0, 1.5, 2.0]), 5.0
    spring = fluids.FENE(30.0)
    pairs = [
        ("FENE(30), 2D", fluids.Dumbbell(spring, members=40_000), fluids.DumbbellDensity(spring), flow("shear", Wi, 2)),
        ("Rod, Maier-Saupe 3", fluids.Rod(fluids.MaierSaupe(3.0), members=20_000),
         fluids.RodDensity(fluids.MaierSaupe(3.0), degree=12), flow("shear", 2.0 * Wi, 3)),
    ]  # fmt: skip
    for name, fiber, density, kappa in pairs:
        members, exact = (followed(one, kappa, times, 0.01) for one in (fiber, fx.relax(density)))
        for k, t in enumerate(times):
            value, error = np.asarray(members.response[k, 0]), np.asarray(members.stderr[k, 0])
            sigmas = deviation(value, error, np.asarray(exact.response[k, 0]))
            table.below(sigmas, SIGMAS, name, f"shear, t = {t}", kappa[0, 1], value[0, 1], error[0, 1])
    return table.close(out)


def steady_rods(out):
    """Steady flows of rods: dilute, in a Maier-Saupe and in an Onsager field, and the whole stress of each."""
    table = Table("steady_rods", "rods: members against density, deviation in standard errors", COLUMNS)
    flows = [("shear", rate) for rate in (0.5, 3.0, 10.0)] + [("planar extension", 1.0), ("uniaxial extension", 1.0)]
    for name, potential, members, degree in (
        ("dilute", None, 1000, 16),
        ("Maier-Saupe 2.5", fluids.MaierSaupe(2.5), 1000, 16),
        ("Onsager 5, degree 8", fluids.Expanded(fluids.Onsager(5.0), 8), 1000, 16),
    ):
        exact = steady_states(fluids.RodDensity(potential, degree=degree), flows)
        fiber = fluids.Rod(potential, members=members)
        sampled(table, name, fiber, exact, flows, steps=4500, replicas=2)
    return table.close(out)


def weak_order(out):
    """The bias of long-time averages against the time step: order 2."""
    table = Table("weak_order", "bias of the steady shear stress against the time step", ("fiber", "dt", "standard error"))
    spring, steps = fluids.FENE(20.0), np.array([0.8, 0.4, 0.2])
    for name, fiber, density, kappa, dts in (
        ("FENE(20), 2D, Wi = 2", fluids.Dumbbell(spring, members=500), fluids.DumbbellDensity(spring, degree=32),
         flow("shear", 2.0, 2), steps),
        ("dilute rods, rate 5", fluids.Rod(members=500), fluids.RodDensity(degree=16), flow("shear", 5.0, 3), 0.15 * steps),
    ):  # fmt: skip
        exact = float(np.asarray(fx.response(density, jnp.asarray(kappa)).value)[0, 1])
        conditions = jnp.broadcast_to(jnp.asarray(kappa), (len(dts), *kappa.shape))
        found = fx.samples(fiber, conditions, steps=7000, dt=dts, key=jax.random.key(4))
        bias, error = np.abs(np.asarray(found.value)[:, 0, 1] - exact), np.asarray(found.stderr)[:, 0, 1]
        for dt, b, e in zip(dts, bias, error, strict=True):
            table.below(b / exact, 0.2, f"{name}: relative bias", dt, e / exact)
        table.between(fitted_order(dts, bias), 1.6, 2.6, f"{name}: order", "", "")
    return table.close(out)


CASES = (oldroyd_b, steady_fene, start_up, steady_rods, weak_order)


if __name__ == "__main__":
    sys.exit(run(CASES, sys.argv[1:]))
