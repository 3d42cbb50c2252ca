"""The kinds of noise that cases offer."""

import enum


class NoiseName(enum.Enum):
    """Kinds of noise."""

    THREE_POINT = "three-point"
    GAUSSIAN = "gaussian"
