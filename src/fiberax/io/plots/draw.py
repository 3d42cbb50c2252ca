"""Drawing the figures of a run: the style, the files, and the figures that any results have."""

from pathlib import Path
from typing import Any, NamedTuple

from fiberax.core.errors import MissingExtra
from fiberax.io.atomic import SaveFailed, replacing, write_text
from fiberax.io.body import Body
from fiberax.io.labels import macro_variables, nodal_variables
from fiberax.io.plots.bodies import draw_body, draw_nodal
from fiberax.io.plots.curves import curves_csv
from fiberax.io.plots.fields import draw_field, draw_response, draw_scatter
from fiberax.io.plots.figure import Figure
from fiberax.io.plots.microstates import draw_microstates
from fiberax.io.plots.transients import draw_energies, draw_space_time
from fiberax.io.results import Table
from fiberax.io.run import Results

STYLE: Any = {
    "figure.dpi": 110,
    "savefig.dpi": 160,
    "font.size": 10,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "image.cmap": "inferno",
    "svg.hashsalt": "fiberax",
}
_UNDATED: Any = {"pdf": {"CreationDate": None}, "svg": {"Date": None}}


class Drawn(NamedTuple):
    """The paths of the figures, and what could not be drawn: names and reasons."""

    paths: list[Path]
    failed: dict[str, str]


def figures_of(results: Results) -> list[Figure]:
    """The figures that any results have: fields, responses, bodies, energies in time, states of a few sites."""
    table, body = results.table, results.body
    if table is None:
        return microstates(results)
    found = [Figure(v.quantity.name, lambda plt, v=v, table=table: draw_field(plt, table, v)) for v in macro_variables(table)]
    if body is not None and not body.deforms:
        return [*_figures_of_shape(table, body), energies(results), *microstates(results)]
    if body is not None and body.mesh.dim > 1:
        return [*found, Figure("body", lambda plt: draw_body(plt, table, body)), energies(results)]
    found += [Figure("response", lambda plt: draw_response(plt, table)), energies(results), space_time(results)]
    return found + (microstates(results) if body is None else [])


def _figures_of_shape(table: Table, body: Body) -> list[Figure]:
    """Scalars at the nodes of a mesh, and the responses against the first of them at the same sites."""
    fields = nodal_variables(table)
    found = [Figure(v.quantity.name, lambda plt, v=v: draw_nodal(plt, table, v, body)) for v in fields]
    response = next((v for v in table.schema.variables if v.key == "response"), None)
    if fields and response is not None:
        field = fields[0].quantity
        condition = body.at_sites(table.arrays[field.name])
        found.append(Figure("response", lambda plt: draw_scatter(plt, table, field, condition, response)))
    return found


def energies(results: Results) -> Figure:
    """The energies of a run against time."""
    return Figure("energy", lambda plt: None if results.table is None else draw_energies(plt, results.table))


def space_time(results: Results) -> Figure:
    """The first macro field over space and time, where it has one dimension."""
    return Figure("space-time", lambda plt: None if results.table is None else draw_space_time(plt, results.table))


def microstates(results: Results) -> list[Figure]:
    """The states that were kept to be drawn."""
    shown = results.microstates
    return [Figure("microstates", lambda plt: draw_microstates(plt, shown))] if shown else []


class Look(NamedTuple):
    """The kind of the files (a suffix), and dots per inch; None for those of the style."""

    kind: str = "png"
    dpi: int | None = None


USUAL = Look()


def draw_all(figures: list[Figure], folder: Path, look: Look = USUAL) -> Drawn:
    """Draw figures into `folder`, and write the curves of each beside it; where one fails the others are drawn.

    Raises `MissingExtra` without matplotlib, `SaveFailed` where a file cannot be written.
    """
    plt, drawn = _pyplot(), Drawn([], {})
    with plt.rc_context(STYLE):
        for figure in figures:
            try:
                made = figure.draw(plt)
                if made is not None:
                    drawn.paths.append(_save(made, folder / f"{figure.name}.{look.kind}", look))
            except SaveFailed:
                raise
            except Exception as error:  # states and numbers of users can make matplotlib fail in any way
                drawn.failed[f"{figure.name}.{look.kind}"] = f"{type(error).__name__}: {error}"
            plt.close("all")
    return drawn


def _pyplot():
    try:
        import matplotlib
    except ImportError as error:
        raise MissingExtra("Figures need matplotlib: pip install 'fiberax[plot]', then `fiberax plot DIR`.") from error
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def _save(made: Any, path: Path, look: Look) -> Path:
    path.parent.mkdir(exist_ok=True)
    with replacing(path) as partial:
        # Without the date a figure that is drawn again is the same file.
        dpi = {} if look.dpi is None else {"dpi": look.dpi}
        made.savefig(partial, format=look.kind, metadata=_UNDATED.get(look.kind), **dpi)
    curves = curves_csv(made)
    if curves:
        write_text(path.with_suffix(".csv"), curves)
    return path
