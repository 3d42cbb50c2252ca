"""Parameters of the separable pseudopotentials of Goedecker, Teter and Hutter for LDA, hartree and bohr.

S. Goedecker, M. Teter, J. Hutter, Phys. Rev. B 54 (1996) 1703; C. Hartwigsen, S. Goedecker, J. Hutter, Phys. Rev. B 58 (1998)
3641; table of M. Krack, Theor. Chem. Acc. 114 (2005) 145. A symbol may contain its valence, as "Ga-q3".

The numbers are in `gth_lda.txt` in the same folder. A wrong digit would silently give another material, so its checksum is
verified when it is read.
"""

import functools
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fiberax.core.errors import BadInput


class Parameters(NamedTuple):
    """A pseudopotential: valence charge, local radius and up to four coefficients, and for each l a radius and h (n, n)."""

    valence: int
    r_loc: float
    c: tuple[float, ...]
    projectors: tuple[tuple[float, np.ndarray], ...]


def parameters(symbol: str) -> Parameters:
    """Those of an element. Raises `BadInput` for one that is not in the table."""
    name, table = _USUAL.get(symbol, symbol), _table()
    if name not in table:
        matching = [key for key in table if key.split("-")[0] == symbol]
        if len(matching) != 1:
            elements = sorted({key.split("-")[0] for key in table})
            raise BadInput(
                f"There are no GTH parameters for {symbol!r}. There are some for {', '.join(elements)}; give -qN, the "
                f"valence electrons, where there are several, as of {', '.join(_USUAL.values())}."
            )
        (name,) = matching
    return table[name]


@functools.cache
def _table() -> dict[str, Parameters]:
    return read(_FILE.read_bytes(), str(_FILE), _SHA256)


def read(content: bytes, name: str, checksum: str) -> dict[str, Parameters]:
    """All pseudopotentials in the text of a file, by symbol with valence; the layout is said at the top of `gth_lda.txt`.

    Args:
        content: The file.
        name: What a message calls it.
        checksum: SHA-256 that the content must have, with newlines as on Unix.

    Raises:
        BadInput: The content is another.
    """
    text = content.replace(b"\r\n", b"\n")
    found = hashlib.sha256(text).hexdigest()
    if found != checksum:
        raise BadInput(
            f"{name} is not the file of pseudopotentials that belongs to this version of fiberax: its SHA-256 is {found}, not "
            f"{checksum}. Install fiberax again; for numbers of your own there is fx.solids.ions.GTH(ions.Parameters(...))."
        )
    table: dict[str, Parameters] = {}
    symbol = ""
    for line in text.decode().splitlines():
        first, *rest = line.split("#")[0].split() or [""]
        numbers = tuple(map(float, rest))
        if first == "local":
            table[symbol] = Parameters(int(symbol.split("-q")[1]), numbers[0], numbers[1:], ())
        elif first.isdigit():
            known = table[symbol]
            table[symbol] = known._replace(projectors=(*known.projectors, (numbers[0], _symmetric(numbers[1:]))))
        elif first:
            symbol = first
    return table


def read_cp2k(text: str, name: str, symbol: str) -> tuple[str, Parameters]:
    """One pseudopotential of a file in the format of CP2K's GTH_POTENTIALS, which describes itself at its top.

    Args:
        text: The file.
        name: What a message calls it.
        symbol: An element, with -qN or with a name of the file after it where it has several ("Ti-q12", "Ti-GTH-PADE-q12"). An
            element alone is the one that CP2K takes for the local density approximation.

    Returns:
        The name that it has in the file, and its parameters.

    Raises:
        BadInput: The file has no such element, or several, or is damaged there.
    """
    lines = [line.split("#")[0].split() for line in text.splitlines()]
    lines = [words for words in lines if words]
    heads = [k for k, words in enumerate(lines) if words[0][0].isalpha() and len(words) > 1]
    element, _, wanted = symbol.partition("-")
    of_it = [k for k in heads if lines[k][0].upper() == element.upper()]
    matching = [k for k in of_it if not wanted or any(_named(word, wanted) for word in lines[k][1:])]
    if len(matching) > 1:
        matching = _default(matching, [list(map(str.upper, lines[k][1:])) for k in matching], wanted.upper())
    if not heads:
        raise BadInput(f"{name} has no pseudopotential for {symbol!r}: it is no file in the format of CP2K's GTH_POTENTIALS.")
    if not of_it:
        elements = ", ".join(dict.fromkeys(lines[k][0] for k in heads))
        raise BadInput(f"{name} has no pseudopotential for {symbol!r}. It has some for {elements}.")
    if len(matching) != 1:
        known = [lines[k][1] for k in of_it]
        raise BadInput(
            f"{name} holds {', '.join(known)} for {element}: say which, as {element}-{known[0]}; {symbol!r} is not one of them."
        )
    (begin,) = matching
    end, words = next((k for k in heads if k > begin), len(lines)), lines[begin]
    try:
        return words[1], _from_numbers([[float(x.replace("D", "E")) for x in row] for row in lines[begin + 1 : end]])
    except (ValueError, IndexError) as error:
        raise BadInput(
            f"{name}: the numbers of {' '.join(words[:2])} are not those of a GTH pseudopotential ({error}). They are the "
            "electrons for each l; r_loc, n, C_1 .. C_n; the number of l; and for each a radius, n and the upper triangle of h."
        ) from error


def _named(word: str, wanted: str) -> bool:
    """Whether a name of the file is the one that is wanted, or ends in it: q12 in GTH-PADE-q12."""
    return word.upper() == wanted.upper() or word.upper().endswith("-" + wanted.upper())


def _default(places: list[int], names: list[list[str]], wanted: str) -> list[int]:
    """Of several, the one of just this name; without a name the only one for LDA, or the one that CP2K takes for LDA."""
    found = [k for k, words in zip(places, names) if wanted in words]
    if not wanted:
        found = [k for k, words in zip(places, names) if any("PADE" in word or "LDA" in word for word in words)]
        if len(found) > 1:
            found = [k for k, words in zip(places, names) if "GTH-PADE" in words or "GTH-LDA" in words]
    return found if len(found) == 1 else places


def _from_numbers(rows: list[list[float]]) -> Parameters:
    """Parameters from the rows of numbers below a name. Raises `ValueError` or `IndexError`."""
    numbers = [x for row in rows[1:] for x in row]
    place = 0

    def take(count: int) -> tuple[float, ...]:
        nonlocal place
        if count < 0 or place + count > len(numbers):
            raise ValueError(f"{len(numbers)} numbers, {place + count} needed")
        place += count
        return tuple(numbers[place - count : place])

    def whole() -> int:
        (found,) = take(1)
        if found != round(found) or not 0 <= found <= 9:
            raise ValueError(f"{found} is no count")
        return round(found)

    (r_loc,) = take(1)
    c = take(whole())
    projectors = []
    for _ in range(whole()):
        (radius,) = take(1)
        n = whole()
        projectors.append((radius, _symmetric(take(n * (n + 1) // 2))))
    if place != len(numbers):
        raise ValueError(f"{len(numbers)} numbers, {place} expected")
    return Parameters(round(sum(rows[0])), r_loc, c, tuple(projectors))


def _symmetric(upper: tuple[float, ...]) -> np.ndarray:
    """The matrix of which these are the rows of the upper triangle."""
    n = int((2 * len(upper)) ** 0.5)
    h = np.zeros((n, n))
    h[np.triu_indices(n)] = upper
    h = np.triu(h) + np.triu(h, 1).T
    h.setflags(write=False)  # one table serves all callers
    return h


_FILE = Path(__file__).with_name("gth_lda.txt")
_SHA256 = "89c5f01311a39d488f1b1aca7834385f52b7adf0ecc8ce379445766cc340bba6"

_USUAL = {
    "Li": "Li-q3", "Be": "Be-q4", "Na": "Na-q9", "Mg": "Mg-q10", "Ti": "Ti-q12", "Fe": "Fe-q16", "Cu": "Cu-q11", "Zn": "Zn-q12",
    "Ga": "Ga-q13", "Ag": "Ag-q11",
}  # fmt: skip
