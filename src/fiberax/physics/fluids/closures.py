"""Closures: constitutive equations of one conformation c that stand for dumbbells and for entangled chains.

All have the relaxation time De, affine motion, c positive at any rate and step (`conformation`), and τ ≈ I + De (κ + κᵀ) in
slow flows, in units of nkT or of the plateau modulus; `FENEP` has De b/(b + dim) there.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.physics.fluids.conformation import AbstractClosure, AbstractConformation, check_dim, check_number

_DOUBLINGS = 12  # of the time in which the flow of a Riccati equation is known by its series
_TERMS = 6  # of that series
_SHORT = 0.1  # that time for steady states, in units of the fastest rate
_LONG = 56  # doublings for them
_GROWN = 80.0  # largest exponent of the rate of an exponential closure


class FENEP(AbstractClosure):
    """FENE-P: FENE dumbbells with |z|² in the spring law replaced by its mean (Bird, Dotson and Johnson, 1980).

        dc/dt = κc + cκᵀ − (f c − I)/De,   f = 1/(1 − tr c/b),   τ = f c

    J. Non-Newtonian Fluid Mech. 7, 213; Bird et al., Dynamics of Polymeric Liquids 2 (1987), 13.5. c = ⟨zz⟩, tr c < b.

    Args:
        b: As of `FENE(b)`, above 0.
        dim: 2 or 3.
        De: As of `Dumbbell`.

    Raises:
        BadInput: A number out of range.
    """

    b: Float[Array, ""]
    dim: int = eqx.field(static=True)
    De: Float[Array, ""]

    def __init__(self, b=50.0, dim: int = 2, De=1.0):
        self.b, self.dim = check_number("FENEP", "b", b, 0.0), check_dim("FENEP", dim)
        self.De = check_number("FENEP", "De", De, 0.0)

    @property
    def reach(self):
        return self.b

    @property
    def rest(self):
        return self.b / (self.b + self.dim)

    def rates(self, trace):
        return 1.0 / (1.0 - trace / self.b) / self.De, 1.0 / self.De

    def link(self, state, condition):
        return state / (1.0 - jnp.trace(state) / self.b)


class FENECR(AbstractClosure):
    """FENE-CR: finite extension with a viscosity that does not depend on the rate (Chilcott and Rallison, 1988).

        dc/dt = κc + cκᵀ − f (c − I)/De,   f = 1/(1 − tr c/b),   τ = I + f (c − I)

    J. Non-Newtonian Fluid Mech. 29, 381. tr c < b.

    Args:
        b: Above dim, the trace at rest.
        dim: 2 or 3.
        De: Relaxation time in units of the flow's time, which is also the fiber's; at rest it is De (1 − dim/b).

    Raises:
        BadInput: A number out of range.
    """

    b: Float[Array, ""]
    dim: int = eqx.field(static=True)
    De: Float[Array, ""]

    def __init__(self, b=50.0, dim: int = 2, De=1.0):
        self.dim = check_dim("FENECR", dim)
        self.b, self.De = check_number("FENECR", "b", b, float(dim)), check_number("FENECR", "De", De, 0.0)

    @property
    def reach(self):
        return self.b

    def rates(self, trace):
        a = 1.0 / (1.0 - trace / self.b) / self.De
        return a, a

    def link(self, state, condition):
        unit = jnp.eye(self.dim)
        return unit + (state - unit) / (1.0 - jnp.trace(state) / self.b)


class PTT(AbstractClosure):
    """Phan-Thien and Tanner's fluid with affine motion, of a network whose junctions break as it is stretched.

        dc/dt = κc + cκᵀ − Y (c − I)/De,   Y = 1 + ε (tr c − dim)  or  exp(ε (tr c − dim)),   τ = c

    Phan-Thien and Tanner, J. Non-Newtonian Fluid Mech. 2 (1977) 353; the exponential: Phan-Thien, J. Rheol. 22 (1978) 259. In
    every flow that begins at rest tr c ≥ dim.

    Args:
        epsilon: ε, at least 0; 0 is Oldroyd-B.
        dim: 2 or 3.
        De: Relaxation time in units of the flow's time, which is also the fiber's.
        exponential: Which of both Y.

    Raises:
        BadInput: A number out of range.
    """

    epsilon: Float[Array, ""]
    dim: int = eqx.field(static=True)
    De: Float[Array, ""]
    exponential: bool = eqx.field(static=True)

    def __init__(self, epsilon=0.25, dim: int = 2, De=1.0, exponential: bool = False):
        self.epsilon = check_number("PTT", "epsilon", epsilon, 0.0, open_low=False)
        self.dim, self.De = check_dim("PTT", dim), check_number("PTT", "De", De, 0.0)
        self.exponential = bool(exponential)

    def rates(self, trace):
        x = self.epsilon * (trace - self.dim)
        a = (jnp.exp(jnp.minimum(x, _GROWN)) if self.exponential else jnp.maximum(1.0 + x, 0.0)) / self.De
        return a, a


class RoliePoly(AbstractClosure):
    """Rolie-Poly: entangled linear chains by reptation, stretch and convective release of constraints (Likhtman, Graham, 2003).

        dc/dt = κc + cκᵀ − (c − I)/De − (2/τ_R)(1 − √(dim/tr c)) (c + β (tr c/dim)^δ (c − I)),   τ_R = De/(3Z),   τ = c

    J. Non-Newtonian Fluid Mech. 114, 1. There is no steady state in extension at rates of 1/τ_R and beyond. Where β > 0 and a
    chain is far shorter than at rest, the coefficient of I would be negative; it is then 0.

    Args:
        Z: Entanglements of a chain, above 0; it sets the stretch relaxation time.
        dim: 2 or 3; the model is that of three dimensions.
        De: Reptation time τ_d in units of the flow's time, which is also the fiber's.
        beta: β from 0 to 1, how much relaxing stretch releases constraints; 0 in fits to steady states, 1 for full release.
        delta: δ, −1/2 in the paper.

    Raises:
        BadInput: A number out of range.
    """

    Z: Float[Array, ""]
    dim: int = eqx.field(static=True)
    De: Float[Array, ""]
    beta: Float[Array, ""]
    delta: Float[Array, ""]

    def __init__(self, Z=10.0, dim: int = 3, De=1.0, beta=0.0, delta=-0.5):
        who = "RoliePoly"
        self.Z, self.dim, self.De = check_number(who, "Z", Z, 0.0), check_dim(who, dim), check_number(who, "De", De, 0.0)
        self.beta = check_number(who, "beta", beta, 0.0, 1.0 + 1e-12, open_low=False)
        self.delta = check_number(who, "delta", delta, -float("inf"))

    def rates(self, trace):
        ratio = trace / self.dim
        pull = 6.0 * self.Z * (1.0 - 1.0 / jnp.sqrt(ratio))
        released = self.beta * pull * ratio**self.delta
        return (1.0 + pull + released) / self.De, jnp.maximum(1.0 + released, 0.0) / self.De


class Giesekus(AbstractConformation):
    """Giesekus's fluid, whose mobility grows where springs are aligned (J. Non-Newtonian Fluid Mech. 11 (1982) 69).

        dc/dt = κc + cκᵀ − ((c − I) + α (c − I)²)/De,   τ = c

    Args:
        alpha: Mobility α between 0 and 1, both excluded; 1/2 and more have a maximum of the shear stress.
        dim: 2 or 3.
        De: Relaxation time in units of the flow's time, which is also the fiber's.

    Raises:
        BadInput: A number out of range.
    """

    alpha: Float[Array, ""]
    dim: int = eqx.field(static=True)
    De: Float[Array, ""]

    def __init__(self, alpha=0.2, dim: int = 2, De=1.0):
        self.alpha, self.dim = check_number("Giesekus", "alpha", alpha, 0.0, 1.0), check_dim("Giesekus", dim)
        self.De = check_number("Giesekus", "De", De, 0.0)

    def rate(self, state, condition):
        off = state - jnp.eye(self.dim)
        return condition @ state + state @ condition.T - (off + self.alpha * off @ off) / self.De

    def propagate(self, state, condition, time):
        """Exact up to steps of some hundred over |κ|: dc/dt = S + Ac + cAᵀ − e c² with S, e > 0 is a Riccati equation.

        Its flow is c' = Q + F c (I + P c)⁻¹ Fᵀ with Q and P positive, so that c' is. F, P and Q are doubled (Anderson, Int. J.
        Control 28 (1978) 295).
        """
        doubled = jax.lax.fori_loop(0, _DOUBLINGS, lambda _, m: _double(m), self._short(condition, time / 2.0**_DOUBLINGS))
        F, P, Q = doubled
        symmetric = 0.5 * (state + state.T)
        new = Q + F @ symmetric @ jnp.linalg.solve(jnp.eye(self.dim) + P @ symmetric, F.T)
        return 0.5 * (new + new.T)

    def steady(self, condition):
        """The stabilising solution of the algebraic Riccati equation: Q of a very long time."""
        h = _SHORT / (jnp.sqrt(jnp.sum(condition**2)) + 1.0 / self.De)
        Q = jax.lax.fori_loop(0, _LONG, lambda _, m: _double(m), self._short(condition, h))[2]
        return Q, jnp.all(jnp.isfinite(Q))

    def _short(self, condition, h):
        """F, P and Q of a short time, from the exponential of the Hamiltonian matrix."""
        d, unit = self.dim, jnp.eye(self.dim)
        A = condition - (0.5 - self.alpha) / self.De * unit
        source, bend = (1.0 - self.alpha) / self.De * unit, self.alpha / self.De * unit
        matrix = h * jnp.block([[-A.T, bend], [source, A]])
        power = whole = jnp.eye(2 * d)
        for n in range(1, _TERMS + 1):
            power = matrix @ power / n
            whole = whole + power
        inverse = jnp.linalg.inv(whole[:d, :d])
        return inverse.T, inverse @ whole[:d, d:], whole[d:, :d] @ inverse


def _double(m):
    """F, P and Q of twice the time."""
    F, P, Q = m
    d = F.shape[0]
    solved = jnp.linalg.solve(jnp.eye(d) + Q @ P, jnp.concatenate([F, Q], axis=1))
    first, second = solved[:, :d], solved[:, d:]
    Q, P = Q + F @ second @ F.T, P + F.T @ P @ first
    return F @ first, 0.5 * (P + P.T), 0.5 * (Q + Q.T)
