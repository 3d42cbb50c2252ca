"""What the composite cases share: quantities with their units, and the options of the cell."""

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fiberax.cases.base import Case
from fiberax.cases.options import ABSENT, GIVEN, option, when
from fiberax.io.plots.figure import Figure
from fiberax.io.results import Quantity
from fiberax.io.run import Results

if TYPE_CHECKING:
    from fiberax.cases.homogenization.image_input import ImageChoice, PhaseChoice

TEMPERATURE = Quantity("U", "K", "temperature")
CONDUCTIVITY = Quantity("A", "mm^2/s", "effective conductivity")
SLOPE = Quantity("dA", "mm^2/(s K)", "dA/dU")
TIME = Quantity("time", "s", "time")
LENGTH = "mm"

_CONDUCTIVITIES, _SLOPES = "1,20", "0.05,0"  # of the image that ships with fiberax


class Scheme(enum.Enum):
    """How the cell of an image is discretised."""

    VOLUME = "volume"
    ELEMENT = "element"
    DIFFERENCE = "difference"


class Border(enum.Enum):
    """What lies beyond the borders of an image; `fx.homogenization.Borders` says what each means."""

    PERIODIC = "periodic"
    MIRRORED = "mirrored"
    HELD = "held"


@dataclass(frozen=True)
class CompositeOptions(Case):
    """The cell of a composite; for cases to build on."""

    image: Path | None = option(
        None,
        help="picture or voxels of the microstructure (png, tif, npy, vti, h5, ...); default the one that ships with fiberax",
    )
    conductivities: str = option(
        _CONDUCTIVITIES,
        help="of each phase at U = 0, from the lowest label to the highest; tensors behind semicolons: '1; 2,3,0.5'",
        unit=CONDUCTIVITY,
        applies=when(phases=ABSENT),
    )
    slopes: str | None = option(
        None,
        help="growth of each conductivity with the temperature, in the same form; default none, but "
        f"{_SLOPES} where neither --image nor --conductivities is given",
        unit=SLOPE,
        applies=when(phases=ABSENT),
    )
    threshold: str | None = option(
        None,
        help="make labels of grey values: levels T1,T2,..., above each of which the next phase begins, or otsu",
        applies=when(image=GIVEN),
    )
    phases: Path | None = option(
        None,
        help="table with the columns label and conductivity, or kxx,kyy,..., or phi1,Phi,phi2",
        unit=CONDUCTIVITY,
        applies=when(image=GIVEN),
    )
    tensor: str | None = option(
        None,
        help="of a crystal in its own axes, for the angles in --phases: its diagonal, or kxx,kyy,kzz,kyz,kxz,kxy",
        unit=CONDUCTIVITY,
        applies=when(phases=GIVEN),
    )
    radians: bool = option(False, help="angles in --phases are in radians, not degrees", applies=when(phases=GIVEN))
    part: str | None = option(
        None, help="of an image file with several: name of the array, or number of the series", applies=when(image=GIVEN)
    )
    raw_shape: str | None = option(
        None,
        help="of a .raw file: voxels along each axis, the last one fastest, such as 100,200,200",
        applies=when(image=GIVEN),
    )
    raw_type: str | None = option(
        None, help="of a .raw file: type of the numbers, such as uint8, uint16, >u2, float32", applies=when(image=GIVEN)
    )
    volume: bool = option(
        False, help="a first or last axis of 2 to 4 voxels is a direction in space, no colour", applies=when(image=GIVEN)
    )

    scheme: Scheme | None = option(
        None,
        help="volume (flux through faces alone; below the truth for numbers), element (above it) or difference; "
        "default volume, but element for tensors with entries off the diagonal",
    )
    borders: Border = option(
        Border.PERIODIC, help="of the image: repeated, mirrored, or with the ends of each axis held and the other sides sealed"
    )

    def figures(self, results: Results) -> list[Figure]:
        """The figures that any results have, and what `threshold` has made of the image."""
        from fiberax.cases.homogenization.image_figure import threshold_figure

        return super().figures(results) + ([] if self.threshold is None else [threshold_figure(self.image_choice())])

    def image_choice(self) -> "ImageChoice":
        """The options of the image."""
        from fiberax.cases.homogenization.image_input import ImageChoice

        return ImageChoice(self.image, self.threshold, self.part, self.raw_shape, self.raw_type, self.volume)

    def phase_choice(self) -> "PhaseChoice":
        """The options of the conductivities."""
        from fiberax.cases.homogenization.image_input import PhaseChoice

        own = self.image is not None or self.conductivities != _CONDUCTIVITIES
        slopes = _SLOPES if self.slopes is None and not own else self.slopes
        return PhaseChoice(self.conductivities, slopes, self.phases, self.tensor, self.radians)
