"""Pair potentials E = ½ Σ_{i≠j} φ(r_ij) and the ways to cut them off (3.3), each pair once: see `LennardJones`."""

import abc
from collections.abc import Callable
from typing import Any, Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from fiberax.core.errors import BadInput
from fiberax.numerics import trees
from fiberax.physics.solids.potentials.base import AbstractMomentPotential, check_units, within
from fiberax.physics.solids.potentials.lattice_sum import power_sum

Scheme = Literal["truncated", "energy-shifted", "force-shifted", "smooth"]
_ONSET = 0.8  # of the cutoff

Number = Float[Array, ""]


def _number(value) -> Array:
    return jnp.asarray(value, jnp.result_type(float))


class AbstractPair(AbstractMomentPotential):
    """A potential of distances only; the same for every pair of species."""

    scheme: eqx.AbstractVar[Scheme]
    onset: eqx.AbstractVar[float | None]

    @abc.abstractmethod
    def phi(self, r: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """The pair energy without a cutoff, elementwise."""

    @property
    def ranks(self):
        return (0,)

    @property
    def pairwise(self):
        return True

    def pair(self, r: Float[Array, "*any"]) -> Float[Array, "*any"]:
        """The pair energy as it is used, cut off by the scheme."""
        if self.cutoff is None:
            return self.phi(r)
        end = _number(self.cutoff)
        if self.scheme == "truncated":
            cut = self.phi
        elif self.scheme == "energy-shifted":
            cut = lambda r: self.phi(r) - self.phi(end)
        elif self.scheme == "force-shifted":
            value, slope = jax.value_and_grad(self.phi)(end)
            cut = lambda r: self.phi(r) - value - (r - end) * slope
        else:
            begin = self.cutoff if self.onset is None else self.onset
            cut = lambda r: self.phi(r) * _switch(r**2, begin**2, end**2)
        return within(cut, r, self.cutoff)

    def radial(self, centre, neighbour, r):
        return (self.pair(r),)

    def embed(self, centre, moments):
        return 0.5 * moments[0]


def _switch(square, begin, end):
    """1 up to `begin`, 0 from `end`, twice differentiable."""
    t = jnp.clip((square - begin) / (end - begin), 0.0, 1.0)
    return 1.0 - t**3 * (10.0 - t * (15.0 - 6.0 * t))


def _check(potential: AbstractPair, **positive) -> None:
    """Raise `BadInput` for impossible parameters; traced values are not checked."""
    name, scheme = type(potential).__name__, potential.scheme
    cutoff, onset = potential.cutoff, 0.0 if potential.onset is None else potential.onset
    check_units(name, potential.units)
    check_scheme(name, scheme, potential.onset)
    if cutoff is None and scheme != "truncated":
        raise BadInput(f"{name}: scheme={scheme!r} has nothing to cut off with cutoff=None. Give a cutoff, or no scheme.")
    if cutoff is not None and not (isinstance(cutoff, int | float) and 0.0 < cutoff < float("inf")):
        raise BadInput(
            f"{name}: cutoff={cutoff!r} must be a positive length, a Python number; neighbour lists are made with it."
        )
    if scheme == "smooth" and cutoff is not None and not 0.0 < onset < cutoff:
        raise BadInput(f"{name}: onset={onset!r} must lie between 0 and the cutoff {cutoff}.")
    for key, value in positive.items():
        if not trees.is_tracer(value) and value.ndim == 0 and not 0.0 < float(value) < float("inf"):
            raise BadInput(f"{name}: {key}={float(value)} must be positive and finite.")


def check_scheme(name: str, scheme: str, onset: float | None) -> None:
    """Raise `BadInput` for an unknown scheme, and for an onset that it does not use."""
    if scheme not in get_args(Scheme):
        raise BadInput(f"{name}: scheme={scheme!r} is not one of {', '.join(map(repr, get_args(Scheme)))}.")
    if onset is not None and scheme != "smooth":
        raise BadInput(
            f"{name}: onset={onset!r} belongs to scheme='smooth' alone; the scheme is {scheme!r}. Take 'smooth', or no onset."
        )


def _onset(scheme: str, onset: float | None, cutoff: float | None) -> float | None:
    return _ONSET * cutoff if scheme == "smooth" and onset is None and isinstance(cutoff, int | float) else onset


class LennardJones(AbstractPair):
    """φ = 4ε ((σ/r)¹² − (σ/r)⁶).

    Args:
        epsilon: ε, an energy.
        sigma: σ, a length.
        cutoff: A length, in the unit of `sigma` (default 2.5, which is 2.5 σ for σ = 1). None: no cutoff, by converged lattice
            sums.
        scheme: How φ ends at the cutoff r_c; the default is "truncated". Tangents need "smooth", and with them Newton's method,
            elastic constants and bodies. For r < r_c, and zero beyond:
            "truncated": φ(r). The energy jumps where a shell of neighbours crosses the cutoff.
            "energy-shifted": φ(r) − φ(r_c). The stress jumps.
            "force-shifted": φ(r) − φ(r_c) − (r − r_c) φ'(r_c). The tangent jumps.
            "smooth": φ(r) s(t), twice differentiable. s = 1 − 10t³ + 15t⁴ − 6t⁵ with t = (r² − r_on²)/(r_c² − r_on²), from 0
            at the onset r_on to 1 at the cutoff; s = 1 before the onset.
        onset: r_on of the smooth scheme, a length, by default 0.8 of the cutoff. Other schemes take none.
        units: "metal" (eV, Å) or "reduced" (those of the parameters themselves), the default.

    Raises:
        BadInput: Parameters, a cutoff, a scheme, an onset or units that cannot be.
    """

    epsilon: Number
    sigma: Number
    cutoff: float | None = eqx.field(static=True)
    scheme: Scheme = eqx.field(static=True)
    onset: float | None = eqx.field(static=True)
    units: str = eqx.field(static=True)

    def __init__(self, epsilon=1.0, sigma=1.0, cutoff=2.5, scheme: Scheme = "truncated", onset=None, units="reduced"):
        self.epsilon, self.sigma = _number(epsilon), _number(sigma)
        self.cutoff, self.scheme, self.onset, self.units = cutoff, scheme, _onset(scheme, onset, cutoff), units
        _check(self, epsilon=self.epsilon, sigma=self.sigma)

    def phi(self, r):
        sixth = (self.sigma / r) ** 6
        return 4.0 * self.epsilon * sixth * (sixth - 1.0)

    def lattice_energy(self, lattice, positions, species, cells):
        """½ Σ φ over the whole crystal, every pair once per cell."""
        twelve, six = (power_sum(lattice, positions, cells, n) for n in (12, 6))
        return 2.0 * self.epsilon * (self.sigma**12 * twelve - self.sigma**6 * six)


class Morse(AbstractPair):
    """φ = D ((1 − exp(−α (r − r0)))² − 1), of depth D at r0.

    Args:
        depth: D, an energy.
        alpha: α, one over a length.
        r0: Distance of the minimum.
        cutoff: A length, as for `LennardJones`; so are `scheme` ("truncated" by default; "smooth" for tangents), `onset` and
            `units` ("reduced" by default).
    """

    depth: Number
    alpha: Number
    r0: Number
    cutoff: float | None = eqx.field(static=True)
    scheme: Scheme = eqx.field(static=True)
    onset: float | None = eqx.field(static=True)
    units: str = eqx.field(static=True)

    def __init__(self, depth, alpha, r0, cutoff: float, scheme: Scheme = "truncated", onset=None, units="reduced"):
        self.depth, self.alpha, self.r0 = _number(depth), _number(alpha), _number(r0)
        self.cutoff, self.scheme, self.onset, self.units = cutoff, scheme, _onset(scheme, onset, cutoff), units
        _check(self, depth=self.depth, alpha=self.alpha, r0=self.r0)

    def phi(self, r):
        decay = jnp.exp(-self.alpha * (r - self.r0))
        return self.depth * decay * (decay - 2.0)


class Buckingham(AbstractPair):
    """φ = A exp(−r/ρ) − C/r⁶. As r → 0 this form tends to −∞.

    Args:
        A: An energy.
        rho: ρ, a length.
        C: An energy times a length to the sixth power.
        cutoff: A length, as for `LennardJones`; so are `scheme` ("truncated" by default; "smooth" for tangents), `onset` and
            `units` ("reduced" by default).
    """

    A: Number
    rho: Number
    C: Number
    cutoff: float | None = eqx.field(static=True)
    scheme: Scheme = eqx.field(static=True)
    onset: float | None = eqx.field(static=True)
    units: str = eqx.field(static=True)

    def __init__(self, A, rho, C, cutoff: float, scheme: Scheme = "truncated", onset=None, units="reduced"):
        self.A, self.rho, self.C = _number(A), _number(rho), _number(C)
        self.cutoff, self.scheme, self.onset, self.units = cutoff, scheme, _onset(scheme, onset, cutoff), units
        _check(self, A=self.A, rho=self.rho)

    def phi(self, r):
        return self.A * jnp.exp(-r / self.rho) - self.C / r**6


def _free(function: Callable) -> Any:
    """`function` with the traced values that it closes over made explicit, so that it can be differentiated in them."""
    if isinstance(function, eqx.Module):
        return function
    converted = eqx.filter_closure_convert(function, jnp.zeros((), jnp.result_type(float)))
    traced = any(trees.is_tracer(leaf) for leaf in jax.tree.leaves(converted))
    return _Elementwise(converted) if traced else function


class _Elementwise(eqx.Module):
    """A function of a scalar, over arrays of any shape."""

    function: Callable

    def __call__(self, r):
        return jax.vmap(self.function)(r.reshape(-1)).reshape(r.shape)


class Pair(AbstractPair):
    """A pair potential of your own.

    Args:
        function: `function(r)`, the pair energy in JAX operations, elementwise. It may be a module with parameters; then it
            can be differentiated with respect to them.
        cutoff: A length, as for `LennardJones`; so are `scheme` ("truncated" by default; "smooth" for tangents), `onset` and
            `units` ("reduced" by default).
    """

    function: Callable
    cutoff: float | None = eqx.field(static=True)
    scheme: Scheme = eqx.field(static=True)
    onset: float | None = eqx.field(static=True)
    units: str = eqx.field(static=True)

    def __init__(self, function: Callable, cutoff: float, scheme: Scheme = "truncated", onset=None, units="reduced"):
        self.function = _free(function)
        self.cutoff, self.scheme, self.onset, self.units = cutoff, scheme, _onset(scheme, onset, cutoff), units
        _check(self)

    def phi(self, r):
        return self.function(r)
