"""The curves of a figure as numbers: a column for each, with the words and units of its axes and legend."""

import csv
import io
import itertools
import re
from typing import Any, NamedTuple

import numpy as np


class _Curve(NamedTuple):
    """What one line shows: abscissae, ordinates, its label, and its errors by axis where bars or a band are drawn."""

    x: np.ndarray
    y: np.ndarray
    label: str
    errors: dict[str, np.ndarray]
    drawn: str = "length of the error bar"


def curves_csv(figure: Any) -> str:
    """The curves of a matplotlib figure as CSV, one column for each coordinate; empty where it draws none.

    Coordinates that several curves share are one column. Shorter columns end in empty cells.
    """
    columns: list[tuple[str, np.ndarray]] = []
    panels = [(panel, curves) for panel in figure.axes if (curves := _curves(panel))]
    for number, (panel, curves) in enumerate(panels, 1):
        where = f" (panel {number})" if len(panels) > 1 else ""
        for head, values in _columns(panel, curves):
            _add(columns, head, where, values)
    if not columns:
        return ""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([head for head, _ in columns])
    cells = [[repr(float(v)) for v in values] for _, values in columns]
    writer.writerows(itertools.zip_longest(*cells, fillvalue=""))
    return stream.getvalue()


def _curves(panel: Any) -> list[_Curve]:
    """The lines of a panel in its data, without marks at its edges and caps of bars."""
    bars = [c for c in panel.containers if type(c).__name__ == "ErrorbarContainer"]
    caps = {id(cap) for bar in bars for cap in bar[1]}
    found = []
    for line in panel.get_lines():
        x, y = (np.asarray(values, float) for values in (line.get_xdata(), line.get_ydata()))
        if line.get_transform() is not panel.transData or id(line) in caps or len(x) < 2:  # a point is a mark
            continue
        bar = next((bar for bar in bars if bar[0] is line), None)
        label = line.get_label() if bar is None else bar.get_label()
        text = "" if str(label).startswith("_") else str(label)
        if bar is None:
            found.append(_Curve(x, y, text, _band(panel, x, y), "half width of the band"))
        else:
            found.append(_Curve(x, y, text, _errors(bar, x, y)))
    return found


def _band(panel: Any, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Half the width of a band that is drawn about a line, by the axis along which it lies; empty where there is none."""
    for collection in panel.collections:
        paths, n = collection.get_paths(), len(x)
        # The outline runs along one edge, back along the other, and has a corner more at each end.
        if len(paths) != 1 or len(paths[0].vertices) not in (2 * n + 2, 2 * n + 3):
            continue
        edges = np.stack([paths[0].vertices[1 : n + 1], paths[0].vertices[n + 2 : 2 * n + 2][::-1]])
        if np.allclose(edges.mean(axis=0), np.stack([x, y], -1), rtol=1e-9, atol=0.0):
            half = 0.5 * np.abs(edges[1] - edges[0])
            return {name: half[:, axis] for axis, name in enumerate("xy") if half[:, axis].any()}
    return {}


def _errors(bar: Any, x: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """Half lengths of the bars along x and y, NaN at points without one."""
    errors = {}
    names = [name for name, drawn in (("x", bar.has_xerr), ("y", bar.has_yerr)) if drawn]
    for name, segments in zip(names, bar[2], strict=True):
        axis, values = ("x", "y").index(name), np.full(len(x), np.nan)
        for segment in segments.get_segments():
            middle = 0.5 * (segment[0] + segment[1])
            values[np.argmin((x - middle[0]) ** 2 + (y - middle[1]) ** 2)] = 0.5 * abs(segment[1][axis] - segment[0][axis])
        errors[name] = values
    return errors


def _columns(panel: Any, curves: list[_Curve]) -> list[tuple[str, np.ndarray]]:
    """Head and values of each column of a panel. What its curves share along an axis has no label."""
    legend = panel.get_legend()
    title = "" if legend is None else _plain(legend.get_title().get_text())
    words = {"x": _words(panel, "x"), "y": _words(panel, "y")}
    shared = {axis: all(_same(getattr(c, axis), getattr(curves[0], axis)) for c in curves) for axis in words}
    found = []
    for curve in curves:
        label = " ".join(filter(None, (title, _plain(curve.label))))
        for axis, word in words.items():
            plain = shared[axis] and not (axis == "y" and shared["x"])
            head = word if plain or not label else f"{word}: {label}"
            found.append((head, getattr(curve, axis)))
            if axis in curve.errors:
                found.append((f"{head}, {curve.drawn}", curve.errors[axis]))
    return found


def _words(panel: Any, axis: str) -> str:
    """The label of an axis, or of the panel that shares it and shows it."""
    group = getattr(panel, f"get_shared_{axis}_axes")().get_siblings(panel)
    texts = [getattr(other, f"get_{axis}label")() for other in (panel, *group)]
    return _plain(next(filter(None, texts), axis))


def _plain(text: str) -> str:
    """A text without line breaks and signs of mathematics."""
    return re.sub(r"[${}\\]", "", " ".join(text.split()))


def _same(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.array_equal(one, other, equal_nan=True)


def _add(columns: list[tuple[str, np.ndarray]], head: str, where: str, values: np.ndarray) -> None:
    """Append a column that is not there yet; other values under the same head are numbered."""
    known = [other for name, other in columns if name == head or name.startswith(f"{head} (")]
    if any(_same(values, other) for other in known):
        return
    name = head if not known else f"{head}{where}"
    taken = {name for name, _ in columns}
    number = 2
    while name in taken:
        name, number = f"{head}{where} ({number})", number + 1
    columns.append((name, values))
