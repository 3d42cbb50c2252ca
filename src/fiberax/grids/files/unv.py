"""Universal files (.unv) of I-DEAS, as Salome and Gmsh write them: nodes, elements, and permanent groups.

Datasets 15, 781 and 2411 (nodes), 780 and 2412 (elements), and those of groups, after the SDRC Universal File descriptions of
the University of Cincinnati.
"""

from pathlib import Path

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.grids.files.raw import KINDS, Block, Group, Raw, places_of

_NODES, _ELEMENTS = (781, 2411), (780, 2412)
# Groups with two entities of four numbers to a line, and with four of two.
_GROUPS = {2435: 2, 2452: 2, 2467: 2, 2477: 2, 2429: 4, 2430: 4, 2432: 4}
_KINDS = {11: "line", 21: "line", 22: "line3", 24: "line3"}
_KINDS |= {first + of: kind for first in (40, 50, 60, 70, 80, 90)
           for of, kind in ((1, "triangle"), (2, "triangle6"), (4, "quad"), (5, "quad8"))}  # fmt: skip
_KINDS |= {111: "tetra", 112: "wedge", 113: "wedge15", 115: "hexahedron", 116: "hexahedron20", 118: "tetra10"}
_BEAMS = (11, 21, 22, 23, 24)
# Places in the file, which goes around the edges of a face, of the nodes in VTK's order.
_PLACES = {
    "line3": (0, 2, 1),
    "triangle6": (0, 2, 4, 1, 3, 5),
    "quad8": (0, 2, 4, 6, 1, 3, 5, 7),
    "tetra10": (0, 2, 4, 9, 1, 3, 5, 6, 7, 8),
    "wedge15": (0, 2, 4, 9, 11, 13, 1, 3, 5, 10, 12, 14, 6, 7, 8),
    "hexahedron20": (0, 2, 4, 6, 12, 14, 16, 18, 1, 3, 5, 7, 13, 15, 17, 19, 8, 9, 10, 11),
}


def read(path: Path) -> Raw:
    """The mesh of a universal file. Raises `ValueError` where it is damaged, `BadInput` for elements that I-DEAS has not."""
    labels, points = np.zeros(0, int), np.zeros((0, 3))
    found: dict[str, list[list[int]]] = {}
    members: dict[str, list[tuple[int, int]]] = {}
    left_out: dict[int, int] = {}
    for number, lines in _datasets(path):
        if number == 15 or number in _NODES:
            labels, points = _nodes(number, lines, labels, points)
        elif number in _ELEMENTS:
            _elements(lines, found, left_out)
        elif number in _GROUPS:
            _groups(lines, _GROUPS[number], members)
    if not found:
        raise ValueError("it has no elements that are known (datasets 780 and 2412)")
    blocks, own = [], {}
    for kind, rows in found.items():
        table = np.array(rows, int)
        own |= {label: (len(blocks), row) for row, label in enumerate(table[:, 0].tolist())}
        nodes = table[:, 1:][:, list(_PLACES.get(kind, range(table.shape[1] - 1)))]
        blocks.append(Block(kind, places_of(labels, nodes, "node")))
    groups = [_group(name, pairs, own, labels) for name, pairs in members.items()]
    notes = [f"{count} elements of the descriptor {which} are left out" for which, count in left_out.items()]
    return Raw(points, blocks, groups, notes=notes)


def _datasets(path: Path):
    """(Number, lines) of each dataset; they lie between lines of -1."""
    inside: list[str] | None = None
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        if line.strip() != "-1":
            if inside is not None:
                inside.append(line)
        elif inside is None:
            inside = []
        else:
            if inside and inside[0].strip().isdigit():
                yield int(inside[0]), inside[1:]
            inside = None
    if inside:
        raise ValueError("its last dataset has no end")


def _nodes(number: int, lines: list[str], labels: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if number == 15:
        words = [line.split() for line in lines if line.strip()]
        fresh, places = [int(w[0]) for w in words], [w[4:7] for w in words]
    else:
        fresh, places = [int(line.split()[0]) for line in lines[::2]], [line.split()[:3] for line in lines[1::2]]
    numbers = np.array([[float(x.replace("D", "E").replace("d", "e")) for x in place] for place in places])
    return np.concatenate([labels, np.array(fresh, int)]), np.concatenate([points, numbers.reshape(-1, 3)])


def _elements(lines: list[str], found: dict[str, list[list[int]]], left_out: dict[int, int]) -> None:
    at = 0
    while at < len(lines):
        head = [int(word) for word in lines[at].split()]
        label, which, count = head[0], head[1], head[-1]
        at += 2 if which in _BEAMS else 1
        nodes: list[int] = []
        while len(nodes) < count:
            if at >= len(lines):
                raise ValueError(f"the nodes of element {label} end too early")
            nodes += [int(word) for word in lines[at].split()]
            at += 1
        kind = _KINDS.get(which)
        if kind is None:
            left_out[which] = left_out.get(which, 0) + 1
        elif KINDS[kind].nodes != count:
            raise BadInput(
                f"element {label} has {count} nodes, and its descriptor {which} stands for {KINDS[kind].nodes}. Save it with "
                "elements of I-DEAS (Mesh.SecondOrderIncomplete of Gmsh), or in another format, such as Gmsh's .msh"
            )
        else:
            found.setdefault(kind, []).append([label, *nodes])


def _groups(lines: list[str], across: int, members: dict[str, list[tuple[int, int]]]) -> None:
    at, width = 0, 8 // across
    while at + 1 < len(lines):
        count, name = int(lines[at].split()[-1]), lines[at + 1].strip()
        rows = -(-count // across)
        words = [int(word) for line in lines[at + 2 : at + 2 + rows] for word in line.split()]
        if len(words) != width * count:
            raise ValueError(f"the group {name!r} ends too early")
        pairs = members.setdefault(name, [])
        pairs += list(zip(words[::width], words[1::width]))
        at += 2 + rows


def _group(name: str, pairs: list[tuple[int, int]], own: dict[int, tuple[int, int]], labels: np.ndarray) -> Group:
    """Entities of the type 7 are nodes, of the type 8 elements."""
    group = Group(name)
    rows: dict[int, list[int]] = {}
    for kind, label in pairs:
        if kind == 8 and label in own:
            rows.setdefault(own[label][0], []).append(own[label][1])
    for block, members in rows.items():
        group.add(block, np.array(members, int))
    nodes = np.array([label for kind, label in pairs if kind == 7], int)
    if len(nodes):
        group.nodes = np.unique(places_of(labels, nodes, "node"))
    return group
