"""The registry, as a fixture: test modules are imported by path and do not see one another."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("fiberax_laws_registry", Path(__file__).with_name("registry.py"))
registry = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(registry)


def pytest_generate_tests(metafunc):
    """Tests that ask for a `model`, for its `name` as well, for a `random` fiber or for any `entry` get all of them."""
    if "random" in metafunc.fixturenames:
        metafunc.parametrize("random", registry.RANDOM.values(), ids=list(registry.RANDOM))
    names = list(registry.MODELS)
    if "name" in metafunc.fixturenames:
        metafunc.parametrize("name, model", registry.MODELS.items(), ids=names)
    elif "model" in metafunc.fixturenames:
        metafunc.parametrize("model", registry.MODELS.values(), ids=names)
    if "entry" in metafunc.fixturenames:
        every = {**registry.MODELS, **registry.RANDOM, **registry.STEPPED, **registry.MEMORIES}
        metafunc.parametrize("entry", every.values(), ids=list(every))


@pytest.fixture
def follow():
    return registry.Follow()


@pytest.fixture
def laws():
    return registry
