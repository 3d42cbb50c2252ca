"""What the figures of every case hold, in numbers and words: a small run of each is drawn and described.

    python tools/figures.py            # write tests/cases/figures.json, and the pictures into runs/figures: look at them
    python tools/figures.py wave pull  # these alone

Tests compare a fresh run of each case with the file. A figure that changed is looked at before the file is written anew.
"""

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
FILE = ROOT / "tests" / "cases" / "figures.json"


def described(arguments: list[str], folder: Path) -> dict[str, Any]:
    """What the figures of a run hold, by name. The run is left in `folder`."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from fiberax import cli
    from fiberax.cases.find import find_case
    from fiberax.cases.options import from_json
    from fiberax.io.plots.draw import STYLE
    from fiberax.io.run import Results

    code = cli.main(["run", *arguments, "--quiet", "--no-figures", "--out", str(folder)])
    if code:
        raise RuntimeError(f"fiberax run {arguments[0]} ended with {code}")
    written = json.loads((folder / "parameters.json").read_text())["options"]
    found = {}
    with plt.rc_context(STYLE):
        for figure in from_json(find_case(arguments[0]), written, folder).figures(Results.load(folder)):
            if (made := figure.draw(plt)) is not None:
                found[figure.name] = contents(made)
            plt.close("all")
    return found


def contents(figure: Any) -> dict[str, Any]:
    """Size, title, and axes of a figure."""
    return {
        "size": [round(float(x), 2) for x in figure.get_size_inches()],
        "title": figure.get_suptitle(),
        "axes": [part for axes in figure.axes if (part := panel(axes))],
    }


def panel(axes: Any) -> dict[str, Any]:
    """Words, limits, curves, images and legend of one panel."""
    if not axes.axison and not axes.has_data():
        return {}
    legend = axes.get_legend()
    return {
        "drawn": axes.axison,
        "words": [axes.get_title(loc) for loc in ("left", "center", "right")] + [axes.get_xlabel(), axes.get_ylabel()],
        "scales": [axes.get_xscale(), axes.get_yscale()],
        "limits": numbers([*axes.get_xlim(), *axes.get_ylim()]),
        "lines": [[given(line.get_label()), line.get_linestyle(), *extent(line.get_xydata())] for line in axes.get_lines()],
        "images": [
            [list(image.get_array().shape), *numbers([*image.get_extent(), *image.get_clim()])] for image in axes.images
        ],
        "collections": [collection(item) for item in axes.collections],
        "texts": [text.get_text() for text in axes.texts],
        "shared": [len(shared.get_siblings(axes)) for shared in (axes.get_shared_x_axes(), axes.get_shared_y_axes())],
        "legend": legend and [legend.get_title().get_text(), *(text.get_text() for text in legend.get_texts())],
    }


def given(label: Any) -> str:
    """A label, but for those that matplotlib makes up."""
    return "" if str(label).startswith("_") else str(label)


def collection(item: Any) -> list:
    """Kind of a collection, its places or the ends of its shapes, and the range of its colours."""
    shapes = [path.vertices for path in item.get_paths()]
    places = item.get_offsets() if len(item.get_offsets()) > 1 else np.concatenate([np.empty((0, 2)), *shapes])
    colours = numbers(item.get_clim()) if item.get_array() is not None else []
    return [type(item).__name__, len(shapes), *extent(places), *colours]


def extent(points: Any) -> list:
    """How many points, and the least and the largest of each coordinate where there are several.

    A single one marks a place, such as the weakest of a body, of which symmetry may give many.
    """
    points = np.asarray(points, float).reshape(-1, 2)
    finite = points[np.isfinite(points).all(axis=1)]
    return [len(points), *(numbers([*finite.min(axis=0), *finite.max(axis=0)]) if len(finite) > 1 else [])]


def numbers(values: Any) -> list:
    """Numbers that JSON can hold."""
    return [None if value is None else float(f"{float(value):.6g}") for value in values]


def main(names: list[str]) -> None:
    """Run, draw and describe."""
    import jax

    sys.path.insert(0, str(ROOT / "tests"))
    from small_runs import DRAWN

    from fiberax import cli

    jax.config.update("jax_enable_x64", True)
    known = json.loads(FILE.read_text()) if FILE.exists() else {}
    for name in names or DRAWN:
        with tempfile.TemporaryDirectory() as folder:
            known[name] = described(DRAWN[name], Path(folder) / "run")
        pictures = ROOT / "runs" / "figures" / name
        cli.main(["run", *DRAWN[name], "--quiet", "--overwrite", "--out", str(pictures)])
    text = ",\n".join(f" {json.dumps(name)}: {json.dumps(known[name], ensure_ascii=False)}" for name in sorted(known))
    FILE.write_text(f"{{\n{text}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
