"""What every run of an elastic body gets without being asked: its mesh, names, energies in time, and margins of stability."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from fiberax.cases.base import Evolve, Labels, Loading, Problem, Steady
from fiberax.cases.solids.atoms import stiffness_unit
from fiberax.io.results import Quantity

_ENERGIES = {"kinetic": "kinetic energy", "elastic": "elastic energy", "loads": "energy of the loads", "total": "total energy"}


def with_body(problem: Problem) -> Problem:
    """The problem with the labels of a body where its macro model is `fx.solids.Elasticity`; what the user says stays."""
    import fiberax as fx
    from fiberax.io.body import Body

    if not isinstance(problem, Evolve | Steady | Loading) or not isinstance(problem.bundle.macro, fx.solids.Elasticity):
        return problem
    labels, macro, fiber = problem.labels, problem.bundle.macro, problem.bundle.fiber
    crystal = fiber if isinstance(fiber, fx.solids.Crystal) else None
    quantities = _names(labels, crystal) | labels.quantities
    factors = {"acoustic": labels.factors.get("response", 1.0)} | labels.factors
    further = _further(macro, crystal, isinstance(problem, Evolve), labels.further)
    body = labels.body or Body(macro.mesh, labels.length_unit)
    made = dataclasses.replace(labels, quantities=quantities, factors=factors, further=further, body=body)
    return dataclasses.replace(problem, labels=made)


def _names(labels: Labels, crystal: Any) -> dict[str, Quantity]:
    unit, stiffness, shift = "1", "1", "1"
    if crystal is not None and crystal.potential.units == "metal":
        unit, stiffness, shift = f"eV/Å^{crystal.lattice.shape[0]}", stiffness_unit(crystal), "Å"
    stress = labels.quantities.get("response", Quantity("P", unit, "first Piola-Kirchhoff stress"))
    length = labels.length_unit
    named = {
        "macro.position": Quantity("u", length, "displacement"),
        "macro.velocity": Quantity("v", "1", "velocity"),
        "response": stress,
        "energy": Quantity("W", stress.unit, "energy per reference volume"),
        "soundness": Quantity("soundness", "1", "margin of stability, relative"),
        "acoustic": Quantity("acoustic", stress.unit, "smallest acoustic eigenvalue"),
        "internal": Quantity("internal", stiffness, "smallest eigenvalue of W_pp"),
        "state": Quantity("shifts", shift, "shifts of the atoms, reference frame"),
        "result": Quantity("result", "1", "result of the fibers"),
    }
    return named | {f"energies.{name}": Quantity(name, "1", words) for name, words in _ENERGIES.items()}


def _further(macro: Any, crystal: Any, moving: bool, own: Callable | None) -> Callable:
    """More arrays of a record: energies of the whole body, eigenvalues of its crystals, and what the user adds."""

    def further(record) -> dict[str, np.ndarray]:
        found: dict[str, np.ndarray] = {}
        if moving and record.energy is not None:
            found |= _energies(macro, record)
        if crystal is not None and record.state is not None:
            found |= _eigenvalues(crystal, macro.conditions(record.macro), record.state)
        return found if own is None else found | own(record)

    return further


def _energies(macro: Any, record: Any) -> dict[str, np.ndarray]:
    total = float(macro.energy(record.macro, record.energy, record.t))
    elastic = float(np.sum(np.ravel(macro.weights) * record.energy))
    kinetic = 0.5 * float(np.sum(np.asarray(macro.mass)[:, None] * record.macro.velocity**2))
    found = {"kinetic": kinetic, "elastic": elastic}
    if macro.loads:
        found["loads"] = total - kinetic - elastic
    return {f"energies.{name}": np.array(value) for name, value in (found | {"total": total}).items()}


def _eigenvalues(crystal: Any, conditions: Any, state: Any) -> dict[str, np.ndarray]:
    from fiberax.physics.solids.crystal.ellipticity import eigenvalues

    internal, acoustic = eigenvalues(crystal.unit_cell, conditions, state)
    found = {"acoustic": np.asarray(acoustic)}
    return found | {"internal": np.asarray(internal)} if state[0].size else found
