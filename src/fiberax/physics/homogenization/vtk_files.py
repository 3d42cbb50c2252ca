"""Voxels in VTK's files: XML images (.vti) and legacy structured points (.vtk), in text and binary form.

VTK stores x fastest; arrays are returned as (nx, ny, nz), without the directions in which there is one voxel. Cell data are
voxels; where a file has point data only, each point is one.
"""

import base64
import lzma
import re
import zlib
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.physics.homogenization.picture_files import grey

_XML_TYPES = {f"{kind}{bits}": f"{letter}{bits // 8}" for kind, letter in (("Int", "i"), ("UInt", "u"))
              for bits in (8, 16, 32, 64)} | {"Float32": "f4", "Float64": "f8"}  # fmt: skip
_LEGACY_TYPES = {
    "unsigned_char": "u1", "char": "i1", "unsigned_short": "u2", "short": "i2", "unsigned_int": "u4", "int": "i4",
    "unsigned_long": "u8", "long": "i8", "vtktypeint64": "i8", "vtkidtype": "i4", "float": "f4", "double": "f8",
}  # fmt: skip
# Names of arrays with labels, in lower case and without blanks.
_LABELS = ("featureids", "featureid", "grainids", "phaseids", "phaseid", "phases", "material", "materialid", "labels", "label")
_TOLD = 12  # names in a message
_COMPRESSORS = {"vtkZLibDataCompressor": zlib.decompress, "vtkLZMADataCompressor": lzma.decompress}


class _Field(NamedTuple):
    """An array of a file: cells or points, its components, and its values, read when asked for."""

    place: str
    components: int
    values: np.ndarray


def read_vti(path: Path, part: str | None) -> np.ndarray:
    """The voxels of an XML image. `part`: the name of the array. Raises `BadInput`."""
    root, appended = _xml(path)
    kind = root.get("type")
    if root.tag != "VTKFile" or kind != "ImageData":
        raise BadInput(f"{path}: VTK data of the kind {kind or root.tag}. Voxels are ImageData: resample to an image first.")
    image = root.find("ImageData")
    pieces = [] if image is None else image.findall("Piece")
    if image is None or len(pieces) != 1:
        raise BadInput(f"{path}: {len(pieces)} pieces. Save the image in one piece.")
    spacing = [float(n) for n in image.get("Spacing", "1 1 1").split()]
    extent = [int(n) for n in pieces[0].get("Extent", "").split()]
    points = [high - low + 1 for low, high in zip(extent[::2], extent[1::2], strict=True)]
    fields = {}
    for place in ("CellData", "PointData"):
        for entry in pieces[0].iterfind(f"{place}/DataArray"):
            components = int(entry.get("NumberOfComponents", "1"))
            if entry.get("type") in _XML_TYPES:
                name = f"{place}/{entry.get('Name')}"
                fields[name] = (place, components, lambda entry=entry: _xml_values(path, root, entry, appended))
    place, components, values = fields[_one(path, part, fields)]
    return _voxels(path, _Field(place, components, values()), points, spacing)


def _xml(path: Path) -> tuple[ElementTree.Element, tuple[str, bytes]]:
    """The tree of a file, and the encoding and bytes of its appended data, which need not be XML."""
    content = path.read_bytes()
    found = re.search(rb"<AppendedData\s+encoding\s*=\s*[\"'](\w+)[\"']\s*>\s*_", content)
    if found is None:
        return ElementTree.fromstring(content), ("", b"")
    head = content[: found.start()] + b"</VTKFile>"
    return ElementTree.fromstring(head), (found[1].decode(), content[found.end() :])


def _xml_values(path: Path, root, entry, appended: tuple[str, bytes]) -> np.ndarray:
    """The values of a DataArray, one after another."""
    order = "<" if root.get("byte_order", "LittleEndian") == "LittleEndian" else ">"
    dtype = np.dtype(order + _XML_TYPES[entry.get("type")])
    form = entry.get("format", "ascii")
    if form == "ascii":
        wide = np.float64 if dtype.kind == "f" else np.int64 if dtype.kind == "i" else np.uint64
        return np.array((entry.text or "").split(), dtype=wide)
    header = np.dtype(order + _XML_TYPES[root.get("header_type", "UInt32")])
    compressor = root.get("compressor")
    if compressor and compressor not in _COMPRESSORS:
        raise BadInput(f"{path}: compressed by {compressor}. Save it with zlib or without compression.")
    encoding, data = ("base64", (entry.text or "").strip().encode()) if form == "binary" else appended
    if form != "binary":
        data = data[int(entry.get("offset", "0")) :]
    decompress = _COMPRESSORS[compressor] if compressor else None
    return np.frombuffer(_block(_Bytes(data, encoding == "base64"), header, decompress), dtype)


class _Bytes:
    """Bytes that are taken one run after another, from a raw stream or from base64, where runs are padded one by one."""

    def __init__(self, data: bytes, encoded: bool):
        self._data, self._encoded, self._at = b"".join(data.split()) if encoded else data, encoded, 0

    def ends_after(self, count: int) -> bool:
        """Whether the next `count` bytes are a run of their own, which their padding shows."""
        return self._encoded and self._data[self._at : self._at + -(-count // 3) * 4].endswith(b"=")

    def take(self, count: int) -> bytes:
        """The next `count` bytes, as a run of its own. Raises `ValueError` where there are fewer."""
        length = -(-count // 3) * 4 if self._encoded else count
        run = self._data[self._at : self._at + length]
        self._at += length
        run = base64.b64decode(run)[:count] if self._encoded else run
        if len(run) < count:
            raise ValueError(f"{count} bytes are announced, {len(run)} are there")
        return run

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, without going on."""
        before, run = self._at, self.take(count)
        self._at = before
        return run


def _block(stream: _Bytes, header: np.dtype, decompress) -> bytes:
    """A block: its length and its bytes, in base64 one run or two; or a table of compressed blocks and those."""
    size = header.itemsize
    if decompress is None:
        length = int(np.frombuffer(stream.peek(size), header)[0])
        if stream.ends_after(size):
            stream.take(size)
            return stream.take(length)
        return stream.take(size + length)[size:]
    blocks = int(np.frombuffer(stream.peek(size), header)[0])
    sizes = np.frombuffer(stream.take((3 + blocks) * size), header)[3:].astype(int)
    packed = stream.take(int(sizes.sum()))
    ends = np.cumsum(sizes)
    return b"".join(decompress(packed[end - size : end]) for end, size in zip(ends, sizes, strict=True))


def read_vtk(path: Path, part: str | None) -> np.ndarray:
    """The voxels of legacy structured points. `part`: the name of the array. Raises `BadInput`."""
    stream = _Lines(path.read_bytes())
    if not stream.line().startswith("# vtk DataFile"):
        raise ValueError("no legacy VTK file: its first line is another one")
    stream.line()
    binary = stream.line().upper() == "BINARY"
    points, spacing, place, count, fields = [], [1.0], "", 0, {}
    while (words := stream.words()) is not None:
        key = words[0].upper()
        if key == "DATASET" and words[1].upper() != "STRUCTURED_POINTS":
            raise BadInput(
                f"{path}: VTK data of the kind {words[1]}. Voxels are STRUCTURED_POINTS: resample to an image first."
            )
        if key == "DIMENSIONS":
            points = [int(n) for n in words[1:4]]
        elif key in ("SPACING", "ASPECT_RATIO"):
            spacing = [float(n) for n in words[1:4]]
        elif key in ("CELL_DATA", "POINT_DATA"):
            place, count = ("CellData" if key[0] == "C" else "PointData"), int(words[1])
        elif key == "SCALARS":
            components = int(words[3]) if len(words) > 3 else 1
            if stream.peek().upper().startswith("LOOKUP_TABLE"):
                stream.line()
            fields[f"{place}/{words[1]}"] = _Field(place, components, stream.values(words[2], components * count, binary))
        elif key == "FIELD":
            for _ in range(int(words[2])):
                name, *size, kind = stream.words_of_array()
                components, rows = (int(n) for n in size)
                fields[f"{place}/{name}"] = _Field(place, components, stream.values(kind, components * rows, binary))
        elif key in ("VECTORS", "NORMALS", "TENSORS"):
            stream.values(words[2], (9 if key == "TENSORS" else 3) * count, binary)
        elif key in ("LOOKUP_TABLE", "COLOR_SCALARS", "TEXTURE_COORDINATES"):
            raise BadInput(f"{path}: a section {key}, which is not read. Save the labels as SCALARS alone.")
        elif key == "METADATA":
            stream.skip_paragraph()
    usable = {name: field for name, field in fields.items() if field.place}
    return _voxels(path, usable[_one(path, part, dict(usable))], points, spacing)


class _Lines:
    """Lines of text with blocks of numbers between them."""

    def __init__(self, data: bytes):
        self._data, self._at = data, 0

    def line(self) -> str:
        """The next line; the empty text at the end."""
        end = self._data.find(b"\n", self._at)
        end = len(self._data) if end < 0 else end
        found, self._at = self._data[self._at : end], end + 1
        return found.decode("utf-8", errors="replace").strip()

    def peek(self) -> str:
        """The next line, without going on."""
        before, found = self._at, self.line()
        self._at = before
        return found

    def words(self) -> list[str] | None:
        """The words of the next line that has some, None at the end."""
        while self._at < len(self._data):
            if words := self.line().split():
                return words
        return None

    def words_of_array(self) -> list[str]:
        """The head of the next array of a field, behind what is said of the one before. Raises `ValueError` at the end."""
        while (words := self.words()) is not None:
            if words[0].upper() != "METADATA":
                return words
            self.skip_paragraph()
        raise ValueError("a field has fewer arrays than announced")

    def skip_paragraph(self) -> None:
        """Go on behind the next empty line."""
        while self._at < len(self._data) and self.line():
            pass

    def values(self, kind: str, count: int, binary: bool) -> np.ndarray:
        """`count` numbers of a type of VTK, big-endian where they are binary. Raises `ValueError` where there are fewer."""
        if kind.lower() not in _LEGACY_TYPES:
            raise ValueError(f"numbers of the type {kind}")
        dtype = np.dtype(">" + _LEGACY_TYPES[kind.lower()])
        if binary:
            found = np.frombuffer(self._data, dtype, count, self._at)
            self._at += found.nbytes
            return found
        wide = np.float64 if dtype.kind == "f" else np.int64
        numbers = []
        while len(numbers) < count and (words := self.words()) is not None:
            numbers += words
        if len(numbers) != count:
            raise ValueError(f"{count} numbers are announced, {len(numbers)} are there")
        return np.array(numbers, dtype=wide)


def _one(path: Path, part: str | None, fields: dict[str, tuple]) -> str:
    """The array to read: the one that was named, or the only one with one number for each voxel. Raises `BadInput`."""
    single = [name for name, (_, components, _) in fields.items() if components == 1]
    cells = [name for name in single if name.startswith("CellData")]
    if part is not None:
        return named(path, part, list(fields))
    return only(path, labels_among(cells) or cells or labels_among(single) or single or list(fields))


def labels_among(names: list[str]) -> list[str]:
    """Those of the names that are usual for labels, such as `CellData/material`."""
    return [name for name in names if name.split("/")[-1].replace(" ", "").lower() in _LABELS]


def named(path: Path, part: str, names: list[str]) -> str:
    """The name in a file that `part` means: the whole name, or its end where that is enough. Raises `BadInput`."""
    found = [name for name in names if name == part] or [name for name in names if name.endswith(f"/{part}")]
    if len(found) != 1:
        raise BadInput(f"{path}: {len(found) or 'no'} arrays with the name {part!r}. There are: {_told(found or names)}.")
    return found[0]


def only(path: Path, names: list[str]) -> str:
    """The only name. Raises `BadInput` with all of them."""
    if not names:
        raise BadInput(f"{path}: no array of numbers in the file.")
    if len(names) > 1:
        raise BadInput(f"{path}: several arrays: {_told(names)}. Choose one with part=NAME (--part NAME).")
    return names[0]


def _told(names: list[str]) -> str:
    """Names for a message, of many the first."""
    return ", ".join(names[:_TOLD]) + (f" and {len(names) - _TOLD} more" if len(names) > _TOLD else "") or "none"


def refuse_sides(path: Path, sides, counts) -> None:
    """Voxels are cubes here: `BadInput` where their sides differ along axes with more than one of them."""
    seen = [float(side) for side, count in zip(sides, counts, strict=False) if count > 1]
    if seen and max(seen) > (1 + 1e-4) * min(seen):
        raise BadInput(f"{path}: voxels of the sides {' '.join(f'{s:g}' for s in seen)}. Resample the image to equal sides.")


def _voxels(path: Path, field: _Field, points: list[int], spacing: list[float]) -> np.ndarray:
    """Values with x fastest as an array (nx, ny, nz), without the directions of one voxel."""
    shape = [max(n - 1, 1) for n in points] if field.place == "CellData" else points
    refuse_sides(path, spacing, shape)
    expected = int(np.prod(shape)) * field.components
    if field.values.size != expected:
        raise ValueError(f"{expected} numbers are needed for {'x'.join(map(str, shape))} voxels, {field.values.size} are there")
    array = field.values.reshape(*shape[::-1], field.components)
    array = array[..., 0] if field.components == 1 else grey(array, path)
    array = array.transpose(2, 1, 0)
    array = array.reshape([n for n in shape if n > 1] or [1])
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
