"""Tables of responses as CSV."""

from pathlib import Path

import numpy as np

from fiberax.io.atomic import write_text
from fiberax.io.results import Quantity, Table, component_names

# Of the largest component; differences of numbers of that size are no smaller.
NOISE = 1e-12


def write_csv(folder: Path, table: Table) -> Path:
    """Write a table of responses to `folder/table.csv`: one line a row, one column a component, with units.

    Components of tensors and energies below round-off of the largest one are written as zero. Raises `SaveFailed`.
    """
    columns = {_headed(table.schema.axis): table.values}
    for variable in table.schema.variables:
        values = table.arrays[variable.quantity.name]
        parts = component_names(variable)
        if len(parts) > 1 or variable.key == "energy":
            values = _without_noise(values)
        for suffix, index in parts:
            columns[_headed(variable.quantity, suffix)] = values[(slice(None), *index)]
    lines = [",".join(columns)]
    lines += [",".join(repr(value.item()) for value in row) for row in zip(*columns.values(), strict=True)]
    path = folder / "table.csv"
    write_text(path, "\n".join(lines) + "\n")
    return path


def _headed(quantity: Quantity, suffix: str = "") -> str:
    """Name and unit of a column."""
    name = f"{quantity.name}_{suffix}" if suffix else quantity.name
    return name if quantity.unit in ("", "1") else f"{name} [{quantity.unit}]"


def _without_noise(values: np.ndarray) -> np.ndarray:
    size = np.abs(values[np.isfinite(values)]).max(initial=0.0)
    return np.where(np.abs(values) < NOISE * size, 0, values).astype(values.dtype)
