"""The type checker of the test run: shapes and kinds of arrays, as annotated, are enforced at every call; other types are not.

Tests of refusals hand over wrong types on purpose, and the messages for users come from the library itself. Where even the
wrong shape is on purpose, a test asks for the fixture `unchecked`.
"""

import inspect
from typing import get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray

_enforced = beartype(conf=BeartypeConf(is_pep484_tower=True))


def arrays(function):
    """The function with those annotations enforced that speak of arrays; jaxtyping applies this to all of fiberax."""
    spoken = {name: hint for name, hint in function.__annotations__.items() if _speaks_of_arrays(hint)}
    if not spoken:
        return function
    function.__annotations__ = spoken
    return _enforced(function)


def _speaks_of_arrays(hint) -> bool:
    if inspect.isclass(hint) and issubclass(hint, AbstractArray):
        return True
    return any(_speaks_of_arrays(part) for part in get_args(hint))
