"""What cases of complex fluids share: dumbbells, chains, rods (6.1)-(6.4) and closures by their options."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from fiberax.cases.base import Case
from fiberax.cases.fluids.oscillation import Spectrum
from fiberax.cases.formula import expression, read_numbers
from fiberax.cases.noise import NoiseName
from fiberax.cases.options import above, option, other_than, when
from fiberax.core.errors import BadInput
from fiberax.physics.fluids import (
    FENE,
    FENECR,
    FENEP,
    PTT,
    AbstractSpring,
    Chain,
    Dumbbell,
    DumbbellDensity,
    Expanded,
    GaussianDensity,
    Giesekus,
    Hookean,
    InverseLangevin,
    MaierSaupe,
    Onsager,
    Rod,
    RodDensity,
    RoliePoly,
    WormLike,
)
from fiberax.physics.fluids.dumbbell_density import largest_degree


class Model(enum.Enum):
    """What the fluid is made of."""

    DUMBBELL = "dumbbell"
    CHAIN = "chain"
    ROD = "rod"
    FENE_P = "fene-p"
    FENE_CR = "fene-cr"
    GIESEKUS = "giesekus"
    PTT = "ptt"
    PTT_EXP = "ptt-exp"
    ROLIE_POLY = "rolie-poly"
    LJ = "lj"
    WCA = "wca"
    KG_CHAINS = "kg-chains"


class Form(enum.Enum):
    """Members with noise, or their probability density."""

    BROWNIAN = "brownian"
    DENSITY = "density"


class Potential(enum.Enum):
    """Interaction of rods."""

    NONE = "none"
    MAIER_SAUPE = "maier-saupe"
    ONSAGER = "onsager"


_REST = 1e-10  # |z|² that counts as rest in a formula


class Law(AbstractSpring):
    """A spring law given as a formula: h(s), s = |z|²."""

    h: Callable = eqx.field(static=True)
    reach: float = eqx.field(static=True)

    @property
    def limit(self):
        return self.reach

    def factor(self, square):
        """The formula, next to rest where it may be 0/0: h(s) is then taken at s = 1e-10."""
        away = jnp.maximum(square, _REST)
        return jnp.broadcast_to(self.h(s=away), square.shape).astype(square.dtype)


CLOSURES = (Model.FENE_P, Model.FENE_CR, Model.GIESEKUS, Model.PTT, Model.PTT_EXP, Model.ROLIE_POLY)
MOLECULES = (Model.LJ, Model.WCA, Model.KG_CHAINS)  # in a rheometer only; flows of them are cases of their own
RESOLVED = when(model=(Model.DUMBBELL, Model.CHAIN, Model.ROD))  # by members or by their density
NAMED = {"fene": FENE, "inverse-langevin": InverseLangevin, "worm-like": WormLike}
SPRINGS = when(model=(Model.DUMBBELL, Model.CHAIN))
FINITE, TANNER, ENTANGLED = when(model=CLOSURES[:2]), when(model=(Model.PTT, Model.PTT_EXP)), when(model=Model.ROLIE_POLY)
RODS = when(model=Model.ROD)
INTERACTING = RODS & when(potential=(Potential.MAIER_SAUPE, Potential.ONSAGER))  # others do not order
MEMBERS, DENSITY = RESOLVED & when(form=Form.BROWNIAN), RESOLVED & when(form=Form.DENSITY)


@dataclass(frozen=True)
class FluidOptions(Case):
    """Which fluid; for cases to build on."""

    model: Model = option(
        Model.DUMBBELL,
        help="dumbbells (of FENE springs by default), bead-spring chains, rigid rods, or a closure, an equation for stress",
        choices=lambda: tuple(model.value for model in Model if model not in MOLECULES),
    )
    spring: str = option(
        "fene",
        help="hookean, fene, inverse-langevin, worm-like, or h(s) of the force h(|z|^2) z, as 1 + 0.1*s",
        applies=SPRINGS,
    )
    b: float | None = option(
        None,
        help="largest |z|^2 of a spring, in closures of its mean; default 50, none for a formula",
        above=0,
        applies=SPRINGS & when(spring=other_than("hookean")) | FINITE,
    )
    alpha: float = option(0.2, help="mobility of giesekus, below 1", above=0, applies=when(model=Model.GIESEKUS))
    epsilon: float = option(0.25, help="of ptt: how much faster a stretched network breaks", low=0, applies=TANNER)
    entanglements: float = option(
        10.0, help="Z of a rolie-poly chain: its stretch relaxes in De / (3 Z)", above=0, applies=ENTANGLED
    )
    beta: float = option(
        0.0, help="of rolie-poly: release of constraints by relaxing stretch", low=0, high=1, applies=ENTANGLED
    )
    delta: float = option(-0.5, help="of rolie-poly: power of the stretch in it", applies=ENTANGLED & when(beta=above(0)))
    springs: int = option(5, help="springs of a chain", low=1, applies=when(model=Model.CHAIN))
    potential: Potential = option(
        Potential.NONE, help="interaction of rods; of members onsager's is taken to degree 8", applies=RODS
    )
    director: str | None = option(
        None, help="direction in which a density of rods is ordered at first, as 1,0,0", applies=INTERACTING & DENSITY
    )
    intensity: float = option(
        4.0,
        help="N of that interaction; isotropic rods are unstable above 5 and 10.19",
        low=0,
        applies=INTERACTING,
    )
    dim: int = option(3, help="dimensions of the flow, 2 or 3; rods have 3", low=2, high=3)
    De: float = option(1.0, help="relaxation time, of chains that of one spring; for rods 1 / rotational diffusion", above=0)
    form: Form = option(
        Form.BROWNIAN, help="brownian: members with noise; density: their Fokker-Planck equation", applies=RESOLVED
    )
    degree: int | None = option(
        None,
        help="of the polynomials of a density, even; default by the model",
        low=4,
        applies=DENSITY & (RODS | SPRINGS & when(spring=other_than("hookean"))),
    )
    members: int = option(500, help="springs, chains or rods of an ensemble", low=1, applies=MEMBERS)
    noise: NoiseName = option(NoiseName.THREE_POINT, help="of weak order 2 both", applies=MEMBERS)
    control: bool = option(
        True,
        help="carry members at rest too, in the same noise: reduces errors at low rates",
        # Interacting rods may also order at rest, in another direction: then it does not help.
        applies=MEMBERS & when(potential=Potential.NONE),
    )
    seed: int = option(0, help="of the noise", low=0, applies=MEMBERS)

    def fiber(self) -> Any:
        """The fluid that these options describe. Raises `BadInput`."""
        if self.model in CLOSURES:
            return self._closure()
        if self.form is Form.DENSITY:
            return self._density()
        noise: Any = self.noise.value
        if self.model is Model.ROD:
            self._need_three()
            field = self._field()
            if isinstance(field, Onsager):  # its forces would otherwise be those of all pairs
                field = Expanded(field)
            # Interacting rods may also order at rest, in another direction: then it does not help.
            return Rod(potential=field, members=self.members, De=self.De, noise=noise, control=self.control and field is None)
        if self.model is Model.CHAIN:
            return Chain(
                spring=self.law(),
                springs=self.springs,
                dim=self.dim,
                members=self.members,
                De=self.De,
                noise=noise,
                control=self.control,
            )
        return Dumbbell(spring=self.law(), dim=self.dim, members=self.members, De=self.De, noise=noise, control=self.control)

    def law(self) -> AbstractSpring:
        """The law of the springs. Raises `BadInput`."""
        name = self.spring.strip().lower()
        if name == "hookean":
            return Hookean()
        if name in NAMED:
            return NAMED[name](50.0 if self.b is None else self.b)
        law = Law(expression(self.spring, ("s",), "--spring"), float("inf") if self.b is None else self.b)
        end = 100.0 if self.b is None else 0.99 * self.b
        far = np.union1d(np.geomspace(1e-8, 1e-2, 7) * end, np.linspace(0.0, end, 200))
        found = np.asarray(law.factor(jnp.asarray(far)))
        if not np.all(np.isfinite(found)) or np.any(found < 0.0):
            bad = far[np.argmax(~np.isfinite(found) | (found < 0.0))]
            raise BadInput(f"--spring '{self.spring}': at s = {bad:.3g} it is no finite number >= 0. Give --b, where it ends.")
        force = found * np.sqrt(np.maximum(far, _REST))
        if np.any(falls := np.diff(force) < -1e-9 * force[1:]):
            bad = far[1:][np.argmax(falls)]
            raise BadInput(
                f"--spring '{self.spring}': near s = {bad:.3g} the force h sqrt(s) falls as the spring gets longer. "
                "Where the law ends at a length, give its square with --b."
            )
        return law

    def relaxation_times(self) -> np.ndarray:
        """Those of the modes of the stress for Hookean springs, the longest first; a guide for others."""
        if self.model is Model.ROD:
            return np.array([self.De / 6.0])
        if self.model is not Model.CHAIN:
            return np.array([self.De])
        k = np.arange(1, self.springs + 1)
        return self.De / (2.0 * np.sin(0.5 * np.pi * k / (self.springs + 1)) ** 2)

    def longest(self) -> float:
        """The relaxation time of a fluid, roughly; interacting rods take longer, most near a transition."""
        return 0.5 * self.De if self.potential is not Potential.NONE else float(self.relaxation_times()[0])

    @property
    def is_hookean(self) -> bool:
        """Whether the answer is known."""
        return self.model in (Model.DUMBBELL, Model.CHAIN) and self.spring.strip().lower() == "hookean"

    @property
    def brownian(self) -> bool:
        """Whether there are members with noise."""
        return self.form is Form.BROWNIAN and self.model not in CLOSURES

    def maxwell(self) -> tuple[float, float] | None:
        """Modulus and relaxation time of a closure near rest, where it is Maxwell's fluid; None for others."""
        if self.model not in CLOSURES:
            return None
        b = 50.0 if self.b is None else self.b
        if self.model is Model.FENE_P:
            return 1.0, self.De * b / (b + self.dim)
        if self.model is Model.FENE_CR:
            return b / (b - self.dim), self.De * (b - self.dim) / b
        return 1.0, self.De

    def spectrum(self) -> Spectrum | None:
        """Modes of the stress in small oscillations, where they are known."""
        if (known := self.maxwell()) is not None:
            return Spectrum(np.array(known[:1]), np.array(known[1:]))
        if self.is_hookean:
            times = self.relaxation_times()
            return Spectrum(np.ones_like(times), times)
        if self.model is Model.ROD and self.potential is Potential.NONE:
            return Spectrum(np.array([0.6]), self.relaxation_times(), self.De / 30.0)
        return None

    def zero_rate_viscosity(self) -> float | None:
        """The exact limit of the shear viscosity at small rates, where it is known."""
        if (known := self.maxwell()) is not None:
            return known[0] * known[1]
        if self.is_hookean:
            return float(self.relaxation_times().sum())
        if self.model is Model.ROD and self.potential is Potential.NONE:
            return 2.0 / 15.0 * self.De
        if self.model is Model.DUMBBELL and isinstance(law := self.law(), FENE):
            return self.De * float(law.b) / (float(law.b) + self.dim + 2.0)
        return None

    def _closure(self) -> Any:
        numbers = {"dim": self.dim, "De": self.De}
        b = 50.0 if self.b is None else self.b
        if self.model is Model.FENE_P:
            return FENEP(b, **numbers)
        if self.model is Model.FENE_CR:
            if b <= self.dim:
                raise BadInput(f"--b {b:g}: at rest tr c = {self.dim}, which it has to exceed. Give more.")
            return FENECR(b, **numbers)
        if self.model is Model.GIESEKUS:
            if self.alpha >= 1.0:
                raise BadInput(f"--alpha {self.alpha:g}: the mobility is below 1. Give less.")
            return Giesekus(self.alpha, **numbers)
        if self.model is Model.ROLIE_POLY:
            return RoliePoly(self.entanglements, beta=self.beta, delta=self.delta, **numbers)
        return PTT(self.epsilon, exponential=self.model is Model.PTT_EXP, **numbers)

    def _density(self) -> Any:
        if self.model is Model.CHAIN:
            raise BadInput("--form density is not there for chains: their density has too many dimensions. Use brownian.")
        if self.model is Model.ROD:
            self._need_three()
            director = None if self.director is None else read_numbers(self.director, "--director")
            if director is not None and (len(director) != 3 or not any(director)):
                raise BadInput(f"--director = {self.director}: give three numbers, not all zero.")
            return RodDensity(self._field(), self.De, self.degree or 16, director)
        law = self.law()
        if isinstance(law, Law):
            raise BadInput(f"--form density takes --spring hookean or fene; {self.spring!r} needs --form brownian.")
        if isinstance(law, Hookean):
            return GaussianDensity(self.dim, self.De)
        return DumbbellDensity(law, self.dim, self.De, self.degree)

    def largest_degree(self) -> int:
        """The largest --degree of a density."""
        return RodDensity.LARGEST if self.model is Model.ROD else largest_degree(self.dim)

    def _field(self):
        if self.potential is Potential.NONE:
            return None
        return (MaierSaupe if self.potential is Potential.MAIER_SAUPE else Onsager)(self.intensity)

    def _need_three(self) -> None:
        if self.dim != 3:
            raise BadInput(f"--dim {self.dim}: rods are unit vectors in three dimensions. Give --dim 3.")
