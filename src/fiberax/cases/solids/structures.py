"""Crystal structures by name: primitive and conventional cells, and which atoms have which species."""

import enum
from typing import NamedTuple

import numpy as np


class Structure(enum.Enum):
    """Crystal structures."""

    FCC = "fcc"
    BCC = "bcc"
    SC = "sc"
    HCP = "hcp"
    DIAMOND = "diamond"
    ZINCBLENDE = "zincblende"
    WURTZITE = "wurtzite"
    B1 = "b1"
    B2 = "b2"
    L12 = "l12"
    TRIANGULAR = "triangular"


NAMES = tuple(structure.value for structure in Structure)
# Of tables of potentials.
_ALIASES = {
    "dia": "diamond",
    "simple cubic": "sc",
    "nacl": "b1",
    "rocksalt": "b1",
    "cscl": "b2",
    "l1_2": "l12",
    "zb": "zincblende",
}
_IDEAL = np.sqrt(8 / 3)  # c/a of spheres

_FACES = 0.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
_CENTRES = 0.5 * np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])
_CUBE = np.eye(3)
_HEXAGON = np.array([[1, 0], [0.5, np.sqrt(3) / 2]])
_HEXAGONAL = np.array([[1, 0, 0], [-0.5, np.sqrt(3) / 2, 0], [0, 0, _IDEAL]])


class _Made(NamedTuple):
    """Of the lattice constant 1: primitive lattice, basis, conventional lattice, and the number of the species of each atom."""

    lattice: np.ndarray
    basis: list[list[float]]
    conventional: np.ndarray
    kinds: tuple[int, ...]


_QUARTER = [[0, 0, 0], [0.25, 0.25, 0.25]]
_THIRDS = [[0, 0, 0], [1 / 3, 2 / 3, 0.5]]
_STRUCTURES = {
    Structure.FCC: _Made(_FACES, [[0, 0, 0]], _CUBE, (0,)),
    Structure.BCC: _Made(_CENTRES, [[0, 0, 0]], _CUBE, (0,)),
    Structure.SC: _Made(_CUBE, [[0, 0, 0]], _CUBE, (0,)),
    Structure.HCP: _Made(_HEXAGONAL, _THIRDS, _HEXAGONAL, (0, 0)),
    Structure.DIAMOND: _Made(_FACES, _QUARTER, _CUBE, (0, 0)),
    Structure.ZINCBLENDE: _Made(_FACES, _QUARTER, _CUBE, (0, 1)),
    # The second species at u = 3/8 of c above the first, where all four bonds are alike.
    Structure.WURTZITE: _Made(_HEXAGONAL, [*_THIRDS, [0, 0, 0.375], [1 / 3, 2 / 3, 0.875]], _HEXAGONAL, (0, 0, 1, 1)),
    Structure.B1: _Made(_FACES, [[0, 0, 0], [0.5, 0.5, 0.5]], _CUBE, (0, 1)),
    Structure.B2: _Made(_CUBE, [[0, 0, 0], [0.5, 0.5, 0.5]], _CUBE, (0, 1)),
    # A3B: the first species on the faces, the second at the corners.
    Structure.L12: _Made(_CUBE, [[0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0], [0, 0, 0]], _CUBE, (0, 0, 0, 1)),
    Structure.TRIANGULAR: _Made(_HEXAGON, [[0, 0]], _HEXAGON, (0,)),
}


def cell(structure: Structure, a: float) -> tuple[np.ndarray, np.ndarray]:
    """Lattice vectors and basis of the primitive cell; of hcp and wurtzite with the ideal c/a = √(8/3)."""
    made = _STRUCTURES[structure]
    return a * made.lattice, np.array(made.basis, float)


def conventional(structure: Structure, a: float) -> np.ndarray:
    """Lattice vectors to which Miller indices and lattice constants belong, as rows."""
    return a * _STRUCTURES[structure].conventional


def species_of(structure: Structure, chosen: tuple[str, ...]) -> tuple[str, ...]:
    """The species of every atom of the primitive cell, from the one or two that the structure takes."""
    return tuple(chosen[kind] for kind in _STRUCTURES[structure].kinds)


def count_species(structure: Structure) -> int:
    """How many species the structure takes."""
    return max(_STRUCTURES[structure].kinds) + 1


def named(written: str) -> Structure | None:
    """The structure that a file names, in any case; None for a word that is no structure here."""
    word = written.strip().lower()
    word = _ALIASES.get(word, word)
    return Structure(word) if word in NAMES else None


def volume_per_atom(structure: Structure) -> float:
    """Of the lattice constant 1."""
    lattice, basis = cell(structure, 1.0)
    return abs(float(np.linalg.det(lattice))) / len(basis)
