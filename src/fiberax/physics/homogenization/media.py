"""The medium of a coefficient for each discretisation."""

from fiberax.core.errors import BadInput
from fiberax.physics.homogenization.discretisation import (
    AbstractDiscretisation,
    FiniteDifference,
    FiniteElement,
    FiniteVolume,
    Spectral,
)
from fiberax.physics.homogenization.medium import AbstractMedium, PixelMedium, SpectralMedium
from fiberax.physics.homogenization.volume import HeldMedium, VolumeMedium


def medium(discretisation: AbstractDiscretisation, a, d: int) -> AbstractMedium:
    """The medium of a coefficient (*shape) or (d, d, *shape) sampled at `discretisation.points(shape)`."""
    if isinstance(discretisation, Spectral):
        return SpectralMedium(discretisation, a, d)
    if isinstance(discretisation, FiniteElement | FiniteDifference):
        return PixelMedium(discretisation, a, d)
    if isinstance(discretisation, FiniteVolume):
        return (HeldMedium if discretisation.held else VolumeMedium)(discretisation, a, d)
    raise BadInput(
        f"no linear cell problem for the discretisation {discretisation!r}. Give Spectral, FiniteElement, FiniteVolume or "
        "FiniteDifference."
    )
