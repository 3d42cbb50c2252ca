"""Discretisations of the macroscale space."""

from fiberax.grids.box import Box
from fiberax.grids.generators import hexes, holed, interval, notched, quads, tets, triangles
from fiberax.grids.mesh import Mesh

__all__ = ["Box", "Mesh", "hexes", "holed", "interval", "notched", "quads", "tets", "triangles"]
