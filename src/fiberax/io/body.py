"""The mesh of a body or a shape, saved with its results for `fiberax plot`, and mean fields from values at sites."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fiberax.grids import elements
from fiberax.grids.mesh import Mesh, jacobians
from fiberax.io.atomic import write_file
from fiberax.io.reading import Unreadable, read_arrays

FILE = "mesh.npz"


@dataclass(frozen=True)
class Body:
    """A meshed body whose macrostate is the displacement of its nodes, or a scalar there; fibers at the quadrature points.

    Args:
        mesh: The mesh.
        unit: Unit of length of the mesh.
        block: Volume with holes filled, of a body that is pulled; then a stress-strain curve is drawn.
        axis: Direction of the pull.
        strain: Applied strain at the load 1.
        margins: Keys of results at the sites that must stay positive; the body is also coloured by each of them, with the
            smallest value in each cell.
        deforms: False where the macrostate is a scalar at the nodes, such as a temperature.
    """

    mesh: Mesh
    unit: str = "1"
    block: float | None = None
    axis: int = 0
    strain: float = 1.0
    margins: tuple[str, ...] = ()
    deforms: bool = True

    @property
    def weights(self) -> np.ndarray:
        """Reference volume of each quadrature point (sites,)."""
        table = elements.table(self.mesh.kind, self.mesh.order)
        return (np.abs(np.linalg.det(jacobians(self.mesh))) * table.weights).ravel()

    def gradients(self, displacement: np.ndarray) -> np.ndarray:
        """∇u (sites, dim, dim) of a displacement (unknowns, dim)."""
        table = elements.table(self.mesh.kind, self.mesh.order)
        nodal = displacement[self.mesh.unknowns][self.mesh.cells]
        reference = np.linalg.inv(jacobians(self.mesh))
        return np.einsum("eki,qkm,eqmj->eqij", nodal, table.gradients, reference).reshape(-1, self.mesh.dim, self.mesh.dim)

    def at_sites(self, nodal: np.ndarray) -> np.ndarray:
        """Values at the sites (records, sites) of scalars at the unknowns (records, unknowns)."""
        table = elements.table(self.mesh.kind, self.mesh.order)
        spread = nodal[:, self.mesh.unknowns][:, self.mesh.cells]
        return np.einsum("qk,rek->req", table.values, spread).reshape(len(nodal), -1)

    def over_cells(self, values: np.ndarray) -> np.ndarray:
        """Mean over every cell (cells, ...) of values at the sites (sites, ...)."""
        weights = self.weights.reshape(len(self.mesh.cells), -1)
        return np.einsum(
            "eq,eq...->e...", weights / weights.sum(axis=1, keepdims=True), values.reshape(*weights.shape, *values.shape[1:])
        )

    def mises(self, displacement: np.ndarray, stress: np.ndarray) -> np.ndarray:
        """Von Mises stress (cells,) as it is drawn, the mean over each cell, from u (unknowns, dim) and P (sites, dim, dim)."""
        return self.over_cells(mises(self.gradients(displacement), stress))

    def worst(self, values: np.ndarray) -> np.ndarray:
        """The smallest value in every cell (records, cells) of values at the sites (records, sites)."""
        return values.reshape(len(values), len(self.mesh.cells), -1).min(axis=2)

    def nominal(self, stress: np.ndarray) -> np.ndarray:
        """Force on the grips over the full cross-section (records,) from P at the sites (records, sites, dim, dim).

        By virtual work with the displacement x along the axis: the force times the length is ∫ P_xx over the body.
        """
        return stress[:, :, self.axis, self.axis] @ self.weights / (self.block or float(self.weights.sum()))

    def save(self, folder: Path) -> None:
        """Write `folder/mesh.npz`. Raises `SaveFailed`."""
        mesh = self.mesh
        words = {"kind": mesh.kind, "unit": self.unit, "block": self.block, "axis": self.axis, "strain": self.strain}
        words |= {"margins": self.margins, "deforms": self.deforms}
        sides = {f"boundary {name}": value for name, value in mesh.boundaries.items()}
        text = np.frombuffer(json.dumps(words).encode(), np.uint8)
        arrays = {"points": mesh.points, "cells": mesh.cells, "same": mesh.same, "words": text} | sides
        write_file(folder / FILE, lambda stream: np.savez(stream, allow_pickle=False, **arrays))

    @classmethod
    def load(cls, folder: Path) -> "Body | None":
        """The body in a run's folder; None where the run has none. Raises `Unreadable`."""
        path = folder / FILE
        if not path.exists():
            return None
        archive = read_arrays(path)
        try:
            words = json.loads(bytes(archive["words"]))
            sides = {name.removeprefix("boundary "): a for name, a in archive.items() if name.startswith("boundary ")}
            mesh = Mesh(archive["points"], archive["cells"], words.pop("kind"), sides, same=archive["same"])
            return cls(mesh, **words | {"margins": tuple(words.get("margins", ()))})
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise Unreadable(f"{path} is damaged: {type(error).__name__} {error}.") from error


def mises(gradient: np.ndarray, stress: np.ndarray) -> np.ndarray:
    """Von Mises stress (sites,) of the Cauchy stress P Fᵀ / det F, from ∇u and P (sites, dim, dim)."""
    dim = gradient.shape[-1]
    F = gradient + np.eye(dim)
    cauchy = stress @ np.swapaxes(F, -1, -2) / np.linalg.det(F)[..., None, None]
    deviator = cauchy - np.trace(cauchy, axis1=-2, axis2=-1)[..., None, None] / dim * np.eye(dim)
    return np.sqrt((1.5 if dim == 3 else 2.0) * np.sum(deviator**2, axis=(-2, -1)))
