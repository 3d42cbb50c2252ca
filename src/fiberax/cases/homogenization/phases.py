"""The phases of a composite: label, share and conductivity of each, and bounds of its effective conductivity."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

_NAMED = 16  # phases that a line names


class Phase(NamedTuple):
    """One phase: its label, its share of the cell, its conductivity at U = 0, a number or (d, d), and whether that moves."""

    label: int
    share: float
    conductivity: np.ndarray
    depends: bool


class Bounds(NamedTuple):
    """Lower and upper bounds of the effective conductivity; those of Hashin and Shtrikman hold for isotropic cells only."""

    wiener: tuple[float, float]
    hashin_shtrikman: tuple[float, float] | None


def phases_of(labels: np.ndarray, values: Any) -> tuple[Phase, ...]:
    """The phases of an image, from the lowest label to the highest.

    Args:
        labels: Whole numbers, of any shape.
        values: By label a number, a (d, d) array, or a function of U that gives either.
    """
    found, counts = np.unique(labels, return_counts=True)
    given = [(int(label), values[int(label)]) for label in found]
    return tuple(
        Phase(label, float(count / labels.size), np.asarray(value(0.0) if callable(value) else value, float), callable(value))
        for (label, value), count in zip(given, counts, strict=True)
    )


def bounds_of(phases: Sequence[Phase], d: int) -> Bounds | None:
    """Bounds at U = 0 for phases of positive numbers; None for one phase, tensors, or a phase that does not conduct.

    Those of Hashin and Shtrikman, J. Appl. Phys. 33 (1962) 3125, are for d = 2 and 3:
    A = (Σ f/(a + (d − 1) r))⁻¹ − (d − 1) r with the smallest and the largest conductivity r.
    """
    if len(phases) < 2 or any(phase.conductivity.ndim or not phase.conductivity > 0 for phase in phases):
        return None
    share, a = np.array([p.share for p in phases]), np.array([p.conductivity for p in phases])

    def mean(rest: float) -> float:
        return float(1.0 / np.sum(share / (a + rest)) - rest)

    narrow = (mean((d - 1) * a.min()), mean((d - 1) * a.max())) if d > 1 else None
    return Bounds((mean(0.0), float(share @ a)), narrow)


def phase_words(phases: Sequence[Phase]) -> str:
    """One line: label, share and conductivity of each phase, of the first 16 where there are more."""
    named = [f"label {p.label}: {100 * p.share:.3g} %, conductivity {_number(p.conductivity)}" for p in phases[:_NAMED]]
    more = [f"and {len(phases) - _NAMED} more phases"] if len(phases) > _NAMED else []
    return "; ".join(named + more) + (" (at U = 0)" if any(p.depends for p in phases) else "")


def bound_words(bounds: Bounds) -> str:
    """One line on the bounds."""
    words = "bounds at U = 0: Wiener {:.6g} to {:.6g}".format(*bounds.wiener)
    if bounds.hashin_shtrikman is not None:
        words += ", Hashin-Shtrikman (isotropic cells) {:.6g} to {:.6g}".format(*bounds.hashin_shtrikman)
    return words


def content_of(phases: Sequence[Phase], bounds: Bounds | None) -> dict[str, Any]:
    """What `summary.json` has of the phases and of the bounds, where there are some."""
    listed = [{"label": p.label, "share": p.share, "conductivity": p.conductivity.tolist()} for p in phases]
    content: dict[str, Any] = {"phases": listed}
    if bounds is not None:
        content["bounds"] = {"Wiener": list(bounds.wiener)}
        if bounds.hashin_shtrikman is not None:
            content["bounds"]["Hashin-Shtrikman"] = list(bounds.hashin_shtrikman)
    return content


def _number(value: np.ndarray) -> str:
    if value.ndim == 0:
        return f"{value:.6g}"
    return "[" + ", ".join("[" + ", ".join(f"{entry:.6g}" for entry in row) + "]" for row in value) + "]"
