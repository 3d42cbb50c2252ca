"""How states are carried by the macroscale motion between sites."""

from fiberax.transport.convected import Convected as Convected
from fiberax.transport.fixed import Fixed as Fixed
