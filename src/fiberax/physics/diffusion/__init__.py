"""Interacting diffusion: lattices of Ginzburg-Landau type as fibers, their density as the macro model (5.1)-(5.7)."""

from fiberax.physics.diffusion.density import Density
from fiberax.physics.diffusion.lattice import GinzburgLandau, Lattice

__all__ = ["Density", "GinzburgLandau", "Lattice"]
