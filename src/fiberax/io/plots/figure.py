"""What a figure is: a name, and a function that draws it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A figure of a run: `name` of its file, and `draw(plt)`, which makes it with matplotlib's pyplot.

    `draw` returns the matplotlib figure, or None where there is nothing to draw.
    """

    name: str
    draw: Callable[[Any], Any]
