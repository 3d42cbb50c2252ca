"""Solids from atoms and electrons as fibers, elasticity and waves as macro models (3.1)-(4.20)."""

import importlib
from typing import Any

_NAMES: dict[str, str] = {
    "Direct": "bodies.multigrid",
    "Elasticity": "bodies.elasticity",
    "Multigrid": "bodies.multigrid",
    "Crystal": "crystal.crystal",
    "ElasticConstants": "crystal.elastic",
    "Equilibrium": "crystal.reference",
    "Stability": "crystal.ellipticity",
    "ThomasFermi": "electrons.thomas_fermi",
    "bands": "electrons.electronic",
    "chemical_potential": "electrons.electronic",
    "density": "electrons.electronic",
    "elastic_constants": "crystal.elastic",
    "equilibrium": "crystal.reference",
    "positions": "crystal.crystal",
    "stability": "crystal.ellipticity",
    "CalculatorCrystal": "calculators.calculator",
    "from_ase": "calculators.atoms",
    "KohnSham": "electrons.kohn_sham",
    "Layer": "crystal.layer",
    "levels": "electrons.electronic",
    "wannier": "electrons.electronic",
    "DiatomicChain": "chains.diatomic",
    "QuantumChain": "chains.quantum_chain",
    "under_stress": "crystal.under_stress",
    "uniaxial": "bodies.uniaxial",
    "Wave": "bodies.wave",
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


def __dir__() -> list[str]:
    return __all__
