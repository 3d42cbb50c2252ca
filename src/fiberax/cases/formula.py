"""Coefficients written as a formula: arithmetic and a few functions, nothing else that Python knows."""

import ast
import math
import operator
from collections.abc import Callable

from fiberax.core.errors import BadInput

FUNCTIONS = ("sin", "cos", "exp", "log", "sqrt", "abs", "tanh", "minimum", "maximum")
OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}


def formula(text: str, dim: int) -> Callable:
    """The function a(U, z) that `text` describes.

    `text` may use U, the coordinates x, y, z of the cell in [0, 1) (as many as `dim`), pi, numbers, + - * / **, and sin, cos,
    exp, log, sqrt, abs, tanh, minimum, maximum. Raises `BadInput` naming what it does not know.
    """
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise BadInput(f"--formula {text!r}: not a formula ({error.msg} at character {error.offset}).") from error
    evaluate = _reader(text, tree, ("U", "pi", *"xyz"[:dim]))

    def coefficient(condition, z):
        import jax.numpy as jnp

        known = {"U": condition, "pi": math.pi} | dict(zip("xyz", z, strict=False))
        try:
            return jnp.asarray(evaluate(known), dtype=float)
        except ArithmeticError as error:
            raise BadInput(f"--formula {text!r}: {error}.") from error

    return coefficient


def _reader(text: str, node: ast.expr, names: tuple[str, ...]) -> Callable[[dict], object]:
    """The function from values of names to the value of a node."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        number = float(node.value)
        return lambda known: number
    if isinstance(node, ast.Name) and node.id in names:
        return lambda known: known[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        combine = OPERATORS[type(node.op)]
        left, right = _reader(text, node.left, names), _reader(text, node.right, names)
        return lambda known: combine(left(known), right(known))
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        turn, inner = OPERATORS[type(node.op)], _reader(text, node.operand, names)
        return lambda known: turn(inner(known))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords:
        name, arguments = node.func.id, [_reader(text, argument, names) for argument in node.args]
        return lambda known: _apply(name, [argument(known) for argument in arguments])
    raise BadInput(
        f"--formula {text!r}: {ast.unparse(node)!r} is not known. "
        f"Use {', '.join(names)}, numbers, + - * / ** and {', '.join(FUNCTIONS)}."
    )


def _apply(name: str, arguments: list):
    import jax.numpy as jnp

    try:
        return getattr(jnp, name)(*arguments)
    except TypeError as error:
        raise BadInput(f"--formula: {name} does not take {len(arguments)} arguments.") from error
