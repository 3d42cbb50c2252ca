"""Numbers and formulas in options: arithmetic and a few functions, nothing else of Python."""

import ast
import math
import operator
from collections.abc import Callable

from fiberax.core.errors import BadInput

FUNCTIONS = (
    *("sin", "cos", "tan", "arcsin", "arccos", "arctan"),
    *("sinh", "cosh", "tanh", "arcsinh", "arccosh", "arctanh"),
    *("exp", "expm1", "log", "log1p", "sqrt", "cbrt"),
    *("abs", "sign", "minimum", "maximum"),
)
# Python reads and evaluates a formula by recursion, and XLA compiles every term.
MOST_CHARACTERS = 10_000
MOST_DEPTH = 200
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

    `text` may use U, the coordinates x, y, z of the cell in [0, 1) (as many as `dim`), pi, numbers, + - * / ** and
    `FUNCTIONS`. Raises `BadInput` with the part that is not allowed.
    """
    evaluate = expression(text, ("U", *"xyz"[:dim]))
    return lambda condition, z: evaluate(U=condition, **dict(zip("xyz"[:dim], z, strict=False)))


def uses(text: str, name: str) -> bool:
    """Whether a formula that `formula` takes has the name in it."""
    return any(isinstance(node, ast.Name) and node.id == name for node in ast.walk(ast.parse(text.strip(), mode="eval")))


def expression(text: str, names: tuple[str, ...], option: str = "--formula") -> Callable:
    """The function of keyword arguments `names` that `text` describes, see `formula`; messages name the `option`."""
    if len(text) > MOST_CHARACTERS:
        raise BadInput(
            f"{option}: the formula has {len(text)} characters, and {MOST_CHARACTERS} are the most. Write a Python file."
        )
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise BadInput(f"{option} {text!r}: not a formula ({error.msg} at character {error.offset}).") from error
    except (RecursionError, MemoryError, ValueError) as error:
        raise BadInput(f"{option} {text!r}: not a formula ({error}).") from error
    if _depth(tree) > MOST_DEPTH:
        raise BadInput(
            f"{option}: the formula is nested, or has sums or products of more terms, than {MOST_DEPTH}. Write a Python file."
        )
    evaluate = _reader(f"{option} {text!r}", tree, (*names, "pi"))

    def value(**known):
        import jax.numpy as jnp

        try:
            return jnp.asarray(evaluate(known | {"pi": math.pi}), dtype=float)
        except ArithmeticError as error:
            raise BadInput(f"{option} {text!r}: {error}.") from error

    return value


def _depth(tree: ast.expr) -> int:
    """How deep an expression is nested; each further term of a sum counts as one."""
    depth, level = 0, [tree]
    while level:
        depth, level = depth + 1, [child for node in level for child in ast.iter_child_nodes(node)]
    return depth


def read_numbers(text: str, name: str, example: str = "1,20") -> tuple[float, ...]:
    """The numbers in a comma-separated option. Raises `BadInput` with the part that is not a number, and an example."""
    numbers = []
    for part in text.split(","):
        try:
            numbers.append(float(part))
        except ValueError:
            raise BadInput(f"{name} = {text}: {part.strip()!r} is no number. Write for example {name} {example}.") from None
    if not all(map(math.isfinite, numbers)):
        raise BadInput(f"{name} = {text}: give finite numbers.")
    return tuple(numbers)


def _reader(place: str, node: ast.expr, names: tuple[str, ...]) -> Callable[[dict], object]:
    """The function from values of names to the value of a node."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
        number = float(node.value)
        return lambda known: number
    if isinstance(node, ast.Name) and node.id in names:
        return lambda known: known[node.id]
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        combine = OPERATORS[type(node.op)]
        left, right = _reader(place, node.left, names), _reader(place, node.right, names)
        return lambda known: combine(left(known), right(known))
    if isinstance(node, ast.UnaryOp) and type(node.op) in OPERATORS:
        turn, inner = OPERATORS[type(node.op)], _reader(place, node.operand, names)
        return lambda known: turn(inner(known))
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS and not node.keywords:
        name, arguments = node.func.id, [_reader(place, argument, names) for argument in node.args]
        return lambda known: _apply(place, name, [argument(known) for argument in arguments])
    raise BadInput(
        f"{place}: {ast.unparse(node)!r} is not known. Use {', '.join(names)}, numbers, + - * / ** and {', '.join(FUNCTIONS)}."
    )


def _apply(place: str, name: str, arguments: list):
    import jax.numpy as jnp

    try:
        return getattr(jnp, name)(*arguments)
    except TypeError as error:
        raise BadInput(f"{place}: {name} does not take {len(arguments)} arguments.") from error
