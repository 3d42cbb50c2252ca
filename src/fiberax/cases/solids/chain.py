"""One-dimensional chains (4.9)-(4.20): the table of their response, and what the cases of chains share."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from fiberax.cases.base import Case, Figure, Results, Summary, Table, listed
from fiberax.cases.options import ABSENT, MOST_CELLS_A_SIDE, MOST_RECORDS, option, other_than, when
from fiberax.cases.solids.figures import path_figure
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names, Output
from fiberax.io.results import Quantity

_BISECTIONS = 40


class Model(enum.Enum):
    """Chains by name."""

    MORSE = "morse"
    LENNARD_JONES = "lennard-jones"
    QUANTUM = "quantum"


BONDS = when(model=(Model.MORSE, Model.LENNARD_JONES), formula=ABSENT)
ELECTRONS = when(model=Model.QUANTUM)


@dataclass(frozen=True)
class ChainOptions(Case):
    """Which chain; for cases to build on."""

    model: Model = option(Model.MORSE, help="two atoms per cell bound by morse or lennard-jones, or electrons: quantum")
    formula: str | None = option(None, help="V(r) of a bond, or V(s) of the density s for quantum, in place of the named one")
    depth: float = option(1.0, help="depth of the bonds", unit="energy", above=0, applies=BONDS)
    bond: float = option(0.5, help="length of the bonds at rest; the cell has the length 1", above=0, applies=BONDS)
    alpha: float = option(6.0, help="inverse width of the Morse well", above=0, applies=when(model=Model.MORSE, formula=ABSENT))
    coupling: float = option(
        20.0,
        help="g in V = g s^2/2 of quantum; attracting electrons have g < 0",
        applies=ELECTRONS & when(formula=ABSENT),
    )
    external: str = option(
        "-20*cos(2*pi*y)", help="potential v(y) of the ions of quantum, y in [0, 1); 0 for none", applies=ELECTRONS
    )
    points: int = option(32, help="grid points of quantum", low=3, high=MOST_CELLS_A_SIDE, applies=ELECTRONS)

    def fiber(self) -> Any:
        """The chain that these options describe. Raises `BadInput`."""
        import fiberax as fx

        if self.model is not Model.QUANTUM:
            return fx.solids.DiatomicChain(self._bond())
        V = self._formula("s") or _square(self.coupling)
        external = None if self.external.strip() in ("", "0") else _function(self.external, "y", "--external")
        return fx.solids.QuantumChain(V, external, n=self.points)

    def _formula(self, name: str) -> Callable | None:
        return None if self.formula is None else _function(self.formula, name, "--formula")

    def _bond(self) -> Callable:
        if self.formula is not None:
            return _function(self.formula, "r", "--formula")
        if self.bond >= 1.0:
            raise BadInput(f"--bond = {self.bond:g}: two bonds make a cell of the length 1. Give a number below 1.")
        return _morse(self.depth, self.alpha, self.bond) if self.model is Model.MORSE else _lennard_jones(self.depth, self.bond)


def _function(text: str, name: str, flag: str) -> Callable:
    from fiberax.cases.formula import expression

    evaluate = expression(text, (name,), flag)
    return lambda value: evaluate(**{name: value})


def _square(g: float) -> Callable:
    return lambda s: 0.5 * g * s**2


def _morse(depth: float, alpha: float, bond: float) -> Callable:
    import jax.numpy as jnp

    return lambda r: depth * ((1.0 - jnp.exp(-alpha * (r - bond))) ** 2 - 1.0)


def _lennard_jones(depth: float, bond: float) -> Callable:
    return lambda r: depth * ((bond / r) ** 12 - 2.0 * (bond / r) ** 6)


def chain_pictures(chain: Any) -> Output:
    """What is kept to be drawn of a chain."""

    def microstate(state, condition) -> dict[str, np.ndarray]:
        position = getattr(state, "position", state)  # relaxations of second order carry a velocity as well
        if position.ndim == 0:
            other = float(chain.length) * (1.0 + condition) - position
            return {"bond lengths, cell by cell": np.tile([position, other], 3)}
        shown = {r"density $\psi^2$": position**2 / (1.0 + condition)}
        return shown if chain.external is None else shown | {"external potential": np.asarray(chain.external)}

    return Output(microstate=microstate)


def chain_names(axis: Quantity, site: str) -> Names:
    """Names of the results of chains; `site` is the name of the condition."""
    return Names(
        quantities={
            "condition": Quantity("A", "1", "strain A"),
            "macro": Quantity("A", "1", site),
            "macro.position": Quantity("A", "1", site),
            "macro.velocity": Quantity("A_t", "1/time", "strain rate"),
            "response": Quantity("F", "1", "force F"),
            "tangent": Quantity("C", "1", "modulus dF/dA"),
            "energy": Quantity("W", "1", "energy W per reference length"),
            "stability_margin": Quantity("stability_margin", "1", "margin of stability"),
            "internal": Quantity("internal", "1", "curvature of W in the shift"),
            "result": Quantity("result", "1", "result of the relaxation"),
        },
        axis=axis,
    )


@listed("chain", "energy, force, modulus and stability of a chain of atoms or electrons over a range of strains")
@dataclass(frozen=True)
class Chain(ChainOptions):
    """Energy, force, modulus and stability of a chain over a range of strains.

    A chain of two atoms per cell loses its stability where V'' changes sign: there one bond of each cell breaks. The quantum
    chain is a wave function in a periodic potential. Every row is relaxed; columns are W, F = dW/dA and C = dF/dA.
    """

    low: float = option(-0.1, help="lowest strain A", above=-1)
    high: float = option(0.35, help="highest strain A", above=-1, applies=when(rows=other_than(1)))
    rows: int = option(91, help="strains from the lowest to the highest", low=1, high=MOST_RECORDS)
    tolerance: float = option(1e-10, help="relative tolerance of the relaxation", above=0, high=0.1)
    batch: int = option(32, help="rows computed at once", low=1)

    def build(self) -> Table:
        """The rows to compute. Raises `BadInput` for a potential or numbers that cannot be used."""
        if self.rows > 1 and not self.high > self.low:
            raise BadInput(f"--high = {self.high:g} is not above --low = {self.low:g}.")
        chain = self.fiber()
        return Table(
            fiber=chain,
            conditions=np.linspace(self.low, self.high, self.rows),
            tolerance=self.tolerance,
            batch=self.batch,
            names=chain_names(Quantity("strain", "1", "strain A"), "strain A"),
            output=chain_pictures(chain),
            further=_curvature(chain),
            summary=lambda strains, columns: _limit(chain, self.tolerance, strains, columns),
        )

    def figures(self, results: Results) -> list[Figure]:
        """Energy, force and stability over the strains."""
        return [path_figure(results, ("internal", "tangent"))]


def _curvature(chain: Any) -> Callable | None:
    """The curvature of W in the shift, for chains whose state is one number."""
    import jax

    import fiberax as fx

    if not isinstance(chain, fx.solids.DiatomicChain):
        return None
    curvature = jax.jit(jax.hessian(chain.energy))
    return lambda state, strain: {"internal": np.asarray(curvature(state, strain))}


def _limit(chain: Any, tolerance: float, strains: np.ndarray, columns: dict[str, np.ndarray]) -> Summary:
    """The first strain above the stable row nearest to zero where C changes sign, by bisection."""
    import fiberax as fx

    stable = (columns["tangent"] > 0.0) & (columns["result"] == 0)
    begin = int(np.argmin(np.abs(strains)))
    if not stable[begin]:
        text = f"not stable at A = {strains[begin]:.4g}: C = {columns['tangent'][begin]:.4g}"
        return Summary({"limits": []}, (text,))
    beyond = np.flatnonzero(~stable[begin:])
    if not len(beyond):
        return Summary({"limits": []}, ("stable at all strains from zero up",))
    low, high = strains[begin + beyond[0] - 1], strains[begin + beyond[0]]
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        row = fx.response(chain, middle, tangent=True, tolerance=tolerance)
        low, high = (middle, high) if row.result == 0 and row.tangent > 0.0 else (low, middle)
    text = f"stable up to A = {low:.6g}, where the modulus C = dF/dA vanishes"
    return Summary({"limits": [{"at": float(low), "text": text}]}, (text,), (float(low),))
