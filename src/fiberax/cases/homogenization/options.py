"""What the composite cases share: quantities with their units, and the options of the cell."""

from dataclasses import dataclass
from pathlib import Path

from fiberax.cases.base import Case
from fiberax.cases.options import option
from fiberax.io.results import Quantity

TEMPERATURE = Quantity("U", "K", "temperature")
CONDUCTIVITY = Quantity("A", "mm^2/s", "effective conductivity")
SLOPE = Quantity("dA", "mm^2/(s K)", "dA/dU")
TIME = Quantity("time", "s", "time")
LENGTH = "mm"


@dataclass(frozen=True)
class CompositeOptions(Case):
    """The cell of a composite; for cases to build on."""

    image: Path | None = option(None, help="png, tif or npy of the microstructure; default the one that ships with fiberax")
    conductivities: str = option("1,20", help="of each phase at U = 0, from the lowest label to the highest", unit=CONDUCTIVITY)
    slopes: str = option("0.05,0", help="growth of each conductivity with the temperature", unit=SLOPE)
