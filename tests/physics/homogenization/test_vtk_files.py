"""Voxels in VTK's files, written here after its description of formats, and by fiberax itself."""

import base64
import lzma
import zlib

import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.io.vtk import write_image

read = fx.homogenization.read_image
XYZ = np.random.default_rng(0).integers(0, 5000, (3, 4, 5)).astype(np.int32)  # (x, y, z)


def alike(found, expected):
    return found.shape == expected.shape and np.array_equal(found, expected)


def vti(path, arrays, head="", appended="", extent="0 3 0 4 0 5", spacing="1 1 1"):
    path.write_text(
        f'<?xml version="1.0"?>\n<VTKFile type="ImageData" version="1.0" byte_order="LittleEndian" {head}>\n'
        f'<ImageData WholeExtent="{extent}" Origin="0 0 0" Spacing="{spacing}"><Piece Extent="{extent}">\n{arrays}\n'
        f"</Piece></ImageData>{appended}</VTKFile>"
    )
    return path


def cells(text, name="material", words='format="ascii"', kind="Int32", place="CellData"):
    return f'<{place}><DataArray type="{kind}" Name="{name}" {words}>{text}</DataArray></{place}>'


def ascii_of(array):
    return " ".join(map(str, array.T.ravel()))  # x fastest


def coded(data):
    return base64.b64encode(data).decode()


def test_text(tmp_path):
    assert alike(read(vti(tmp_path / "a.vti", cells(ascii_of(XYZ)))), XYZ)
    points = cells(ascii_of(XYZ), place="PointData")
    assert alike(read(vti(tmp_path / "p.vti", points, extent="0 2 0 3 0 4")), XYZ)
    flat = vti(tmp_path / "f.vti", cells(ascii_of(XYZ[..., :1])), extent="0 3 0 4 0 0", spacing="0.1 0.1 7")
    assert alike(read(flat), XYZ[..., 0])
    floats = cells(ascii_of(XYZ / 7.0), kind="Float64")
    assert alike(read(vti(tmp_path / "d.vti", floats)), XYZ / 7.0)


@pytest.mark.parametrize("width", ["UInt32", "UInt64"])
@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("where", ["binary", "appended"])
def test_base64(tmp_path, width, apart, where):
    data, head = XYZ.T.tobytes(), np.array([XYZ.nbytes], dtype=width.lower()).tobytes()
    block = coded(head) + coded(data) if apart else coded(head + data)
    header = f'header_type="{width}"'
    if where == "binary":
        path = vti(tmp_path / "a.vti", cells(f"\n  {block[:40]}\n{block[40:]}\n", words='format="binary"'), header)
    else:
        first = coded(np.array([4], dtype=width.lower()).tobytes() + b"abcd")
        words = f'format="appended" offset="{len(first)}"'
        other = '<DataArray type="Int8" Name="v" NumberOfComponents="3" format="appended" offset="0"/>'
        arrays = cells("", words=words).replace("</CellData>", f"{other}</CellData>")
        path = vti(tmp_path / "a.vti", arrays, header, f'<AppendedData encoding="base64">\n_{first}{block}\n</AppendedData>')
    assert alike(read(path), XYZ)


@pytest.mark.parametrize(("name", "pack"), [("ZLib", zlib.compress), ("LZMA", lzma.compress)])
def test_compressed_blocks(tmp_path, name, pack):
    data = XYZ.T.tobytes()
    parts = [data[:100], data[100:200], data[200:]]
    packed = [pack(part) for part in parts]
    table = np.array([3, 100, len(parts[-1]), *map(len, packed)], np.uint32).tobytes()
    head = f'header_type="UInt32" compressor="vtk{name}DataCompressor"'
    block = coded(table) + coded(b"".join(packed))
    assert alike(read(vti(tmp_path / "a.vti", cells(block, words='format="binary"'), head)), XYZ)
    with pytest.raises(BadInput, match="compressed by vtkLZ4DataCompressor"):
        read(vti(tmp_path / "b.vti", cells(block, words='format="binary"'), head.replace(name, "LZ4")))


@pytest.mark.parametrize("shape", [(6,), (5, 4), (3, 4, 5)])
def test_what_fiberax_writes_is_read(tmp_path, shape):
    array = np.random.default_rng(1).random(shape)
    ends = (0.0,) * len(shape), (0.1,) * len(shape)
    write_image(tmp_path / "a.vti", *ends, {"U": array[..., None], "flux": np.stack([array] * 3, axis=-1)})
    assert alike(read(tmp_path / "a.vti"), array)
    assert alike(read(tmp_path / "a.vti", part="U"), array)


def test_several_arrays(tmp_path):
    path = vti(tmp_path / "a.vti", cells(ascii_of(XYZ)) + cells(ascii_of(XYZ + 1), "grain"))
    assert alike(read(path), XYZ)  # the only usual name of labels
    path = vti(tmp_path / "a.vti", cells(ascii_of(XYZ), "Material Id") + cells(ascii_of(XYZ + 1), "labels"))
    with pytest.raises(BadInput, match=r"several arrays: CellData/Material Id, CellData/labels. Choose"):
        read(path)
    path = vti(tmp_path / "a.vti", cells(ascii_of(XYZ), "density") + cells(ascii_of(XYZ + 1), "grain"))
    with pytest.raises(BadInput, match=r"several arrays: CellData/density, CellData/grain. Choose"):
        read(path)
    assert alike(read(path, part="grain"), XYZ + 1) and alike(read(path, part="CellData/density"), XYZ)
    with pytest.raises(BadInput, match="no arrays with the name 'rain'"):
        read(path, part="rain")


def test_what_is_no_image_of_cubes_is_named(tmp_path):
    with pytest.raises(BadInput, match="voxels of the sides 1 1 2"):
        read(vti(tmp_path / "a.vti", cells(ascii_of(XYZ)), spacing="1 1 2"))
    with pytest.raises(BadInput, match="damaged"):  # a number is missing
        read(vti(tmp_path / "a.vti", cells(ascii_of(XYZ)[:-5])))
    with pytest.raises(BadInput, match="no array of numbers"):
        read(vti(tmp_path / "a.vti", ""))
    (tmp_path / "a.vti").write_text('<VTKFile type="RectilinearGrid"></VTKFile>')
    with pytest.raises(BadInput, match=r"of the kind RectilinearGrid. Voxels are ImageData"):
        read(tmp_path / "a.vti")
    cut = vti(tmp_path / "a.vti", cells(coded(np.uint32([240]).tobytes() + XYZ.tobytes()[:90]), words='format="binary"'))
    with pytest.raises(BadInput, match=r"damaged.*244 bytes are announced"):
        read(cut)


def legacy(path, array, kind, binary, field=False, place="CELL_DATA", spacing="1 1 1"):
    n = [size + (place == "CELL_DATA") for size in array.shape]
    head = f"# vtk DataFile Version 3.0\ntitle\n{'BINARY' if binary else 'ASCII'}\nDATASET STRUCTURED_POINTS\n"
    head += f"DIMENSIONS {n[0]} {n[1]} {n[2]}\nORIGIN 0 0 0\nSPACING {spacing}\n{place} {array.size}\n"
    types = {"int": ">i4", "unsigned_char": ">u1", "double": ">f8", "short": ">i2"}
    numbers = array.T.astype(types[kind])
    data = numbers.tobytes() + b"\n" if binary else (ascii_of(array.astype(types[kind])) + "\n").encode()
    one = np.zeros(3, ">f4").tobytes() + b"\n" if binary else b"0 0 0\n"
    if field:
        first = b"FIELD FieldData 2\nother 3 1 float\n" + one + b"METADATA\nINFORMATION 0\n\n"
        content = first + f"labels 1 {array.size} {kind}\n".encode() + data
    else:
        content = f"SCALARS labels {kind} 1\nLOOKUP_TABLE default\n".encode() + data
    path.write_bytes(head.encode() + content)
    return path


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("field", [False, True])
@pytest.mark.parametrize("kind", ["int", "unsigned_char", "double", "short"])
def test_legacy_structured_points(tmp_path, binary, field, kind):
    array = XYZ % 200 / (4.0 if kind == "double" else 1)
    assert alike(read(legacy(tmp_path / "a.vtk", array, kind, binary, field)), array)
    assert alike(read(legacy(tmp_path / "a.vtk", array, kind, binary, field, "POINT_DATA")), array)
    assert alike(read(tmp_path / "a.vtk", part="labels"), array)


def test_other_legacy_files_are_named(tmp_path):
    path = legacy(tmp_path / "a.vtk", XYZ, "int", False)
    path.write_text(path.read_text().replace("STRUCTURED_POINTS", "UNSTRUCTURED_GRID"))
    with pytest.raises(BadInput, match="of the kind UNSTRUCTURED_GRID"):
        read(path)
    with pytest.raises(BadInput, match="voxels of the sides 1 2 1"):
        read(legacy(path, XYZ, "int", True, spacing="1 2 1"))
    for binary in (False, True):
        whole = legacy(path, XYZ, "int", binary).read_bytes()
        path.write_bytes(whole[:-30])
        with pytest.raises(BadInput, match="damaged"):
            read(path)
