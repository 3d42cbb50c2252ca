"""Homogenization of diffusion in periodic media: cell problems as fibers, diffusion as the macro model (2.1)-(2.4)."""

from fiberax.physics.homogenization.borders import Borders
from fiberax.physics.homogenization.boundary import Dirichlet, Neumann, Robin
from fiberax.physics.homogenization.cell import Cell
from fiberax.physics.homogenization.diffusion import Diffusion, FluxDiffusion
from fiberax.physics.homogenization.discretisation import FiniteDifference, FiniteElement, FiniteVolume, Spectral
from fiberax.physics.homogenization.flux_cell import FluxCell
from fiberax.physics.homogenization.image_files import read_image
from fiberax.physics.homogenization.percolation import Percolation, percolation
from fiberax.physics.homogenization.phase_tables import orient, read_phases, symmetric_tensor
from fiberax.physics.homogenization.shapes import MeshDiffusion, MeshFluxDiffusion
from fiberax.physics.homogenization.thresholds import otsu, threshold

__all__ = [
    "Borders",
    "Cell",
    "Diffusion",
    "Dirichlet",
    "FiniteDifference",
    "FiniteElement",
    "FiniteVolume",
    "FluxCell",
    "FluxDiffusion",
    "MeshDiffusion",
    "MeshFluxDiffusion",
    "Neumann",
    "Percolation",
    "Robin",
    "Spectral",
    "orient",
    "otsu",
    "percolation",
    "read_image",
    "read_phases",
    "symmetric_tensor",
    "threshold",
]
