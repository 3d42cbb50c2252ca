"""Options of images, thresholds and phases: what they make, and what is said of wrong ones on the command line."""

import numpy as np
import pytest
import tifffile

import fiberax as fx
from fiberax import cli
from fiberax.cases.homogenization.composite import composite, pictures
from fiberax.cases.homogenization.homogenize import Homogenize
from fiberax.core.errors import BadInput
from fiberax.io.microstates import Microstate
from fiberax.io.plots.microstates import draw_microstates
from fiberax.io.results import read_table

LABELS = np.array([[0, 0, 1, 1], [0, 1, 1, 0], [0, 0, 1, 1], [1, 0, 0, 0]])
BLOCK = np.random.default_rng(0).integers(0, 2, (4, 4, 4))
GREY = np.random.default_rng(0).normal(np.where(LABELS, 160.0, 60.0), 5.0).round().astype(np.uint8)


def coefficient(path, *, U=0.0, **options):
    case = Homogenize(image=path, low=0.0, high=10.0, rows=2, **options)
    cell, labels, _ = composite(case, 0.0, 10.0)
    return np.asarray(cell.coefficient(U)), labels


@pytest.fixture
def saved(tmp_path):
    def save(array, name="cell.npy"):
        np.save(tmp_path / name, array)
        return tmp_path / name

    return save


@pytest.mark.parametrize(
    ("text", "slopes", "low", "high"),
    [
        ("0,20", "0,0.5", [[0, 0], [0, 0]], [[25, 0], [0, 25]]),
        ("1; 2,3,0.5", "0;0", [[1, 0], [0, 1]], [[2, 0.5], [0.5, 3]]),
        ("2,3; 4", "0.1; 0", [[3, 0], [0, 4]], [[4, 0], [0, 4]]),
        ("2,3; 4", "0.1,0.2,-0.1; 0.5", [[3, -1], [-1, 5]], [[9, 0], [0, 9]]),
        ("0; 2,0", "0;0", [[0, 0], [0, 0]], [[2, 0], [0, 0]]),
    ],
)
def test_conductivities_at_ten_degrees(saved, text, slopes, low, high):
    a, labels = coefficient(saved(LABELS), conductivities=text, slopes=slopes, U=10.0)
    a = a if a.ndim == 4 else a * np.eye(2)[:, :, None, None]
    np.testing.assert_allclose(a[..., 0, 0], low, atol=1e-14)
    np.testing.assert_allclose(a[..., 0, 2], high, atol=1e-14)
    assert np.array_equal(labels, LABELS)


def test_one_phase_with_a_tensor_and_three_dimensions(saved):
    a, _ = coefficient(saved(np.zeros((3, 3), int)), conductivities="2,3;", slopes="0")
    assert np.array_equal(a[..., 1, 1], np.diag([2, 3]))
    a, _ = coefficient(saved(BLOCK), conductivities="1; 1,2,3,0.4,0.5,0.6", slopes="0,0")
    place = tuple(np.argwhere(BLOCK == 1)[0])
    assert np.array_equal(a[(..., *place)], [[1, 0.6, 0.5], [0.6, 2, 0.4], [0.5, 0.4, 3]])


def test_thresholds(saved):
    path = saved(GREY)
    for text in ("otsu", "Otsu ", "110"):
        assert np.array_equal(coefficient(path, threshold=text, slopes="0,0")[1], LABELS)
    three = coefficient(path, threshold="60,110", conductivities="1,2,3", slopes="0,0,0")
    assert np.array_equal(three[1], (GREY > 60).astype(int) + (GREY > 110))
    assert np.array_equal(three[0], three[1] + 1.0)


def test_tables_and_other_files(saved, tmp_path):
    table = tmp_path / "phases.csv"
    table.write_text("label,conductivity\n0,0\n1,5\n9,7")
    assert np.array_equal(coefficient(saved(LABELS), phases=table)[0], 5.0 * LABELS)
    table.write_text("label,phi1,Phi,phi2\n0,0,0,0\n1,1.5707963267948966,0,0")
    for image, tensor in ((LABELS, "2,1,1"), (BLOCK, "2,1,1,0,0,0")):
        a = coefficient(saved(image), phases=table, tensor=tensor, radians=True)[0]
        place = tuple(np.argwhere(image == 1)[0])
        np.testing.assert_allclose(a[(..., *place)], np.diag([1.0, 2.0, 1.0][: image.ndim]), atol=1e-15)
    table.write_text("label,angle\n0,0\n1,90")
    a = coefficient(saved(LABELS), phases=table, tensor="2,1")[0]
    np.testing.assert_allclose(a[..., 0, 2], np.diag([1.0, 2.0]), atol=1e-15)
    a = coefficient(saved(LABELS), phases=table, tensor="2,1,0.5")[0]
    np.testing.assert_allclose(a[..., 0, 2], [[1.0, -0.5], [-0.5, 2.0]], atol=1e-15)
    (tmp_path / "cell.raw").write_bytes(BLOCK.astype(">i2").tobytes())
    a, labels = coefficient(tmp_path / "cell.raw", raw_shape="4,4,4", raw_type=">i2", slopes="0,0", conductivities="1,2")
    assert np.array_equal(labels, BLOCK) and np.array_equal(a, BLOCK + 1.0)
    np.savez(tmp_path / "cell.npz", a=LABELS, b=1 - LABELS)
    assert np.array_equal(coefficient(tmp_path / "cell.npz", part="b", slopes="0,0")[1], 1 - LABELS)
    thin = np.random.default_rng(1).integers(0, 2, (20, 20, 3)).astype(np.uint8)
    assert np.array_equal(coefficient(saved(thin), volume=True, slopes="0,0")[1], thin)


def test_many_grains_need_a_table(saved, tmp_path):
    grains = np.arange(4096).reshape(16, 16, 16)
    with pytest.raises(BadInput, match=r"4096 different labels.*--threshold otsu, or give each label its value by --phases"):
        coefficient(saved(grains))
    table = tmp_path / "phases.csv"
    table.write_text("label,conductivity\n" + "\n".join(f"{k},{k + 1}" for k in range(4096)))
    assert np.array_equal(coefficient(saved(grains), phases=table)[0], grains + 1.0)


def test_what_was_made_is_drawn(saved, tmp_path, monkeypatch):
    """The run keeps a copy of the image, so that the figure can be drawn again without the original."""
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    path = saved(GREY)
    arguments = ["homogenize", "--image", str(path), "--threshold", "otsu", "--rows", "1", "--plain", "--out", "run"]
    assert cli.main(["run", *arguments, "--conductivities", "1,1", "--slopes", "0,0"]) == 0
    figure = tmp_path / "run" / "figures" / "threshold.png"
    assert figure.stat().st_size > 10_000
    assert read_table(tmp_path / "run").arrays["A"][0, 0, 0] == pytest.approx(1.0)
    figure.unlink()
    path.unlink()
    assert cli.main(["plot", "run"]) == 0 and figure.exists()


@pytest.mark.parametrize(("phases", "outlined"), [(1, False), (3, True), (400, False)])
def test_outlines_of_few_phases_alone(phases, outlined):
    """One phase has none, and those of hundreds would hide the picture."""
    plt = pytest.importorskip("matplotlib.pyplot")
    labels = (np.arange(400, dtype=np.int32) % phases).reshape(20, 20)
    shown = [Microstate(f"site {k}", {"phases": labels, "chi": labels * (k + 1.0)}) for k in range(2)]
    made = draw_microstates(plt, shown)
    assert any(type(part).__name__ == "QuadContourSet" for axes in made.axes for part in axes.get_children()) == outlined
    plt.close(made)


def _outlines(figure):
    """Vertices of all outlines of a figure, panel by panel."""
    parts = [part for axes in figure.axes for part in axes.get_children() if type(part).__name__ == "QuadContourSet"]
    return [path.vertices for part in parts for path in part.get_paths()]


@pytest.mark.parametrize("values", [(0, 255), (3, 4), (0, 1, 255), (-7, 100, 101)])
def test_outlines_lie_half_way_between_pixels_whatever_the_labels_are(values):
    """Layers of four pixels of sixteen: lines at x = 1/4, 1/2, ...."""
    plt = pytest.importorskip("matplotlib.pyplot")
    layers = np.resize(np.repeat(np.asarray(values, np.int32), 4), 16)
    labels = np.repeat(layers[:, None], 16, axis=1)
    shown = [Microstate(f"site {k} at (0.5, 0.5)", {"phases": labels, "chi": labels * (k + 1.0)}) for k in range(2)]
    made = draw_microstates(plt, shown)
    places = 4 * np.concatenate(_outlines(made))[:, 0]
    np.testing.assert_allclose(places, np.round(places), atol=1e-12)
    assert set(np.round(places)) == {1.0, 2.0, 3.0}
    plt.close(made)


@pytest.mark.parametrize(("shape", "names"), [((4,), "x"), ((4, 3), "xy"), ((4, 3, 2), "xy")])
def test_pictures_of_two_directions(shape, names):
    """Where the cell is uniform a gradient of 1 stays 1. In three dimensions the third direction is not drawn."""
    cell = fx.homogenization.Cell(lambda U, z: 2.0 + 0.0 * z[0], shape)
    found = pictures(cell, np.zeros(shape, int)).microstate(np.zeros((len(shape), *shape)), 0.0)
    assert [title for title in found if title != "phases"] == [rf"$|e_{k} + \nabla\chi_{k}|$" for k in names]
    for k in names:
        np.testing.assert_array_equal(found[rf"$|e_{k} + \nabla\chi_{k}|$"], 1.0)


@pytest.mark.parametrize("shape", [(40,), (20, 24), (8, 9, 10)])
def test_the_figure_in_every_dimension(saved, shape):
    plt = pytest.importorskip("matplotlib.pyplot")
    grey = np.random.default_rng(0).random(shape)
    case = Homogenize(image=saved(grey), threshold="0.3,0.6")
    made = {figure.name: figure for figure in case.figures(fx.io.run.Results(None))}["threshold"].draw(plt)
    panels = made.axes
    assert any("0: " in panel.get_title() for panel in panels)
    counts = panels[1].patches
    assert sum(bar.get_height() for bar in counts) == grey.size
    assert [line.get_xdata()[0] for line in panels[1].lines] == [0.3, 0.6]
    plt.close(made)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--conductivities", "1;-20"], "label 1, -20 + 0 U, is -20 at U = 0; it must not be negative"),
        (["--conductivities", "1; 2,3,4", "--slopes", "0;0"], "is [[2.0, 4.0], [4.0, 3.0]] at U = 0; it must not be negative"),
        (["--conductivities", "1; 2,3,4,5"], "4 numbers for a tensor of 2 axes: give 2 (its diagonal) or 3 (kxx,kyy,kxy)"),
        (["--conductivities", "1; two"], "'two' is no number. Write for example --conductivities '1; 2,3,0.5'"),
        (["--conductivities", "1;2;3"], "--conductivities gives values of 3 phases (semicolons part them)"),
        (["--conductivities", "2,3;"], "--conductivities gives values of 1 phase (semicolons part them)"),
        (["--conductivities", "0,1", "--slopes", "-1,0"], "is -100 at U = 100; it must not be negative"),
        (
            ["--threshold", "high"],
            "cell.npy: --threshold = high: 'high' is no number. Write for example --threshold 128 or --threshold otsu",
        ),
        (["--threshold", "3,2"], "cell.npy, --threshold 3,2: levels = (3.0, 2.0): give one to 255 numbers"),
        (["--threshold", "1"], "cell.npy, --threshold 1: no pixel in phase 1; grey values go from 0 to 1"),
        (["--phases", "none.csv"], "none.csv: no such file"),
        (["--phases", "one.csv"], "no value for label 1"),
        (["--phases", "negative.csv"], "the value of label 1 (first pixel (0, 2)) is -2.0, negative"),
        (["--phases", "one.csv", "--tensor", "1,2,x"], "'x' is no number"),
        (["--phases", "one.csv", "--tensor", "1,2,3"], "goes with columns of angles alone"),
        (["--part", "second", "--image", "two.npz"], "no arrays with the name 'second'. There are: a, b"),
        (["--image", "two.npz"], "several arrays: a, b. Choose one with part=NAME (--part NAME)"),
        (["--image", "two.tif"], "2 parts (0: 1 page of 4x4 int64; 1: 1 page of 2x2 int64)"),
        (["--image", "cell.raw"], "raw data say neither shape nor type"),
        (["--image", "cell.raw", "--raw-shape", "4,four"], "'four' is no number. Write for example --raw-shape 100,200,200"),
        (
            ["--image", "cell.raw", "--raw-shape", "4,4", "--raw-type", "uint8"],
            "4x4 voxels of uint8 take 16 bytes, the file has 8",
        ),
        (["--image", "colour.npy"], "--volume"),
        (["--raw-shape", "4,4"], "shape and dtype are for .raw files"),
        (["--part", "a"], "part = 'a' (--part), but a file of this kind holds one array alone"),
        (["--volume"], "volume=True (--volume), but the image has 2 axes"),
        (["--image", ""], ".: a folder and no file. Give one file; save slices as one stack"),
        (["--phases", "."], ".: a folder and no file. Give a text file with a table"),
        (["--phases", "both.csv", "--radians"], "radians (--radians) without columns of angles; there are conductivity"),
        (["--phases", "comma.csv"], "'1,5' in the column conductivity is no finite number. Decimals have a point."),
        (["--image", "single.npy", "--threshold", "0.1"], "go from 0.05 to 0.1, and a value equal to a level belongs to"),
        (["--conductivities", "1; 2,3,1", "--slopes", "0;0", "--borders", "held"], "Borders.PERIODIC (--borders periodic)"),
        (["--scheme", "element", "--borders", "held"], "FiniteVolume() (--scheme volume)"),
    ],
)
def test_wrong_options_are_one_message(saved, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    saved(LABELS)
    np.savez("two.npz", a=LABELS, b=LABELS)
    tifffile.imwrite("two.tif", LABELS)
    tifffile.imwrite("two.tif", LABELS[:2, :2], append=True)
    (tmp_path / "cell.raw").write_bytes(bytes(8))
    saved(np.random.default_rng(0).integers(0, 9, (20, 20, 3)), "colour.npy")
    saved(np.where(LABELS, 0.1, 0.05).astype(np.float32), "single.npy")
    (tmp_path / "both.csv").write_text("label,conductivity\n0,1\n1,2")
    (tmp_path / "comma.csv").write_text("label;conductivity\n0;1,5\n1;2,5")
    (tmp_path / "one.csv").write_text("label,conductivity\n0,1")
    (tmp_path / "negative.csv").write_text("label,conductivity\n0,1\n1,-2")
    image = [] if "--image" in arguments else ["--image", "cell.npy"]
    assert cli.main(["run", "homogenize", *image, *arguments, "--out", "run"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert words in said and "Traceback" not in said and not (tmp_path / "run").exists()
