"""Kinds of image files by their first bytes, options of files that change nothing, and stacks whose pages are few."""

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

import fiberax as fx
from fiberax.core.errors import BadInput

read = fx.homogenization.read_image
TWO = np.random.default_rng(1).integers(0, 2, (20, 24)).astype(np.uint8) * 255
COLOUR = np.random.default_rng(2).integers(0, 255, (20, 24, 3)).astype(np.uint8)
BLOCK = np.random.default_rng(3).integers(0, 200, (5, 20, 24)).astype(np.uint8)


def alike(found, expected):
    return found.shape == expected.shape and np.array_equal(found, expected)


SAVED = {
    ".png": lambda path: Image.fromarray(TWO).save(path),
    ".gif": lambda path: Image.fromarray(TWO).save(path),
    ".bmp": lambda path: Image.fromarray(TWO).save(path),
    ".jpg": lambda path: Image.fromarray(TWO).save(path),
    ".tif": lambda path: tifffile.imwrite(path, TWO),
    ".npy": lambda path: np.save(path, TWO),
    ".npz": lambda path: np.savez(path, TWO),
    ".h5": lambda path: h5py.File(path, "w").create_dataset("labels", data=TWO).file.close(),
    ".vtk": lambda path: path.write_text("# vtk DataFile Version 3.0\n"),
    ".vti": lambda path: path.write_text("<?xml version='1.0'?>\n<VTKFile type='ImageData'></VTKFile>"),
}


@pytest.mark.parametrize("true", SAVED)
def test_a_file_with_the_ending_of_another_kind_is_told_by_its_name(tmp_path, true):
    SAVED[true](tmp_path / f"cell{true}")
    content = (tmp_path / f"cell{true}").read_bytes()
    pictures = [".png", ".gif", ".bmp", ".jpg"]
    for ending in SAVED:
        (tmp_path / f"cell{ending}").write_bytes(content)
        if true in pictures and ending in pictures:
            assert read(tmp_path / f"cell{ending}").shape == TWO.shape  # pillow looks at the bytes, too
        elif ending != true:
            with pytest.raises(BadInput, match=f"not what its ending {ending} says. Give it the ending {true}"):
                read(tmp_path / f"cell{ending}")


def test_other_contents_are_told(tmp_path):
    path = tmp_path / "cell.npy"
    for content, words in ((b"", "the file is empty"), (b"%PDF-1.4", "a PDF document, .* Save it in a format that is read")):
        path.write_bytes(content)
        with pytest.raises(BadInput, match=words):
            read(path)
    for save, name in ((np.save, "cell.npy"), (np.savez, "cell.npz")):
        save(tmp_path / name, np.array([[1, None]], dtype=object))
        with pytest.raises(BadInput, match=r"Python objects \(dtype object\). Save numbers"):
            read(tmp_path / name)


def test_a_part_and_a_volume_without_effect_are_told(tmp_path):
    np.save(tmp_path / "cell.npy", BLOCK)
    (tmp_path / "cell.raw").write_bytes(BLOCK.tobytes())
    Image.fromarray(TWO).save(tmp_path / "cell.png")
    for name, words in (("cell.npy", {}), ("cell.raw", {"shape": BLOCK.shape, "dtype": "uint8"})):
        with pytest.raises(BadInput, match=r"part = '0' \(--part\), but a file of this kind holds one array"):
            read(tmp_path / name, part=0, **words)
    with pytest.raises(BadInput, match=r"--volume\), but the image has 2 axes"):
        read(tmp_path / "cell.png", volume=True)
    with pytest.warns(fx.NoEffectWarning, match=r"cell.npy: volume=True \(--volume\) changes nothing"):
        assert alike(read(tmp_path / "cell.npy", volume=True), BLOCK)


@pytest.mark.parametrize("pages", [2, 3, 4])
def test_pages_that_are_called_channels_are_layers_where_volume_says_it(tmp_path, pages):
    path, stack = tmp_path / "cell.tif", BLOCK[:pages]
    tifffile.imwrite(path, stack, imagej=True)
    with pytest.raises(BadInput, match=rf"{pages} channels in an array of shape .* or --volume"):
        read(path)
    assert alike(read(path, volume=True), stack)
    if pages > 2:  # as tifffile does of itself
        tifffile.imwrite(path, stack, photometric="rgb", planarconfig="separate")
        with pytest.raises(BadInput, match="or --volume"):
            read(path)
        assert alike(read(path, volume=True), stack)


def test_slices_of_imagej_are_a_volume(tmp_path):
    for stack in (BLOCK[:3], COLOUR):
        tifffile.imwrite(tmp_path / "cell.tif", stack, imagej=True, metadata={"axes": "ZYX"}, photometric="minisblack")
        assert alike(read(tmp_path / "cell.tif"), stack)
    with pytest.warns(fx.NoEffectWarning, match="changes nothing"):
        read(tmp_path / "cell.tif", volume=True)
    many = np.zeros((2, 3, 9, 9), np.uint8)
    tifffile.imwrite(tmp_path / "cell.tif", many, imagej=True, metadata={"axes": "ZCYX"})
    for volume in (False, True):
        with pytest.raises(BadInput, match=r"3 channels .* Save one of them in a file of its own"):
            read(tmp_path / "cell.tif", volume=volume)
