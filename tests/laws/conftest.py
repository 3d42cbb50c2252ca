"""The registry, as a fixture: test modules are imported by path and do not see one another."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("fiberax_laws_registry", Path(__file__).with_name("registry.py"))
registry = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(registry)


def _rows(metafunc, entries: dict, named: bool = False) -> list:
    """An argument for each entry; those that registry.SLOW holds for this test are marked."""
    slow = registry.SLOW.get(metafunc.function.__name__, ())
    marks = lambda name: pytest.mark.slow if name in slow else ()
    return [
        pytest.param(*((name, entry) if named else (entry,)), marks=marks(name), id=name) for name, entry in entries.items()
    ]


def pytest_generate_tests(metafunc):
    """Tests that ask for a `model`, for its `name` as well, for a `random` fiber or for any `entry` get all of them."""
    if "random" in metafunc.fixturenames:
        metafunc.parametrize("random", _rows(metafunc, registry.RANDOM))
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name, model", _rows(metafunc, registry.MODELS, named=True))
    elif "model" in metafunc.fixturenames:
        metafunc.parametrize("model", _rows(metafunc, registry.MODELS))
    if "entry" in metafunc.fixturenames:
        every = {**registry.MODELS, **registry.RANDOM, **registry.STEPPED, **registry.MEMORIES}
        metafunc.parametrize("entry", _rows(metafunc, every))


@pytest.fixture
def follow():
    return registry.Follow()


@pytest.fixture
def laws():
    return registry
