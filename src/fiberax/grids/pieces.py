"""The pieces of a mesh: parts that share no nodes."""

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from fiberax.grids.mesh import Mesh


def pieces(mesh: Mesh) -> np.ndarray:
    """For each unknown the number of the part of the mesh that it belongs to, (nodes,); parts share no nodes."""
    cells = mesh.unknowns[mesh.cells]
    pairs = (np.repeat(cells[:, 0], cells.shape[1]), cells.ravel())
    count = len(mesh.representatives)
    graph = sp.coo_matrix((np.ones(cells.size), pairs), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def first_place(mesh: Mesh, part: np.ndarray, number: int) -> str:
    """Where the first node of a part lies."""
    return ", ".join(f"{x:g}" for x in mesh.points[mesh.representatives[np.argmax(part == number)]])
