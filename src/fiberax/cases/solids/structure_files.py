"""Crystals from files of atoms: CIF, POSCAR, extended XYZ and whatever else ASE reads."""

import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fiberax.cases.base import CaseWarning
from fiberax.core.errors import BadInput, MissingExtra


class Atoms(NamedTuple):
    """Lattice vectors as rows (3, 3), basis in fractions of them (n, 3), and species."""

    lattice: np.ndarray
    basis: np.ndarray
    species: tuple[str, ...]


def read_atoms(path: Path) -> Atoms:
    """The crystal of a file. Warns of what it leaves out; raises `BadInput` for a file that holds no crystal."""
    try:
        from ase.io import read
    except ImportError as error:
        raise MissingExtra("--atoms needs ase: install `fiberax[atoms]`.") from error
    if not path.is_file():
        raise BadInput(f"--atoms {path}: there is no such file.")
    form = "vasp" if path.suffix.lower() == ".poscar" else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of ASE, on spellings of space groups and the like
            images: Any = read(path, index=":", format=form)
    except Exception as error:  # readers of formats raise whatever they meet
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"--atoms {path}: ASE cannot read it ({reason}). CIF, POSCAR and extended XYZ are read.") from error
    if not images:
        raise BadInput(f"--atoms {path}: the file holds no atoms.")
    if len(images) > 1:
        warnings.warn(f"--atoms {path}: {len(images)} structures; the last one is taken.", CaseWarning, stacklevel=2)
    atoms = images[-1]
    _check_periodic(path, atoms)
    _check_occupancy(path, atoms)
    if atoms.constraints:
        warnings.warn(f"--atoms {path}: atoms are held in the file; here all of them relax.", CaseWarning, stacklevel=2)
    return Atoms(atoms.cell.array.copy(), atoms.get_scaled_positions(wrap=False), tuple(atoms.get_chemical_symbols()))


def _check_periodic(path: Path, atoms: Any) -> None:
    if not len(atoms):
        raise BadInput(f"--atoms {path}: the file holds no atoms.")
    if atoms.cell.rank < 3:
        raise BadInput(
            f"--atoms {path}: the file has {atoms.cell.rank} lattice vectors, and a crystal has three. In extended XYZ they "
            'are in the second line, Lattice="ax ay az bx by bz cx cy cz".'
        )
    if not all(atoms.pbc):
        raise BadInput(
            f"--atoms {path}: the file says that the atoms do not repeat in all three directions (pbc = "
            f"{' '.join('T' if periodic else 'F' for periodic in atoms.pbc)}). A crystal does: correct the file."
        )


def _check_occupancy(path: Path, atoms: Any) -> None:
    """A site that several species share, or that is empty at times, is no atom."""
    for site, shares in atoms.info.get("occupancy", {}).items():
        if len(shares) > 1 or any(abs(share - 1.0) > 1e-6 for share in shares.values()):
            written = ", ".join(f"{name} {share:g}" for name, share in shares.items())
            raise BadInput(
                f"--atoms {path}: site {site} is occupied in parts ({written}). Make a cell whose sites are full or empty."
            )
