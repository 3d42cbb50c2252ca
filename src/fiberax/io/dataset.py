"""Solutions as the data set that `results.nc` holds of a run, and as figures."""

from typing import Any

import jax
import numpy as np

from fiberax.core.errors import MissingExtra
from fiberax.core.macro import Moving
from fiberax.core.recorder import Record
from fiberax.core.solution import Solution
from fiberax.io.body import Body
from fiberax.io.labels import Names, Output
from fiberax.io.recorder import arrays_of, converted
from fiberax.io.results import Table, attributes_of, make_schema, stored
from fiberax.io.run import Results


def table_of(solution: Solution, names: Names | None = None, output: Output | None = None) -> Table:
    """The records of a solution with names, dimensions and units, as a run of a case would write them."""
    names, output = Names() if names is None else names, Output() if output is None else output
    body = body_of(solution, names, output)
    columns = (solution.macro, solution.response, solution.result, solution.energy, solution.stderr, solution.stability_margin)
    rows = []
    for k, t in enumerate(np.asarray(solution.ts)):
        record = Record(k, float(t), *jax.tree.map(lambda x, k=k: np.asarray(x[k]), columns))
        rows.append(converted(arrays_of(record, output), names))
    coords, places = grid_of(solution.model, body, output)
    schema = make_schema(rows[0], names.quantities, coords, names.length_unit, names.axis, places=places, along=output.along)
    arrays = {v.quantity.name: np.stack([stored(v, row[v.key]).reshape(v.shape) for row in rows]) for v in schema.variables}
    return Table(schema, np.asarray(solution.ts, np.float64) + 0.0, arrays)


def grid_of(model: Any, body: Body | None, output: Output) -> tuple[dict[str, np.ndarray], np.ndarray | None]:
    """The axes of the field of a macro model and their values, none for the nodes of a mesh; and the positions of its sites."""
    layout, places = model.layout(), model.positions()
    coords = {}
    if body is None and layout is not None and all(dim in layout.coords for dim in layout.dims):
        coords = {dim: np.asarray(layout.coords[dim]) for dim in layout.dims[output.averaged :]}
    return coords, None if places is None else np.asarray(places)


def body_of(solution: Solution, names: Names, output: Output) -> Body | None:
    """The mesh on which the macrostate is drawn."""
    layout = solution.model.layout()
    if output.body is not None or layout is None or layout.mesh is None:
        return output.body
    return Body(layout.mesh, names.length_unit, deforms=isinstance(solution.macro, Moving))


def dataset_of(solution: Solution, names: Names | None = None, output: Output | None = None) -> Any:
    """`Solution.to_xarray`. Raises `MissingExtra` where xarray is not installed."""
    try:
        import xarray
    except ImportError as error:
        raise MissingExtra("to_xarray needs xarray: install `fiberax[data]`.") from error
    table = table_of(solution, names, output)
    schema, axis = table.schema, table.schema.axis.name
    found = {v.quantity.name: ((axis, *v.dims), table.arrays[v.quantity.name], attributes_of(v)) for v in schema.variables}
    coordinates: dict[str, Any] = {
        axis: (axis, table.values, {"units": schema.axis.unit, "long_name": schema.axis.label or axis})
    }
    for name, values in schema.coords.items():
        coordinates[name] = (name, np.asarray(values), {"units": schema.units.get(name, "1"), "long_name": name})
    for place in schema.places:
        coordinates[place.quantity.name] = (place.dim, np.asarray(place.values), place.attributes())
    return xarray.Dataset(found, coordinates, {"source": "fiberax"})


def figures_of_solution(solution: Solution, names: Names | None = None, output: Output | None = None) -> dict[str, Any]:
    """`Solution.plot`. Raises `MissingExtra` where matplotlib is not installed."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise MissingExtra("plot needs matplotlib: install `fiberax[plot]`.") from error
    from fiberax.io.plots.draw import STYLE, figures_of

    names, output = Names() if names is None else names, Output() if output is None else output
    results = Results(table_of(solution, names, output), body_of(solution, names, output))
    with plt.rc_context(STYLE):
        drawn = {figure.name: figure.draw(plt) for figure in figures_of(results)}
    return {name: figure for name, figure in drawn.items() if figure is not None}
