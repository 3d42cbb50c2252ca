"""What crystals are made of on the command line: records of tables, structures by name and from files, axes."""

import json
import sys

import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.cases.base import CaseWarning
from fiberax.cases.solids.atoms import density, factor, stiffness_unit
from fiberax.cases.solids.axes import orientation
from fiberax.cases.solids.crystal import CrystalCase
from fiberax.cases.solids.pull import Pull
from fiberax.cases.solids.structures import Structure, cell, species_of
from fiberax.core.errors import BadInput

POINTS = 200


def chosen(potential, **options):
    return CrystalCase(potential=potential, **options).choice


@pytest.fixture
def alloy(tmp_path):
    """A table of an fcc and a bcc element that differ in all that a record holds."""
    r = 0.025 * np.arange(POINTS)
    table = lambda values: "\n".join(f"{value:.17g}" for value in values)
    embedding = -np.sqrt(0.1 * np.arange(POINTS))
    density = np.exp(-r) * np.maximum(5.0 - r, 0.0) ** 4 / 625
    lines = ["a table", "of two", "elements", "2 Cu Fe", f"{POINTS} 0.1 {POINTS} 0.025 4.9"]
    for head in ("29 63.55 3.615 fcc", "26 55.85 2.8665 BCC"):
        lines += [head, table(embedding), table(density)]
    repulsion = r * 10.0 * np.exp(-2.0 * r) * np.maximum(4.9 - r, 0.0) ** 3 / 100
    file = tmp_path / "CuFe.eam.alloy"
    file.write_text("\n".join([*lines, *[table(repulsion)] * 3]) + "\n")
    return file


@pytest.mark.parametrize(
    ("element", "volume", "neighbours", "mass"), [("Cu", 3.615**3 / 4, 12, 63.55), ("Fe", 2.8665**3 / 2, 8, 55.85)]
)
def test_everything_of_an_element_comes_from_its_record(alloy, element, volume, neighbours, mass):
    for case in (CrystalCase, Pull):
        crystal = case(potential=alloy, species=element).choice.found().crystal
        assert crystal.species == (element,)
        assert float(crystal.volume) == pytest.approx(volume, rel=1e-12)
        places = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        length = np.linalg.norm(places @ np.asarray(crystal.lattice), axis=1)
        length = length[length > 0.0]
        assert np.sum(length < 1.001 * length.min()) == neighbours
        assert density(crystal) == pytest.approx(1.66053906660 * mass / volume, rel=1e-12)


def test_an_element_that_a_table_lacks_is_named(alloy):
    with pytest.raises(BadInput, match=r"CuFe\.eam\.alloy has no Ni, only Cu, Fe"):
        chosen(alloy, species="Ni").found()


def test_another_structure_begins_with_the_volume_of_the_record(alloy):
    crystal, lattice, _ = chosen(alloy, species="Fe", structure=Structure.FCC).found()
    assert lattice[0, 0] == pytest.approx(2.8665 * 2 ** (1 / 3), rel=1e-12)
    assert float(crystal.volume) == pytest.approx(2.8665**3 / 2, rel=1e-12)


# Of the lattice constant 1: atoms in the primitive cell, volume, and the number and distance of the nearest neighbours of the
# first and of the last species, which are all of the other species in compounds of two.
STRUCTURES = [
    (Structure.B1, ("Na", "Cl"), 1 / 4, 6, 0.5, 6),
    (Structure.B2, ("Na", "Cl"), 1.0, 8, 0.75**0.5, 8),
    (Structure.ZINCBLENDE, ("Si", "C"), 1 / 4, 4, 3**0.5 / 4, 4),
    (Structure.WURTZITE, ("Si", "Si", "C", "C"), 2**0.5, 4, 0.375**0.5, 4),
]


@pytest.mark.parametrize(("structure", "species", "volume", "first", "distance", "last"), STRUCTURES)
def test_compounds_have_their_neighbours(structure, species, volume, first, distance, last):
    lattice, basis = cell(structure, 1.0)
    assert species_of(structure, species[:: len(species) - 1]) == species
    assert abs(np.linalg.det(lattice)) == pytest.approx(volume)
    for centre, count in ((0, first), (len(basis) - 1, last)):
        length, of = neighbours(lattice, basis, centre)
        assert length.min() == pytest.approx(distance)
        near = of[length < 1.001 * distance]
        assert len(near) == count and all(species[k] != species[centre] for k in near)


def test_l12_has_its_first_species_on_the_faces():
    lattice, basis = cell(Structure.L12, 1.0)
    assert species_of(Structure.L12, ("Ni", "Al")) == ("Ni", "Ni", "Ni", "Al")
    length, of = neighbours(lattice, basis, 3)
    assert np.sum(length < 0.71) == 12 and set(of[length < 0.71]) == {0, 1, 2}
    length, of = neighbours(lattice, basis, 0)
    near = of[length < 0.71]
    assert len(near) == 12 and np.sum(near == 3) == 4


def neighbours(lattice, basis, centre):
    places = np.stack(np.meshgrid(*[np.arange(-2, 3)] * 3, indexing="ij"), axis=-1).reshape(-1, 1, 3)
    length = np.linalg.norm((places + basis - basis[centre]) @ lattice, axis=-1)
    of = np.broadcast_to(np.arange(len(basis)), length.shape)
    return length[length > 1e-9], of[length > 1e-9]


def test_two_species_are_asked_for_with_a_lattice_constant(alloy):
    with pytest.raises(BadInput, match="does not say where to begin: give --lattice-constant"):
        chosen(alloy, structure=Structure.B2, species="Cu,Fe").found()
    with pytest.raises(BadInput, match=r"--species Cu: the structure b2 takes 2"):
        chosen(alloy, structure=Structure.B2, species="Cu").found()
    with pytest.raises(
        BadInput, match=r"holds Cu, Fe, and the structure fcc takes 1: choose with --species, such as --species Cu"
    ):
        chosen(alloy).found()
    crystal, lattice, _ = chosen(alloy, structure=Structure.L12, species="Fe,Cu", lattice_constant=3.6).found()
    assert crystal.species == ("Fe", "Fe", "Fe", "Cu")
    np.testing.assert_allclose(lattice, 3.6 * np.eye(3))


POSCAR = """Si
5.431
0.0 0.5 0.5
0.5 0.0 0.5
0.5 0.5 0.0
Si
2
direct
0.0 0.0 0.0
0.25 0.25 0.25
"""
CIF = """data_Si
_cell_length_a 5.431
_cell_length_b 5.431
_cell_length_c 5.431
_cell_angle_alpha 90
_cell_angle_beta 90
_cell_angle_gamma 90
_space_group_name_H-M_alt 'F d -3 m'
_space_group_IT_number 227
loop_
_space_group_symop_operation_xyz
'x, y, z'
'x, y+1/2, z+1/2'
'x+1/2, y, z+1/2'
'x+1/2, y+1/2, z'
loop_
_atom_site_label
_atom_site_type_symbol
_atom_site_fract_x
_atom_site_fract_y
_atom_site_fract_z
_atom_site_occupancy
Si1 Si 0.0 0.0 0.0 1.0
Si2 Si 0.25 0.25 0.25 OCCUPANCY
"""
XYZ = """2
Lattice="0.0 2.7155 2.7155 2.7155 0.0 2.7155 2.7155 2.7155 0.0" Properties=species:S:1:pos:R:3 pbc="PBC"
Si 0.0 0.0 0.0
Si 1.35775 1.35775 1.35775
"""


@pytest.mark.parametrize(
    ("name", "text", "atoms"),
    [("POSCAR", POSCAR, 2), ("si.poscar", POSCAR, 2), ("si.cif", CIF.replace("OCCUPANCY", "1.0"), 8), ("si.extxyz", XYZ, 2)],
)
def test_files_of_atoms_give_the_crystal_of_the_name(tmp_path, name, text, atoms):
    pytest.importorskip("ase")
    file = tmp_path / name
    file.write_text(text.replace("PBC", "T T T"))
    read, lattice, structure = CrystalCase(atoms=file).choice.found()
    own = CrystalCase(material="si-sw").choice.found().crystal
    assert structure is None and read.species == ("Si",) * atoms
    np.testing.assert_allclose(lattice, read.lattice)
    assert float(read.volume) / atoms == pytest.approx(5.431**3 / 8)
    A = np.zeros((3, 3))
    energies = [float(crystal.energy(crystal.init(A, None), A)) for crystal in (read, own)]
    assert energies[0] == pytest.approx(energies[1], rel=1e-10)
    # The body of `pull` is made of it too.
    assert Pull(atoms=file).choice.found().crystal.species == read.species


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("si.cif", CIF.replace("OCCUPANCY", "0.5"), "occupied in parts (Si 0.5)"),
        ("si.extxyz", XYZ.replace("PBC", "T F T"), "do not repeat in all three directions (pbc = T F T)"),
        ("si.extxyz", XYZ.replace("PBC", "T T F"), "the lattice vectors of a layer lie in the x-y plane"),
        ("si.xyz", "1\n\nSi 0.0 0.0 0.0\n", "the file has 0 lattice vectors"),
        ("si.cif", "not a cif\n", "ASE cannot read it (it is cut short, or of another kind)"),
        ("u.extxyz", XYZ.replace("PBC", "T T T").replace("Si", "U"), "species 'U' is unknown to StillingerWeber"),
        ("POSCAR", POSCAR.replace("0.25 0.25 0.25", "0.25 nan 0.25"), "POSCAR: atom 2 is ["),
        ("POSCAR", POSCAR.replace("0.25 0.25 0.25", "0.0 1.0 0.0"), "POSCAR: Crystal: atoms 0 and 1 of the basis are at the"),
    ],
)
def test_files_that_hold_no_crystal_are_refused(tmp_path, capfd, name, text, words):
    pytest.importorskip("ase")
    file = tmp_path / name
    file.write_text(text)
    assert cli.main(["run", "crystal", "--atoms", str(file), "--out", str(tmp_path / "run")]) == 2
    said = capfd.readouterr().err
    assert words in said and "Traceback" not in said


SHEET = """a sheet whose atoms lie on both sides of the wall of its box
1.0
2.46 0.0 0.0
-1.23 2.1304224933 0.0
0.0 0.0 12.0
C
2
direct
0.0 0.0 0.99
0.6666666667 0.3333333333 0.01
"""


def test_layers_are_read_and_turned(tmp_path):
    """Areas, heights across the wall of the box, units, and a turn in the plane: W at R A Rᵀ of the turned layer is W at A."""
    pytest.importorskip("ase")
    file = tmp_path / "POSCAR"
    file.write_text(SHEET)
    options = {"material": "c-tersoff", "atoms": file, "layer": True}
    found = CrystalCase(**options).choice.found()
    layer = found.crystal
    assert isinstance(layer, fx.solids.Layer) and found.conventional.shape == (2, 2)
    area = 2.46 * 2.1304224933
    assert float(layer.volume) == pytest.approx(area, rel=1e-12)
    heights = np.asarray(layer.inner.basis)[:, 2] * layer.inner.lattice[2, 2]
    assert np.ptp(heights) == pytest.approx(0.24, rel=1e-9)
    assert factor(layer) == (pytest.approx(16.0217662, rel=1e-7), "N/m") and stiffness_unit(layer) == "eV/Å^4"
    thick = CrystalCase(**options, thickness=3.35).choice.found().crystal
    assert float(thick.volume) == pytest.approx(3.35 * area, rel=1e-12)
    assert factor(thick) == (pytest.approx(160.217662, rel=1e-7), "GPa") and stiffness_unit(thick) == "eV/Å^5"
    R = orientation("12", None, found.conventional).rotation
    A, shifts = np.array([[0.03, 0.01], [-0.02, 0.02]]), np.array([[0.05, -0.02, 0.1]])
    whole = np.eye(3)
    whole[:2, :2] = R
    ends = float(layer.energy(shifts, A)), float(layer.rotated(R).energy(shifts @ whole.T, R @ A @ R.T))
    assert ends[0] == pytest.approx(ends[1], rel=1e-12)


@pytest.mark.parametrize(
    ("case", "options", "words"),
    [
        ("crystal", ("--thickness", "3"), "--thickness = 3 is that of a layer, and"),
        ("crystal", (), "across c lies a gap of 11.76 Å, wider than the cutoff of the potential, 2.1 Å"),
        ("crystal", ("--layer", "--thickness", "-1"), "thickness"),
        ("wave", ("--layer",), "needs its --thickness"),
    ],
)
def test_layers_that_cannot_be_are_refused(tmp_path, capfd, case, options, words):
    pytest.importorskip("ase")
    file = tmp_path / "POSCAR"
    file.write_text(SHEET)
    run = ["run", case, "--material", "c-tersoff", "--atoms", str(file), *options, "--out", str(tmp_path / "run")]
    assert cli.main(run) == 2
    said = capfd.readouterr().err
    assert words in said and "Traceback" not in said


@pytest.mark.slow
def test_constants_of_graphene_from_its_file(tmp_path):
    """LAMMPS has the same constants (layers_lammps in validation/solids.py); Tersoff's graphene grows wider when pulled."""
    pytest.importorskip("ase")
    file, run = tmp_path / "POSCAR", tmp_path / "run"
    file.write_text(SHEET)
    given = ["--material", "c-tersoff", "--atoms", str(file), "--layer", "--rows", "3", "--high", "0.1"]
    assert cli.main(["run", "crystal", *given, "--out", str(run)]) == 0
    summary = json.loads((run / "summary.json").read_text())
    assert summary["unit of the elastic constants"] == "N/m" and summary["symmetry"] == "isotropic"
    assert summary["Poisson's ratio along x"]["y"] == pytest.approx(-0.158, abs=1e-3)
    assert summary["Young's modulus along x"] == pytest.approx(407.0, rel=5e-3)


def test_what_a_file_says_besides_is_said(tmp_path):
    pytest.importorskip("ase")
    file = tmp_path / "POSCAR"
    held = POSCAR.replace("direct\n", "Selective dynamics\ndirect\n").replace("0.0 0.0 0.0\n0.25", "0 0 0 F F F\n0.25")
    file.write_text(held.rstrip() + " T T T\n")
    with pytest.warns(CaseWarning, match="here all of them relax"):
        CrystalCase(atoms=file).choice.found()
    trajectory = tmp_path / "two.extxyz"
    trajectory.write_text(XYZ.replace("PBC", "T T T") + XYZ.replace("PBC", "T T T").replace("2.7155", "2.8"))
    with pytest.warns(CaseWarning, match="2 structures; the last one is taken"):
        assert CrystalCase(atoms=trajectory).choice.found().conventional[0, 1] == 2.8


def test_without_ase_the_extra_is_named(tmp_path, monkeypatch, capfd):
    monkeypatch.setitem(sys.modules, "ase.io", None)
    file = tmp_path / "POSCAR"
    file.write_text(POSCAR)
    assert cli.main(["run", "crystal", "--atoms", str(file), "--out", str(tmp_path / "run")]) == 2
    assert "--atoms needs ase: install `fiberax[atoms]`" in capfd.readouterr().err


CUBE = 3.6 * np.eye(3)
HEXAGONAL = np.array([[3.0, 0, 0], [-1.5, 3 * 0.75**0.5, 0], [0, 0, 5.0]])


@pytest.mark.parametrize(
    ("axis", "lateral", "lattice", "x", "y"),
    [
        ("100", None, CUBE, (1, 0, 0), (0, 1, 0)),
        ("110", None, CUBE, (1, 1, 0), (0, 0, 1)),
        ("[1-10]", "001", CUBE, (1, -1, 0), (0, 0, 1)),
        ("111", "1,-1,0", CUBE, (1, 1, 1), (1, -1, 0)),
        ("0.5, 0.25, 0", "001", CUBE, (2, 1, 0), (0, 0, 1)),
        ("-110", None, CUBE, (-1, 1, 0), (0, 0, 1)),
        ("0001", None, HEXAGONAL, (0, 0, 1), None),
        ("11-20", None, HEXAGONAL, (0.5, 0.75**0.5, 0), (0, 0, 1)),
        ("110", "001", HEXAGONAL, (0.5, 0.75**0.5, 0), (0, 0, 1)),
        ("10-10", "0001", HEXAGONAL, (0.75**0.5, 0.5, 0), (0, 0, 1)),
    ],
)
def test_directions_become_axes(axis, lateral, lattice, x, y):
    R = orientation(axis, lateral, lattice).rotation
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)
    np.testing.assert_allclose(R @ (np.array(x) / np.linalg.norm(x)), [1, 0, 0], atol=1e-12)
    if y is not None:
        np.testing.assert_allclose(R @ (np.array(y) / np.linalg.norm(y)), [0, 1, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("axis", "lateral", "lattice", "words"),
    [
        ("11", None, CUBE, "give the 3 indices"),
        ("000", None, CUBE, "not all zero"),
        ("x", None, CUBE, "such as 110 or 1,-1,0"),
        ("0001", None, CUBE, "four indices are for hexagonal lattices"),
        ("1120", None, HEXAGONAL, "the first three add up to zero"),
        ("110", "100", CUBE, "is at 45 degrees to --axis 110"),
        ("110", None, np.eye(2), "give the 2 indices"),
        ("11", "10", np.eye(2), "in the plane --axis decides all"),
    ],
)
def test_directions_that_are_none_are_refused(axis, lateral, lattice, words):
    with pytest.raises(BadInput, match=words):
        orientation(axis, lateral, lattice)
