"""Readers of potential files: what they read, and that a damaged file is named with its line."""

import numpy as np
import pytest

from fiberax.core.errors import BadInput
from fiberax.physics.solids.potentials.files import read_eam, read_sw, read_tersoff
from fiberax.physics.solids.potentials.parameters import tersoff_set

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
        (read_tersoff, SW, r"line 5: expected a number .*value 12 of 14 .*found 'Ge'"),
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
        (read_eam, SETFL + "1\n", "line 16: expected the end of the setfl file, found '1'"),
        (
            read_eam,
            "\n".join(SETFL_LINES[:-1]),
            "line 14: the file ends here, .* number .value 1 of 6 of r·φ of Bb-Bb",
        ),
        (read_eam, SETFL.replace("2.3", "2.5"), "line 5: expected a cutoff within the table, at most Nr dr = 2.4, found '2.5'"),
        (read_eam, SETFL.replace("5 0.5", "5.0 0.5"), r"line 5: expected an integer of at least 5 \(Nrho\), found '5.0'"),
        (read_eam, FUNCFL.replace("0.4 2.3", "-0.4 2.3"), r"line 3: expected a positive number \(dr\), found '-0.4'"),
        (read_eam, FUNCFL.replace("29 ", "290 "), "line 2: expected the atomic number of an element, found 290"),
        (read_eam, SW, "line 2: expected an integer of at least 1 .the atomic number in line 2 of a funcfl file., found '#'"),
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
