"""The single-token changes that a module offers, and a sample of them."""

import ast
import hashlib
import re
from dataclasses import dataclass

_PAIRS = (("min", "max"), ("minimum", "maximum"), ("argmin", "argmax"), ("any", "all"), ("sin", "cos"), ("floor", "ceil"))
NAMES = {a: b for pair in _PAIRS for a, b in (pair, pair[::-1])}
OPERATORS = {
    ast.Add: ("+", "-"),
    ast.Sub: ("-", "+"),
    ast.Mult: ("*", "/"),
    ast.Div: ("/", "*"),
    ast.FloorDiv: ("//", "*"),
    ast.Mod: ("%", "*"),
    ast.Pow: ("**", "*"),
    ast.MatMult: ("@", "*"),
    ast.BitAnd: ("&", "|"),
    ast.BitOr: ("|", "&"),
    ast.And: ("and", "or"),
    ast.Or: ("or", "and"),
    ast.Lt: ("<", ">="),
    ast.LtE: ("<=", ">"),
    ast.Gt: (">", "<="),
    ast.GtE: (">=", "<"),
    ast.Eq: ("==", "!="),
    ast.NotEq: ("!=", "=="),
    ast.Is: ("is", "is not"),
    ast.IsNot: ("is not", "is"),
    ast.In: ("in", "not in"),
    ast.NotIn: ("not in", "in"),
}


@dataclass(frozen=True)
class Change:
    """Replace the bytes of a line from `start` on that read `old` by `new`; lines count from 1."""

    path: str
    line: int
    start: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}  `{self.old}` -> `{self.new or 'nothing'}`"

    def apply(self, source: bytes) -> bytes:
        """The source with the change."""
        lines = source.splitlines(keepends=True)
        line, old = lines[self.line - 1], self.old.encode()
        assert line[self.start : self.start + len(old)] == old, self
        lines[self.line - 1] = line[: self.start] + self.new.encode() + line[self.start + len(old) :]
        return b"".join(lines)


class Finder(ast.NodeVisitor):
    """Collects the changes that a module offers, but for annotations, messages, imports, types in isinstance and fields."""

    def __init__(self, path: str, source: bytes):
        self.path, self.lines, self.changes = path, source.splitlines(), []
        self.visit(ast.parse(source))

    def visit(self, node: ast.AST) -> None:
        """Enter a node unless it is one of the excluded kinds."""
        if isinstance(node, ast.JoinedStr | ast.Raise | ast.Assert | ast.Import | ast.ImportFrom):
            return
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) in (
            "isinstance",
            "issubclass",
            "warn",
            "field",  # a number, a text or a truth value is static in a field that is not declared so, too
        ):
            return
        super().visit(node)

    def generic_visit(self, node: ast.AST) -> None:
        """Visit children but for annotations."""
        for name, value in ast.iter_fields(node):
            if name not in ("annotation", "returns"):
                for child in value if isinstance(value, list) else [value]:
                    if isinstance(child, ast.AST):
                        self.visit(child)

    def visit_Constant(self, node: ast.Constant) -> None:
        """Numbers and truth values."""
        text = self.lines[node.lineno - 1][node.col_offset : node.end_col_offset].decode()
        if isinstance(node.value, bool):
            self._add(node.lineno, node.col_offset, text, str(not node.value))
        elif isinstance(node.value, int | float):
            self._add(node.lineno, node.col_offset, text, other_number(node.value, text))

    def visit_Name(self, node: ast.Name) -> None:
        """Functions with a counterpart."""
        if node.id in NAMES and isinstance(node.ctx, ast.Load):
            self._add(node.lineno, node.col_offset, node.id, NAMES[node.id])

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """The same as attributes of a module or an array."""
        if node.attr in NAMES and node.end_col_offset is not None and node.end_lineno is not None:
            self._add(node.end_lineno, node.end_col_offset - len(node.attr), node.attr, NAMES[node.attr])
        self.visit(node.value)

    def visit_UnaryOp(self, node: ast.UnaryOp) -> None:
        """A minus or a not is left out."""
        word = {ast.USub: "-", ast.Not: "not "}.get(type(node.op))
        if word:
            self._add(node.lineno, node.col_offset, word, "")
        self.visit(node.operand)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        """Arithmetic."""
        self._between(node.left, node.op, node.right)
        self.generic_visit(node)

    def visit_BoolOp(self, node: ast.BoolOp) -> None:
        """And, or."""
        for left, right in zip(node.values, node.values[1:], strict=False):
            self._between(left, node.op, right)
        self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        """Comparisons are inverted: a shifted boundary is often no fault between real numbers."""
        for left, operator, right in zip([node.left, *node.comparators], node.ops, node.comparators, strict=False):
            self._between(left, operator, right)
        self.generic_visit(node)

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        """Arithmetic with an equals sign."""
        self._between(node.target, node.op, node.value)
        self.generic_visit(node)

    def _between(self, left: ast.expr, operator: ast.AST, right: ast.expr) -> None:
        """The operator that stands between two operands, on the line where one of them ends or begins."""
        if type(operator) not in OPERATORS or left.end_lineno is None or left.end_col_offset is None:
            return
        old, new = OPERATORS[type(operator)]
        pattern = re.escape(old.encode()).replace(rb"\ ", rb"\s+")
        for number in range(left.end_lineno, right.lineno + 1):
            line = self.lines[number - 1]
            begin = left.end_col_offset if number == left.end_lineno else 0
            end = right.col_offset if number == right.lineno else len(line)
            code = line[begin:end].split(b"#")[0]
            if found := re.search(pattern, code):
                self._add(number, begin + found.start(), found[0].decode(), new)
                return

    def _add(self, line: int, start: int, old: str, new: str) -> None:
        if old and self.lines[line - 1][start : start + len(old.encode())] == old.encode():
            self.changes.append(Change(self.path, line, start, old, new))


def other_number(value: int | float, text: str) -> str:
    """A number that should matter: the next integer, twice a decimal, a thousand times a small tolerance."""
    if isinstance(value, int):
        return str(value + 1)
    if "e-" in text.lower():
        return repr(value * 1000)
    return repr(value * 2 if value else 1.0)


def changes_of(path: str, source: bytes) -> list[Change]:
    """The changes that a module offers, in the order of its lines."""
    return sorted(set(Finder(path, source).changes), key=lambda change: (change.line, change.start))


def parses(change: Change, source: bytes) -> bool:
    """Whether the module is still Python: a minus that is left out may leave nothing."""
    try:
        ast.parse(change.apply(source))
    except SyntaxError:
        return False
    return True


Entry = tuple[str, ...]  # path, text of the line, old and new token


def without_effect(text: str, files: dict[str, bytes]) -> frozenset[Entry]:
    """The entries of a list like without_effect.txt. One that fits no line is an error."""
    entries = [tuple(line.split(" | ")[:4]) for line in text.splitlines() if line and not line.startswith("#")]
    for entry in entries:
        path, line, old, _ = entry
        if path in files and not (old in line and line.encode() in {place.strip() for place in files[path].splitlines()}):
            raise ValueError(f"{path} has no line '{line}' with '{old}'")
    return frozenset(entries)


def sample(files: dict[str, bytes], count: int, seed: int, known: frozenset[Entry] = frozenset()) -> list[Change]:
    """`count` changes on as many lines, drawn by a hash that depends on the line alone, not on what surrounds it.

    Changes in `known` are left out.
    """
    drawn = []
    for path, source in files.items():
        lines, seen, offers = source.splitlines(), {}, {}
        for change in changes_of(path, source):
            offers.setdefault(change.line, []).append(change)
        for number, several in offers.items():
            text = lines[number - 1].strip()
            seen[text] = seen.get(text, 0) + 1
            digest = hashlib.sha256(f"{seed} {path} {seen[text]} ".encode() + text).digest()
            drawn.append((digest, several[digest[-1] % len(several)]))
    chosen = []
    for _, change in sorted(drawn, key=lambda pair: pair[0]):
        if len(chosen) == count:
            break
        text = files[change.path].splitlines()[change.line - 1].strip().decode()
        if (change.path, text, change.old, change.new) not in known and parses(change, files[change.path]):
            chosen.append(change)
    return chosen
