"""How many electronic steps a bar of aluminium needs: ground states at every step, or electrons carried along."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from table import Table

import fiberax as fx
from fiberax.cases.electrons.electron_wave import ElectronWave
from fiberax.cases.solids.wave import Method

_OPTIONS = {"cells": 24, "grid": 8, "width": 0.1}
_TOLERANCES = (1e-3, 3e-4, 1e-4, 1e-5, 1e-6, 1e-8)
_MOTIONS = ((4.0, 0.0), (2.0, 0.0), (1.0, 0.0), (0.5, 0.0), (2.0, 0.1), (1.0, 0.1), (0.5, 0.1))


def _strain(problem, saveat=None):
    times = (0.0, problem.t1) if saveat is None else saveat
    found = fx.evolve(
        problem.bundle,
        problem.driver,
        problem.macro0,
        t1=problem.t1,
        dt=problem.dt,
        stepper=problem.stepper,
        saveat=list(times),
    )
    return np.asarray(found.macro.position)


def _steps(fiber, strains, tolerance: float) -> float:
    """Iterations of the solver for each step and cell along strains (steps, cells), each from the state before."""

    @jax.jit
    def count(strains):
        first = jax.vmap(lambda A: fiber.solver.solve(fiber, fiber.init(A, jax.random.key(0)), A, tolerance)[0])(strains[0])

        def step(states, at):
            states, out = jax.vmap(lambda A, state: fiber.solver.solve(fiber, state, A, tolerance))(at, states)
            return states, jnp.sum(out.steps)

        return jnp.sum(jax.lax.scan(step, first, strains[1:])[1])

    return float(count(jnp.asarray(strains))) / strains[1:].size


def coupled(out):
    """Error of the strain at the end, over its largest value, against electronic steps for each step and cell of the bar."""
    table = Table("coupled", "electronic steps of a bar of aluminium", ("electrons", "parameter", "steps", "error"))
    tight = ElectronWave(method=Method.QUASISTATIC, tolerance=1e-10, **_OPTIONS).build()
    times = np.arange(math.floor(tight.t1 / tight.dt * (1.0 - 1e-12)) + 1) * tight.dt
    path = _strain(tight, (*times.tolist(), tight.t1))
    error = lambda strain: float(np.abs(strain[-1] - path[-1]).max() / np.abs(path[-1]).max())
    points: dict[str, list[tuple[float, float]]] = {"ground state at every step": [], "carried along": [], "and damped": []}
    for tolerance in _TOLERANCES:
        found = error(_strain(ElectronWave(method=Method.QUASISTATIC, tolerance=tolerance, **_OPTIONS).build()))
        steps = _steps(tight.bundle.fiber, path, tolerance)
        points["ground state at every step"].append((steps, found))
        table.note("quasistatic", f"tolerance {tolerance:g}", steps, found)
    for inertia, damping in _MOTIONS:
        problem = ElectronWave(inertia=inertia, damping=damping, **_OPTIONS).build()
        found, steps = error(_strain(problem)), problem.driver.substeps
        points["and damped" if damping else "carried along"].append((steps, found))
        table.note("seamless", f"inertia {inertia:g}, damping {damping:g}", steps, found)
    best = min(points["carried along"], key=lambda point: point[1])
    table.below(best[1], 0.01, "seamless", "best without damping", *best)
    _draw(points, out)
    return table.close(out)


def _draw(points, out):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panel = plt.subplots(figsize=(6.2, 4.2), layout="constrained")
    for (name, values), marker in zip(points.items(), "osD"):
        steps, errors = np.array(sorted(values)).T
        panel.semilogy(steps, errors, marker=marker, label=name)
    panel.set(xlabel="electronic steps for each step and cell of the bar", ylabel="error of the strain at the end, relative")
    panel.legend(frameon=False)
    panel.spines[["top", "right"]].set_visible(False)
    out.mkdir(parents=True, exist_ok=True)
    figure.savefig(out / "coupled.png", dpi=160)
