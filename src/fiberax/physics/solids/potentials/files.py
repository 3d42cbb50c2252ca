"""Files of interatomic potentials: LAMMPS's `.sw` and `.tersoff`, DYNAMO's tables `setfl`, `fs` and `funcfl`, all in eV and Å.

Formats: pages pair_sw, pair_tersoff and pair_eam of the LAMMPS manual; Daw, Foiles, Baskes, Mater. Sci. Rep. 9, 251 (1993).
As in LAMMPS # begins a comment, and words after the numbers of a line, or after the last table, are passed over.
Any fault of a file gives one `BadInput` with its name, the line, what was expected and what was found. Files of other kinds are
called by their kind (`kinds.py`).
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from fiberax.core.errors import BadInput
from fiberax.physics.solids.potentials.kinds import check_content, check_name
from fiberax.physics.solids.potentials.text import Text, as_number

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
_TAIL = 1e-6  # of the largest value: what a table may end with and be zero beyond
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
            names, else `funcfl`; of `fs` and `setfl` the other one where the first does not fit. A file whose name says that
            it is of a kind not read here is refused with "auto" alone.

    Returns:
        The tables.

    Raises:
        BadInput: The file is missing or damaged; with the line, what was expected and what was found.
    """
    if kind not in get_args(Kind):
        raise BadInput(f"kind={kind!r} is not one of {', '.join(map(repr, get_args(Kind)))}.")
    if kind == "auto":
        check_name(Path(path))
    text = Text(path)
    if kind != "auto":
        return _READERS[kind](text)
    table = _names_elements(text.first(4))
    kinds = ("fs", "setfl") if str(path).lower().endswith(".fs") else ("setfl", "fs") if table else ("funcfl",)
    if not table and not _numbers(text.first(2), 3):
        _check_kind(text, "")
        if kinds[0] == "funcfl":
            raise BadInput(
                f"{text.path}: neither a setfl nor a funcfl file: line 4 is no number of elements with their names, line 2 no "
                f"atomic number, mass and lattice constant; it is {' '.join(text.first(2))[:60]!r}."
            )
    faults = []
    for each in kinds:
        try:
            return _READERS[each](text)
        except BadInput as fault:
            faults.append(fault)
    _check_kind(text, "")
    raise faults[0]


def _entries(path, keys, kind) -> dict[Triple, dict[str, float]]:
    check_name(Path(path))
    text = Text(path)
    try:
        return _read_entries(text, keys, kind)
    except BadInput:
        _check_kind(text, kind)
        raise


def _read_entries(text: Text, keys, kind) -> dict[Triple, dict[str, float]]:
    entries: dict[Triple, dict[str, float]] = {}
    while text.more():
        place = f"of a {kind} entry: three elements, then {len(keys)} numbers {', '.join(keys)}"
        triple = (text.name(f"element 1 {place}"), text.name(f"element 2 {place}"), text.name(f"element 3 {place}"))
        if triple in entries:
            text.fail(f"one entry for {' '.join(triple)}, not a second one")
        label = f"of the {kind} entry {' '.join(triple)}"
        entries[triple] = {key: text.number(f"{key}, value {k} of {len(keys)} {label}") for k, key in enumerate(keys, 1)}
    if not entries:
        raise BadInput(f"{text.path}: no {kind} entry, expected three elements and {len(keys)} numbers {', '.join(keys)}.")
    return entries


def _check_kind(text: Text, kind: str) -> None:
    """Raise `BadInput` where a file that did not read as `kind` is of another kind, by its content."""
    check_content(text.path, text.raw)
    other, reader = "", ""
    if _names_elements(text.first(4)):
        other, reader = "a setfl or fs table", "EAM"
    elif _numbers(text.first(2), 3) and _numbers(text.first(3), 5):
        other, reader = "a funcfl table", "EAM"
    else:
        sizes = _entry_sizes(text)
        if sizes == {len(SW)}:
            other, reader = "a Stillinger-Weber file", "StillingerWeber"
        elif sizes == {len(TERSOFF)}:
            other, reader = "a Tersoff file", "Tersoff"
        elif len(sizes) == 1 and not any(abs(min(sizes) - len(keys)) == 1 for keys in (SW, TERSOFF)):
            # One number more or less is a slip rather than another kind.
            raise BadInput(
                f"{text.path}: every entry has three elements and {min(sizes)} numbers; a Stillinger-Weber file has {len(SW)} "
                f"and a Tersoff file {len(TERSOFF)}. It is of a kind that is not read here; use LAMMPS as calculator."
            )
    if reader and reader.replace("StillingerWeber", "Stillinger-Weber") != (kind or "EAM"):
        raise BadInput(f"{text.path}: this is {other}. Read it with fx.solids.potentials.{reader}(path).")


def _entry_sizes(text: Text) -> set[int]:
    """How many numbers follow three names, for a file that holds nothing else; else empty."""
    text.start(1)
    signs = ""
    while text.more():
        signs += "x" if as_number(text.take("")) is None else "1"
    return {len(run) for run in re.findall("1+", signs)} if re.fullmatch("(xxx1+)+", signs) else set()


def _numbers(words: list[str], count: int) -> bool:
    """Whether a line begins with so many numbers, the first a whole one."""
    return len(words) >= count and words[0].isdecimal() and all(as_number(word) is not None for word in words[:count])


def _names_elements(words: list[str]) -> bool:
    """Whether a line reads like line 4 of a setfl file: a number of elements and as many names."""
    names = words[1 : 1 + int(words[0])] if words and words[0].isdecimal() else []
    return bool(names) and all(as_number(word) is None for word in names)


def _grid(text: Text) -> tuple[int, float, int, float, float]:
    nrho, drho = text.count("Nrho", MIN_POINTS), text.number("drho", positive=True)
    nr, dr = text.count("Nr", MIN_POINTS), text.number("dr", positive=True)
    cutoff = text.number("cutoff", positive=True)
    text.end_line("the end of the line with the grid, after the cutoff")
    return nrho, drho, nr, dr, cutoff


def _setfl(text: Text, pairwise_density: bool = False) -> EAMTables:
    text.start(4)
    n = text.count("the number of elements in line 4 of a setfl file", 1)
    names = tuple(text.name(f"the name of element {k + 1} of {n}") for k in range(n))
    if text.continues():
        text.take("")
        text.fail(f"the end of the line after {n} elements")
    nrho, drho, nr, dr, cutoff = _grid(text)
    masses, lattices, embedding = [], [], []
    density, pair = np.zeros((n, n, nr)), np.zeros((n, n, nr))
    for a, name in enumerate(names):
        text.count(f"the atomic number of {name}", 0)
        masses.append(text.number(f"the mass of {name}"))
        # LAMMPS reads number and mass only, and some files leave out the rest.
        constant = text.number(f"the lattice constant of {name}") if text.continues() else 0.0
        lattices.append((constant, text.take(f"the lattice of {name}") if text.continues() else ""))
        text.end_line(f"the end of the line of {name}")
        embedding.append(text.table(nrho, f"the embedding function of {name}"))
        for b in range(n if pairwise_density else 1):
            density[a, b] = text.table(nr, f"the density of {name}" + (f" at {names[b]}" if pairwise_density else ""))
        if not pairwise_density:
            density[a] = density[a, 0]
    for a in range(n):
        for b in range(a + 1):
            pair[a, b] = pair[b, a] = text.table(nr, f"r·φ of {names[a]}-{names[b]}")
    _end(text, "fs" if pairwise_density else "setfl", n * (n + 1) * nr)
    _check_tail(text, cutoff, nr, dr, density, pair)
    return EAMTables(names, tuple(masses), tuple(lattices), drho, dr, cutoff, np.stack(embedding), density, pair)


def _fs(text: Text) -> EAMTables:
    return _setfl(text, pairwise_density=True)


def _funcfl(text: Text) -> EAMTables:
    text.start(2)
    number = text.count("the atomic number in line 2 of a funcfl file", 1)
    name = _symbol(number)
    if name is None:
        text.fail("the atomic number of an element")
    mass, constant = text.number("the mass"), text.number("the lattice constant") if text.continues() else 0.0
    lattice = text.take("the lattice, such as FCC") if text.continues() else ""
    text.end_line("the end of the line of the element")
    nrho, drho, nr, dr, cutoff = _grid(text)
    embedding = text.table(nrho, "the embedding function")
    charge = text.table(nr, "the effective charge Z(r)")
    density = text.table(nr, "the density")
    _end(text, "funcfl")
    pair = HARTREE * BOHR * charge**2
    _check_tail(text, cutoff, nr, dr, density, pair)
    lattices = ((constant, lattice),)
    return EAMTables((name,), (mass,), lattices, drho, dr, cutoff, embedding[None], density[None, None], pair[None, None])


_READERS = {"setfl": _setfl, "fs": _fs, "funcfl": _funcfl}


def _end(text: Text, kind: str, adp: int | None = None) -> None:
    """Nothing but words may follow the last table; `adp` numbers more are the dipole and quadrupole functions of ADP."""
    if not text.more() or as_number(text.take("")) is None:
        return
    left = text.left() + 1
    if left == adp:
        raise BadInput(f"{text.path}: this is an ADP (angular-dependent) file, not a {kind} one. Use LAMMPS as calculator.")
    text.fail(f"the end of the {kind} file ({left} words are left)")


def _check_tail(text: Text, cutoff: float, nr: int, dr: float, density: np.ndarray, pair: np.ndarray) -> None:
    """Beyond its end a table is zero up to the cutoff: raise `BadInput` where it does not end with zero."""
    if cutoff <= nr * dr * (1 + 1e-9):
        return
    for what, table in (("the density", density), ("r·φ", pair)):
        last, size = np.abs(table[..., -1]).max(), np.abs(table).max()
        if last > _TAIL * size:
            raise BadInput(
                f"{text.path}: the cutoff {cutoff:g} lies beyond the table, which ends at Nr dr = {nr * dr:g}, where {what} is "
                f"still {last:.3g}. Give a cutoff within the table, or a table that ends with zero."
            )


def _symbol(number: int) -> str | None:
    symbols = _SYMBOLS.split()
    return symbols[number - 1] if 1 <= number <= len(symbols) else None
