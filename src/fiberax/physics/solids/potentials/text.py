"""The words of a potential file with their lines, for readers that name the place of every fault."""

import codecs
import math
import re
from pathlib import Path
from typing import NoReturn

import numpy as np

from fiberax.core.errors import BadInput

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))


def _decoded(path: Path) -> str:
    """The text of a file: UTF-8, or UTF-16 with its mark, else Latin-1, in which old files have their authors' names."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise BadInput(f"{path}: not a readable text file ({error.strerror or error}).") from None
    marked = [name for mark, name in _MARKS if raw.startswith(mark)]
    try:
        text = raw.decode(marked[0] if marked else "utf-8")
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    if "\0" in text:
        raise BadInput(f"{path}: not a readable text file, it holds zero bytes.")
    return text


class Text:
    """The words of a file from some line on; `number` and others take the next word, or raise with what they expected.

    Lines end with LF, CR LF or CR. What follows a # is a comment, and lines without words are skipped, as in LAMMPS.
    """

    def __init__(self, path):
        self.path = Path(path)
        # Not splitlines: it ends lines at control characters of Latin-1 comments as well.
        self.raw = re.split(r"\r\n|\r|\n", _decoded(self.path))
        tag = re.search(r"UNITS:\s*(\w+)", self.raw[0])
        if tag and tag[1] != "metal":
            raise BadInput(f"{self.path}, line 1: UNITS: {tag[1]}; only metal (eV, Å) is read.")
        self._lines = [line.split("#")[0].split() for line in self.raw]
        while self.raw and not self.raw[-1].strip():
            self.raw.pop()
        self.start(1)

    def first(self, line: int) -> list[str]:
        """Words of the first line from number `line` on that has any; empty beyond the end."""
        return next((words for words in self._lines[line - 1 :] if words), [])

    def start(self, line: int) -> None:
        """Continue with the first word from line `line` on."""
        numbered = [(k, word) for k, words in enumerate(self._lines[line - 1 :], line) for word in words]
        self._at, self._words, self._next = [k for k, _ in numbered], [word for _, word in numbered], 0

    def take(self, expected: str) -> str:
        """The next word."""
        if self._next == len(self._words):
            raise BadInput(f"{self.path}, line {len(self.raw)}: the file ends here, but expected was {expected}.")
        self._next += 1
        return self._words[self._next - 1]

    def more(self) -> bool:
        """Whether words are left."""
        return self._next < len(self._words)

    def left(self) -> int:
        """How many words are left."""
        return len(self._words) - self._next

    def continues(self) -> bool:
        """Whether the line has more words after the last one taken."""
        return self.more() and self._at[self._next] == self._at[self._next - 1]

    def end_line(self, expected: str) -> None:
        """Pass over words at the end of a line; a number there fails, since it means something."""
        if self.continues() and as_number(self._words[self._next]) is not None:
            self.take("")
            self.fail(expected)
        while self.continues():
            self._next += 1

    def fail(self, expected: str) -> NoReturn:
        """Raise `BadInput` about the word taken last."""
        at = self._next - 1
        raise BadInput(f"{self.path}, line {self._at[at]}: expected {expected}, found {self._words[at]!r}.")

    def number(self, what: str, positive: bool = False) -> float:
        """The next word as a finite number."""
        expected = f"a {'positive ' if positive else ''}number ({what})"
        value = as_number(self.take(expected))
        if value is None or not math.isfinite(value) or (positive and value <= 0):
            self.fail(expected)
        return value

    def count(self, what: str, least: int) -> int:
        """The next word as an integer of at least `least`."""
        expected = f"an integer of at least {least} ({what})"
        word = self.take(expected)
        if not (word.isascii() and word.isdecimal()) or int(word) < least:
            self.fail(expected)
        return int(word)

    def name(self, what: str) -> str:
        """The next word, which is not a number."""
        word = self.take(what)
        if as_number(word) is not None:
            self.fail(what)
        return word

    def table(self, n: int, what: str) -> np.ndarray:
        """The next n words as numbers."""
        words = self._words[self._next : self._next + n]
        try:
            values = np.array(words, dtype=float)
        except ValueError:
            values = np.array([np.nan])
        if len(values) == n and np.all(np.isfinite(values)):
            self._next += n
            return values
        return np.array([self.number(f"value {k + 1} of {n} of {what}") for k in range(n)])  # finds the fault, or reads 1.0D0


def as_number(word: str) -> float | None:
    """The word as a number, Fortran exponents (1.0D-3) included; None where it is none."""
    try:
        return float(re.sub(r"(?<=[\d.])[dD](?=[+-]?\d)", "e", word))
    except ValueError:
        return None
