"""Interacting diffusion from a Hamiltonian: A(U) and D(U) of the Ginzburg-Landau lattice, and the density that it carries.

D = A' by fluctuation (5.7): with v the mean of V'(φ) over the sites of one lattice, N of them, and the mean of φ
held at U, D = ½ (⟨V''⟩ − βN Var v). The variance is taken over the replicas of one instant, which are independent: so the
estimate is without bias and linear in averages over time, and its error is that of any other average. In one dimension the
transfer operator gives both exactly, for the ring of N spins and for N → ∞, and the macro model with the ring's A(U) is solved
for comparison with a coupled run.
"""

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from fiberax.cases.base import Case, Evolve, Figure, Results, Sampling, Summary, Table, listed
from fiberax.cases.diffusion.figures import coefficient_figure, coupled_figures
from fiberax.cases.formula import expression
from fiberax.cases.noise import NoiseName
from fiberax.cases.options import MOST_CELLS, MOST_RECORDS, option, other_than, when
from fiberax.cases.times import even_times
from fiberax.core.errors import BadInput
from fiberax.io.labels import Names, Output
from fiberax.io.plots.draw import microstates
from fiberax.io.results import Quantity

_NODES = 33  # of the exact A(U) for a coupled run
_SAFETY = 0.3  # of the stable macro step
_SHOWN = 3


class Mode(enum.Enum):
    """What is computed."""

    TABLE = "table"
    DIFFUSION = "diffusion"


class Dynamics(enum.Enum):
    """Motions with the same equilibrium."""

    GLOBAL = "global"
    EXCHANGE = "exchange"


class Method(enum.Enum):
    """How the lattices follow the density."""

    SEAMLESS = "seamless"
    SAMPLED = "sampled"


TABLE, DIFFUSION = when(mode=Mode.TABLE), when(mode=Mode.DIFFUSION)


@listed("spins", "diffusion coefficient of interacting spins from their Hamiltonian, and how their density spreads")
@dataclass(frozen=True)
class Spins(Case):
    """Diffusion coefficient of interacting spins from their Hamiltonian, and how their density spreads.

    H = coupling/2 sum over bonds (phi_i - phi_j)^2 + sum over sites V(phi_i), on periodic lattices held at the mean U. The
    table holds the response A(U), half the mean of V', and D(U) = dA/dU, with standard errors; in one dimension also the
    exact ones, of the ring and of an infinite chain. In diffusion each cell of an interval has a lattice, and U follows
    dU/dt = Laplacian of A(U).
    """

    mode: Mode = option(Mode.TABLE, help="A(U) and D(U) over a range of U, or the density in time")
    potential: str = option("(phi**2 - 1)**2/4", help="V(phi), the energy of one site, for example exp(-phi)")
    beta: float = option(1.0, help="inverse temperature", above=0)
    coupling: float = option(2.0, help="kappa of the bonds", low=0)
    dim: int = option(1, help="dimensions of the lattice", low=1, high=3)
    sites: int = option(64, help="spins along each side of a lattice", low=3)
    replicas: int = option(16, help="independent lattices of one fiber", low=2)
    dynamics: Dynamics = option(Dynamics.GLOBAL, help="every spin on its own, or exchange between neighbours (slow)")
    noise: NoiseName = option(NoiseName.THREE_POINT, help="of weak order 2 both")
    seed: int = option(0, help="of the noise", low=0)
    low: float = option(-1.5, help="lowest U of the table", applies=TABLE)
    high: float = option(1.5, help="highest U of the table", applies=TABLE & when(rows=other_than(1)))
    rows: int = option(25, help="values of U from the lowest to the highest", low=1, high=MOST_RECORDS, applies=TABLE)
    average: float = option(200.0, help="time, in units of the friction, over which the table averages", above=0, applies=TABLE)
    initial: str = option("1.2*cos(2*pi*x)", help="U at the start over x in [0, 1), the interval", applies=DIFFUSION)
    length: float = option(
        100.0, help="length of the interval, in spins that make one unit of length", above=0, applies=DIFFUSION
    )
    cells: int = option(32, help="cells of the interval", low=4, high=MOST_CELLS, applies=DIFFUSION)
    t1: float | None = option(None, help="end; default when the longest wave has fallen to 1/e", above=0, applies=DIFFUSION)
    dt: float | None = option(None, help="time step; default 0.3 of the largest stable one", above=0, applies=DIFFUSION)
    records: int = option(
        12, help="times at which the density is saved, after the start", low=1, high=MOST_RECORDS, applies=DIFFUSION
    )
    method: Method = option(
        Method.SEAMLESS, help="lattices carried along, or sampled anew at every step (slow)", applies=DIFFUSION
    )
    samples: int = option(256, help="steps of each such sampling", low=128, applies=DIFFUSION & when(method=Method.SAMPLED))

    def build(self) -> Table | Evolve:
        """The rows, or the coupled run. Raises `BadInput` for formulas and numbers that cannot be used."""
        lattice = self.lattice()
        return self._table(lattice) if self.mode is Mode.TABLE else self._diffusion(lattice)

    def figures(self, results: Results) -> list[Figure]:
        """A(U) and D(U), or the density in time, with the exact ones where they are known."""
        if self.mode is Mode.TABLE:
            return [coefficient_figure(results), *microstates(results)]
        return [*coupled_figures(results), *microstates(results)] if self.dim == 1 else super().figures(results)

    def lattice(self) -> Any:
        """The fiber. Raises `BadInput`."""
        import fiberax as fx

        evaluate = expression(self.potential, ("phi",), "--potential")
        V = lambda phi: evaluate(phi=phi) + 0.0 * phi
        noise: Any = self.noise.value
        dynamics: Any = self.dynamics.value
        far = np.asarray(V(jnp.asarray([-50.0, 0.0, 50.0])))
        # The mean of the spins is given, so that a linear part of V has no effect: exp(-phi) holds them.
        if not np.all(np.isfinite(far)) or far[0] + far[2] <= 2.0 * far[1]:
            raise BadInput(
                f"--potential '{self.potential}': V must be finite and grow, but for a linear part, on both sides, to hold the "
                "spins."
            )
        return fx.diffusion.GinzburgLandau(
            V, self.sites, self.dim, self.beta, self.coupling, replicas=self.replicas, dynamics=dynamics, noise=noise
        )

    def _table(self, lattice: Any) -> Table:
        if self.rows > 1 and not self.high > self.low:
            raise BadInput(f"--high = {self.high:g} is not above --low = {self.low:g}.")
        values = np.linspace(self.low, self.high, self.rows)
        shown = np.unique(np.linspace(0, self.rows - 1, _SHOWN).round().astype(int))
        exact = self._exact(lattice)

        def derived(values: np.ndarray, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
            if exact is None:
                return {}
            ring, limit = ([exact(U, sites) for U in values] for sites in (self.sites, None))
            found = {"exact.A": [a for a, _ in ring], "exact.D": [d for _, d in ring]}
            found |= {"limit.A": [a for a, _ in limit], "limit.D": [d for _, d in limit]}
            return {name: np.array(column) for name, column in found.items()}

        return Table(
            fiber=lattice,
            conditions=values,
            tangent=False,
            batch=1,
            names=_names(Quantity("U", "1", "density U")),
            output=Output(microstate=_spins_of(self.dim)),
            link=FluctuationLink(),
            sampling=Sampling(replicas=2, seed=self.seed, span=self.average),
            derived=derived,
            summary=_summary,
            shown=tuple(shown.tolist()),
        )

    def _exact(self, lattice: Any) -> Callable | None:
        """A and D at U of a ring of so many spins, None for N → ∞; or None where they are not known."""
        if self.dim != 1:
            return None
        from fiberax.physics.diffusion import ginzburg_landau_chain

        V = lattice.V

        def at(U: float, sites: int | None) -> tuple[float, float]:
            truth = ginzburg_landau_chain(
                lambda phi: np.asarray(V(jnp.asarray(phi))), float(U), self.beta, self.coupling, sites
            )
            return truth.response, truth.diffusion

        return at

    def _diffusion(self, lattice: Any) -> Evolve:
        import fiberax as fx

        grid = fx.grids.Box(0.0, self.length, cells=self.cells)
        x = np.asarray(grid.centres).ravel()
        start = expression(self.initial, ("x",), "--initial")
        macro0 = np.broadcast_to(np.asarray(start(x=jnp.asarray(x / self.length))), x.shape).astype(float)
        if not np.all(np.isfinite(macro0)):
            raise BadInput(f"--initial '{self.initial}' is not finite at x = {x[~np.isfinite(macro0)][0] / self.length:.4g}.")
        low, high = float(macro0.min()), float(macro0.max())
        nodes = np.linspace(low - 1e-3, high + 1e-3, _NODES)
        exact, spacing = self._exact(lattice), self.length / self.cells
        if exact is None:
            # Of a site alone: A' is at most half the mean curvature, which the coupling changes little.
            slopes, answer = 0.5 * np.abs(np.asarray(jax.vmap(lattice.curvature)(jnp.asarray(nodes)))), None
        else:
            both = np.array([exact(U, self.sites) for U in nodes])
            slopes, answer = both[:, 1], _Reference(nodes, both, macro0, spacing)
        dt = self.dt or _SAFETY * spacing**2 / (2.0 * slopes.max())
        t1 = self.t1 or self.length**2 / (4.0 * math.pi**2 * float(np.mean(slopes)))
        times = even_times(t1, self.records)
        if answer is not None:
            answer.every = times[1]
        own = min(float(lattice.timestep(jnp.asarray(U))) for U in (low, 0.5 * (low + high), high))
        if self.method is Method.SEAMLESS:
            driver = fx.Seamless(substeps=max(1, math.ceil(dt / own)))
        else:
            driver = fx.Quasistatic(steps=self.samples, replicas=1)
        return Evolve(
            bundle=fx.Bundle(fx.diffusion.Density(grid), lattice),
            driver=driver,
            macro0=macro0,
            t1=t1,
            dt=dt,
            saveat=times,
            stepper=fx.Heun(),
            seed=self.seed,
            names=_names(Quantity("time", "1", "time")),
            output=Output(columns=None if answer is None else answer.columns, microstate=_spins_of(self.dim)),
        )


class FluctuationLink(eqx.Module):
    """A(U), and D(U) from the fluctuations of A over the replicas."""

    def __call__(self, fiber, state, condition) -> dict[str, jax.Array]:
        sites = tuple(range(fiber.dim))
        held = state.field + (condition - jnp.mean(state.field, axis=sites, keepdims=True))
        slope = lambda phi: jax.jvp(fiber.V, (phi,), (jnp.ones_like(phi),))[1]
        force, curvature = jax.jvp(slope, (held,), (jnp.ones_like(held),))
        spread = fiber.beta * fiber.sites**fiber.dim * jnp.var(jnp.mean(force, axis=sites), ddof=1)
        return {"A": 0.5 * jnp.mean(force), "D": 0.5 * (jnp.mean(curvature) - spread)}


class _Reference:
    """The macro model with the exact A(U), on the grid of the run."""

    def __init__(self, nodes: np.ndarray, both: np.ndarray, macro0: np.ndarray, spacing: float):
        from scipy.interpolate import CubicHermiteSpline

        self.every = 1.0  # interval of save times
        self._response = CubicHermiteSpline(nodes, both[:, 0], both[:, 1])
        self._solved, self._spacing = [macro0], spacing

    def _at(self, t: float) -> np.ndarray:
        """U at `t`, from one save time to the next, so that no digit depends on the end of the run."""
        whole = math.floor(t / self.every + 1e-9)
        while len(self._solved) <= whole:
            self._solved.append(self._after(self._solved[-1], self.every))
        rest = t - whole * self.every
        return self._solved[whole] if rest <= 1e-9 * self.every else self._after(self._solved[whole], rest)

    def _after(self, macro: np.ndarray, span: float) -> np.ndarray:
        from scipy.integrate import solve_ivp

        def rate(t, U):
            A = self._response(U)
            return (np.roll(A, 1) - 2.0 * A + np.roll(A, -1)) / self._spacing**2

        return solve_ivp(rate, (0.0, span), macro, "LSODA", t_eval=[span], rtol=1e-8, atol=1e-10).y[:, -1]

    def columns(self, record) -> dict[str, np.ndarray]:
        """The exact U at the time of the record, and the exact A at the U of the run."""
        return {"exact.U": self._at(record.t), "exact.A": self._response(np.asarray(record.macro))}


def _spins_of(dim: int) -> Callable:
    def microstate(state, condition) -> dict[str, np.ndarray]:
        field = np.asarray(state.field)
        field = field.reshape(-1, *field.shape[-dim - 1 :])[0]
        return {"spins of one lattice": field[..., 0]}

    return microstate


def _names(axis: Quantity) -> Names:
    quantities = {
        "condition": Quantity("U", "1", "U"),
        "macro": Quantity("U", "1", "density U"),
        "response": Quantity("A", "1", "response A"),
        "response.A": Quantity("A", "1", "response A"),
        "response.D": Quantity("D", "1", "diffusion coefficient D = dA/dU"),
        "exact.A": Quantity("A_exact", "1", "response A, exact for a ring of as many spins"),
        "exact.D": Quantity("D_exact", "1", "diffusion coefficient D, exact for a ring of as many spins"),
        "limit.A": Quantity("A_limit", "1", "response A, exact for an infinite chain"),
        "limit.D": Quantity("D_limit", "1", "diffusion coefficient D, exact for an infinite chain"),
        "exact.U": Quantity("U_exact", "1", "density U by the exact A(U)"),
        "result": Quantity("result", "1", "result of the average"),
    }
    return Names(quantities, axis=axis)


def _summary(values: np.ndarray, columns: dict[str, np.ndarray]) -> Summary:
    """How far from the exact answer, and what did not mix."""
    import fiberax as fx

    lines, content = [], {}
    for name in ("A", "D"):
        if f"exact.{name}" in columns:
            away = np.abs(columns[f"response.{name}"] - columns[f"exact.{name}"])
            worst = int(np.nanargmax(away / columns[f"stderr.{name}"]))
            number = float(away[worst] / columns[f"stderr.{name}"][worst])
            content[f"largest deviation of {name} in standard errors"] = number
            lines.append(f"{name}: at most {number:.2g} standard errors from the exact one, at U = {values[worst]:.4g}")
    for code in np.unique(columns["result"][columns["result"] != 0]):
        where = values[columns["result"] == code]
        reason = {int(fx.Result.NOT_MIXED): "lattices did not mix", int(fx.Result.TOO_SHORT): "the average is too short"}
        words = reason.get(int(code), fx.Result(int(code)).name)
        lines.append(f"{len(where)} rows from U = {where.min():.4g} to {where.max():.4g}: {words}. Raise --average")
    return Summary(content, tuple(lines))
