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


def _symmetric(upper: tuple[float, ...]) -> np.ndarray:
    """The matrix of which these are the rows of the upper triangle."""
    n = int((2 * len(upper)) ** 0.5)
    h = np.zeros((n, n))
    h[np.triu_indices(n)] = upper
    h = np.triu(h) + np.triu(h, 1).T
    h.setflags(write=False)  # one table serves all callers
    return h


_FILE = Path(__file__).with_name("gth_lda.txt")
_SHA256 = "e845def06929c3e67a82404c2931eb07934a0a14095126eb9a28ae5f1ed9f658"

_USUAL = {"Li": "Li-q3", "Be": "Be-q4", "Na": "Na-q9", "Mg": "Mg-q10", "Cu": "Cu-q11", "Zn": "Zn-q12", "Ga": "Ga-q13"}
