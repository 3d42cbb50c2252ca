"""A figure: a name, and a function that draws it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Figure:
    """A figure of a run.

    Args:
        name: Name of its file, without the suffix.
        draw: draw(plt) makes it with matplotlib's pyplot, and returns the matplotlib figure, or None where there is nothing
            to draw.
    """

    name: str
    draw: Callable[[Any], Any]
