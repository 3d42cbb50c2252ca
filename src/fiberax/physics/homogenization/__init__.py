"""Homogenization of diffusion in periodic media: cell problems as fibers, diffusion as the macro model (2.1)-(2.4)."""

from fiberax.physics.homogenization.boundary import Dirichlet, Neumann, Robin
from fiberax.physics.homogenization.cell import Cell
from fiberax.physics.homogenization.diffusion import Diffusion, FluxDiffusion
from fiberax.physics.homogenization.discretisation import FiniteDifference, FiniteElement, Spectral
from fiberax.physics.homogenization.flux_cell import FluxCell
from fiberax.physics.homogenization.shapes import MeshDiffusion, MeshFluxDiffusion

__all__ = [
    "Cell",
    "Diffusion",
    "Dirichlet",
    "FiniteDifference",
    "FiniteElement",
    "FluxCell",
    "FluxDiffusion",
    "MeshDiffusion",
    "MeshFluxDiffusion",
    "Neumann",
    "Robin",
    "Spectral",
]
