"""Checks for models of your own, and models with known answers. fiberax tests itself with them."""

from fiberax.testing.bundles import BundleReport, check_bundle
from fiberax.testing.checks import CheckFailed, FiberReport, check_fiber, check_link, observed_order
from fiberax.testing.memories import Damped, ElasticPlastic, Maxwell
from fiberax.testing.models import (
    CubicFlow,
    Decay,
    DoubleWell,
    ElasticWave,
    GroundState,
    Heat,
    LinearFlow,
    Motion,
    OrnsteinUhlenbeck,
    SharedLoad,
    Spring,
    TwoSpringChain,
)

__all__ = [
    "BundleReport",
    "CheckFailed",
    "CubicFlow",
    "Damped",
    "Decay",
    "DoubleWell",
    "ElasticPlastic",
    "ElasticWave",
    "FiberReport",
    "GroundState",
    "Heat",
    "LinearFlow",
    "Maxwell",
    "Motion",
    "OrnsteinUhlenbeck",
    "SharedLoad",
    "Spring",
    "TwoSpringChain",
    "check_bundle",
    "check_fiber",
    "check_link",
    "observed_order",
]
