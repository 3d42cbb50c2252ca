"""Discretisations of the macroscale space."""

from fiberax.grids.box import Box

__all__ = ["Box"]
