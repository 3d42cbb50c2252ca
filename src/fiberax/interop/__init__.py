"""Adapters to other packages; each needs its extra and is imported where it is used."""

import importlib
from typing import Any

__all__ = ["ase", "optimistix"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return importlib.import_module(f"fiberax.interop.{name}")
    raise AttributeError(f"module 'fiberax.interop' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
