"""Which part of a cell conducts through: clusters of pixels connected by faces."""

from typing import NamedTuple

import numpy as np

from fiberax.core.errors import BadInput


class Percolation(NamedTuple):
    """What is connected in a cell.

    Args:
        share: Share of the pixels that conduct.
        through: Share of the conducting pixels in clusters that lead through the cell along some direction.
        axes: For each axis whether flux can pass along it.
        projection: Projection (d, d) on the directions along which flux can pass: A = projection A projection.
    """

    share: float
    through: float
    axes: tuple[bool, ...]
    projection: np.ndarray


def percolation(
    conducts: np.ndarray | tuple[np.ndarray, ...], held: bool = False, lengths: tuple[float, ...] | None = None
) -> Percolation:
    """Find the clusters of conducting pixels or voxels (*shape) that lead through the cell.

    Neighbours share a face. On a periodic cell a cluster leads through where it meets its own image in another cell; the
    vectors between the images span the directions of flux. With `held` it leads through along an axis where it reaches both
    ends of that axis.

    Args:
        conducts: Booleans, one to three axes; or a tuple of one such array for each axis, which says where flux passes along
            it. Pixels that conduct along no axis do not conduct.
        held: Not periodic: both ends of each axis are held, one axis at a time.
        lengths: Of the cell along each axis, where they differ.

    Returns:
        The `Percolation`.

    Raises:
        BadInput: Anything but booleans, no pixels, or other numbers of axes.
    """
    from scipy.ndimage import label

    if isinstance(conducts, tuple):
        along = [_booleans(one) for one in conducts]
        pixels = np.logical_or.reduce(along)
        clusters, count = _joined(along, pixels)
    else:
        pixels = _booleans(conducts)
        along, (clusters, count) = [pixels] * pixels.ndim, label(pixels)
    d = pixels.ndim
    faces = [np.where(passes, clusters, 0) for passes in along]  # the clusters that reach faces across each axis
    ends = [(np.take(reached, -1, k).ravel(), np.take(reached, 0, k).ravel()) for k, reached in enumerate(faces)]
    if held:
        common = [np.setdiff1d(np.intersect1d(*pair), [0]) for pair in ends]
        leading = np.unique(np.concatenate(common))
        projection = np.diag([float(len(c) > 0) for c in common])
    else:
        leading, vectors = _windings(ends, count, d)
        projection = _span(vectors, np.ones(d) if lengths is None else np.asarray(lengths))
    sizes = np.bincount(clusters.ravel(), minlength=count + 1)
    whole = int(pixels.sum())
    through = float(sizes[leading.astype(int)].sum()) / whole if whole else 0.0
    return Percolation(whole / pixels.size, through, tuple((np.diag(projection) > 0).tolist()), projection)


def _booleans(conducts) -> np.ndarray:
    pixels = np.asarray(conducts)
    if pixels.dtype != bool or not 1 <= pixels.ndim <= 3 or pixels.size == 0:
        raise BadInput(
            f"percolation: an array of the type {pixels.dtype} and the shape {pixels.shape}. Give booleans along one to three "
            "axes that say which pixels conduct, such as labels == 1."
        )
    return pixels


def _joined(along: list[np.ndarray], conducts: np.ndarray) -> tuple[np.ndarray, int]:
    """Clusters (*shape), numbers from 1 and 0 where nothing conducts, of pixels joined by faces that both sides let pass."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    numbers, joins = np.arange(conducts.size).reshape(conducts.shape), []
    for k, passes in enumerate(along):
        left, right = ([slice(None)] * k + [part] for part in (slice(-1), slice(1, None)))
        both = passes[*left] & passes[*right]
        joins.append((numbers[*left][both], numbers[*right][both]))
    rows, columns = (np.concatenate(side) for side in zip(*joins, strict=True))
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(conducts.size,) * 2)
    _, labels = connected_components(graph, directed=False)
    present, found = np.unique(labels[conducts.ravel()], return_inverse=True)
    clusters = np.zeros(conducts.shape, int)
    clusters[conducts] = found + 1
    return clusters, len(present)


def _windings(ends, count, d):
    """Clusters that meet their own image, and the cell vectors to it.

    Clusters are labelled within the cell. A face between the last and the first layer of axis k joins two of them, the second
    in the next cell. Along a spanning tree each gets a cell; a further join whose cells disagree closes a winding path.
    """
    joins: dict[int, set] = {}
    for k, (last, first) in enumerate(ends):
        step = np.eye(d, dtype=int)[k]
        for a, b in np.unique(np.stack([last, first], axis=1)[(last > 0) & (first > 0)], axis=0).tolist():
            joins.setdefault(a, set()).add((b, *step.tolist()))
            joins.setdefault(b, set()).add((a, *(-step).tolist()))
    cell: dict[int, np.ndarray] = {}
    leading, vectors = [], []
    for seed in joins:
        if seed in cell:
            continue
        cell[seed], family, winds, queue = np.zeros(d, int), [seed], False, [seed]
        while queue:
            here = queue.pop()
            for there, *step in joins[here]:
                reached = cell[here] + step
                if there not in cell:
                    cell[there] = reached
                    family.append(there)
                    queue.append(there)
                elif np.any(reached != cell[there]):
                    winds = True
                    vectors.append(reached - cell[there])
        if winds:
            leading += family
    return np.asarray(leading), vectors


def _span(vectors, lengths) -> np.ndarray:
    """Orthogonal projection (d, d) on the span of cell vectors, whole numbers of lengths."""
    d = len(lengths)
    if not vectors:
        return np.zeros((d, d))
    basis = np.unique(vectors, axis=0) * lengths
    _, sizes, rows = np.linalg.svd(basis, full_matrices=False)
    rows = rows[sizes > 1e-9 * sizes[0]]
    projection = rows.T @ rows
    return np.where(np.abs(projection) < 1e-14, 0.0, projection)
