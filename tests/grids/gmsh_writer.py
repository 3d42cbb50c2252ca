"""Gmsh files of all four forms, written by the letter of its manual; labels of nodes have gaps and no order."""

import struct
from typing import NamedTuple

import numpy as np


class Entity(NamedTuple):
    """Elements of one type on an entity, with its physical tags."""

    dim: int
    tag: int
    kind: int
    cells: np.ndarray
    physical: tuple[int, ...] = ()


def labels_of(count):
    return 5 + 3 * np.random.default_rng(0).permutation(count)


def write(path, points, entities, names=(), pairs=None, version="4.1", binary=False, partitioned=False):
    """`names`: (dim, tag, name). `pairs` (n, 2): nodes and their masters."""
    points = np.pad(np.asarray(points, float), [(0, 0), (0, 3 - np.shape(points)[1])])
    sink = _Binary() if binary else _Text()
    sink.raw(f"$MeshFormat\n{version} {int(binary)} 8\n")
    if binary:
        sink.ints(1)
        sink.raw("\n")
    sink.raw("$EndMeshFormat\n")
    if names:
        rows = "".join(f'{dim} {tag} "{name}"\n' for dim, tag, name in names)
        sink.raw(f"$PhysicalNames\n{len(names)}\n{rows}$EndPhysicalNames\n")
    labels = labels_of(len(points))
    (_four if version == "4.1" else _two)(sink, points, labels, entities, pairs, partitioned)
    path.write_bytes(sink.data)
    return path


def _four(sink, points, labels, entities, pairs, partitioned):
    section = "PartitionedEntities" if partitioned else "Entities"
    sink.raw(f"${section}\n")
    if partitioned:
        sink.sizes(2, 1)  # partitions, ghost entities
        sink.ints(99, 1)
    sink.sizes(*(sum(e.dim == d for e in entities) for d in range(4)))
    for d in range(4):
        for e in entities:
            if e.dim == d:
                sink.ints(e.tag, *((d, 1) if partitioned else ()))
                if partitioned:
                    sink.sizes(1)
                    sink.ints(1)
                sink.doubles(*np.zeros(3 if d == 0 else 6))
                sink.sizes(len(e.physical))
                sink.ints(*e.physical)
                if d:
                    sink.sizes(2)
                    sink.ints(1, -2)
    sink.raw(f"\n$End{section}\n$Nodes\n")
    half = len(points) // 2
    sink.sizes(2, len(points), labels.min(), labels.max())
    for part, parametric in ((slice(0, half), 0), (slice(half, None), 1)):
        sink.ints(2, 1, parametric)
        sink.sizes(len(labels[part]))
        sink.sizes(*labels[part])
        for x in points[part]:
            sink.doubles(*x, *((0.25, 0.75) if parametric else ()))
    sink.raw("\n$EndNodes\n$Elements\n")
    count = sum(len(e.cells) for e in entities)
    sink.sizes(len(entities), count, 1, count)
    number = 0
    for e in entities:
        sink.ints(e.dim, e.tag, e.kind)
        sink.sizes(len(e.cells))
        for row in e.cells:
            number += 1
            sink.sizes(number, *labels[row])
    sink.raw("\n$EndElements\n")
    if pairs is not None:
        sink.raw("$Periodic\n")
        sink.sizes(1)
        sink.ints(1, 2, 4)
        sink.sizes(16)
        sink.doubles(*np.eye(4).ravel())
        sink.sizes(len(pairs))
        sink.sizes(*labels[np.asarray(pairs)].ravel())
        sink.raw("\n$EndPeriodic\n")


def _two(sink, points, labels, entities, pairs, _):
    sink.raw(f"$Nodes\n{len(points)}\n")
    for label, x in zip(labels, points):
        sink.ints(label)
        sink.doubles(*x)
    # Gmsh repeats an element for each of its physical groups.
    rows = [(e.kind, p, e.tag, row) for e in entities for p in (e.physical or (0,)) for row in e.cells]
    sink.raw(f"\n$EndNodes\n$Elements\n{len(rows)}\n")
    for number, (kind, physical, tag, row) in enumerate(rows):
        head = (kind, 1, 2, number + 1) if sink.binary else (number + 1, kind, 2)
        sink.ints(*head, physical, tag, *labels[row])
    sink.raw("\n$EndElements\n")
    if pairs is not None:
        sink.raw(f"$Periodic\n1\n1 2 4\nAffine {' '.join(map(str, np.eye(4).ravel()))}\n{len(pairs)}\n")
        sink.raw("".join(f"{a} {b}\n" for a, b in labels[np.asarray(pairs)]) + "$EndPeriodic\n")


class _Text:
    binary = False

    def __init__(self):
        self.data = b""

    def raw(self, text):
        self.data += text.encode()

    def _words(self, *values):
        self.raw(" ".join(map(repr, values)) + "\n" if values else "")

    def ints(self, *values):
        self._words(*map(int, values))

    def doubles(self, *values):
        self._words(*map(float, values))

    sizes = ints


class _Binary(_Text):
    binary = True

    def ints(self, *values):
        self.data += struct.pack(f"<{len(values)}i", *map(int, values))

    def sizes(self, *values):
        self.data += struct.pack(f"<{len(values)}Q", *map(int, values))

    def doubles(self, *values):
        self.data += struct.pack(f"<{len(values)}d", *map(float, values))
