"""Gmsh's files of the versions 2 and 4.1, text and binary, with all physical tags of every entity and periodic nodes.

After the section "File formats" of Gmsh's reference manual.
"""

import re
from pathlib import Path

import numpy as np

from fiberax.grids.files.raw import DIM, KINDS, Block, Group, Raw, parents, places_of

# Numbers of Gmsh's elements, and the corners around those of their nodes that are not corners, where the order is its own.
_NAMES = {
    1: "line", 2: "triangle", 3: "quad", 4: "tetra", 5: "hexahedron", 6: "wedge", 7: "pyramid", 8: "line3", 9: "triangle6",
    10: "quad9", 11: "tetra10", 12: "hexahedron27", 13: "wedge18", 14: "pyramid14", 15: "vertex", 16: "quad8",
    17: "hexahedron20", 18: "wedge15", 19: "pyramid13",
}  # fmt: skip
_HIGHER = {
    "tet": ((0, 1), (1, 2), (2, 0), (3, 0), (3, 2), (3, 1)),
    "hex": (
        *((0, 1), (0, 3), (0, 4), (1, 2), (1, 5), (2, 3), (2, 6), (3, 7), (4, 5), (4, 7), (5, 6), (6, 7)),
        *((0, 1, 2, 3), (0, 1, 5, 4), (0, 3, 7, 4), (1, 2, 6, 5), (2, 3, 7, 6), (4, 5, 6, 7), tuple(range(8))),
    ),
    "wedge": (
        *((0, 1), (0, 2), (0, 3), (1, 2), (1, 4), (2, 5), (3, 4), (3, 5), (4, 5)),
        *((0, 1, 4, 3), (0, 2, 5, 3), (1, 2, 5, 4)),
    ),
    "pyramid": ((0, 1), (0, 3), (0, 4), (1, 2), (1, 4), (2, 3), (2, 4), (3, 4), (0, 1, 2, 3)),
}


def version_of(path: Path) -> str:
    """The version that a file states, such as "4.1"; empty where it states none."""
    with path.open("rb") as stream:
        found = re.match(rb"(?:\xef\xbb\xbf)?\s*\$MeshFormat\s+([0-9.]+)", stream.read(200))
    return found.group(1).decode() if found else ""


def read(path: Path) -> Raw:
    """The mesh of a file of the version 2 or 4.1. Raises `ValueError` where it is damaged."""
    return _Reader(path.read_bytes()).raw()


class _Reader:
    """A file in memory with a place in it; numbers are taken from text or from bytes."""

    def __init__(self, data: bytes):
        self.data, self.at, self.as_text = data.removeprefix(b"\xef\xbb\xbf"), 0, True
        self.tokens: list[bytes] = []
        self.names: dict[tuple[int, int], str] = {}
        self.physical: dict[tuple[int, int], list[int]] = {}  # (dim, entity) -> tags
        self.labels, self.points = np.zeros(0, int), np.zeros((0, 3))
        self.found: list[tuple[int, np.ndarray, int, list[int]]] = []  # type, labels of nodes (n, k), dim, tags
        self.pairs: list[np.ndarray] = []
        head = self._section("MeshFormat", text=True)
        fields = head.split()
        self.four, self.text = fields[0].startswith(b"4"), fields[1] == b"0"
        self.width = int(fields[2])
        self.order = "<"
        if not self.text:
            one = self.data.index(b"\n", self.at) + 1
            self.order = "<" if self.data[one : one + 4] == b"\x01\x00\x00\x00" else ">"

    def raw(self) -> Raw:
        for name in re.findall(rb"(?:^|\n)\$(?!End)([A-Za-z]+)", self.data):
            reader = {
                b"PhysicalNames": self._physical_names,
                b"Entities": self._entities,
                b"PartitionedEntities": self._partitioned,
                b"Nodes": self._nodes,
                b"Elements": self._elements if self.four else self._elements2,
                b"Periodic": self._periodic,
            }.get(name)
            if reader is not None:
                ascii_ = self.text or name == b"PhysicalNames" or (name == b"Periodic" and not self.four)
                body = self._section(name.decode(), ascii_)
                self.tokens = body.split() if ascii_ and name != b"PhysicalNames" else []
                self.as_text, self.at = ascii_, 0 if ascii_ else self.at
                reader(body)
        if not self.found:
            raise ValueError("it has no section $Elements")
        return self._assembled()

    def _section(self, name: str, text: bool) -> bytes:
        """The text of a section; of a binary one nothing, but the place is where it begins."""
        begin = re.search(rb"(?:^|\n)\$" + name.encode() + rb"[ \t\r]*\n", self.data)
        if begin is None:
            raise ValueError(f"it has no section ${name}")
        self.at = begin.end()
        end = self.data.find(b"$End" + name.encode(), self.at)
        if end < 0:
            raise ValueError(f"the section ${name} has no end")
        return self.data[self.at : end] if text else b""

    def _take(self, count: int, kind: str) -> np.ndarray:
        """Whole numbers "i", sizes "u" or floating numbers "d"."""
        count = int(count)
        if self.as_text:
            piece = self.tokens[self.at : self.at + count]
            self.at += count
            if len(piece) < count:
                raise ValueError("a section ends too early")
            return np.array(piece, "S").astype(float if kind == "d" else np.int64) if count else np.zeros(0, int)
        of = np.dtype(self.order + {"i": "i4", "u": f"u{self.width}", "d": "f8"}[kind])
        if count < 0 or self.at + count * of.itemsize > len(self.data):
            raise ValueError("it ends too early")
        found = np.frombuffer(self.data, of, count, self.at)
        self.at += count * of.itemsize
        return found.astype(float if kind == "d" else np.int64)

    def _one(self, kind: str) -> int:
        return int(self._take(1, kind)[0])

    def _physical_names(self, body: bytes) -> None:
        for dim, tag, name in re.findall(rb'(\d+)\s+(-?\d+)\s+"([^"\n]*)"', body):
            try:
                said = name.decode()
            except UnicodeDecodeError:
                said = name.decode("latin-1")
            self.names[int(dim), int(tag)] = said

    def _entities(self, _) -> None:
        for dim, count in enumerate(self._take(4, "u")):
            for _ in range(count):
                tag = self._one("i")
                self._take(3 if dim == 0 else 6, "d")
                self._tags(dim, tag)

    def _partitioned(self, _) -> None:
        self._one("u")
        self._take(2 * self._one("u"), "i")
        for dim, count in enumerate(self._take(4, "u")):
            for _ in range(count):
                tag = int(self._take(3, "i")[0])
                self._take(self._one("u"), "i")
                self._take(3 if dim == 0 else 6, "d")
                self._tags(dim, tag)

    def _tags(self, dim: int, entity: int) -> None:
        self.physical[dim, entity] = np.abs(self._take(self._one("u"), "i")).tolist()
        if dim:
            self._take(self._one("u"), "i")

    def _nodes(self, _) -> None:
        if not self.four:
            self._nodes2()
            return
        labels, points = [], []
        for _ in range(self._take(4, "u")[0]):
            dim, _, parametric = self._take(3, "i")
            count = self._one("u")
            labels.append(self._take(count, "u"))
            width = 3 + (dim if parametric else 0)
            points.append(self._take(count * width, "d").reshape(count, width)[:, :3])
        self.labels, self.points = np.concatenate(labels), np.concatenate(points)

    def _nodes2(self) -> None:
        if self.as_text:
            count = self._one("u")
            rows = self._take(4 * count, "d").reshape(count, 4)
            self.labels, self.points = rows[:, 0].astype(int), rows[:, 1:]
            return
        line = self.data.index(b"\n", self.at)
        count, self.at = int(self.data[self.at : line]), line + 1
        kind = np.dtype([("label", f"{self.order}i4"), ("x", f"{self.order}f8", 3)])
        if self.at + count * kind.itemsize > len(self.data):
            raise ValueError("it ends too early")
        rows = np.frombuffer(self.data, kind, count, self.at)
        self.labels, self.points = rows["label"].astype(int), rows["x"].astype(float)

    def _elements(self, _) -> None:
        for _ in range(self._take(4, "u")[0]):
            dim, entity, number = self._take(3, "i").tolist()
            count, width = self._one("u"), _size(number)
            rows = self._take(count * (1 + width), "u").reshape(count, 1 + width)
            self.found.append((number, rows[:, 1:], dim, self.physical.get((dim, entity), [])))

    def _elements2(self, _) -> None:
        if self.as_text:
            count = self._one("u")
            numbers = self._take(len(self.tokens) - 1, "i")
            starts, at, flat = [], 0, numbers.tolist()
            for _ in range(count):
                if at + 3 > len(flat):
                    raise ValueError("the section $Elements ends too early")
                starts.append(at)
                at += 3 + flat[at + 2] + _size(flat[at + 1])
            begin = np.array(starts, int)
            if at > len(flat):
                raise ValueError("the section $Elements ends too early")
            heads = np.stack([numbers[begin + 1], numbers[begin + 2]], axis=1)
            for kind, tags in np.unique(heads, axis=0):
                of = begin[np.all(heads == (kind, tags), axis=1)]
                self._by_tag(int(kind), int(tags), numbers[of[:, None] + 3 + np.arange(tags + _size(int(kind)))])
            return
        line = self.data.index(b"\n", self.at)
        count, self.at = int(self.data[self.at : line]), line + 1
        while count > 0:
            kind, number, tags = self._take(3, "i").tolist()
            rows = self._take(number * (1 + tags + _size(kind)), "i").reshape(number, -1)
            self._by_tag(kind, tags, rows[:, 1:])
            count -= max(number, 1)

    def _by_tag(self, kind: int, tags: int, rows: np.ndarray) -> None:
        """Elements of the version 2, which has one physical tag for each and repeats an element that has more."""
        physical = np.abs(rows[:, 0]) if tags else np.zeros(len(rows), int)
        for tag in np.unique(physical).tolist():
            dim = DIM[KINDS[_NAMES[kind]].shape]
            self.found.append((kind, rows[physical == tag, tags:], dim, [tag] if tag else []))

    def _periodic(self, _) -> None:
        for _ in range(self._one("u")):
            self._take(3, "i")
            if self.four:
                self._take(self._one("u"), "d")
            elif self.at < len(self.tokens) and self.tokens[self.at] == b"Affine":
                # As many numbers as there are in the line, mostly 16.
                self.at += 1
                self._take(16, "d")
            count = self._one("u")
            self.pairs.append(self._take(2 * count, "u").reshape(count, 2))

    def _assembled(self) -> Raw:
        blocks: list[Block] = []
        groups: dict[str, Group] = {}
        filled: set[tuple[int, int]] = set()
        for number, labels, dim, tags in self.found:
            kind = _NAMES[number]
            nodes = places_of(self.labels, labels, "node")[:, _order(kind)]
            for tag in tags:
                name = self.names.get((dim, tag), str(tag))
                filled.add((dim, tag))
                groups.setdefault(name, Group(name)).add(len(blocks), np.arange(len(nodes)))
            blocks.append(Block(kind, nodes))
        empty = sorted(repr(name) for key, name in self.names.items() if key not in filled)
        notes = [f"groups without elements are left out: {', '.join(empty)}"] if empty else []
        pairs = np.concatenate([np.zeros((0, 2), int), *self.pairs])
        if len(pairs):
            pairs = places_of(self.labels, pairs, "node")
        return Raw(self.points, blocks, list(groups.values()), pairs, notes)


def _size(number: int) -> int:
    if number not in _NAMES:
        raise ValueError(
            f"its elements of Gmsh's type {number} are of order 3 or more, or of no order; save it with order 1 or 2"
        )
    return KINDS[_NAMES[number]].nodes


def _order(kind: str) -> list[int]:
    """For each node of VTK's order its place in Gmsh's."""
    shape, count, *_ = KINDS[kind]
    ours = [frozenset(of) for of in parents(shape)[:count]] if shape != "point" else [frozenset([0])]
    own = [of for of in ours if len(of) == 1]
    theirs = [*own, *map(frozenset, _HIGHER[shape])] if shape in _HIGHER else ours
    return [theirs.index(of) for of in ours]
