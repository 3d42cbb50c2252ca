"""Voxels in HDF5 files: those of DREAM.3D, and any other file with a dataset of labels or grey values."""

from pathlib import Path

import h5py
import numpy as np

from fiberax.core.errors import BadInput
from fiberax.physics.homogenization.vtk_files import labels_among, named, only, refuse_sides


def read_hdf5(path: Path, part: str | None) -> np.ndarray:
    """The voxels of a dataset: the one named `part`, else the only one that may hold them. Raises `BadInput`.

    DREAM.3D stores x fastest: its arrays are returned as (nx, ny, nz), without the directions of one voxel. Others are
    returned as they are.
    """
    with h5py.File(path, "r") as file:
        sets = _datasets(file)
        if "cell_to/phase" in sets or "DADF5_version_major" in file.attrs:
            raise BadInput(
                f"{path}: a result of DAMASK, which names phases by words. Save the grid as .vti (damask.GeomGrid.save) and "
                "read its array 'material'."
            )
        spatial = _spatial(sets)
        if part is None:
            name = only(path, labels_among(spatial) or spatial)
        else:
            name = part if part in sets else named(path, part, spatial)
        found = sets[name]
        array = found[()]
        if not (isinstance(array, np.ndarray) and array.dtype.kind in "biuf"):
            raise BadInput(f"{path}: the dataset {name} holds no array of numbers.")
        if not _of_dream3d(found):
            return array[..., 0] if _voxels(found) != found.shape else array
        refuse_sides(path, _sides(found), found.shape[2::-1])
    array = np.squeeze(array[..., 0].T)
    return array if array.ndim else array[None]


def _datasets(file: h5py.File) -> dict[str, h5py.Dataset]:
    """All datasets by their path."""
    found = {}
    file.visititems(lambda name, item: found.update({name: item}) if isinstance(item, h5py.Dataset) else None)
    return found


def _spatial(sets: dict[str, h5py.Dataset]) -> list[str]:
    """Datasets that may hold voxels: all numbers in two or three dimensions; where there are none, in one."""
    numbers = {name: len(_voxels(item)) for name, item in sets.items() if item.dtype.kind in "biuf" and item.size}
    return [name for name, axes in numbers.items() if axes in (2, 3)] or [name for name, axes in numbers.items() if axes == 1]


def _of_dream3d(item: h5py.Dataset) -> bool:
    """Whether a dataset is an array of DREAM.3D over cells, with one number in each.

    Its arrays have an attribute of their own, which copies of them may have lost; their group and the geometry have one parent.
    """
    beside = item.parent.parent
    marked = "ComponentDimensions" in item.attrs or "_SIMPL_GEOMETRY" in beside or "_DIMENSIONS" in beside.attrs
    return marked and item.ndim == 4 and item.shape[-1] == 1


def _voxels(item: h5py.Dataset) -> tuple[int, ...]:
    """The shape without an axis of components, which has one entry where each voxel has one number."""
    of_components = item.ndim == 4 or "ComponentDimensions" in item.attrs
    return item.shape[:-1] if of_components and item.shape[-1] == 1 else item.shape


def _sides(item: h5py.Dataset) -> np.ndarray | tuple[float, ...]:
    """The sides of the voxels, which DREAM.3D writes beside the arrays, in one of two ways."""
    geometry = item.parent.parent
    if "_SIMPL_GEOMETRY/SPACING" in geometry:
        return geometry["_SIMPL_GEOMETRY/SPACING"][()]
    return geometry.attrs.get("_SPACING", (1.0, 1.0, 1.0))
