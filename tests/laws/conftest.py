"""The registry, as a fixture: test modules are imported by path and do not see one another."""

import importlib.util
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("fiberax_laws_registry", Path(__file__).with_name("registry.py"))
registry = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(registry)


def pytest_generate_tests(metafunc):
    """Tests that ask for a `model` get all of them, those that ask for a `constrained` one get those."""
    if "model" in metafunc.fixturenames:
        metafunc.parametrize("model", registry.MODELS.values(), ids=registry.MODELS.keys())


@pytest.fixture
def follow():
    return registry.Follow()
