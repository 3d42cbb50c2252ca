"""Tests for users' own models, and models with known truth: the same that fiberax tests itself with."""

from fiberax.testing.bundles import BundleReport, check_bundle
from fiberax.testing.checks import CheckFailed, FiberReport, check_fiber, check_link, observed_order
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
from fiberax.testing.transfer import ChainTruth, ginzburg_landau_chain

__all__ = [
    "BundleReport",
    "ChainTruth",
    "CheckFailed",
    "CubicFlow",
    "Decay",
    "DoubleWell",
    "ElasticWave",
    "FiberReport",
    "GroundState",
    "Heat",
    "LinearFlow",
    "Motion",
    "OrnsteinUhlenbeck",
    "SharedLoad",
    "Spring",
    "TwoSpringChain",
    "check_bundle",
    "check_fiber",
    "check_link",
    "ginzburg_landau_chain",
    "observed_order",
]
