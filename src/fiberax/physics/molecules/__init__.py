"""Molecular dynamics as a fiber: boxes of molecules that a flow deforms (section 7 of the paper)."""

from fiberax.physics.molecules.bonds import FENE
from fiberax.physics.molecules.box import Box, Molecules
from fiberax.physics.molecules.chains import chains
from fiberax.physics.molecules.green_kubo import GreenKubo
from fiberax.physics.molecules.potentials import WCA, AbstractPair, LennardJones, Pair
from fiberax.physics.molecules.solid import Atoms, Solid
from fiberax.physics.molecules.thermostats import AbstractThermostat, Isokinetic, StochasticRescaling

__all__ = [
    "FENE",
    "WCA",
    "AbstractPair",
    "AbstractThermostat",
    "Atoms",
    "Box",
    "GreenKubo",
    "Isokinetic",
    "LennardJones",
    "Molecules",
    "Pair",
    "Solid",
    "StochasticRescaling",
    "chains",
]
