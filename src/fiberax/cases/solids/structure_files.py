"""Crystals and layers from files of atoms: CIF, POSCAR, extended XYZ and whatever else ASE reads."""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fiberax.cases.base import CaseWarning
from fiberax.core.errors import BadInput, MissingExtra

if TYPE_CHECKING:
    from fiberax.physics.solids.crystal.crystal import Crystal
    from fiberax.physics.solids.crystal.layer import Layer


def read_crystal(path: Path, potential: Any, layer: bool = False, thickness: float | None = None) -> "Crystal | Layer":
    """The crystal of a file, or the layer in vacuum: where the file says so by its periodicity, or `layer`.

    Warns of what it leaves out; raises `BadInput` for a file that holds no crystal.
    """
    from fiberax.physics.solids.calculators.atoms import from_ase
    from fiberax.physics.solids.calculators.calculator import CalculatorCrystal

    atoms = _read(path)
    _check_numbers(path, atoms)
    if layer:
        _lay(path, atoms)
    _check_periodic(path, atoms)
    _check_occupancy(path, atoms)
    if atoms.constraints:
        warnings.warn(f"--atoms {path}: atoms are held in the file; here all of them relax.", CaseWarning, stacklevel=2)
        atoms.set_constraint()
    if thickness is not None and all(atoms.pbc):
        raise BadInput(f"--thickness = {thickness:g} is that of a layer, and {path} holds a crystal. Add --layer if it is one.")
    if all(atoms.pbc):
        _check_gaps(path, atoms, potential.cutoff)
    try:
        found = from_ase(atoms, potential, thickness=thickness)
    except BadInput as error:
        raise BadInput(f"--atoms {path}: {error}") from error
    assert not isinstance(found, CalculatorCrystal)
    return found


def _read(path: Path) -> Any:
    """ASE's Atoms of a file, the last of them."""
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
        told = isinstance(error, OSError | ValueError) and str(error)  # others speak of the insides of the reader
        reason = " ".join(told.split()) if told else "it is cut short, or of another kind"
        raise BadInput(f"--atoms {path}: ASE cannot read it ({reason}). CIF, POSCAR and extended XYZ are read.") from error
    if not images:
        raise BadInput(f"--atoms {path}: the file holds no atoms.")
    if len(images) > 1:
        warnings.warn(f"--atoms {path}: {len(images)} structures; the last one is taken.", CaseWarning, stacklevel=2)
    atoms = images[-1]
    if not len(atoms):
        raise BadInput(f"--atoms {path}: the file holds no atoms.")
    return atoms


def _check_numbers(path: Path, atoms: Any) -> None:
    """Raise `BadInput` for lattice vectors or places of atoms that are not finite."""
    for what, rows in (("lattice vector", atoms.cell.array), ("atom", atoms.positions)):
        lost = np.flatnonzero(~np.all(np.isfinite(rows), axis=1))
        if lost.size:
            found = rows[lost[0]].tolist()
            raise BadInput(f"--atoms {path}: {what} {lost[0] + 1} is {found}, which is not finite. Correct the file.")


def _check_gaps(path: Path, atoms: Any, cutoff: float | None) -> None:
    """Raise `BadInput` where no bond crosses the cell along a lattice vector: nothing has a stiffness there."""
    if cutoff is None:
        return
    heights = 1.0 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    for name, places, height in zip("abc", atoms.get_scaled_positions(wrap=True).T, heights, strict=True):
        places = np.sort(places)
        gap = height * np.max(np.diff(np.append(places, places[0] + 1.0)))
        if gap >= cutoff:
            remedy = "If it is a layer in vacuum, add --layer." if name == "c" else "Take a smaller cell."
            raise BadInput(
                f"--atoms {path}: across {name} lies a gap of {gap:.4g} Å, wider than the cutoff of the potential, "
                f"{cutoff:.4g} Å, so that no bond holds the atoms on its sides together and there is no stiffness. {remedy}"
            )


def _lay(path: Path, atoms: Any) -> None:
    """Make the atoms a layer across z. Files wrap atoms into their box, which may cut the layer in two: it is put together."""
    lattice = atoms.cell.array
    size = np.abs(lattice).max()
    if atoms.cell.rank == 3 and max(np.abs(lattice[2, :2]).max(), np.abs(lattice[:2, 2]).max()) > 1e-6 * size:
        raise BadInput(
            f"--layer: the third lattice vector of {path} must lie along z, and the others across; they are {lattice.tolist()}."
        )
    if atoms.cell.rank == 3:
        scaled = atoms.get_scaled_positions()
        heights = np.sort(scaled[:, 2])
        gaps = np.diff(heights, append=heights[0] + 1.0)
        # The vacuum is the widest gap between heights; what lies above it belongs below.
        below = heights[(int(np.argmax(gaps)) + 1) % len(heights)]
        scaled[:, 2] = (scaled[:, 2] - below + 1e-9) % 1.0
        atoms.set_scaled_positions(scaled)
    atoms.pbc = (True, True, False)


def _check_periodic(path: Path, atoms: Any) -> None:
    if atoms.pbc.tolist() == [True, True, False] and atoms.cell.rank >= 2:
        return
    if atoms.cell.rank < 3:
        raise BadInput(
            f"--atoms {path}: the file has {atoms.cell.rank} lattice vectors, and a crystal has three. In extended XYZ they "
            'are in the second line, Lattice="ax ay az bx by bz cx cy cz".'
        )
    if not all(atoms.pbc):
        raise BadInput(
            f"--atoms {path}: the file says that the atoms do not repeat in all three directions (pbc = "
            f"{' '.join('T' if periodic else 'F' for periodic in atoms.pbc)}). A crystal does, and a layer in the first two: "
            "correct the file."
        )


def _check_occupancy(path: Path, atoms: Any) -> None:
    """A site that several species share, or that is empty at times, is no atom."""
    for site, shares in atoms.info.get("occupancy", {}).items():
        if len(shares) > 1 or any(abs(share - 1.0) > 1e-6 for share in shares.values()):
            written = ", ".join(f"{name} {share:g}" for name, share in shares.items())
            raise BadInput(
                f"--atoms {path}: site {site} is occupied in parts ({written}). Make a cell whose sites are full or empty."
            )
