"""Microstructures made from a seed: periodic level sets of a Gaussian random field."""

from pathlib import Path

import numpy as np

from fiberax.core.errors import BadInput

# Written by numpy, 0 and 255 as in a picture: reading it needs no extra. It is 255 * gaussian_level_set(2).
SHIPPED = Path(__file__).parent / "data" / "composite.npy"


def gaussian_level_set(
    seed: int, shape: tuple[int, ...] = (64, 64), spacing: float = 0.2, spread: float = 0.35, fraction: float = 0.4
) -> np.ndarray:
    """A periodic two-phase microstructure: 1 where a Gaussian random field is highest, else 0.

    The field's spectrum is a ring, so that grains have a typical distance from one another, as in a composite that
    has separated into two phases.

    Arguments: `seed`; `shape`, pixels or voxels; `spacing`, the typical distance of grains, and `spread`, the width of
    the ring over its radius (small: a regular pattern; large: a rough one), both in cells; `fraction` of phase 1.
    Returns uint8 labels of that shape. The same seed gives the same pixels with every version of numpy.
    Raises `BadInput` for a fraction outside (0, 1) or a spacing that the pixels cannot show.
    """
    if not 0.0 < fraction < 1.0:
        raise BadInput(f"fraction = {fraction}: the share of phase 1 must lie between 0 and 1.")
    if spacing * min(shape) < 4.0:
        raise BadInput(f"spacing = {spacing}: grains need 4 pixels from one to the next, here {spacing * min(shape):.1f}.")
    noise = np.random.RandomState(seed).standard_normal(shape)  # its stream is frozen, that of Generator is not
    waves = np.meshgrid(*(np.fft.fftfreq(n, 1.0 / n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(k**2 for k in waves))
    ring = np.exp(-0.5 * ((radius * spacing - 1.0) / spread) ** 2)
    ring[(0,) * len(shape)] = 0.0
    field = np.fft.ifftn(np.fft.fftn(noise) * ring).real
    ranks = np.argsort(np.argsort(field, axis=None, kind="stable"), kind="stable").reshape(shape)
    return (ranks >= round((1.0 - fraction) * field.size)).astype(np.uint8)
