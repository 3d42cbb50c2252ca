"""What the cases of solids share: crystals by a name, or from the file of a potential and a structure or a file of atoms."""

import enum
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fiberax.cases.base import Case
from fiberax.cases.options import ABSENT, GIVEN, option, when
from fiberax.cases.solids.axes import Orientation, orientation
from fiberax.cases.solids.structures import (
    NAMES,
    Structure,
    cell,
    conventional,
    count_species,
    named,
    species_of,
    volume_per_atom,
)
from fiberax.core.errors import BadInput

if TYPE_CHECKING:
    from fiberax.physics.solids.crystal.crystal import Crystal
    from fiberax.physics.solids.crystal.layer import Layer
    from fiberax.physics.solids.crystal.reference import Equilibrium

GPA = 160.21766208  # of one eV/Å³, CODATA 2014, as ASE and LAMMPS users know it
NEWTON_PER_METRE = 0.1 * GPA  # of one eV/Å²

DENSITY = 1.66053906660  # g/cm³ of one u/Å³, CODATA 2018
# Standard atomic weights (IUPAC 2021, abridged) of the elements of the named materials.
MASSES = {"C": 12.011, "Al": 26.982, "Si": 28.085, "Ni": 58.693, "Cu": 63.546, "Ge": 72.630, "Rh": 102.91, "Pd": 106.42}
MASSES |= {"Na": 22.990, "Ag": 107.87, "Ir": 192.22, "Pt": 195.08, "Au": 196.97, "Pb": 207.2}

LENGTH = "nm"  # of bodies
# Entry points of other packages: functions without arguments that return a `Known` crystal, by its name on the command line.
GROUP = "fiberax.potentials"


class Material(enum.StrEnum):
    """Crystals with published potentials, by name; other packages may add more."""

    SI_SW = "si-sw"
    GE_SW = "ge-sw"
    SI_TERSOFF = "si-tersoff"
    GE_TERSOFF = "ge-tersoff"
    C_TERSOFF = "c-tersoff"
    SIC_TERSOFF = "sic-tersoff"
    CU = "cu-suttonchen"
    NI = "ni-suttonchen"
    AL = "al-suttonchen"
    AG = "ag-suttonchen"
    AU = "au-suttonchen"
    PT = "pt-suttonchen"
    PD = "pd-suttonchen"
    RH = "rh-suttonchen"
    IR = "ir-suttonchen"
    PB = "pb-suttonchen"
    LJ = "lj"
    LJ_PLANE = "lj-triangular"


class Kind(enum.Enum):
    """Formats of the files of potentials."""

    EAM = "eam"
    SW = "sw"
    TERSOFF = "tersoff"


class Known(NamedTuple):
    """A crystal with a name: structure, lattice constant to begin with, species of its atoms, and potential."""

    structure: Structure
    lattice_constant: float
    species: tuple[str, ...]
    potential: Any


class Found(NamedTuple):
    """A crystal, not yet at rest: `conventional` (d, d) are the lattice vectors of Miller indices and lattice constants.

    `structure`: None for a file of atoms.
    """

    crystal: "Crystal | Layer"
    conventional: np.ndarray
    structure: Structure | None


class AtRest(NamedTuple):
    """A crystal at rest, `turned` so that x, y, z are those of the run; all else is in the frame of the crystal itself."""

    equilibrium: "Equilibrium"
    turned: "Crystal | Layer"
    conventional: np.ndarray
    structure: Structure | None
    orientation: Orientation | None


def materials() -> tuple[str, ...]:
    """The names that --material may be."""
    return tuple(dict.fromkeys([*(material.value for material in Material), *sorted(_points())]))


def _points() -> dict[str, Any]:
    """Entry points of other packages by name."""
    from importlib import metadata

    return {point.name: point for point in metadata.entry_points(group=GROUP)}


OF_FILE = when(potential=GIVEN)
OF_NAME = when(potential=GIVEN, atoms=ABSENT)


@dataclass(frozen=True)
class CrystalOptions(Case):
    """What a crystal is made of; for cases to build on."""

    material: str | None = option(
        Material.SI_SW,
        help="crystal with a published potential; --potential takes its place",
        choices=materials,
        applies=when(potential=ABSENT),
    )
    potential: Path | None = option(None, help="file of a potential (setfl, funcfl, LAMMPS .sw or .tersoff)")
    kind: Kind | None = option(None, help="format of that file; default by its name, .sw, .tersoff, else eam", applies=OF_FILE)
    atoms: Path | None = option(None, help="file of the atoms of one cell (CIF, POSCAR, extended XYZ, ...), read by ASE")
    layer: bool = option(
        False,
        help="those atoms are a layer in vacuum that repeats along the first two lattice vectors; extended XYZ says so by pbc",
        applies=when(atoms=GIVEN),
    )
    thickness: float | None = option(
        None,
        help="of that layer, for stresses in GPa; default none, stresses in N/m",
        unit="A",
        above=0,
        applies=when(atoms=GIVEN),
    )
    structure: Structure | None = option(
        None,
        help="structure of the crystal of that potential; default what the file says (b1: rock salt, b2: CsCl, l12: A3B)",
        applies=OF_NAME,
    )
    lattice_constant: float | None = option(None, help="where to begin with that potential", unit="A", above=0, applies=OF_NAME)
    species: str | None = option(
        None, help="element of that potential, or two with a comma between: Si,C of zincblende, Ni,Al of Ni3Al", applies=OF_NAME
    )
    axis: str | None = option(None, help="direction of the crystal that becomes x: 110, 1,-1,0, or 11-20 of hexagonal ones")
    lateral: str | None = option(
        None, help="direction of the crystal that becomes y; default the shortest across --axis", applies=when(axis=GIVEN)
    )

    @property
    def choice(self) -> "Choice":
        """These options."""
        material = Material.SI_SW if self.material is None else self.material
        named_by = (self.kind, self.structure, self.lattice_constant, self.species)
        return Choice(material, self.potential, *named_by, self.atoms, self.layer, self.thickness, self.axis, self.lateral)


@dataclass(frozen=True)
class Choice:
    """Options of the material of a body."""

    material: str
    potential: Path | None
    kind: Kind | None
    structure: Structure | None
    lattice_constant: float | None
    species: str | None
    atoms: Path | None = None
    layer: bool = False
    thickness: float | None = None
    axis: str | None = None
    lateral: str | None = None

    def found(self) -> Found:
        """The crystal, not yet at rest, in its own frame. Raises `BadInput` for options that describe none."""
        from fiberax.physics.solids.crystal.crystal import Crystal

        if self.atoms is not None:
            from fiberax.cases.solids.structure_files import read_crystal

            potential = _named(self.material).potential if self.potential is None else self._potential(self.potential)
            crystal = read_crystal(self.atoms, potential, self.layer, self.thickness)
            return Found(crystal, np.asarray(crystal.lattice), None)
        structure, constant, species, potential = (
            _named(self.material) if self.potential is None else self._from_file(self.potential)
        )
        lattice, basis = cell(structure, constant)
        return Found(Crystal(lattice, basis, species, potential), conventional(structure, constant), structure)

    def at_rest(self, found: Found) -> AtRest:
        """The crystal of `found` at rest, its cell relaxed in all lengths and angles. Raises `BadInput` or `NotConverged`."""
        import fiberax as fx

        plain, lattice, structure = found
        if self.axis is not None:  # hear of a wrong one before the long work
            orientation(self.axis, self.lateral, lattice)
        rest = fx.solids.equilibrium(plain, full=True)
        lattice = lattice @ np.asarray(rest.deformation).T
        if self.axis is None:
            return AtRest(rest, rest.crystal, lattice, structure, None)
        turn = orientation(self.axis, self.lateral, lattice)
        return AtRest(rest, rest.crystal.rotated(turn.rotation), lattice, structure, turn)

    @property
    def label(self) -> str:
        """What the body is made of, in words."""
        potential = str(self.material) if self.potential is None else self.potential.name
        return potential if self.atoms is None else f"{self.atoms.name} with {potential}"

    def _kind(self, path: Path) -> Kind:
        return self.kind or {".sw": Kind.SW, ".tersoff": Kind.TERSOFF}.get(path.suffix, Kind.EAM)

    @property
    def _wanted(self) -> tuple[str, ...] | None:
        return None if self.species is None else tuple(name.strip() for name in self.species.split(","))

    def _potential(self, path: Path) -> Any:
        from fiberax.physics.solids import potentials

        if not path.is_file():
            raise BadInput(f"--potential {path}: there is no such file.")
        kind = self._kind(path)
        if kind is Kind.EAM:
            return potentials.EAM(path)
        return potentials.StillingerWeber(path, self._wanted) if kind is Kind.SW else potentials.Tersoff(path)

    def _from_file(self, path: Path) -> Known:
        potential, wanted = self._potential(path), self._wanted
        known: tuple[str, ...] = potential.elements or ("X",)
        for name in wanted or ():
            if potential.elements is not None and name not in known:
                raise BadInput(f"--species {','.join(wanted or ())}: {path} has no {name}, only {', '.join(known)}.")
        constant, written = _record(potential, known[0] if wanted is None else wanted[0])
        structure = self.structure or self._structure_of(written, self._kind(path))
        count = count_species(structure)
        if wanted is None and len(known) != count:
            few = ",".join(known[:count]) if len(known) > count else "A,B"
            raise BadInput(
                f"{path} holds {', '.join(known)}, and the structure {structure.value} takes {count}: choose with --species, "
                f"such as --species {few}."
            )
        wanted = wanted or known
        if len(wanted) != count:
            raise BadInput(f"--species {','.join(wanted)}: the structure {structure.value} takes {count}.")
        constant = self.lattice_constant or self._constant_for(structure, constant, written)
        return Known(structure, constant, species_of(structure, wanted), potential)

    def _structure_of(self, written: str, kind: Kind) -> Structure:
        if kind is not Kind.EAM:
            return Structure.DIAMOND
        structure = named(written)
        if structure is None:
            said = f"names the structure {written!r}" if written else "names no structure"
            raise BadInput(f"{self.potential} {said}: say --structure ({', '.join(NAMES[:5])}, ...).")
        return structure

    def _constant_for(self, structure: Structure, constant: float, written: str) -> float:
        """Where to begin in `structure`, from a constant of the structure `written`: with the same volume per atom."""
        origin = named(written)
        if constant > 0.0 and origin is not None and count_species(structure) == 1:
            return constant * (volume_per_atom(origin) / volume_per_atom(structure)) ** (1 / 3)
        raise BadInput(f"{self.potential} does not say where to begin: give --lattice-constant, within 10 % or so.")


def _record(potential: Any, element: str) -> tuple[float, str]:
    """Lattice constant and structure of one element of a table; 0 and "" where the file does not say."""
    from fiberax.physics.solids.potentials.embedded import EAM

    if not isinstance(potential, EAM) or element not in potential.species:
        return 0.0, ""
    return potential.lattices[potential.species.index(element)]


def factor(crystal: "Crystal | Layer") -> tuple[float, str]:
    """By what a stress of the potential is multiplied for the results, and the unit that it then has."""
    powers = dimension(crystal)
    if crystal.potential.units == "metal":
        return (GPA, "GPa") if powers == 3 else (NEWTON_PER_METRE, "N/m")
    return 1.0, f"eps/sigma^{powers}"


def dimension(crystal: "Crystal | Layer") -> int:
    """Powers of the length in its volume: 3, or 2 of a plane crystal and of a layer without a thickness."""
    from fiberax.physics.solids.crystal.layer import Layer

    return 3 if isinstance(crystal, Layer) and crystal.thickness is not None else crystal.lattice.shape[0]


def density(crystal: "Crystal | Layer") -> float:
    """Mass of the atoms per reference volume, in g/cm³; of a potential in reduced units with atoms of mass 1.

    Raises `BadInput` where the mass of an element is not known.
    """
    from fiberax.physics.solids.potentials.embedded import EAM

    if crystal.potential.units != "metal":
        return len(crystal.species) / float(crystal.volume)
    known, potential = dict(MASSES), crystal.potential
    if isinstance(potential, EAM):
        known |= dict(zip(potential.elements or (), potential.masses, strict=True))
    for name in crystal.species:
        if name not in known:
            raise BadInput(f"The mass of {name} is not known here: give the density of the crystal, --density in g/cm^3.")
    return DENSITY * sum(known[name] for name in crystal.species) / float(crystal.volume)


def stiffness_unit(crystal: "Crystal | Layer") -> str:
    """The unit of W_pp, second derivatives of an energy per volume by lengths."""
    if crystal.potential.units == "metal":
        return f"eV/Å^{dimension(crystal) + 2}"
    return f"eps/sigma^{dimension(crystal) + 2}"


def _named(name: str) -> Known:
    """The crystal of a name. Raises `BadInput` where another package fails to give it."""
    if name not in (material.value for material in Material):
        return _brought(name)
    from fiberax.physics.solids import potentials
    from fiberax.physics.solids.potentials.parameters import SUTTON_CHEN

    element = name.split("-")[0].capitalize()
    if name.endswith("-suttonchen"):
        return Known(Structure.FCC, SUTTON_CHEN[element][1], (element,), potentials.SuttonChen.named(element, "2a"))
    if name.endswith("-sw"):
        constant = {"Si": 5.431, "Ge": 5.65}[element]
        return Known(Structure.DIAMOND, constant, (element, element), potentials.StillingerWeber(element))
    if name == "sic-tersoff":
        return Known(Structure.ZINCBLENDE, 4.32, ("Si", "C"), potentials.Tersoff("SiC"))
    if name.endswith("-tersoff"):
        of, constant = {"Si": ("Si(D)", 5.432), "Ge": ("Ge", 5.66), "C": ("C", 3.566)}[element]
        return Known(Structure.DIAMOND, constant, (element, element), potentials.Tersoff(of))
    potential = potentials.LennardJones(cutoff=2.5, scheme="smooth")
    if name == Material.LJ_PLANE:
        return Known(Structure.TRIANGULAR, 2 ** (1 / 6), ("X",), potential)
    return Known(Structure.FCC, 1.56, ("X",), potential)


def _brought(name: str) -> Known:
    """The crystal of another package under a name. Raises `BadInput`."""
    point = _points().get(name)
    if point is None:
        raise BadInput(f"--material {name}: there are {', '.join(materials())}.")
    try:
        known = Known(*point.load()())
        structure = Structure(known.structure)
        basis = len(cell(structure, known.lattice_constant)[1])
        # One element may be given as a text, or once for all atoms of the cell.
        species = (known.species,) if isinstance(known.species, str) else tuple(known.species)
        species = species * basis if len(species) == 1 else species
        if len(species) != basis or not all(isinstance(name, str) for name in species):
            raise BadInput(f"its species {known.species!r} are not one element, or one for each of {basis} atoms of a cell")
        return known._replace(structure=structure, species=species)
    except Exception as error:
        raise BadInput(f"--material {name}: {point.value} gives no crystal: {type(error).__name__}: {error}") from error
