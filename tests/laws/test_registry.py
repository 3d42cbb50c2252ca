"""Every public fiber is in the registry: one that is not would be subject to no law."""

import inspect
import typing

import pytest

import fiberax as fx
from fiberax.core.link import AbstractWrapper

_WRAPPERS = ("Mapped", "relax", "replicas", "rescale")  # they have laws of their own: test_wrappers.py


def _public():
    """Names and values of the library and of its modules."""
    modules = {name: getattr(fx, name) for name in fx._MODULES if name not in ("grids", "interop")}
    for where, module in {"fx": fx, **modules}.items():
        for name in module.__all__:
            yield f"{where}.{name}", getattr(module, name)


def _returned(value):
    """The class that a function gives, as annotated."""
    if not inspect.isfunction(value):
        return None
    found = typing.get_type_hints(value).get("return")
    return found if inspect.isclass(found) else None


def fibers():
    """Concrete classes of fibers, and functions that make fibers."""
    for name, value in _public():
        kind = value if inspect.isclass(value) else _returned(value)
        if kind is None or not issubclass(kind, fx.AbstractFiber) or name.split(".")[-1] in _WRAPPERS:
            continue
        if not (inspect.isclass(value) and (inspect.isabstract(value) or name.split(".")[-1].startswith("Abstract"))):
            yield name, value


@pytest.fixture
def entries(laws):
    return {**laws.MODELS, **laws.RANDOM, **laws.STEPPED, **laws.MEMORIES}


def test_every_public_fiber_has_an_entry(laws, entries):
    found = dict(fibers())
    assert len(found) > 20 and {"fx.FlowFiber", "solids.KohnSham", "solids.uniaxial", "testing.Maxwell"} <= set(found)
    for name, value in found.items():
        if inspect.isclass(value):
            kind, held = value, [entry.fiber for entry in entries.values()]
        else:
            short = name.split(".")[-1]
            assert short in laws.FACTORIES, f"{name} makes fibers and has no entry in tests/laws/registry.py"
            kind, held = _returned(value), [entries[laws.FACTORIES[short]].fiber]
        there = any(isinstance(fiber, kind) and not isinstance(fiber, AbstractWrapper) for fiber in held)
        there |= not inspect.isclass(value) and any(isinstance(fiber, kind) for fiber in held)
        assert there, f"{name} has no entry in tests/laws/registry.py"


def test_a_fiber_without_an_entry_is_found(laws, entries):
    """The gate can fail."""
    found = dict(fibers())
    assert not any(isinstance(entry.fiber, found["solids.KohnSham"]) for name, entry in entries.items() if name != "kohn-sham")
