"""Complex fluids: dumbbells, chains and rods as fibers, and the flows that carry them (6.1)-(6.4)."""

from fiberax.physics.fluids.boundary import Inflow, Outflow, Wall
from fiberax.physics.fluids.chain import Chain
from fiberax.physics.fluids.channel import ChannelFlow
from fiberax.physics.fluids.closures import FENECR, FENEP, PTT, Giesekus, RoliePoly
from fiberax.physics.fluids.conformation import AbstractClosure, AbstractConformation
from fiberax.physics.fluids.dumbbell import Dumbbell
from fiberax.physics.fluids.dumbbell_density import DumbbellDensity, GaussianDensity
from fiberax.physics.fluids.flow import Flow
from fiberax.physics.fluids.homogeneous import Homogeneous
from fiberax.physics.fluids.members import Controlled
from fiberax.physics.fluids.periodic import PeriodicFlow
from fiberax.physics.fluids.potentials import AbstractMeanField, Expanded, MaierSaupe, Onsager
from fiberax.physics.fluids.rod_density import RodDensity
from fiberax.physics.fluids.rods import Rod
from fiberax.physics.fluids.springs import FENE, AbstractSpring, Hookean, InverseLangevin, WormLike
from fiberax.physics.fluids.staggered import StaggeredFlow
from fiberax.physics.fluids.suspended import AbstractSuspended

__all__ = [
    "FENE",
    "FENECR",
    "FENEP",
    "PTT",
    "AbstractClosure",
    "AbstractConformation",
    "AbstractMeanField",
    "AbstractSpring",
    "AbstractSuspended",
    "Chain",
    "ChannelFlow",
    "Controlled",
    "Dumbbell",
    "DumbbellDensity",
    "Expanded",
    "Flow",
    "GaussianDensity",
    "Giesekus",
    "Homogeneous",
    "Hookean",
    "Inflow",
    "InverseLangevin",
    "MaierSaupe",
    "Onsager",
    "Outflow",
    "PeriodicFlow",
    "Rod",
    "RodDensity",
    "RoliePoly",
    "StaggeredFlow",
    "Wall",
    "WormLike",
]
