"""The cases chain and wave: what they compute, against closed forms and the energy law; what they refuse."""

import json
from pathlib import Path

import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.cases.solids.atoms import Material
from fiberax.cases.solids.chain import Chain, Model
from fiberax.cases.solids.wave import Method, WaveCase
from fiberax.core.errors import BadInput
from fiberax.io.microstates import read_microstates
from fiberax.io.results import read_table


def run(folder, *arguments):
    """The results of a run of the command."""
    assert cli.main(["run", *arguments, "--plain", "--out", str(folder)]) == 0
    return read_table(folder)


def test_the_table_of_a_morse_chain_and_its_limit(tmp_path):
    table = run(tmp_path / "run", "chain", "--alpha", "4", "--high", "0.5", "--rows", "13", "--batch", "13")
    A = table.values
    limit = 2.0 * np.log(2.0) / 4.0  # V'' = 0 at r₀ + ln 2/α
    below = limit > A
    e = np.exp(-2.0 * A)  # e^{−α(r − r₀)} at r = (1 + A)/2
    np.testing.assert_allclose(table.arrays["W"][below], 2.0 * ((1.0 - e) ** 2 - 1.0)[below], rtol=1e-12)
    np.testing.assert_allclose(table.arrays["F"][below], (8.0 * e * (1.0 - e))[below], rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(table.arrays["C"][below], (16.0 * (2.0 * e**2 - e))[below], rtol=1e-7)
    np.testing.assert_allclose(table.arrays["internal"][below], 4.0 * table.arrays["C"][below], rtol=1e-7)
    assert np.all(table.arrays["C"][~below] < 0.0) and np.all(table.arrays["internal"][~below] > 0.0)
    (mark,) = json.loads((tmp_path / "run" / "summary.json").read_text())["marks"]
    assert mark == pytest.approx(limit, abs=1e-6)
    assert (tmp_path / "run" / "figures" / "path.png").stat().st_size > 10_000


def test_a_formula_for_the_bonds_and_for_the_electrons(tmp_path):
    springs = run(tmp_path / "a", "chain", "--formula", "3*(r - 0.5)**2", "--rows", "3", "--no-figures")
    np.testing.assert_allclose(springs.arrays["F"], 3.0 * springs.values, rtol=1e-9, atol=1e-12)
    gas = ["chain", "--model", "quantum", "--formula", "4*s**3", "--external", "0", "--points", "5", "--rows", "3"]
    table = run(tmp_path / "b", *gas, "--no-figures")
    np.testing.assert_allclose(table.arrays["W"], 4.0 / (1.0 + table.values) ** 2, rtol=1e-12)
    np.testing.assert_allclose(table.arrays["F"], -8.0 / (1.0 + table.values) ** 3, rtol=1e-11)


@pytest.fixture(scope="module", params=list(Method), ids=[m.value for m in Method])
def pulse(request, tmp_path_factory):
    """A pulse in a chain of springs, which is the linear wave equation where the fibers follow."""
    folder = tmp_path_factory.mktemp("wave") / "run"
    arguments = ["--formula", "8*(r - 0.5)**2", "--cells", "64", "--width", "0.08", "--records", "16"]
    arguments += ["--friction", "0.4"] if request.param is Method.SEAMLESS else []
    return request.param, folder, run(folder, "wave", *arguments, "--method", request.param.value)


def test_the_pulse_comes_round_and_the_energy_law_holds(pulse):
    method, folder, table = pulse
    strain, total = table.arrays["A"], table.arrays["total"]
    assert table.values[-1] == pytest.approx(1.0 / 8.0**0.5, rel=1e-9)  # c² = V''/2
    np.testing.assert_allclose(strain.mean(axis=1), strain[0].mean(), rtol=1e-11)
    np.testing.assert_allclose(table.arrays["kinetic"] + table.arrays["fibers"], total, rtol=1e-12)
    moving = np.ptp(table.arrays["kinetic"])
    if method is Method.QUASISTATIC:
        np.testing.assert_allclose(strain[-1], strain[0], atol=0.05 * strain[0].max())
        assert np.ptp(total) < 0.01 * moving
    else:
        assert strain[-1].max() < 0.8 * strain[0].max()
        assert np.all(np.diff(total) < 1e-3 * moving) and total[0] - total[-1] > 0.3 * moving
    for site in read_microstates(folder):
        (bonds,) = site.arrays.values()
        assert "strain A = " in site.caption
        strain_there = float(site.caption.split("strain A = ")[1])
        # Both bonds take their half of the strain that the caption names, where the fibers follow.
        assert bonds.mean() == pytest.approx(0.5 * (1.0 + strain_there), abs=5e-6)  # four digits
        assert method is Method.SEAMLESS or np.ptp(bonds) < 1e-9
    drawn = {path.name for path in (folder / "figures").glob("*.png")}
    assert {"A.png", "energy.png", "space-time.png", "response.png", "microstates.png"} <= drawn


@pytest.mark.slow
def test_electrons_carry_waves_with_an_inertia_of_their_own(tmp_path):
    """Without friction, with a mass: the energy that the fibers take, their kinetic energy included, is not lost."""
    arguments = ["--model", "quantum", "--points", "7", "--cells", "16", "--width", "0.15", "--records", "20", "--no-figures"]
    seamless = ["--method", "seamless", "--mass", "0.02", "--friction", "0"]
    table = run(tmp_path / "run", "wave", *arguments, *seamless)
    assert np.ptp(table.arrays["total"]) < 0.05 * np.ptp(table.arrays["kinetic"])
    before = table.arrays["F"][0]
    assert np.ptp(before) > 0.1 and not table.arrays["result"].any()


@pytest.mark.slow
def test_a_plane_wave_in_silicon_is_as_fast_as_sound(tmp_path):
    """c = √(C11/ϱ), 151.42 GPa (Balamane et al. 1992) and 8 · 28.085 u in 5.43095³ Å³; times in ps, lengths in nm."""
    arguments = ["--material", "si-sw", "--cells", "32", "--width", "0.1", "--peak", "0.001", "--records", "4", "--length", "2"]
    table = run(tmp_path / "run", "wave", *arguments)
    density = 8 * 28.085 * 1.66053906660 / 5.43095**3
    assert table.values[-1] == pytest.approx(2.0 / (151.42 / density) ** 0.5, rel=1e-3)
    strain, stress, total = (table.arrays[name] for name in ("A", "P", "total"))
    np.testing.assert_allclose(strain[-1], strain[0], atol=0.05 * strain[0].max())
    np.testing.assert_allclose(stress[0].max() / strain[0].max(), 151.42, rtol=5e-3)
    assert np.ptp(total) < 0.01 * np.ptp(table.arrays["kinetic"])
    # W in GPa over nm. The pulse at rest holds ½ C11 A², of which the two that run apart keep half.
    assert np.ptp(table.arrays["fibers"]) == pytest.approx(0.25 * 151.42 * (strain[0] ** 2).sum() * 2.0 / 32, rel=0.05)
    assert table.schema.axis.unit == "ps" and table.schema.units["x"] == "nm"
    assert all("strain A = " in site.caption for site in read_microstates(tmp_path / "run"))


def test_the_crystal_of_a_wave_and_its_sound_are_said(tmp_path, capsys):
    """Along [110] c = √((C11 + C12 + 2 C44)/2ϱ), with constants in GPa and ϱ from 4 · 63.546 u in the cube."""
    arguments = ["--material", "cu-suttonchen", "--axis", "110", "--cells", "8", "--records", "1", "--t1", "0.001"]
    run(tmp_path / "run", "wave", *arguments, "--no-figures")
    said = json.loads((tmp_path / "run" / "summary.json").read_text())
    a = said["cell"]["a"]
    density = 4 * 63.546 * 1.66053906660 / a**3
    fcc = a / 2 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    copper = fx.solids.potentials.SuttonChen.named("Cu", "2a")
    C = 160.21766208 * fx.solids.equilibrium(fx.solids.Crystal(fcc, [[0, 0, 0]], ["Cu"], copper)).voigt
    modulus = 0.5 * (C[0, 0] + C[0, 1] + 2 * C[3, 3])
    assert a == pytest.approx(3.61, rel=1e-3)
    assert said["density"] == {"value": pytest.approx(density, rel=1e-9), "unit": "g/cm^3"}
    assert said["modulus of a longitudinal plane wave"] == {"value": pytest.approx(modulus, rel=1e-6), "unit": "GPa"}
    speed = (modulus / density) ** 0.5
    assert said["speed of a longitudinal plane wave"] == {"value": pytest.approx(speed, rel=1e-6), "unit": "nm/ps"}
    words = capsys.readouterr().err
    assert f"cu-suttonchen at rest: fcc, lattice constant {a:.6g} Å, density {density:.6g} g/cm^3" in words
    assert f"x along [110], y along [001]: modulus {modulus:.5g} GPa, speed {speed:.5g} nm/ps" in words


@pytest.mark.slow
def test_a_file_carries_the_wave_of_the_named_potential(tmp_path):
    file = tmp_path / "mine.sw"
    file.write_text("Si Si Si 2.1683 2.0951 1.80 21.0 1.20 -0.333333333333333333 7.049556277 0.6022245584 4.0 0.0 0.0\n")
    read = WaveCase(potential=file, lattice_constant=5.43, cells=16, dt=0.001, t1=0.01).build()
    named = WaveCase(material=Material.SI_SW, cells=16, dt=0.001, t1=0.01).build()
    assert float(read.bundle.macro.density) == pytest.approx(float(named.bundle.macro.density), rel=1e-9)
    shifts = np.zeros((1, 3))
    assert float(read.bundle.fiber.energy(shifts, 0.02)) == pytest.approx(float(named.bundle.fiber.energy(shifts, 0.02)))


def test_misuse_is_named():
    with pytest.raises(BadInput, match=r"--formula r\*\*2 has no effect: it counts without --material only"):
        WaveCase(material=Material.CU, formula="r**2").build()
    with pytest.raises(BadInput, match=r"--potential r\*\*2: there is no such file"):
        WaveCase(potential=Path("r**2")).build()
    with pytest.raises(BadInput, match="--method seamless is for chains"):
        WaveCase(material=Material.LJ, method=Method.SEAMLESS).build()
    with pytest.raises(BadInput, match="--high = 0 is not above --low = 0"):
        Chain(low=0.0, high=0.0).build()
    with pytest.raises(BadInput, match=r"--formula 'r\*\*2 \+ q': 'q' is not known. Use r, pi"):
        Chain(formula="r**2 + q").build()
    with pytest.raises(BadInput, match=r"--external 'z': 'z' is not known\. Use y, pi"):
        Chain(model=Model.QUANTUM, external="z").build()
    with pytest.raises(BadInput, match=r"--strain = 0\.4: there the chain is not stable"):
        WaveCase(strain=0.4, cells=8).build()
    with pytest.raises(BadInput, match="mass and friction are both zero"):
        WaveCase(method=Method.SEAMLESS, friction=0.0, cells=8).build()
