"""The type checker of the test run: shapes and kinds of arrays, as annotated, are enforced at every call; other types are not.

Tests of refusals hand over wrong types on purpose, and the messages for users come from the library itself. Where even the
wrong shape is on purpose, a test asks for the fixture `unchecked`.

jaxtyping's own import hook wraps every function, and those inside of functions anew at every call of the outer one, which took
a fifth of the time of all tests. This one wraps functions, methods and classes whose annotations speak of arrays.
"""

import ast
import importlib.abc
import importlib.machinery
import inspect
import re
import sys
from typing import get_args

from beartype import BeartypeConf, beartype
from jaxtyping import AbstractArray, jaxtyped

_enforced = beartype(conf=BeartypeConf(is_pep484_tower=True))
_SPOKEN = re.compile(r"\b(Float|Int|UInt|Bool|Complex|Shaped|Inexact|Num|PRNGKeyArray)\b")


def arrays(function):
    """The function with those annotations enforced that speak of arrays."""
    spoken = {name: hint for name, hint in function.__annotations__.items() if _speaks_of_arrays(hint)}
    if not spoken:
        return function
    function.__annotations__ = spoken
    return _enforced(function)


def _speaks_of_arrays(hint) -> bool:
    if inspect.isclass(hint) and issubclass(hint, AbstractArray):
        return True
    return any(_speaks_of_arrays(part) for part in get_args(hint))


checked = jaxtyped(typechecker=arrays)


class _Transformer(ast.NodeTransformer):
    """Decorates what speaks of arrays in its signature or its fields."""

    def visit_FunctionDef(self, node):
        hints = [a.annotation for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)] + [node.returns]
        if any(hint is not None and _SPOKEN.search(ast.unparse(hint)) for hint in hints):
            # The innermost decorator: outer ones may return something else than a function.
            node.decorator_list.append(_decorator(node))
        return node

    def visit_ClassDef(self, node):
        self.generic_visit(node)
        fields = [part.annotation for part in node.body if isinstance(part, ast.AnnAssign)]
        if any(_SPOKEN.search(ast.unparse(hint)) for hint in fields):
            node.decorator_list.insert(0, _decorator(node))
        return node


def _decorator(node) -> ast.expr:
    return ast.copy_location(ast.parse("__import__('shapes').checked", mode="eval").body, node)


class _Loader(importlib.machinery.SourceFileLoader):
    def get_code(self, fullname):
        path = self.get_filename(fullname)
        tree = _Transformer().visit(ast.parse(self.get_data(path), path))
        return compile(ast.fix_missing_locations(tree), path, "exec", dont_inherit=True)


class _Finder(importlib.abc.MetaPathFinder):
    def __init__(self, package: str):
        self.package = package

    def find_spec(self, fullname, path=None, target=None):
        if fullname.partition(".")[0] != self.package:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


def enforce(package: str) -> None:
    """Shapes are enforced in all modules of `package` that are imported from now on."""
    assert package not in sys.modules
    sys.meta_path.insert(0, _Finder(package))
