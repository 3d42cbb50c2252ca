"""What the time loop needs to know of transport."""

import abc
from typing import Any

import equinox as eqx


class AbstractTransport(eqx.Module):
    """How the states of the section ride with the macroscale motion between sites, once per macro step."""

    @abc.abstractmethod
    def apply(self, state: Any, macro: Any, dt: Any) -> Any:
        """States (leading site axis) after the macro time `dt`."""
