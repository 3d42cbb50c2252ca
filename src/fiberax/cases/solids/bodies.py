"""Output of every run of an elastic body: its mesh, names, energies in time, and margins of stability."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from fiberax.cases.base import Evolve, Loading, Problem, Steady
from fiberax.cases.solids.atoms import stiffness_unit
from fiberax.io.labels import Names
from fiberax.io.results import Quantity

_ENERGIES = {"kinetic": "kinetic energy", "elastic": "elastic energy", "loads": "energy of the loads", "total": "total energy"}


def with_body(problem: Problem) -> Problem:
    """The problem with names and output of a body, where that is its macro model; those of the case are kept."""
    import fiberax as fx
    from fiberax.io.body import Body

    if not isinstance(problem, Evolve | Steady | Loading) or not isinstance(problem.bundle.macro, fx.solids.Elasticity):
        return problem
    names, output, macro, fiber = problem.names, problem.output, problem.bundle.macro, problem.bundle.fiber
    crystal = fiber if isinstance(fiber, fx.solids.Crystal) else None
    factors = {"acoustic": names.factors.get("response", 1.0)} | names.factors
    names = dataclasses.replace(names, quantities=_quantities(names, crystal) | names.quantities, factors=factors)
    body = output.body or Body(macro.mesh, names.length_unit)
    output = dataclasses.replace(output, body=dataclasses.replace(body, margins=() if crystal is None else ("acoustic",)))
    if crystal is not None:
        output = dataclasses.replace(output, columns=_with_margins(macro, crystal, output.columns))
    if isinstance(problem, Evolve) and output.energies is None:
        output = dataclasses.replace(output, energies=lambda record: _energies(macro, record))
    return dataclasses.replace(problem, names=names, output=output)


def _quantities(names: Names, crystal: Any) -> dict[str, Quantity]:
    unit, stiffness, shift = "1", "1", "1"
    if crystal is not None and crystal.potential.units == "metal":
        unit, stiffness, shift = f"eV/Å^{crystal.lattice.shape[0]}", stiffness_unit(crystal), "Å"
    stress = names.quantities.get("response", Quantity("P", unit, "first Piola-Kirchhoff stress"))
    length = names.length_unit
    named = {
        "macro.position": Quantity("u", length, "displacement"),
        "macro.velocity": Quantity("v", "1", "velocity"),
        "response": stress,
        "energy": Quantity("W", stress.unit, "energy per reference volume"),
        "stability_margin": Quantity("stability_margin", "1", "margin of stability, relative"),
        "acoustic": Quantity("acoustic", stress.unit, "smallest acoustic eigenvalue"),
        "internal": Quantity("internal", stiffness, "smallest eigenvalue of W_pp"),
        "state": Quantity("shifts", shift, "shifts of the atoms, reference frame"),
        "result": Quantity("result", "1", "result of the fibers"),
    }
    return named | {f"energies.{name}": Quantity(name, "1", words) for name, words in _ENERGIES.items()}


def _with_margins(macro: Any, crystal: Any, own: Callable | None) -> Callable:
    """Columns of a record: eigenvalues of the crystals of a body, and what the user adds."""

    def columns(record) -> dict[str, np.ndarray]:
        found = {} if record.state is None else _eigenvalues(crystal, record.state, macro.conditions(record.macro))
        return found if own is None else found | own(record)

    return columns


def _energies(macro: Any, record: Any) -> dict[str, float]:
    """Energies of a whole body that moves."""
    if record.energy is None:
        return {}
    total = float(macro.energy(record.macro, record.energy, record.t))
    elastic = float(np.sum(np.ravel(macro.weights) * record.energy))
    kinetic = 0.5 * float(np.sum(np.asarray(macro.mass)[:, None] * record.macro.velocity**2))
    loads = {"loads": total - kinetic - elastic} if macro.loads else {}
    return {"kinetic": kinetic, "elastic": elastic} | loads | {"total": total}


def _eigenvalues(crystal: Any, state: Any, conditions: Any) -> dict[str, np.ndarray]:
    from fiberax.physics.solids.crystal.ellipticity import eigenvalues

    internal, acoustic = eigenvalues(crystal.unit_cell, conditions, state)
    found = {"acoustic": np.asarray(acoustic)}
    return found | {"internal": np.asarray(internal)} if state[0].size else found
