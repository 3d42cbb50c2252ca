"""The table A(U), dA/dU of a cell (2.3), (2.4), with tortuosity factors and what is connected."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiberax.cases.base import Summary, Table, listed
from fiberax.cases.homogenization.options import TEMPERATURE, Border, CompositeOptions, Scheme
from fiberax.cases.options import ABSENT, GIVEN, MOST_CELLS_A_SIDE, MOST_RECORDS, inherited, option, other_than, when
from fiberax.io.plots.figure import Figure
from fiberax.io.results import Quantity
from fiberax.io.run import Results

if TYPE_CHECKING:
    from fiberax.cases.homogenization.phases import Phase

TORTUOSITY = Quantity("tortuosity", "1", "tortuosity factor")
_ROWS = 41  # where a conductivity depends on U
_ROUND_OFF = 1e-9  # of the largest entry, below which one off the diagonal is not printed; --tolerance is 1e-10 by default


@listed(
    "homogenize",
    "table of the effective conductivity A(U) and dA/dU of an image or a formula",
    extras="image for --image (.png, .tif and the like)",
)
@dataclass(frozen=True)
class Homogenize(CompositeOptions):
    """Table of the effective conductivity A(U) and dA/dU of an image or a formula."""

    image: Path | None = inherited(CompositeOptions, "image", applies=when(formula=ABSENT))
    conductivities: str = inherited(CompositeOptions, "conductivities", applies=when(formula=ABSENT))
    slopes: str | None = inherited(CompositeOptions, "slopes", applies=when(formula=ABSENT))
    scheme: Scheme | None = inherited(CompositeOptions, "scheme", applies=when(formula=ABSENT))
    borders: Border = inherited(CompositeOptions, "borders", applies=when(formula=ABSENT))
    formula: str | None = option(None, help="a(U, z) in place of an image, such as '2 + sin(2*pi*x)*cos(2*pi*y) + U/50'")
    dim: int = option(2, help="dimension of the cell of a formula", low=1, high=3, applies=when(formula=GIVEN))
    points: int = option(
        64,
        help="grid points along each side of the cell of a formula",
        low=2,
        high=MOST_CELLS_A_SIDE,
        applies=when(formula=GIVEN),
    )
    low: float = option(0.0, help="lowest U", unit=TEMPERATURE)
    high: float = option(100.0, help="highest U", unit=TEMPERATURE, applies=when(rows=other_than(1)))
    rows: int | None = option(
        None,
        help=f"values of U from the lowest to the highest; default {_ROWS}, but 1 where no conductivity depends on U",
        low=1,
        high=MOST_RECORDS,
    )
    tolerance: float = option(1e-10, help="relative tolerance of the cell problems", above=0, high=0.1)
    batch: int = option(8, help="rows computed at once", low=1)

    def build(self) -> Table:
        """The rows to compute. Raises `BadInput` for an image, a formula or numbers that cannot be used."""
        import dataclasses

        from fiberax.cases.formula import uses
        from fiberax.cases.homogenization.composite import NAMES, composite, pictures
        from fiberax.core.errors import BadInput

        high = self.low if self.rows == 1 else self.high
        if self.formula is None:
            cell, labels, phases = composite(self, self.low, high)
            moves = any(phase.depends for phase in phases)
        else:
            cell, phases = self._cell_of_formula(), ()
            labels, moves = np.zeros(cell.shape, np.int32), uses(self.formula, "U")
        rows = self.rows or (_ROWS if moves else 1)
        if rows > 1 and not self.high > self.low:
            raise BadInput(f"--high = {self.high:g} is not above --low = {self.low:g}.")
        conditions = np.linspace(self.low, self.high, rows)
        for condition in conditions[[0, -1]]:
            cell.validate(condition)
        return Table(
            fiber=cell,
            conditions=conditions,
            tolerance=self.tolerance,
            batch=self.batch,
            names=dataclasses.replace(NAMES, axis=TEMPERATURE, quantities=NAMES.quantities | {"tortuosity": TORTUOSITY}),
            output=pictures(cell, labels),
            derived=lambda values, arrays: {"tortuosity": tortuosity(cell, values, arrays["response"])},
            summary=lambda values, arrays: summary(cell, phases, moves, values, arrays),
            shown=(0, rows - 1) if rows > 1 else (0,),
        )

    def figures(self, results: Results) -> list[Figure]:
        """The figures that any results have, and the tortuosity factors."""
        return [*super().figures(results), Figure("tortuosity", lambda plt: _draw(plt, results))]

    def _cell_of_formula(self):
        from fiberax.cases.formula import formula
        from fiberax.physics.homogenization import Cell

        return Cell(formula(self.formula or "", self.dim), (self.points,) * self.dim)


def tortuosity(cell: Any, values: np.ndarray, response: np.ndarray) -> np.ndarray:
    """⟨a⟩_jj / A_jj (rows, d): infinite where no flux passes.

    With one phase that conducts, of conductivity D₀ and share ε, it is the tortuosity factor ε D₀ / D_eff.
    """
    import jax
    import jax.numpy as jnp

    from fiberax.physics.homogenization.medium import reference

    mean = jax.lax.map(lambda U: jnp.diagonal(reference(cell.coefficient(U), cell.d)[0]), jnp.asarray(values))
    diagonal = np.diagonal(np.asarray(response), axis1=1, axis2=2)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.asarray(mean) / np.where(np.abs(diagonal) < 1e-14 * np.asarray(mean), 0.0, diagonal)
    return np.where(np.asarray(mean) == 0.0, np.inf, factors)


def summary(cell: Any, phases: "tuple[Phase, ...]", moves: bool, values: np.ndarray, arrays: dict[str, np.ndarray]) -> Summary:
    """Phases and bounds, effective values in the first row, and which part of the cell conducts through."""
    import jax.numpy as jnp

    from fiberax.cases.homogenization.phases import bound_words, bounds_of, content_of, phase_words
    from fiberax.physics.homogenization import FiniteVolume, percolation

    factors, tensor = np.asarray(arrays["tortuosity"])[0], np.asarray(arrays["response"])[0]
    effective = np.where(np.isinf(factors), 0.0, np.diagonal(tensor))  # without its round-off
    at = f"at U = {values[0]:g}"
    content: dict[str, Any] = {}
    lines = [] if moves else ["no conductivity depends on U: A is the same in every row, and dA/dU is zero"]
    if phases:
        bounds = bounds_of(phases, cell.d)
        content |= content_of(phases, bounds)
        lines += [phase_words(phases), *([] if bounds is None else [bound_words(bounds)])]
    told = f"effective conductivity along {_per_axis(effective)}{_mixed(tensor)} {at}"
    a = np.asarray(cell.coefficient(jnp.asarray(values[0])))
    conducts = a > 0 if a.ndim == cell.d else tuple(a[k, k] > 0 for k in range(cell.d))
    if np.all(conducts):
        lines.append(told)
    else:
        lines.append(f"{told}; tortuosity factor {_per_axis(factors)}")
        content["tortuosity"] = [None if np.isinf(f) else float(f) for f in factors]
        scheme = cell.discretisation
        held = isinstance(scheme, FiniteVolume) and scheme.held
        found = percolation(conducts, held, scheme.lengths)
        shut = [name for name, through in zip("xyz", found.axes) if not through]
        passes = f"it does not percolate along {', '.join(shut)}: no flux passes" if shut else "it percolates along every axis"
        connected = f"{100 * found.through:.4g} % of that in clusters that lead through"
        lines.append(f"{at}: {100 * found.share:.4g} % of the cell conducts, {connected}; {passes}")
        if shut and not isinstance(scheme, FiniteVolume):
            lines.append("this scheme lets flux pass corners; --scheme volume does not")
        content |= {"conducting share": found.share, "share of it that leads through": found.through}
        content |= {"percolates": dict(zip("xyz", found.axes))}
    return Summary(content, tuple(lines))


def _mixed(tensor: np.ndarray) -> str:
    """The entries off the diagonal that are more than round-off, in words."""
    size, pairs = np.abs(tensor).max(initial=0.0), itertools.permutations(range(len(tensor)), 2)
    mixed = [(i, j) for i, j in pairs if abs(tensor[i, j]) > _ROUND_OFF * size]
    once = [(i, j) for i, j in mixed if i < j or abs(tensor[i, j] - tensor[j, i]) > _ROUND_OFF * size]
    return "".join(f", {'xyz'[i]}{'xyz'[j]}: {tensor[i, j]:.6g}" for i, j in once)


def _per_axis(numbers: np.ndarray) -> str:
    return ", ".join(f"{name}: {number:.6g}" for name, number in zip("xyz", numbers))


def _draw(plt, results: Results) -> Any:
    from fiberax.io.labels import words_of

    table = results.table
    if table is None or not table.schema.is_table or TORTUOSITY.name not in table.arrays:
        return None
    figure, axes = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
    factors = np.asarray(table.arrays[TORTUOSITY.name])
    for k, name in enumerate("xyz"[: factors.shape[1]]):
        label = f"along {name}" if np.isfinite(factors[:, k]).any() else f"along {name}: no flux passes"
        axes.plot(table.values, factors[:, k], color=f"C{k}", label=label, marker=_marker(table.values))
    axes.set(xlabel=words_of(table.schema.axis), ylabel=words_of(TORTUOSITY))
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _marker(values: np.ndarray) -> str | None:
    return "o" if len(values) == 1 else None
