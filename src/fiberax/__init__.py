"""fiberax: seamless multiscale simulation by dynamics on fiber bundles (E and Lu).

Public names are loaded when they are first used, so that `import fiberax` costs nothing that is not needed.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

_MODULES = ("diffusion", "fluids", "grids", "homogenization", "interop", "solids", "testing")

_NAMES = {
    "AbstractAverage": "drivers.average",
    "AbstractDriver": "core.driver",
    "AbstractDynamic": "core.fiber",
    "AbstractEnergy": "core.fiber",
    "AbstractFiber": "core.fiber",
    "AbstractFlow": "core.fiber",
    "AbstractCarrier": "core.transport",
    "AbstractInertial": "core.macro",
    "AbstractLink": "core.link",
    "AbstractMacro": "core.macro",
    "AbstractPrompt": "core.macro",
    "AbstractRecorder": "core.recorder",
    "AbstractRelaxationScheme": "core.relax",
    "AbstractSemiImplicit": "core.macro",
    "AbstractStepper": "core.steppers",
    "AbstractStochastic": "core.fiber",
    "AbstractTransport": "core.transport",
    "BackwardEuler": "core.steppers",
    "BadInput": "core.errors",
    "Bundle": "core.bundle",
    "Convected": "transport.convected",
    "Energy": "core.fiber",
    "EnergyDerivative": "core.link",
    "Explicit": "core.relax",
    "Exponential": "drivers.average",
    "Extrapolation": "core.steppers",
    "FiberFailure": "core.errors",
    "FiberaxError": "core.errors",
    "Fixed": "transport.fixed",
    "Flow": "core.fiber",
    "ForwardEuler": "core.steppers",
    "Heun": "core.steppers",
    "IMEX": "core.steppers",
    "Implicit": "core.relax",
    "Layout": "core.macro",
    "Mismatch": "core.errors",
    "MissingExtra": "core.errors",
    "Monolithic": "drivers.monolithic",
    "Moving": "core.macro",
    "Newmark": "core.steppers",
    "NonFiniteMacro": "core.errors",
    "NotConverged": "core.errors",
    "Outcome": "numerics.result",
    "Placement": "core.sites",
    "Prompt": "core.macro",
    "Quasistatic": "drivers.quasistatic",
    "Record": "core.recorder",
    "Report": "core.recorder",
    "Response": "drivers.respond",
    "Result": "numerics.result",
    "SDIRK2": "core.steppers",
    "Sample": "drivers.sampling",
    "ScaleSeparationWarning": "core.separation",
    "Seamless": "drivers.seamless",
    "Snapshot": "core.recorder",
    "Solution": "core.solution",
    "Stiffness": "core.stiffness",
    "Stochastic": "core.fiber",
    "Uniform": "drivers.average",
    "ZeroLag": "drivers.average",
    "Unsound": "core.errors",
    "Verlet": "core.steppers",
    "continuation": "core.continuation",
    "coupled_ode": "core.coupled",
    "evolve": "core.evolve",
    "relax": "core.relax",
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
    if name in ("diffusion", "fluids", "homogenization", "solids"):
        return importlib.import_module(f"fiberax.physics.{name}")
    if name in _MODULES:
        return importlib.import_module(f"fiberax.{name}")
    if name in _NAMES:
        return getattr(importlib.import_module(f"fiberax.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'fiberax' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
