"""fiberax: seamless multiscale simulation by dynamics on fiber bundles (E and Lu).

Public names are loaded when they are first used, so that `import fiberax` costs nothing that is not needed.
"""

import importlib
from typing import Any

__version__ = "0.2.0"

_MODULES = ("diffusion", "fluids", "grids", "homogenization", "interop", "molecules", "solids", "testing")

_NAMES = {
    "AbstractAssembled": "core.capabilities",
    "AbstractAverage": "drivers.average",
    "AbstractCapability": "core.capabilities",
    "AbstractCarrier": "core.transport",
    "AbstractDriver": "core.driver",
    "AbstractDynamic": "core.fiber",
    "AbstractEnergetic": "core.capabilities",
    "AbstractEnergy": "core.fiber",
    "AbstractEnsemble": "core.capabilities",
    "AbstractFiber": "core.fiber",
    "AbstractFlow": "core.fiber",
    "AbstractInertial": "core.macro",
    "AbstractInertialess": "core.macro",
    "AbstractLink": "core.link",
    "AbstractMacro": "core.macro",
    "AbstractManifold": "core.strategies",
    "AbstractMemory": "core.fiber",
    "AbstractMixing": "core.strategies",
    "AbstractMonitored": "core.capabilities",
    "AbstractPropagated": "core.capabilities",
    "AbstractRecorder": "core.recorder",
    "AbstractRelaxationScheme": "core.relax",
    "AbstractObjective": "core.capabilities",
    "AbstractSectionDriver": "core.driver",
    "AbstractSemiImplicit": "core.macro",
    "AbstractSolver": "core.strategies",
    "AbstractStationary": "core.capabilities",
    "AbstractStepper": "core.steppers",
    "AbstractStochastic": "core.fiber",
    "AbstractSummarised": "core.capabilities",
    "AbstractTangent": "core.capabilities",
    "AbstractTransport": "core.transport",
    "Answer": "core.answer",
    "AtRest": "core.mapped",
    "BackwardEuler": "core.steppers",
    "BadInput": "core.errors",
    "Bundle": "core.bundle",
    "Convected": "transport.convected",
    "Copies": "core.mapped",
    "DoubtfulFiberWarning": "core.separation",
    "EnergyDerivative": "core.link",
    "EnergyFiber": "core.fiber",
    "Explicit": "core.relax",
    "Exponential": "drivers.average",
    "Extrapolation": "core.steppers",
    "FiberFailure": "core.errors",
    "FiberaxError": "core.errors",
    "Fibers": "core.fibers",
    "Fixed": "transport.fixed",
    "FlowFiber": "core.fiber",
    "Forbidden": "core.strategies",
    "ForwardEuler": "core.steppers",
    "Headless": "core.strategies",
    "HeterogeneousMultiscale": "drivers.multiscale",
    "Heun": "core.steppers",
    "IMEX": "core.steppers",
    "Implicit": "core.relax",
    "Inertialess": "core.macro",
    "Kernel": "drivers.average",
    "Layout": "core.macro",
    "LevelSet": "core.solvers",
    "Linear": "core.strategies",
    "Mapped": "core.wrapper",
    "Minimise": "core.solvers",
    "Mismatch": "core.errors",
    "MissingExtra": "core.errors",
    "Monolithic": "drivers.monolithic",
    "Moving": "core.macro",
    "Newmark": "core.steppers",
    "Newton": "core.solvers",
    "NoEffectWarning": "core.randomness",
    "NonFiniteMacro": "core.errors",
    "NotConverged": "core.errors",
    "Outcome": "numerics.result",
    "Outer": "core.projective",
    "Parabolic": "drivers.average",
    "Patch": "grids.patches",
    "Patches": "grids.patches",
    "Placement": "core.sites",
    "Plan": "drivers.planning",
    "Projective": "core.projective",
    "Quasistatic": "drivers.quasistatic",
    "RaisedCosine": "drivers.average",
    "Record": "core.recorder",
    "Regression": "drivers.regression",
    "Report": "core.recorder",
    "Response": "drivers.respond",
    "Result": "numerics.result",
    "SDIRK2": "core.steppers",
    "Sample": "drivers.sampling",
    "ScaleSeparationWarning": "core.separation",
    "Seamless": "drivers.seamless",
    "SinglePrecisionWarning": "core.platform",
    "Snapshot": "core.recorder",
    "Solution": "core.solution",
    "StabilityLost": "core.errors",
    "StepLimitWarning": "core.stability",
    "Stiffness": "core.stiffness",
    "StochasticFiber": "core.fiber",
    "Uniform": "drivers.average",
    "Surrogate": "drivers.surrogate",
    "UnstableRestWarning": "core.stability",
    "Verlet": "core.steppers",
    "Within": "core.strategies",
    "ZeroLag": "drivers.average",
    "continuation": "core.continuation",
    "coupled_ode": "core.coupled",
    "evolve": "core.evolve",
    "load": "io.load",
    "plan": "drivers.planning",
    "realisations": "core.realisations",
    "relax": "core.relax",
    "replicas": "core.wrapper",
    "rescale": "core.rescale",
    "response": "drivers.respond",
    "responses": "drivers.respond",
    "sample": "drivers.sampling",
    "samples": "drivers.sampling",
    "section": "core.coupled",
    "steady": "core.steady",
    "stiffness": "drivers.respond",
}

__all__ = ["__version__", *_MODULES, *_NAMES]


def __getattr__(name: str) -> Any:
    if name in ("diffusion", "fluids", "homogenization", "molecules", "solids"):
        return importlib.import_module(f"fiberax.physics.{name}")
    if name in _MODULES:
        return importlib.import_module(f"fiberax.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"fiberax.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'fiberax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
