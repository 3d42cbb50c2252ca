"""What a run returns."""

import importlib
from typing import Any

import equinox as eqx
import jax

from fiberax.core.driver import Section
from fiberax.core.macro import AbstractMacro
from fiberax.core.shown import Shown


class Solution(Shown):
    """Result of `evolve`, `steady` or `continuation`.

    Args:
        ts: Save times or loads (T,), macro units.
        macro: Macrostates, a leading axis (T,).
        response: Responses, leading axes (T, sites).
        result: Codes of `fx.Result` (T, sites); `BORROWED` marks failed sites that use the response of the nearest site.
        section: What the sites carry at the end, a leading site axis.
        stats: Counts and measurements, such as `steps`, `failures` (failed fibers of all steps), `fiber_steps` (micro steps, or
            steps of solves, of all fibers together), `separation`, `stability` (step limits found), `elapsed` (s), and what the
            driver counts; those of `steady` and `continuation` are in their docstrings.
        model: The macro model.
        energy: Energies of the fibers (T, sites) per unit reference volume, kinetic energy of the microstates included; None
            where fibers have none.
        stderr: Standard errors of the responses, a tree like `response`; None where fibers are not random, and where
            carried ones give no `standard_error` (`AbstractEnsemble`).
        stability_margin: Margins of fibers that have one (T, sites), where they were looked at; else None.
        end: What `evolve(start=...)` needs to go on; None where it cannot.
    """

    ts: Any
    macro: Any
    response: Any
    result: Any
    section: Section
    stats: dict[str, Any]
    model: AbstractMacro
    energy: Any = None
    stderr: Any = None
    stability_margin: Any = None
    end: Any = eqx.field(default=None, repr=False)

    def to_xarray(self, names: Any = None, output: Any = None) -> Any:
        """The saved fields as an `xarray.Dataset`: what `results.nc` of a run of the command line holds.

        Args:
            names: `fiberax.cases.Names`, names and units of the results; by default those of the library.
            output: `fiberax.cases.Output`, further columns; those that need states cannot be computed from a solution.

        Returns:
            A variable for each leaf of the macrostates and responses, `result`, and energies, standard errors and stability
            margins where there are any. Dimensions are time, the axes of the macro model's grid (sites in its cells have them
            too), else `site`, and i, j, ... of tensors.

        Raises:
            MissingExtra: xarray is not installed.
        """
        return _of_io("dataset_of")(self, names, output)

    def plot(self, names: Any = None, output: Any = None) -> dict[str, Any]:
        """The figures that `fiberax run` draws of any run, as matplotlib figures.

        Args:
            names: `fiberax.cases.Names`, names and units of the results; by default those of the library.
            output: `fiberax.cases.Output`, such as energies to be drawn against time.

        Returns:
            Figures by name: each macro field, responses against the field, energies, or a body.

        Raises:
            MissingExtra: matplotlib is not installed.
        """
        return _of_io("figures_of_solution")(self, names, output)


def _of_io(name: str) -> Any:
    """A function of `fiberax.io.dataset`, which stands above the core and knows files and figures: found when it is called."""
    return getattr(importlib.import_module("fiberax.io.dataset"), name)


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """Leaves with names from their places in the tree, e.g. `_u_0`; an array alone has the empty name."""
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [("".join(f"_{jax.tree_util.keystr((key,), simple=True)}" for key in path), leaf) for path, leaf in pairs]
