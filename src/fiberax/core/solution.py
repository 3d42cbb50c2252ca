"""What a run returns."""

from typing import Any

import jax
import numpy as np

from fiberax.core.driver import Section
from fiberax.core.errors import MissingExtra
from fiberax.core.macro import AbstractMacro, Layout
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
        stderr: Standard errors of the responses, a tree like `response`; None where fibers are not random.
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

    def to_xarray(self):
        """The saved fields as an `xarray.Dataset` with dimensions time, the macro model's own axes, and site.

        Raises `MissingExtra` where xarray is not installed.
        """
        try:
            import xarray
        except ImportError as error:
            raise MissingExtra("to_xarray needs xarray: install `fiberax[data]`.") from error
        layout, positions = self.model.layout(), self.model.positions()
        variables = {}
        for name, value in _named("macro", self.macro):
            own = layout.dims if layout is not None and _fits(layout, value.shape[1:]) else ()
            rest = tuple(f"{name}_{k}" for k in range(value.ndim - 1 - len(own)))
            variables[name] = (("time", *own, *rest), value)
        for name, value in _named("response", self.response):
            variables[name] = (("time", "site", *(f"{name}_{k}" for k in range(value.ndim - 2))), value)
        variables["result"] = (("time", "site"), np.asarray(self.result))
        for name, value in _named("response_stderr", self.stderr):
            variables[name] = (("time", "site", *(f"response_{k}" for k in range(value.ndim - 2))), value)
        if self.energy is not None:
            variables["energy"] = (("time", "site"), np.asarray(self.energy))
        coordinates: dict[str, Any] = {"time": np.asarray(self.ts)}
        if layout is not None:
            coordinates |= {name: (name, np.asarray(values)) for name, values in layout.coords.items()}
        if positions is not None:
            for k, axis in enumerate("xyz"[: positions.shape[1]]):
                coordinates[f"site_{axis}"] = ("site", np.asarray(positions)[:, k])
        return xarray.Dataset(variables, coordinates, {"source": "fiberax"})


def _fits(layout: Layout, shape: tuple[int, ...]) -> bool:
    """Whether the leading axes of a macro array are those of the layout; staggered and nodal values have others."""
    sizes = [len(layout.coords[name]) if name in layout.coords else None for name in layout.dims]
    return len(shape) >= len(sizes) and all(n in (None, m) for n, m in zip(sizes, shape, strict=False))


def _named(root: str, tree: Any) -> list[tuple[str, np.ndarray]]:
    return [(root + path, np.asarray(leaf)) for path, leaf in named_leaves(tree)]


def named_leaves(tree: Any) -> list[tuple[str, Any]]:
    """Leaves with names from their places in the tree, e.g. `_u_0`; an array alone has the empty name."""
    pairs, _ = jax.tree_util.tree_flatten_with_path(tree)
    return [("".join(f"_{jax.tree_util.keystr((key,), simple=True)}" for key in path), leaf) for path, leaf in pairs]
