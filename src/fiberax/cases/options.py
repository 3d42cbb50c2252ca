"""Options of cases: fields of a dataclass with help, unit, bounds, and the other options with which they have an effect."""

import dataclasses
import math
import types
import typing
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from fiberax.core.errors import BadInput
from fiberax.io.results import Quantity

OPTION = "fiberax option"
# Bounds that nobody reaches by intention; beyond them a typing error would take all memory before it is seen.
MOST_RECORDS = 1_000_000  # each is a file
MOST_CELLS = 10_000_000
MOST_CELLS_A_SIDE = 10_000


@dataclass(frozen=True)
class Values:
    """Values of an option that another one needs.

    Args:
        hold: hold(value), whether this is one of them.
        wanted: What to write behind the flag for it.
        out: True where the option has to be left out.
    """

    hold: Callable[[Any], bool]
    wanted: str = ""
    out: bool = False

    def condition(self, name: str) -> str:
        """In words, when the other option has an effect."""
        return f"without {flag(name)}" if self.out else f"with {flag(name)} {self.wanted}".rstrip()

    def remedy(self, name: str) -> str:
        """In words, what to do so that it has one."""
        return f"leave {flag(name)} out" if self.out else f"give {flag(name)} {self.wanted}".rstrip()


GIVEN = Values(lambda value: value is not None)
ABSENT = Values(lambda value: value is None, out=True)


def above(limit: float) -> Values:
    """Numbers larger than `limit`, or the option's own default where it is None; for `when`.

    Args:
        limit: A number, in the unit of the option.

    Returns:
        What `when` compares with.
    """
    return Values(lambda value: value is None or value > limit, f"above {limit:g}")


def other_than(*refused: Any) -> Values:
    """All values but these; texts are compared without blanks at the ends and without regard to case. For `when`.

    Args:
        refused: Values of the option, texts in lower case.

    Returns:
        What `when` compares with.
    """
    plain = lambda value: value.strip().lower() if isinstance(value, str) else value
    names = " or ".join(_text(value) for value in refused)
    return Values(lambda value: plain(value) not in refused, f"other than {names}")


@dataclass(frozen=True)
class When:
    """Choices of other options with which an option has an effect: alternatives, each with the values that it needs."""

    alternatives: tuple[tuple[tuple[str, Values], ...], ...] = ((),)

    def __or__(self, other: "When") -> "When":
        return When(self.alternatives + other.alternatives)

    def __and__(self, other: "When") -> "When":
        return When(tuple(first + second for first in self.alternatives for second in other.alternatives))

    def unmet(self, case: object) -> tuple[tuple[tuple[str, Values], ...], ...]:
        """What is missing in `case`, of each alternative that misses the fewest; empty if the option has an effect."""
        missing = [
            tuple((name, values) for name, values in needs if not values.hold(getattr(case, name)))
            for needs in self.alternatives
        ]
        least = min(map(len, missing))
        return tuple(needs for needs in missing if len(needs) == least) if least else ()


ALWAYS = When()


def when(**needs: Any) -> When:
    """With which other options an option has an effect: `when(model=Model.ROD, potential=GIVEN)` needs both.

    Combine with `|` (either) and `&` (both).

    Args:
        needs: For each option a value, a tuple of values of which one is enough, or one of `GIVEN`, `ABSENT`, `above(limit)`,
            `other_than(value)`.

    Returns:
        For `option(applies=...)`.
    """
    return When((tuple((name, _values(value)) for name, value in needs.items()),))


def conditions(alternatives: tuple[tuple[tuple[str, Values], ...], ...]) -> str:
    """In words, with which other options an option has an effect; empty for all."""
    found = " or ".join(" and ".join(values.condition(other) for other, values in needs) for needs in alternatives)
    return found and f"counts {found}"


def _values(wanted: Any) -> Values:
    if isinstance(wanted, Values):
        return wanted
    if isinstance(wanted, bool):
        return Values(lambda value: value is wanted, out=not wanted)
    several = wanted if isinstance(wanted, tuple) else (wanted,)
    return Values(lambda value: value in several, " or ".join(_text(value) for value in several))


def _text(value: Any) -> str:
    return str(value.value if isinstance(value, Enum) else value)


@dataclass(frozen=True)
class Option:
    """What `option` says of one field of a case.

    Args:
        help: One line.
        unit: Printed behind the help line.
        low: Numbers must not be smaller.
        high: Numbers must not be larger.
        above: Numbers must be larger.
        choices: Gives the names that a text may have, where they are known only at run time, or those values of an
            enumeration that a case takes, where it does not take all.
        applies: With which other options it has an effect.
    """

    help: str
    unit: str = ""
    low: float | None = None
    high: float | None = None
    above: float | None = None
    choices: Callable[[], tuple[str, ...]] | None = None
    applies: When = ALWAYS


def option(
    default: Any,
    *,
    help: str,
    unit: str | Quantity = "",
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: Callable[[], tuple[str, ...]] | None = None,
    applies: When = ALWAYS,
) -> Any:
    """A field of a case that becomes an option of the command.

    Args:
        default: The value where the option is not given.
        help: One line.
        unit: Printed behind the help line; a `Quantity` gives its unit, so that option, results and figures have the same.
        low: Numbers must not be smaller; NaN and infinity are always refused.
        high: Numbers must not be larger.
        above: Numbers must be larger.
        choices: Gives the names that a text may have, where they are known only at run time, or those values of an
            enumeration that this case takes, where it does not take all.
        applies: With which other options it has an effect (`when`). Without an effect it is refused on the command line, and
            elsewhere unless it has its default.

    Returns:
        A dataclass field.
    """
    unit = unit.unit if isinstance(unit, Quantity) else unit
    return field(default=default, metadata={OPTION: Option(help, unit, low, high, above, choices, applies)})


def inherited(case: type, name: str, default: Any = dataclasses.MISSING, *, applies: When = ALWAYS, **changed: Any) -> Any:
    """An option of another case, changed.

    Args:
        case: The other case.
        name: Name of its option.
        default: Another default.
        applies: Further conditions of an effect, added to those it has.
        changed: Other values of `Option`, such as `help`.

    Returns:
        A dataclass field.
    """
    (entry,) = (entry for entry in dataclasses.fields(case) if entry.name == name)
    known: Option = entry.metadata[OPTION]
    made = dataclasses.replace(known, applies=known.applies & applies, **changed)
    return field(default=entry.default if default is dataclasses.MISSING else default, metadata={OPTION: made})


def fields_of(case: type) -> list[tuple[str, Any, Any, Option]]:
    """Name, type, default and option of every field of a case. Raises `BadInput` for a field that is no option."""
    if not dataclasses.is_dataclass(case):
        raise BadInput(f"The case {case.__name__} is not a dataclass: put @dataclass above its class line.")
    hints = typing.get_type_hints(case)
    found = []
    for entry in dataclasses.fields(case):
        if OPTION not in entry.metadata:
            raise BadInput(f"{case.__name__}.{entry.name}: make it an option, {entry.name}: type = option(default, help=...).")
        found.append((entry.name, hints[entry.name], entry.default, entry.metadata[OPTION]))
    return found


def flag(name: str) -> str:
    """The command-line flag of a field."""
    return "--" + name.replace("_", "-")


def flags(name: str, hint: Any, default: Any) -> list[str]:
    """The flags of a field: of a truth value that is not false by default there is a second one that says no."""
    both = default is True or (default is None and bool in typing.get_args(hint))
    return [flag(name), f"--no-{flag(name)[2:]}"] if both else [flag(name)]


def check_options(case: object) -> None:
    """Raise `BadInput` for the first option that is out of bounds, not among its choices, or without effect."""
    for name, _, _, opt in fields_of(type(case)):
        value = getattr(case, name)
        for number in value if isinstance(value, tuple | list) else (value,):
            if isinstance(number, int | float) and not isinstance(number, bool):
                _check_number(flag(name), number, opt)
        if opt.choices is not None and value is not None and _text(value) not in (known := opt.choices()):
            raise BadInput(f"{flag(name)} = {_text(value)}: there are {', '.join(known)}.")
    check_applies(case)


def check_applies(case: object, given: Collection[str] = ()) -> None:
    """Raise `BadInput` for the first option that has no effect with the others.

    Checked are those without their default value, and those in `given`, which the user wrote.
    """
    for name, _, default, opt in fields_of(type(case)):
        value = getattr(case, name)
        unmet = () if name not in given and value == default else opt.applies.unmet(case)
        if not unmet:
            continue
        own = flag(name) if value is not False else f"--no-{flag(name)[2:]}"
        said = own if isinstance(value, bool) else f"{own} {_text(value)}"
        now = {flag(other): getattr(case, other) for needs in unmet for other, values in needs if values.wanted}
        chosen = ", ".join(f"{other} is {'not given' if there is None else _text(there)}" for other, there in now.items())
        chosen = chosen and f" ({chosen})"
        remedies = ", or ".join(" and ".join(values.remedy(other) for other, values in needs) for needs in unmet)
        raise BadInput(f"{said} has no effect: it {conditions(unmet)} only{chosen}. Leave {own} out, or {remedies}.")


def _check_number(name: str, value: float, opt: Option) -> None:
    unit = f" {opt.unit}" if opt.unit else ""
    if not math.isfinite(value):
        raise BadInput(f"{name} = {value}: give a finite number{unit and f' ({opt.unit})'}.")
    if opt.above is not None and value <= opt.above:
        raise BadInput(f"{name} = {value}{unit}: give a number larger than {opt.above:g}.")
    if opt.low is not None and value < opt.low:
        raise BadInput(f"{name} = {value}{unit}: give at least {opt.low:g}.")
    if opt.high is not None and value > opt.high:
        raise BadInput(f"{name} = {value}{unit}: give at most {opt.high:g}.")


def to_json(case: object) -> dict[str, Any]:
    """The options of a case as JSON values."""

    def encode(value):
        if isinstance(value, Enum):
            return value.value
        if isinstance(value, Path):
            return str(value)
        return [encode(v) for v in value] if isinstance(value, tuple | list) else value

    return {name: encode(getattr(case, name)) for name, _, _, _ in fields_of(type(case))}


def from_json(case: type, values: dict[str, Any], folder: Path) -> Any:
    """The case with options as `to_json` wrote them; relative paths are taken from `folder`. Raises `BadInput`."""
    known = {name: hint for name, hint, _, _ in fields_of(case)}
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise BadInput(
            f"The case {case.__name__} has no option {flag(unknown[0])}: its parameters were written for another version."
        )
    return case(**{name: _decode(name, value, known[name], folder) for name, value in values.items()})


def _decode(name: str, value: Any, hint: Any, folder: Path) -> Any:
    choices = typing.get_args(hint) if typing.get_origin(hint) in (typing.Union, types.UnionType) else (hint,)
    if value is None and type(None) in choices:
        return None
    hint = next(choice for choice in choices if choice is not type(None))
    kind = typing.get_origin(hint) or hint
    if kind is Path and isinstance(value, str):
        return folder / value
    if issubclass(kind, Enum) and value in [entry.value for entry in kind]:
        return kind(value)
    if kind is tuple and isinstance(value, list):
        return tuple(value)
    if isinstance(value, (int, float) if kind is float else kind) and isinstance(value, bool) == (kind is bool):
        return value
    raise BadInput(f"{flag(name)} = {value!r}: give a value of the kind {getattr(hint, '__name__', hint)}.")
