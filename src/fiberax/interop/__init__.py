"""Adapters to other packages; each needs its extra and is imported where it is used."""

import importlib
from typing import Any

__all__ = ["ase"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"fiberax.interop.{name}")
    raise AttributeError(f"module 'fiberax.interop' has no attribute {name!r}")
