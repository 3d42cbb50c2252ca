"""Abaqus input files: nodes, elements by families of types, sets of nodes and elements, surfaces.

After the chapters "Elements" and "Surfaces: element-based" of the Abaqus documentation: faces S1, S2, ... in its numbering.
"""

import re
from pathlib import Path

import numpy as np

from fiberax.grids.files.raw import KINDS, Block, Group, Raw, places_of

_SOLID = {4: "tetra", 5: "pyramid", 6: "wedge", 8: "hexahedron", 10: "tetra10", 13: "pyramid13", 15: "wedge15"}
_SOLID |= {20: "hexahedron20", 27: "hexahedron27"}
_PLANE = {3: "triangle", 4: "quad", 6: "triangle6", 8: "quad8", 9: "quad9"}
_LINE = {"1": "line", "2": "line3"}
# Places in the file of the nodes in VTK's order, where it is another.
_PLACES = {"line3": (0, 2, 1), "hexahedron27": (*range(20), 26, 24, 23, 25, 21, 22, 20)}
# Types by their families: plane and axisymmetric bodies, membranes, shells and rigid surfaces; trusses and beams.
_PLANES = re.compile(r"(?:COH2D|DC2D|AC2D|DCAX|ACAX|CGAX|CPEG|CPE|CPS|CAX|SFM3D|M3D|R3D|DS|STRI|S)(\d)")
_FACES = {
    "tet": ((0, 1, 2), (0, 3, 1), (1, 3, 2), (2, 3, 0)),
    "hex": ((0, 1, 2, 3), (4, 7, 6, 5), (0, 4, 5, 1), (1, 5, 6, 2), (2, 6, 7, 3), (3, 7, 4, 0)),
    "wedge": ((0, 1, 2), (3, 5, 4), (0, 3, 4, 1), (1, 4, 5, 2), (2, 5, 3, 0)),
    "pyramid": ((0, 1, 2, 3), (0, 4, 1), (1, 4, 2), (2, 4, 3), (3, 4, 0)),
    "triangle": ((0, 1), (1, 2), (2, 0)),
    "quad": ((0, 1), (1, 2), (2, 3), (3, 0)),
}
_SIDE = {2: "line", 3: "triangle", 4: "quad"}


def kind_of(name: str) -> str | None:
    """The kind of cell of a type of element; None where it is no cell of a body."""
    name = name.upper()
    if found := re.match(r"(?:D|AC|COH|DCC)?C?3D(\d+)", name):
        return _SOLID.get(int(found.group(1)))
    if found := re.match(r"SC([68])", name):
        return _SOLID[int(found.group(1))]
    if name.startswith("STRI65"):
        return "triangle6"
    if found := _PLANES.match(name):
        return _PLANE.get(int(found.group(1)))
    if found := re.match(r"(?:B2|B3|PIPE2|PIPE3)([12])", name):
        return _LINE[found.group(1)]
    if found := re.match(r"(?:T2D|T3D|R2D|RAX|DC1D|AC1D|SAX|MAX)([23])", name):
        return {"2": "line", "3": "line3"}[found.group(1)]
    return None


def read(path: Path) -> Raw:
    """The mesh of an input file. Raises `ValueError` where it cannot be read."""
    model = _Model()
    for words, rows in _keywords(path, 0):
        model.take(words, rows)
    return model.raw()


def _keywords(path: Path, depth: int):
    """(Keyword and its parameters, data lines) of a file and of those that it includes."""
    if depth > 10:
        raise ValueError(f"*INCLUDE goes around in a circle at {path}")
    words, rows = {"": ""}, []
    for line in _lines(path):
        if not line.startswith("*"):
            rows.append(line)
            continue
        yield words, rows
        words, rows = _parameters(line), []
        if "INCLUDE" in words:
            yield from _keywords(path.parent / words.get("INPUT", ""), depth + 1)
    yield words, rows


def _lines(path: Path):
    """Lines without comments; a keyword line that ends with a comma goes on in the next."""
    held = ""
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        line = line.strip()
        if not line or line.startswith("**"):
            continue
        if (line.startswith("*") or held) and line.endswith(","):
            held += line
            continue
        yield held + line
        held = ""


def _parameters(line: str) -> dict[str, str]:
    pieces = [piece.strip() for piece in line[1:].split(",") if piece.strip()]
    pairs = [piece.partition("=") for piece in pieces]
    return {key.strip().upper(): value.strip().strip('"') for key, _, value in pairs}


class _Model:
    """What has been read so far; elements are numbered by their place over all blocks."""

    def __init__(self):
        self.labels: list[int] = []
        self.points: list[list[float]] = []
        self.elements: list[tuple[str, list[int], list[list[int]]]] = []  # kind, labels, nodes
        self.nodes: dict[str, list[int]] = {}
        self.sets: dict[str, list[int]] = {}
        self.surfaces: dict[str, list[tuple[str, str]]] = {}
        self.others: dict[str, int] = {}
        self.parts = 0

    def take(self, words: dict[str, str], rows: list[str]) -> None:
        """One keyword with its lines."""
        keyword = next(iter(words))
        if keyword == "NODE":
            self._nodes(words, rows)
        elif keyword == "ELEMENT":
            self._elements(words, rows)
        elif keyword == "NSET" and "NSET" in words:
            self.nodes.setdefault(words["NSET"], []).extend(_members(words, rows, self.nodes))
        elif keyword == "ELSET" and "ELSET" in words:
            self.sets.setdefault(words["ELSET"], []).extend(_members(words, rows, self.sets))
        elif keyword == "SURFACE" and "NAME" in words:
            pairs = [(f[0], f[1] if len(f) > 1 else "") for f in (_fields(row) for row in rows)]
            self.surfaces.setdefault(words["NAME"], []).extend(pairs)

    def _nodes(self, words: dict[str, str], rows: list[str]) -> None:
        fresh = [_fields(row) for row in rows]
        labels = [int(f[0]) for f in fresh]
        if set(labels) & set(self.labels):
            raise ValueError(f"node {min(set(labels) & set(self.labels))} is defined twice: it has several parts; save one")
        self.labels += labels
        self.points += [([float(x.replace("D", "E").replace("d", "e")) for x in f[1:4] if x] + [0.0] * 3)[:3] for f in fresh]
        if "NSET" in words:
            self.nodes.setdefault(words["NSET"], []).extend(labels)

    def _elements(self, words: dict[str, str], rows: list[str]) -> None:
        kind = kind_of(words.get("TYPE", ""))
        if kind is None:
            self.others[words.get("TYPE", "without type")] = len(rows)
            return
        numbers = [int(x) for row in rows for x in _fields(row) if x]
        width = 1 + KINDS[kind].nodes
        if len(numbers) % width:
            raise ValueError(f"elements of type {words['TYPE']} have {width - 1} nodes each; {len(numbers)} numbers do not fit")
        table = np.array(numbers, int).reshape(-1, width)
        self.elements.append((kind, table[:, 0].tolist(), table[:, 1:].tolist()))
        if "ELSET" in words:
            self.sets.setdefault(words["ELSET"], []).extend(table[:, 0].tolist())

    def raw(self) -> Raw:
        """The mesh. Sets of elements, sets of nodes and surfaces of one name are one group."""
        blocks = []
        known = np.array(self.labels, int)
        for kind, _, nodes in self.elements:
            table = np.array(nodes, int)
            table = table[:, list(_PLACES.get(kind, range(table.shape[1])))]
            blocks.append(Block(kind, places_of(known, table, "node")))
        owner = {label: (k, row) for k, (_, labels, _) in enumerate(self.elements) for row, label in enumerate(labels)}
        groups: dict[str, Group] = {}
        notes = [
            f"{count} elements of the type {name} are left out, being no cells of a body" for name, count in self.others.items()
        ]
        for name, members in self.sets.items():
            _add(groups, name, [owner[label] for label in members if label in owner])
        for name, members in self.nodes.items():
            groups.setdefault(name, Group(name)).nodes = np.unique(places_of(known, np.array(members, int), "node"))
        for name, pairs in self.surfaces.items():
            self._surface(name, pairs, owner, blocks, groups, notes)
        return Raw(np.array(self.points, float).reshape(-1, 3), blocks, list(groups.values()), notes=notes)

    def _surface(self, name, pairs, owner, blocks, groups, notes) -> None:
        """A surface as blocks of sides; one of nodes as nodes."""
        sides: dict[int, list[np.ndarray]] = {}
        for of, face in pairs:
            if of in self.nodes and not face.upper().startswith("S"):
                group = groups.setdefault(name, Group(name))
                group.nodes = np.union1d(group.nodes, groups[of].nodes).astype(int)
                continue
            members = self.sets[of] if of in self.sets else [int(of)] if of.isdigit() else None
            number = re.fullmatch(r"[SE](\d)", face.upper())
            if members is None or (number is None and face.upper() not in ("SPOS", "SNEG")):
                notes.append(f"the part {of}, {face} of the surface {name!r} is left out")
                continue
            for k, row in (owner[label] for label in members if label in owner):
                nodes, shape = blocks[k].nodes[row], KINDS[blocks[k].kind].shape
                if number is None:
                    _add(groups, name, [(k, row)])
                else:
                    side = nodes[list(_FACES[shape][int(number.group(1)) - 1])]
                    sides.setdefault(len(side), []).append(side)
        for count, rows in sides.items():
            group = groups.setdefault(name, Group(name))
            group.add(len(blocks), np.arange(len(rows)))
            blocks.append(Block(_SIDE[count], np.array(rows, int)))


def _fields(row: str) -> list[str]:
    return [field.strip() for field in row.rstrip(",").split(",")]


def _members(words: dict[str, str], rows: list[str], known: dict[str, list[int]]) -> list[int]:
    found: list[int] = []
    for row in rows:
        fields = [field for field in _fields(row) if field]
        if "GENERATE" in words:
            first, last, step = [*map(int, fields), 1][:3]
            found += range(first, last + 1, step)
            continue
        for field in fields:
            name = field.rpartition(".")[2]  # "instance.number" in an assembly
            found += [int(name)] if name.isdigit() else known.get(name, [])
    return found


def _add(groups: dict[str, Group], name: str, members: list[tuple[int, int]]) -> None:
    if members:
        table = np.array(members, int)
        group = groups.setdefault(name, Group(name))
        for k in np.unique(table[:, 0]).tolist():
            group.add(k, table[table[:, 0] == k, 1])
