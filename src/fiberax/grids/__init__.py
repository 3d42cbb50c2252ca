"""Discretisations of the macroscale space."""

from fiberax.grids.box import Box
from fiberax.grids.files.raw import MeshFileWarning
from fiberax.grids.generators import hexes, holed, interval, notched, quads, tets, triangles
from fiberax.grids.mesh import Mesh
from fiberax.grids.nodal import NodalSpace
from fiberax.grids.readers import from_skfem, read
from fiberax.grids.shapes import carved, l_shape

__all__ = [
    "Box",
    "Mesh",
    "MeshFileWarning",
    "NodalSpace",
    "carved",
    "from_skfem",
    "hexes",
    "holed",
    "interval",
    "l_shape",
    "notched",
    "quads",
    "read",
    "tets",
    "triangles",
]
