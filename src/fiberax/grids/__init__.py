"""Discretisations of the macroscale space."""

from fiberax.grids.box import Box
from fiberax.grids.generators import hexes, holed, interval, notched, quads, tets, triangles
from fiberax.grids.mesh import Mesh
from fiberax.grids.readers import from_skfem, read

__all__ = ["Box", "Mesh", "from_skfem", "hexes", "holed", "interval", "notched", "quads", "read", "tets", "triangles"]
