"""Files of interatomic potentials: LAMMPS's `.sw` and `.tersoff`, DYNAMO's tables `setfl`, `fs` and `funcfl`, all in eV and Å.

Formats: pages pair_sw, pair_tersoff and pair_eam of the LAMMPS manual; Daw, Foiles, Baskes, Mater. Sci. Rep. 9, 251 (1993).
Any fault of a file gives one `BadInput` with its name, the line, what was expected and what was found.
"""

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NoReturn, get_args

import numpy as np

from fiberax.core.errors import BadInput

Triple = tuple[str, str, str]
Kind = Literal["auto", "setfl", "fs", "funcfl"]

SW = ("epsilon", "sigma", "a", "lambda", "gamma", "costheta0", "A", "B", "p", "q", "tol")
TERSOFF = ("m", "gamma", "lambda3", "c", "d", "costheta0", "n", "beta", "lambda2", "B", "R", "D", "lambda1", "A")

# 1 hartree in eV and 1 bohr in Å as DYNAMO, and so LAMMPS, takes them to turn effective charges into φ = 27.2·0.529 Z²/r.
HARTREE, BOHR = 27.2, 0.529
_SYMBOLS = (
    "H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Tc "
    "Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi "
    "Po At Rn Fr Ra Ac Th Pa U Np Pu"
)
# The five-point slopes of `tables.py` need as many points.
MIN_POINTS = 5


@dataclass(frozen=True)
class EAMTables:
    """Functions on the uniform grids k·dr, k·drho from zero on; energies in eV, distances in Å.

    `embedding` (n, nrho); `density[source, site]` (n, n, nr), at atom `site` due to neighbour `source`; `pair` (n, n, nr), r φ.
    `lattices`: constant and name, (0, "") where the file has none.
    """

    elements: tuple[str, ...]
    masses: tuple[float, ...]
    lattices: tuple[tuple[float, str], ...]
    drho: float
    dr: float
    cutoff: float
    embedding: np.ndarray
    density: np.ndarray
    pair: np.ndarray


def read_sw(path: str | os.PathLike) -> dict[Triple, dict[str, float]]:
    """Read a Stillinger-Weber file.

    Args:
        path: The file.

    Returns:
        Entries by their three elements; the keys of an entry are `SW`.

    Raises:
        BadInput: The file is missing or damaged; with the line, what was expected and what was found.
    """
    return _entries(path, SW, "Stillinger-Weber")


def read_tersoff(path: str | os.PathLike) -> dict[Triple, dict[str, float]]:
    """Read a Tersoff file.

    Args:
        path: The file.

    Returns:
        Entries by their three elements; the keys of an entry are `TERSOFF`.

    Raises:
        BadInput: The file is missing or damaged; with the line, what was expected and what was found.
    """
    return _entries(path, TERSOFF, "Tersoff")


def read_eam(path: str | os.PathLike, kind: Kind = "auto") -> EAMTables:
    """Read a `setfl` (`eam.alloy`), `fs` (`eam.fs`) or `funcfl` file.

    Args:
        path: The file.
        kind: The format. "auto": `fs` where the name ends in ".fs", else `setfl` where line 4 is a number of elements and their
            names, else `funcfl`.

    Returns:
        The tables.

    Raises:
        BadInput: The file is missing or damaged; with the line, what was expected and what was found.
    """
    if kind not in get_args(Kind):
        raise BadInput(f"kind={kind!r} is not one of {', '.join(map(repr, get_args(Kind)))}.")
    text = _Text(path)
    if kind == "auto":
        kind = "fs" if str(path).endswith(".fs") else "setfl" if _names_elements(text.line(4)) else "funcfl"
    return _funcfl(text) if kind == "funcfl" else _setfl(text, pairwise_density=kind == "fs")


class _Text:
    """The words of a file with their lines; `number` and others take the next word, or raise with what they expected."""

    def __init__(self, path, comments: bool = False):
        self.path = Path(path)
        try:
            lines = self.path.read_text().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise BadInput(f"{self.path}: not a readable text file ({getattr(error, 'strerror', None) or error}).") from None
        tag = re.search(r"UNITS:\s*(\w+)", lines[0]) if lines else None
        if tag and tag[1] != "metal":
            raise BadInput(f"{self.path}, line 1: UNITS: {tag[1]}; only metal (eV, Å) is read.")
        self._lines = [line.split("#")[0] if comments else line for line in lines]
        self.rest(1)

    def line(self, number: int) -> list[str]:
        """Words of a line; empty beyond the end."""
        return self._lines[number - 1].split() if number <= len(self._lines) else []

    def rest(self, start: int) -> None:
        """Continue with the first word of line `start`."""
        self._words = [(k, word) for k, line in enumerate(self._lines[start - 1 :], start) for word in line.split()]
        self._next = 0

    def take(self, expected: str) -> str:
        """The next word."""
        if self._next == len(self._words):
            raise BadInput(f"{self.path}, line {len(self._lines)}: the file ends here, but expected was {expected}.")
        self._next += 1
        return self._words[self._next - 1][1]

    def more(self) -> bool:
        """Whether words are left."""
        return self._next < len(self._words)

    def continues(self) -> bool:
        """Whether the line has more words after the last one taken."""
        return self.more() and self._words[self._next][0] == self._words[self._next - 1][0]

    def fail(self, expected: str) -> NoReturn:
        """Raise `BadInput` about the word taken last."""
        line, word = self._words[self._next - 1]
        raise BadInput(f"{self.path}, line {line}: expected {expected}, found {word!r}.")

    def number(self, what: str, positive: bool = False) -> float:
        """The next word as a finite number."""
        expected = f"a {'positive ' if positive else ''}number ({what})"
        value = _number(self.take(expected))
        if value is None or not math.isfinite(value) or (positive and value <= 0):
            self.fail(expected)
        return value

    def count(self, what: str, least: int) -> int:
        """The next word as an integer of at least `least`."""
        expected = f"an integer of at least {least} ({what})"
        word = self.take(expected)
        if not word.isdecimal() or int(word) < least:
            self.fail(expected)
        return int(word)

    def name(self, what: str) -> str:
        """The next word, which is not a number."""
        word = self.take(what)
        if _number(word) is not None:
            self.fail(what)
        return word

    def table(self, n: int, what: str) -> np.ndarray:
        """The next n words as numbers."""
        return np.array([self.number(f"value {k + 1} of {n} of {what}") for k in range(n)])


def _number(word: str) -> float | None:
    """The word as a number, Fortran exponents (1.0D-3) included; None where it is none."""
    try:
        return float(re.sub(r"(?<=[\d.])[dD](?=[+-]?\d)", "e", word))
    except ValueError:
        return None


def _entries(path, keys, kind) -> dict[Triple, dict[str, float]]:
    text = _Text(path, comments=True)
    entries: dict[Triple, dict[str, float]] = {}
    while text.more():
        place = f"of a {kind} entry: three elements, then {len(keys)} numbers {', '.join(keys)}"
        triple = (text.name(f"element 1 {place}"), text.name(f"element 2 {place}"), text.name(f"element 3 {place}"))
        if triple in entries:
            text.fail(f"one entry for {' '.join(triple)}, not a second one")
        label = f"of the {kind} entry {' '.join(triple)}"
        entries[triple] = {key: text.number(f"{key}, value {k} of {len(keys)} {label}") for k, key in enumerate(keys, 1)}
    if not entries:
        raise BadInput(f"{path}: no {kind} entry, expected three elements and {len(keys)} numbers {', '.join(keys)}.")
    return entries


def _names_elements(words: list[str]) -> bool:
    """Whether a line reads like line 4 of a setfl file: a number of elements and as many names."""
    names = words[1 : 1 + int(words[0])] if words and words[0].isdecimal() else []
    return bool(names) and all(_number(word) is None for word in names)


def _grid(text: _Text) -> tuple[int, float, int, float, float]:
    nrho, drho = text.count("Nrho", MIN_POINTS), text.number("drho", positive=True)
    nr, dr = text.count("Nr", MIN_POINTS), text.number("dr", positive=True)
    cutoff = text.number("cutoff", positive=True)
    if cutoff > nr * dr * (1 + 1e-9):
        text.fail(f"a cutoff within the table, at most Nr dr = {nr * dr:g}")
    return nrho, drho, nr, dr, cutoff


def _setfl(text: _Text, pairwise_density: bool) -> EAMTables:
    text.rest(4)
    n = text.count("the number of elements in line 4 of a setfl file", 1)
    names = tuple(text.name(f"the name of element {k + 1} of {n}") for k in range(n))
    text.rest(5)
    nrho, drho, nr, dr, cutoff = _grid(text)
    masses, lattices, embedding = [], [], []
    density, pair = np.zeros((n, n, nr)), np.zeros((n, n, nr))
    for a, name in enumerate(names):
        text.count(f"the atomic number of {name}", 0)
        masses.append(text.number(f"the mass of {name}"))
        # LAMMPS reads number and mass only, and some files leave out the rest.
        constant = text.number(f"the lattice constant of {name}") if text.continues() else 0.0
        lattices.append((constant, text.take(f"the lattice of {name}") if text.continues() else ""))
        embedding.append(text.table(nrho, f"the embedding function of {name}"))
        for b in range(n if pairwise_density else 1):
            density[a, b] = text.table(nr, f"the density of {name}" + (f" at {names[b]}" if pairwise_density else ""))
        if not pairwise_density:
            density[a] = density[a, 0]
    for a in range(n):
        for b in range(a + 1):
            pair[a, b] = pair[b, a] = text.table(nr, f"r·φ of {names[a]}-{names[b]}")
    _end(text, "fs" if pairwise_density else "setfl")
    return EAMTables(names, tuple(masses), tuple(lattices), drho, dr, cutoff, np.stack(embedding), density, pair)


def _funcfl(text: _Text) -> EAMTables:
    text.rest(2)
    number = text.count("the atomic number in line 2 of a funcfl file", 1)
    mass, constant = text.number("the mass"), text.number("the lattice constant")
    lattice = text.take("the lattice, such as FCC")
    name = _symbol(number)
    if name is None:
        raise BadInput(f"{text.path}, line 2: expected the atomic number of an element, found {number}.")
    text.rest(3)
    nrho, drho, nr, dr, cutoff = _grid(text)
    embedding = text.table(nrho, "the embedding function")
    charge = text.table(nr, "the effective charge Z(r)")
    density = text.table(nr, "the density")
    _end(text, "funcfl")
    pair = HARTREE * BOHR * charge**2
    lattices = ((constant, lattice),)
    return EAMTables((name,), (mass,), lattices, drho, dr, cutoff, embedding[None], density[None, None], pair[None, None])


def _end(text: _Text, kind: str) -> None:
    if text.more():
        text.take("")
        text.fail(f"the end of the {kind} file")


def _symbol(number: int) -> str | None:
    symbols = _SYMBOLS.split()
    return symbols[number - 1] if 1 <= number <= len(symbols) else None
