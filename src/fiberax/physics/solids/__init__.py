"""Solids from atoms and electrons as fibers, elasticity and waves as macro models (spec sections 3 to 6)."""

import importlib
from typing import Any

_NAMES: dict[str, str] = {
    "Direct": "multigrid",
    "Elasticity": "elasticity",
    "Multigrid": "multigrid",
    "Crystal": "crystal",
    "Equilibrium": "reference",
    "Stability": "ellipticity",
    "ThomasFermi": "thomas_fermi",
    "bands": "electronic",
    "chemical_potential": "electronic",
    "density": "electronic",
    "equilibrium": "reference",
    "positions": "crystal",
    "stability": "ellipticity",
    "CalculatorCrystal": "calculator",
    "KohnSham": "kohn_sham",
    "levels": "electronic",
    "wannier": "electronic",
    "DiatomicChain": "chains",
    "QuantumChain": "quantum_chain",
    "Uniaxial": "uniaxial",
    "Wave": "wave",
}

__all__ = ["ions", "potentials", *_NAMES]


def __getattr__(name: str) -> Any:
    if name == "potentials":
        return importlib.import_module("fiberax.physics.solids.potentials")
    if name == "ions":
        return importlib.import_module("fiberax.physics.solids.electrons.ions")
    if name in _NAMES:
        return getattr(importlib.import_module(f"fiberax.physics.solids.{_NAMES[name]}"), name)
    raise AttributeError(f"module 'fiberax.solids' has no attribute {name!r}")
