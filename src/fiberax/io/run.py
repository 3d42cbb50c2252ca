"""Everything that a run has saved, read from its folder, for figures."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiberax.io.labels import axis_words, words_of
from fiberax.io.microstates import Microstate, read_microstates
from fiberax.io.reading import Unreadable, read_json
from fiberax.io.results import Coordinate, Table, Variable, read_table

if TYPE_CHECKING:
    from fiberax.io.body import Body


@dataclass(frozen=True)
class Results:
    """The saved results of a run.

    Args:
        table: Arrays and names (`fiberax.io.results.Table`); None where nothing has been saved.
        body: The mesh of a body, where the run has one.
        microstates: States of a few sites, as arrays to draw.
        summary: The content of `summary.json`.
    """

    table: Table | None
    body: "Body | None" = None
    microstates: list[Microstate] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def load(cls, folder: Path, complaints: list[str] | None = None) -> "Results":
        """The results in a run's folder.

        Args:
            folder: The folder.
            complaints: Gets one line for each file that cannot be read, whose part is then empty; None to raise instead.

        Raises:
            Unreadable: A file cannot be read, and nobody takes complaints.
        """
        from fiberax.io.body import Body

        def part(read: Callable[[Path], Any], empty: Any) -> Any:
            try:
                return read(folder)
            except Unreadable as error:
                if complaints is None:
                    raise
                complaints.append(str(error))
                return empty

        return cls(part(read_table, None), part(Body.load, None), part(read_microstates, []), part(_read_summary, {}))

    @cached_property
    def variables(self) -> dict[str, Variable]:
        """Name, unit and dimensions of each result by key."""
        return {} if self.table is None else {v.key: v for v in self.table.schema.variables}

    @property
    def values(self) -> np.ndarray:
        """Values along the leading axis: times, loads, or rows of a table."""
        return np.zeros(0) if self.table is None else self.table.values

    def chosen(self, usual: Iterable[int]) -> list[int]:
        """The records that a figure shows.

        Args:
            usual: Numbers of the records that it shows by itself.

        Returns:
            Those next to the times that `fiberax plot --times` names, else the usual ones, sorted.
        """
        return sorted(usual) if self.table is None else self.table.chosen(usual)

    def __call__(self, key: str) -> Any:
        """The array of a key, its leading axis that of `values`; None where there is none."""
        return (
            self.table.arrays[self.variables[key].quantity.name] if self.table is not None and key in self.variables else None
        )

    @property
    def coords(self) -> dict[str, np.ndarray]:
        """Values of the coordinates of fields on a grid."""
        return {} if self.table is None else {dim: np.asarray(values) for dim, values in self.table.schema.coords.items()}

    @property
    def along(self) -> dict[str, Coordinate]:
        """Coordinates that are no axes by name, such as `site_x`: their dimension, values and text."""
        return {} if self.table is None else {place.quantity.name: place for place in self.table.schema.places}

    def coord_words(self, dim: str) -> str:
        """Name and unit of a coordinate."""
        return dim if self.table is None else axis_words(self.table, dim)

    def words(self, key: str | None = None) -> str:
        """Text and unit of a key, or of the leading axis."""
        if self.table is None:
            return ""
        return words_of(self.table.schema.axis if key is None else self.variables[key].quantity)


def _read_summary(folder: Path) -> dict[str, Any]:
    path = folder / "summary.json"
    return read_json(path) if path.exists() else {}
