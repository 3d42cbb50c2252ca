"""The case crystal: what it says of crystals at rest, and paths of stress; against closed forms, balances and itself turned."""

import csv
import json

import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.cases.solids.atoms import Choice, Found
from fiberax.cases.solids.crystal import CrystalCase
from fiberax.cases.solids.paths import Course, peaks
from fiberax.cases.solids.report import at_rest_of
from fiberax.cases.solids.structures import Structure, cell, conventional
from fiberax.core.errors import BadInput
from fiberax.io.results import read_table


def computed(tmp_path_factory, *arguments):
    folder = tmp_path_factory.mktemp("crystal") / "run"
    assert cli.main(["run", "crystal", "--material", "lj", *arguments, "--plain", "--out", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def bar(tmp_path_factory):
    """A bar of Lennard-Jones along [110], beyond the peak of its stress."""
    stretch = ["--path", "uniaxial-stress", "--low", "-0.03", "--high", "0.12", "--rows", "16"]
    return computed(tmp_path_factory, "--axis", "110", *stretch)


@pytest.fixture(scope="module")
def pressed(tmp_path_factory):
    return computed(tmp_path_factory, "--path", "pressure", "--low", "-3", "--high", "25", "--rows", "15")


def test_a_bar_with_free_sides(bar):
    table = read_table(bar)
    P, sigma, A = (table.arrays[name] for name in ("P", "sigma", "A"))
    np.testing.assert_allclose(P[:, 1:], 0.0, atol=1e-9)
    np.testing.assert_allclose(A[:, 0, 0], table.values, atol=1e-15)
    # Only the axial force does work.
    W, h = table.arrays["W"], table.values[1] - table.values[0]
    slope = (W[:-4] - 8 * W[1:-3] + 8 * W[3:-1] - W[4:]) / (12 * h)
    np.testing.assert_allclose(P[2:-2, 0, 0], slope, atol=2e-3 * np.abs(P).max())
    section = (1 + A[:, 1, 1]) * (1 + A[:, 2, 2])
    np.testing.assert_allclose(sigma[:, 0, 0], P[:, 0, 0] / section, rtol=1e-9)
    assert (bar / "figures" / "path.png").stat().st_size > 10_000


def test_the_table_has_units_and_no_noise(bar):
    rows = list(csv.reader((bar / "table.csv").read_text().splitlines()))
    head, values = rows[0], np.array(rows[1:], float)
    assert head[0] == "strain" and "A_xx" in head and "W [eps/sigma^3]" in head and "acoustic [eps/sigma^3]" in head
    rest = values[np.argmin(np.abs(values[:, 0]))]
    assert rest[0] == 0.0
    for name in ("P_xx", "P_yy", "sigma_xx", "sigma_yz"):
        assert rest[head.index(f"{name} [eps/sigma^3]")] == 0.0
    assert rest[head.index("W [eps/sigma^3]")] == 0.0 and rest[head.index("A_yy")] == 0.0
    whole = values[:, head.index("P_xx [eps/sigma^3]")]
    np.testing.assert_array_equal(whole[whole != 0.0], read_table(bar).arrays["P"][whole != 0.0, 0, 0])


def test_what_is_said_of_a_bar(bar):
    said = json.loads((bar / "summary.json").read_text())
    table = read_table(bar)
    strain, stress = table.values, table.arrays["P"][:, 0, 0]
    peak = next(one for one in said["peaks"] if one["stress"] == "P_xx" and one["at"] > 0)
    k = int(np.argmax(stress))
    assert 0 < k < len(strain) - 1 and abs(peak["at"] - strain[k]) <= strain[1] - strain[0]
    assert stress[k] <= peak["value"] < 1.01 * stress[k]
    C = said["independent constants"]
    assert said["symmetry"] == "cubic" and list(C) == ["C11", "C12", "C44"]
    S11 = (C["C11"] + C["C12"]) / ((C["C11"] - C["C12"]) * (C["C11"] + 2 * C["C12"]))
    half = 1 / (C["C11"] - C["C12"]) - 0.5 / C["C44"]
    assert said["Young's modulus along x"] == pytest.approx(1 / (S11 - half / 2))
    # The bar itself, at small strain.
    h = strain[1] - strain[0]
    k = int(np.argmin(np.abs(strain)))
    slope = (stress[k - 2] - 8 * stress[k - 1] + 8 * stress[k + 1] - stress[k + 2]) / (12 * h)
    assert said["Young's modulus along x"] == pytest.approx(slope, rel=5e-3)
    A = table.arrays["A"]
    for name, j in (("y", 1), ("z", 2)):
        thinner = (A[k - 2, j, j] - 8 * A[k - 1, j, j] + 8 * A[k + 1, j, j] - A[k + 2, j, j]) / (12 * h)
        assert said["Poisson's ratio along x"][name] == pytest.approx(-thinner, rel=5e-3)
    assert (
        said["stable at rest"]
        and said["cell"]["a"] == pytest.approx(said["cell"]["c"], rel=1e-13)
        and said["cell"]["alpha"] == pytest.approx(90)
    )
    np.testing.assert_allclose(said["x, y, z along these directions of the crystal"][0], [0.5**0.5, 0.5**0.5, 0], atol=1e-12)


def test_pressure_is_the_slope_of_the_energy_by_the_volume(pressed):
    table = read_table(pressed)
    volume = np.linalg.det(np.eye(3) + table.arrays["A"])
    assert np.all(np.diff(volume) < 0)
    np.testing.assert_allclose(table.arrays["sigma"], -table.values[:, None, None] * np.eye(3), atol=1e-8)
    fit = np.polynomial.Polynomial.fit(volume, table.arrays["W"], 8)
    np.testing.assert_allclose(-fit.deriv()(volume)[2:-2], table.values[2:-2], atol=0.02)
    head = (pressed / "table.csv").read_text().split(",")[0]
    assert head == "pressure [eps/sigma^3]"


def test_a_path_ends_where_no_state_is_left(capsys):
    problem = CrystalCase(material="lj", path=Course.PRESSURE, low=-60.0, high=0.0, rows=7).build()
    assert len(problem.values) < 7 and problem.values[-1] == 0.0
    with pytest.raises(BadInput, match=r"at least 0\.4 must be left"):
        CrystalCase(material="lj", path=Course.UNIAXIAL_STRESS, low=-0.8).build()
    with pytest.raises(BadInput, match="a plane crystal has no free faces"):
        CrystalCase(material="lj-triangular", path=Course.BIAXIAL_STRESS).build()


def test_peaks_are_those_of_parabolas():
    s = np.linspace(-0.4, 0.8, 13)
    (rise,) = peaks(s, 3.0 * s * (1.0 - s))
    assert rise == pytest.approx((0.5, 0.75))
    both = peaks(s, np.where(s < 0, 4.0 * s * (0.5 + s), s))
    assert both == [pytest.approx((-0.25, -0.25))]
    assert peaks(s, s) == [] and peaks(s, np.full(13, np.nan)) == []


def at_rest(structure, a, species, potential, basis=None):
    lattice, places = cell(structure, a)
    crystal = fx.solids.Crystal(lattice, places if basis is None else basis, species, potential)
    choice = Choice("si-sw", None, None, None, None, None)
    return choice.at_rest(Found(crystal, conventional(structure, a), structure))


def test_a_hexagonal_crystal_is_said_whole():
    rest = at_rest(Structure.HCP, 1.1, ["X", "X"], fx.solids.potentials.LennardJones(cutoff=2.5, scheme="smooth"))
    content, lines = at_rest_of(rest, "lj", 1.0, "eps/sigma^3")
    assert content["symmetry"] == "hexagonal" and list(content["independent constants"]) == ["C11", "C12", "C13", "C33", "C44"]
    sizes = content["cell"]
    assert (
        sizes["a"] == pytest.approx(sizes["b"]) and sizes["gamma"] == pytest.approx(120) and sizes["alpha"] == pytest.approx(90)
    )
    # The ratio is not the ideal one, and the stress vanishes along c and across it.
    assert 1e-6 < abs(sizes["c"] / sizes["a"] - (8 / 3) ** 0.5) < 1e-2
    assert np.abs(rest.equilibrium.stress).max() < 1e-9
    text = "\n".join(lines)
    for words in ("hcp, a = ", "c/a = 1.63", "C33 = ", "C13 = ", "bulk modulus: Voigt ", "pulled along x: Young's modulus"):
        assert words in text
    assert "stable at rest (Born)" in text


@pytest.mark.slow
def test_wurtzite_relaxes_its_internal_parameter():
    """Silicon of Stillinger and Weber: no neighbour but the four is within the cutoff, so all bonds are those of diamond."""
    basis = [[0, 0, 0], [1 / 3, 2 / 3, 0.5], [0, 0, 0.36], [1 / 3, 2 / 3, 0.86]]
    rest = at_rest(Structure.WURTZITE, 3.8, ["Si"] * 4, fx.solids.potentials.StillingerWeber("Si"), basis)
    content, lines = at_rest_of(rest, "si", 160.21766208, "GPa")
    assert content["cell"]["a"] == pytest.approx(5.43095 / 2**0.5, rel=1e-5)
    assert content["cell"]["c"] / content["cell"]["a"] == pytest.approx((8 / 3) ** 0.5, rel=1e-8)
    assert content["cell"]["u"] == pytest.approx(0.375, abs=1e-8)
    assert content["energy per atom"] == pytest.approx(-4.3366, abs=1e-4)
    assert "c/a = 1.63299, u = 0.375" in lines[0] and content["symmetry"] == "hexagonal"


def test_a_turned_crystal_enters_bodies_and_waves():
    """The speed of a longitudinal wave along [110] of a cubic crystal is √((C11 + C12 + 2 C44)/2ϱ)."""
    from fiberax.cases.solids.pull import Pull
    from fiberax.cases.solids.wave import WaveCase

    rest = CrystalCase(material="lj").choice
    C = rest.at_rest(rest.found()).equilibrium.constants.independent
    along = fx.response(WaveCase(material="lj", axis="110").build().bundle.fiber, 0.0, tangent=True).tangent
    assert float(along) == pytest.approx((C["C11"] + C["C12"] + 2 * C["C44"]) / 2, rel=1e-6)
    fiber = Pull(material="lj", axis="110", lateral="001", cells=1).build().bundle.fiber
    moduli = fx.response(fiber, np.zeros((3, 3)), tangent=True).tangent
    assert float(moduli[0, 0, 0, 0]) == pytest.approx(float(along), rel=1e-9)
    assert float(moduli[1, 1, 1, 1]) == pytest.approx(C["C11"], rel=1e-6)
