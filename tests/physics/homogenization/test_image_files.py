"""Image files: each becomes what it says, or is refused by its name."""

import struct
import sys

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.physics.homogenization.images import read_labels

read = fx.homogenization.read_image
LABELS = np.random.default_rng(1).integers(0, 3, (20, 24)).astype(np.uint8)
TWO = (LABELS > 0).astype(np.uint8) * 255
COLOUR = np.random.default_rng(2).integers(0, 255, (20, 24, 3)).astype(np.uint8)
BLOCK = np.random.default_rng(3).integers(0, 200, (5, 20, 24)).astype(np.uint8)


def alike(found, expected):
    return found.shape == expected.shape and np.array_equal(found, expected)


def with_opacity(channels, opacity=255):
    return np.concatenate([channels, np.full((*channels.shape[:2], 1), opacity, np.uint8)], axis=-1)


THREE = np.repeat(TWO[..., None], 3, -1)


@pytest.mark.parametrize("ending", [".tif", ".npy"])
@pytest.mark.parametrize("array", [THREE, with_opacity(THREE)], ids=["RGB", "RGBA"])
def test_grey_in_channels_is_a_picture_and_no_volume(tmp_path, ending, array):
    path = tmp_path / f"cell{ending}"
    np.save(path, array) if ending == ".npy" else tifffile.imwrite(path, array, photometric="rgb")
    assert alike(read(path), TWO) and alike(read_labels(path)[0], TWO)
    assert alike(read_labels(array)[0], TWO)


def test_channels_of_other_writers(tmp_path):
    path = tmp_path / "cell.tif"
    for mode in ("RGB", "RGBA", "LA"):
        Image.fromarray(TWO).convert(mode).save(path)
        assert alike(read(path), TWO), mode
    tifffile.imwrite(path, np.moveaxis(THREE, -1, 0), photometric="rgb", planarconfig="separate")
    assert alike(read(path), TWO)
    pages = np.stack([THREE, 255 - THREE])
    tifffile.imwrite(path, pages, photometric="rgb")
    assert alike(read(path), pages[..., 0])
    deep = np.repeat(np.arange(480, dtype=np.uint16).reshape(20, 24, 1) * 100, 3, -1)
    tifffile.imwrite(path, deep, photometric="rgb")
    assert alike(read(path), deep[..., 0])


@pytest.mark.parametrize("ending", [".tif", ".npy", ".bmp", ".png"])
def test_colours_are_refused(tmp_path, ending):
    path = tmp_path / f"cell{ending}"
    if ending == ".npy":
        np.save(path, COLOUR)
    elif ending == ".tif":
        tifffile.imwrite(path, COLOUR, photometric="rgb")
    else:
        Image.fromarray(COLOUR).save(path)
    with pytest.raises(BadInput, match=r"a picture in colour. Save it as greyscale"):
        read(path)


def test_other_colours_are_refused(tmp_path):
    Image.fromarray(COLOUR).save(tmp_path / "cell.tif")
    with pytest.raises(BadInput, match="a picture in colour"):
        read(tmp_path / "cell.tif")
    Image.fromarray(COLOUR).convert("CMYK").save(tmp_path / "cell.jpg")
    with pytest.raises(BadInput, match=r"colour \(mode CMYK\)"):
        read(tmp_path / "cell.jpg")
    np.save(tmp_path / "clear.npy", with_opacity(THREE, 128))
    with pytest.raises(BadInput, match="transparent pixels"):
        read(tmp_path / "clear.npy")
    tifffile.imwrite(tmp_path / "c.tif", BLOCK[:, None].repeat(2, 1), imagej=True, metadata={"axes": "ZCYX"})
    with pytest.raises(BadInput, match="2 channels"):
        read(tmp_path / "c.tif")
    with pytest.raises(BadInput, match="colour"):
        read_labels(COLOUR)
    with pytest.raises(BadInput, match="looks like colour channels"):
        read_labels(THREE / 255.0)


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float32])
def test_a_thin_volume_has_to_be_called_one(tmp_path, kind):
    thin = COLOUR.astype(kind)
    np.save(tmp_path / "thin.npy", thin)
    with pytest.raises(BadInput, match=r"volume=True of fx.homogenization.read_image, or --volume"):
        read(tmp_path / "thin.npy")
    found = read(tmp_path / "thin.npy", volume=True)
    assert alike(found, thin) and alike(read_labels(found.astype(int))[0], thin)
    tifffile.imwrite(tmp_path / "thin.tif", thin, photometric="rgb")
    assert alike(read(tmp_path / "thin.tif", volume=True), thin)


def test_small_volumes_and_other_arrays_stay_what_they_are(tmp_path):
    for array in (np.arange(48).reshape(4, 4, 3), BLOCK[:, :5, :4], np.zeros((20, 20, 5), np.uint8), np.zeros((7, 16, 4))):
        np.save(tmp_path / "a.npy", array)
        assert alike(read(tmp_path / "a.npy"), array)
    whole = np.random.default_rng(0).integers(0, 2, (30, 30, 3))
    assert alike(read_labels(whole)[0], whole)  # whole numbers in memory are no picture


@pytest.mark.parametrize("kind", [np.uint8, np.int64, np.bool_, np.float64])
@pytest.mark.parametrize("shape", [(3, 12, 16), (4, 12, 16), (2, 12, 16), (12, 16, 2), (12, 16, 3)], ids=str)
def test_channels_in_any_place_are_no_volume_in_silence(tmp_path, shape, kind):
    """Nothing in these files says which axis is which."""
    array = np.random.default_rng(0).integers(0, 2, shape).astype(kind)
    for path in (tmp_path / "cell.npy", tmp_path / "cell.npz"):
        np.save(path, array) if path.suffix == ".npy" else np.savez(path, array)
        with pytest.raises(BadInput, match=r"colour|transparent") as told:
            read(path)
        assert str(shape) in str(told.value) and "volume=True of fx.homogenization.read_image, or --volume" in str(told.value)
        assert alike(read(path, volume=True), array)
    if kind is np.uint8:
        with pytest.raises(BadInput, match=r"labels\.astype\(int\) for an array in memory"):
            read_labels(array)
    assert alike(read_labels(array.astype(int))[0], array)


def test_grey_in_other_channels_is_a_picture(tmp_path):
    path = tmp_path / "cell.npy"
    opaque = np.full_like(TWO, 255)
    for array in (np.stack([TWO] * 3), np.stack([TWO, opaque]), np.stack([TWO, opaque], axis=-1)):
        np.save(path, array)
        assert alike(read(path), TWO) and alike(read_labels(array)[0], TWO)


def test_pages_of_a_stack_are_no_channels(tmp_path):
    tifffile.imwrite(tmp_path / "stack.tif", BLOCK, photometric="minisblack")
    assert alike(read(tmp_path / "stack.tif"), BLOCK)


def palette(indices):
    picture = Image.frombytes("P", indices.shape[::-1], np.ascontiguousarray(indices).tobytes())
    picture.putpalette([200, 10, 0, 0, 255, 0, 7, 0, 255])
    return picture


@pytest.mark.parametrize("ending", [".tif", ".gif", ".bmp", ".png"])
def test_palettes_give_their_indices(tmp_path, ending):
    path = tmp_path / f"cell{ending}"
    palette(LABELS).save(path, **({"optimize": False} if ending == ".gif" else {}))
    assert alike(read(path), LABELS)


@pytest.mark.parametrize("ending", [".bmp", ".gif", ".png"])
def test_grey_pictures(tmp_path, ending):
    Image.fromarray(BLOCK[0]).save(tmp_path / f"cell{ending}")
    assert alike(read(tmp_path / f"cell{ending}"), BLOCK[0])


def test_palettes_of_greys(tmp_path):
    """A gif has no other greys than those of its palette; a png has, so that its indices are meant."""
    picture = palette(LABELS)
    picture.putpalette([10, 10, 10, 130, 130, 130, 70, 70, 70])
    for ending in (".gif", ".bmp", ".png"):
        picture.save(tmp_path / f"cell{ending}")
        assert alike(read(tmp_path / f"cell{ending}"), LABELS if ending == ".png" else np.uint8([10, 130, 70])[LABELS])


def test_a_jpeg_holds_no_labels(tmp_path):
    for name in ("cell.jpg", "cell.jpeg", "cell.tif"):
        Image.fromarray(TWO).save(tmp_path / name, **({"compression": "jpeg"} if name == "cell.tif" else {}))
        grey = read(tmp_path / name)
        assert grey.shape == TWO.shape and alike(fx.homogenization.threshold(grey, 128), (TWO > 0).astype(np.uint8))
        with pytest.raises(BadInput, match=r"JPEG changes the values of pixels.*threshold"):
            read_labels(tmp_path / name)
    (tmp_path / "cell.jpg").rename(tmp_path / "really.png")
    with pytest.raises(BadInput, match="JPEG"):
        read_labels(tmp_path / "really.png")


def test_deep_colours_that_pillow_would_cut_are_refused(tmp_path):
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + struct.pack(">6H", *[256 + r] * 6) for r in range(2))
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    (tmp_path / "deep.png").write_bytes(content)
    with pytest.raises(BadInput, match="16 bits for each channel"):
        read(tmp_path / "deep.png")
    deep = (np.arange(480).reshape(20, 24) * 101).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "grey.png")
    assert alike(read(tmp_path / "grey.png"), deep)


def test_a_second_series_is_not_dropped(tmp_path):
    path = tmp_path / "cell.tif"
    pages = [Image.fromarray(page) for page in BLOCK]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    assert alike(read(path), BLOCK)  # a stack of equal pages
    pages[0].save(path, save_all=True, append_images=[*pages[1:], Image.fromarray(TWO[:8, :8])])
    with pytest.raises(BadInput, match=r"2 parts \(0: 5 pages of 20x24 uint8; 1: 1 page of 8x8 uint8\). Choose .*--part"):
        read(path)
    assert alike(read(path, part=0), BLOCK) and alike(read(path, part="1"), TWO[:8, :8])
    with pytest.raises(BadInput, match="no part '2'"):
        read(path, part=2)
    tifffile.imwrite(path, BLOCK[0])
    tifffile.imwrite(path, BLOCK[1] > 9, append=True)
    with pytest.raises(BadInput, match=r"2 parts .0: 1 page of 20x24 uint8; 1: 1 page of 20x24 bool"):
        read(path)
    path.unlink()
    for page in BLOCK:  # each a series of its own
        tifffile.imwrite(path, page, append=True)
    assert alike(read(path), BLOCK) and alike(read(path, part=2), BLOCK[2])


def test_frames_of_a_moving_picture_are_not_dropped(tmp_path):
    frames = [palette(LABELS), palette(2 - LABELS)]
    frames[0].save(tmp_path / "cell.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(BadInput, match="2 parts"):
        read(tmp_path / "cell.gif")
    assert alike(read(tmp_path / "cell.gif", part=0), LABELS)


def test_a_stack_that_is_cut_off_between_pages_is_damaged(tmp_path):
    path = tmp_path / "cell.tif"
    pages = [Image.fromarray(page) for page in BLOCK]
    pages[0].save(path, save_all=True, append_images=pages[1:])
    with tifffile.TiffFile(path) as file:
        third = file.pages[2].offset
    path.write_bytes(path.read_bytes()[:third])
    with pytest.raises(BadInput, match="damaged"):
        read(path)


@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_where_the_lowest_value_is_white(tmp_path, compression):
    """Pillow writes what it is given, in either sense; read with pillow and seen in a viewer white is white."""
    path = tmp_path / "cell.tif"
    for array in (BLOCK[0], TWO > 0):
        for sense in (0, 1):
            Image.fromarray(array).save(path, compression=compression, tiffinfo={262: sense})
            with tifffile.TiffFile(path) as file:
                assert int(file.pages[0].photometric) == sense
            assert alike(read(path), array)
    deep = np.array([[0, 1], [65535, 300]], np.uint16)
    tifffile.imwrite(path, deep, photometric="miniswhite")
    assert alike(read(path), 65535 - deep)
    Image.fromarray(deep).save(path, compression=compression, tiffinfo={262: 0})  # stored as it is
    assert alike(read(path), 65535 - deep)
    tifffile.imwrite(path, deep.astype(np.float32), photometric="miniswhite")
    with pytest.raises(BadInput, match="MinIsWhite of the type float32"):
        read(path)


@pytest.mark.parametrize("compression", ["tiff_lzw", "group3", "group4", "tiff_ccitt", "packbits", "tiff_adobe_deflate"])
def test_compressions(tmp_path, compression):
    path = tmp_path / "cell.tif"
    if compression.startswith(("group", "tiff_cc")):
        Image.fromarray(TWO > 0).save(path, compression=compression)
        assert alike(read(path), TWO > 0)
        return
    Image.fromarray(BLOCK[0]).save(path, compression=compression)
    assert alike(read(path), BLOCK[0])
    palette(LABELS).save(path, compression=compression)
    assert alike(read(path), LABELS)
    pages = [Image.fromarray(page) for page in BLOCK]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression=compression)
    assert alike(read(path), BLOCK)
    Image.fromarray(THREE).save(path, compression=compression)
    assert alike(read(path), TWO)
    for kind in (np.uint16, np.int32, np.float32):
        wide = (BLOCK[0].astype(kind) - (0 if kind is np.uint16 else 100)) * kind(200)
        Image.fromarray(wide).save(path, compression=compression)
        assert alike(read(path), wide) and read(path).dtype == kind


def packed_tiff(array, bits, sense):
    """A TIFF of a few bits for each sample, written by hand."""
    rows = np.packbits(np.unpackbits(array[..., None], axis=-1)[..., 8 - bits :].reshape(len(array), -1), axis=-1)
    data = rows.tobytes()
    tags = [(256, 4, array.shape[1]), (257, 4, len(array)), (258, 3, bits), (259, 3, 1), (262, 3, sense), (273, 4, 8),
            (277, 3, 1), (278, 4, len(array)), (279, 4, len(data))]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags)
    return b"II*\0" + struct.pack("<I", 8 + len(data)) + data + struct.pack("<H", len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("bits", [2, 4])
def test_samples_of_a_few_bits(tmp_path, bits):
    array = np.random.default_rng(0).integers(0, 2**bits, (6, 16)).astype(np.uint8)
    for sense in (0, 1):
        (tmp_path / "cell.tif").write_bytes(packed_tiff(array, bits, sense))
        assert alike(read(tmp_path / "cell.tif"), array if sense else 2**bits - 1 - array)


def test_archives_of_numpy(tmp_path):
    np.savez(tmp_path / "one.npz", labels=BLOCK)
    assert alike(read(tmp_path / "one.npz"), BLOCK)
    np.savez_compressed(tmp_path / "two.npz", labels=BLOCK, grey=BLOCK * 2)
    with pytest.raises(BadInput, match=r"several arrays: labels, grey. Choose one with part=NAME \(--part NAME\)"):
        read(tmp_path / "two.npz")
    assert alike(read(tmp_path / "two.npz", part="grey"), BLOCK * 2)
    with pytest.raises(BadInput, match=r"no arrays with the name 'gray'. There are: labels, grey"):
        read(tmp_path / "two.npz", part="gray")
    np.save(tmp_path / "wrong.npy", BLOCK)
    (tmp_path / "wrong.npy").rename(tmp_path / "wrong.npz")
    with pytest.raises(BadInput, match=r"wrong.npz: a NumPy array, not what its ending .npz says. Give it the ending .npy"):
        read(tmp_path / "wrong.npz")


def test_raw_data(tmp_path):
    path = tmp_path / "cell.raw"
    block = (BLOCK * np.uint16(100)).astype(">u2")
    path.write_bytes(block.tobytes())
    found = read(path, shape=BLOCK.shape, dtype=">u2")
    assert alike(found, block) and found.dtype == np.uint16
    for words, told in (
        ({}, r"Give shape=.*--raw-shape and --raw-type\); the file has 4800 bytes"),
        ({"shape": (4, 20, 25), "dtype": "uint16"}, "4x20x25 voxels of uint16 take 4000 bytes, the file has 4800"),
        ({"shape": (4, 20, 24), "dtype": "grey"}, "dtype = 'grey'"),
        ({"shape": (4, 20, 24), "dtype": "S2"}, "dtype = 'S2'"),
        ({"shape": (4, 0, 24), "dtype": "u2"}, r"shape = \(4, 0, 24\)"),
        ({"shape": (1, 2, 20, 48), "dtype": "u2"}, "one to three"),
    ):
        with pytest.raises(BadInput, match=told):
            read(path, **words)
    np.save(tmp_path / "cell.npy", BLOCK)
    with pytest.raises(BadInput, match=r"for .raw files"):
        read(tmp_path / "cell.npy", shape=(4, 20, 24))


XYZ = np.arange(3 * 4 * 5).reshape(3, 4, 5).astype(np.int32)  # (x, y, z)


def dream3d(path, *sets, spacing=(0.5, 0.5, 0.5)):
    with h5py.File(path, "w") as file:
        group = file.create_group("DataContainers/ImageDataContainer/CellData")
        geometry = file.create_group("DataContainers/ImageDataContainer/_SIMPL_GEOMETRY")
        geometry["DIMENSIONS"], geometry["SPACING"] = np.array([3, 4, 5]), np.array(spacing)
        for name, array in sets:
            group[name] = array.T[..., None]  # x fastest
            group[name].attrs["ComponentDimensions"] = np.array([1], np.uint64)
            group[name].attrs["TupleDimensions"] = np.array([3, 4, 5], np.uint64)
        group["IPFColor"] = np.zeros((5, 4, 3, 3), np.uint8)
        group["IPFColor"].attrs["ComponentDimensions"] = np.array([3], np.uint64)
        grains = file.create_dataset("DataContainers/ImageDataContainer/CellFeatureData/Phases", data=np.ones((9, 1), np.int32))
        grains.attrs["ComponentDimensions"] = np.array([1], np.uint64)
    return path


def test_dream3d(tmp_path):
    for ending in ("dream3d", "h5"):
        assert alike(read(dream3d(tmp_path / f"a.{ending}", ("FeatureIds", XYZ), ("Confidence", XYZ * 1.5))), XYZ)
    two = dream3d(tmp_path / "two.dream3d", ("FeatureIds", XYZ), ("Phases", XYZ % 2))
    with pytest.raises(BadInput, match=r"several arrays: .*CellData/FeatureIds, .*CellData/Phases. Choose"):
        read(two)
    assert alike(read(two, part="CellData/Phases"), XYZ % 2) and alike(read(two, part="FeatureIds"), XYZ)
    assert alike(read(two, part="Phases"), XYZ % 2)  # and not those of the grains
    with pytest.raises(BadInput, match=r"voxels of the sides 0.5 0.5 0.2"):
        read(dream3d(tmp_path / "flat.dream3d", ("FeatureIds", XYZ), spacing=(0.5, 0.5, 0.2)))


def test_copies_of_dream3d_arrays_without_their_attributes(tmp_path):
    copy = dream3d(tmp_path / "a.dream3d", ("FeatureIds", XYZ))
    with h5py.File(copy, "a") as file:
        found = file["DataContainers/ImageDataContainer/CellData/FeatureIds"]
        for name in list(found.attrs):
            del found.attrs[name]
    assert alike(read(copy), XYZ)
    with h5py.File(tmp_path / "own.h5", "w") as file:
        file["voxels"] = XYZ[..., None]  # one number in each, of no program that is known
    assert alike(read(tmp_path / "own.h5"), XYZ)


def test_other_hdf5_files(tmp_path):
    with h5py.File(tmp_path / "own.hdf5", "w") as file:
        file["deep/grey"], file["note"] = XYZ, "text"
    assert alike(read(tmp_path / "own.hdf5"), XYZ)
    with h5py.File(tmp_path / "damask.hdf5", "w") as file:
        file["cell_to/phase"] = np.zeros(3, dtype=[("label", "S4"), ("entry", int)])
    with pytest.raises(BadInput, match=r"a result of DAMASK.*\.vti"):
        read(tmp_path / "damask.hdf5")
    with h5py.File(tmp_path / "bare.hdf5", "w") as file:
        file.attrs["DADF5_version_major"] = 1
    with pytest.raises(BadInput, match="a result of DAMASK"):
        read(tmp_path / "bare.hdf5")
    with h5py.File(tmp_path / "none.h5", "w") as file:
        file["note"] = "text"
    with pytest.raises(BadInput, match="no array of numbers"):
        read(tmp_path / "none.h5")
    with pytest.raises(BadInput, match="holds no array of numbers"):
        read(tmp_path / "none.h5", part="note")
    (tmp_path / "no.h5").write_text("no")
    with pytest.raises(BadInput, match="damaged"):
        read(tmp_path / "no.h5")


@pytest.mark.parametrize("ending", [".jpg", ".bmp", ".gif", ".npy", ".npz", ".vti", ".vtk", ".tif"])
def test_text_in_place_of_an_image_is_named(tmp_path, ending):
    (tmp_path / f"text{ending}").write_text("no picture")
    with pytest.raises(BadInput, match=f"text{ending}: the file is damaged or not what its ending says") as told:
        read(tmp_path / f"text{ending}")
    assert "pickle" not in str(told.value)


def test_pictures_need_pillow(tmp_path, monkeypatch):
    Image.fromarray(TWO).save(tmp_path / "cell.tif", compression="tiff_lzw")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(fx.MissingExtra, match=r"fiberax\[image\]"):
        read(tmp_path / "cell.tif")
