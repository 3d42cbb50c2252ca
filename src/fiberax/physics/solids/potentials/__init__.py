"""Interatomic potentials, the V of (3.1)-(3.4)."""

import importlib
from typing import Any

# Public name -> module of this package; a module is imported when one of its names is first asked for.
_NAMES: dict[str, str] = {
    "AbstractMomentPotential": "base",
    "AbstractPotential": "base",
    "Buckingham": "pair",
    "Charged": "charged",
    "Coulomb": "charged",
    "EAM": "embedded",
    "LennardJones": "pair",
    "Morse": "pair",
    "Pair": "pair",
    "Pairs": "pairs",
    "StillingerWeber": "stillinger_weber",
    "SuttonChen": "embedded",
    "Tersoff": "tersoff",
}

__all__ = [*_NAMES]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        return getattr(importlib.import_module(f"fiberax.physics.solids.potentials.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'fiberax.solids.potentials' has no attribute {name!r}")
