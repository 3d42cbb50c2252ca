"""Names, units and labels of what a rheometer does and gives."""

import enum

import numpy as np

from fiberax.cases.fluids.fluids_common import Model
from fiberax.cases.formula import read_numbers
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names
from fiberax.io.results import Quantity

RATE = "1/time"


class Flow(enum.Enum):
    """Flows of one rate."""

    SHEAR = "shear"
    PLANAR = "planar"
    UNIAXIAL = "uniaxial"


class Mode(enum.Enum):
    """What is done to the fluid."""

    STEADY = "steady"
    STARTUP = "startup"
    RELAXATION = "relaxation"
    CESSATION = "cessation"
    STEP_STRAIN = "step-strain"
    OSCILLATION = "oscillation"
    GREEN_KUBO = "green-kubo"


def gradient_of(text: str | None, flow: Flow, dim: int) -> np.ndarray:
    """G (dim, dim), of which the velocity gradient is a multiple: that of --gradient, or of a flow. Raises `BadInput`."""
    if text is not None:
        numbers = read_numbers(text, "--gradient")
        if len(numbers) != dim**2:
            raise BadInput(f"--gradient = {text}: give {dim**2} numbers, G row by row, or another --dim.")
        G = np.reshape(numbers, (dim, dim))
        if not np.any(G + G.T) or abs(np.trace(G)) > 1e-9 * np.abs(G).max():
            raise BadInput(f"--gradient = {text}: the trace must be zero, and G more than a rotation.")
        return G
    G = np.zeros((dim, dim))
    if flow is Flow.SHEAR:
        G[0, 1] = 1.0
    elif flow is Flow.PLANAR:
        G[0, 0], G[1, 1] = 1.0, -1.0
    elif dim == 3:
        G = np.diag([1.0, -0.5, -0.5])
    else:
        raise BadInput("--flow uniaxial has three dimensions: give --dim 3, or --flow planar.")
    return G


def rate_words(flow: Flow | None) -> str:
    """The rate of a flow, None for one of the user's own."""
    return "rate" if flow is None else "shear rate" if flow is Flow.SHEAR else "extension rate"


def names(flow: Flow | None, model: Model, axis: Quantity, rate: Quantity | None = None) -> Names:
    """Those of material functions in a flow, None for one of the user's own; `rate`: of what stands in place of the rate."""
    kinds = {Flow.SHEAR: "shear", Flow.PLANAR: "planar extensional", Flow.UNIAXIAL: "uniaxial extensional"}
    kind = "dissipative" if flow is None else kinds[flow]
    words = {"viscosity": f"{kind} viscosity", "Psi1": "first normal stress coefficient Ψ₁"}
    words |= {"Psi2": "second normal stress coefficient Ψ₂", "order": "order parameter S", "stretch": "mean square of z"}
    words |= {"angle": "extinction angle", "modulus": "relaxation modulus G", "normal_modulus": "N₁ over strain²"}
    units = {"angle": "degree"}
    stresses = {"tau": "stress τ", "N1": "first normal stress difference N₁", "N2": "second normal stress difference N₂"}
    stresses |= {"stress": "shear stress" if flow is Flow.SHEAR else f"stress of the {kind} viscosity"}
    stresses |= {"moment": "⟨mm⟩ of rods" if model is Model.ROD else "⟨zz⟩ of springs, end to end, or conformation"}
    quantities = {f"response.{k}": Quantity(k, "1", v) for k, v in stresses.items()}
    for key, text in words.items():
        unit = units.get(key, "1")
        quantities[f"material.{key}"] = Quantity(key, unit, text)
        quantities[f"error.{key}"] = Quantity(f"{key}_stderr", unit, f"standard error of {text}")
    for key, text in {**words, **stresses}.items():
        quantities[f"exact.{key}"] = Quantity(f"{key}_exact", units.get(key, "1"), f"{text}, exact")
    quantities |= {
        "condition": Quantity("kappa", "1", "κ"),
        "macro": Quantity("clock", "1", "time"),
        "rate": rate or Quantity("rate", RATE, rate_words(flow)),
        "result": Quantity("result", "1", "result of the average"),
    }
    return Names(quantities, axis=axis)
