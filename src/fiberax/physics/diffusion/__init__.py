"""Interacting diffusion: lattices of Ginzburg-Landau type as fibers, their density as the macro model (5.1)-(5.7)."""

from fiberax.physics.diffusion.density import Density
from fiberax.physics.diffusion.lattice import GinzburgLandau, Lattice
from fiberax.physics.diffusion.transfer import ChainTruth, ginzburg_landau_chain

__all__ = ["ChainTruth", "Density", "GinzburgLandau", "Lattice", "ginzburg_landau_chain"]
