"""Cases and potentials of other packages: found by their entry points, with options, units and figures like our own."""

import importlib
import sys

import pytest

from fiberax import cli
from fiberax.cases import all_cases, find_case
from fiberax.cases.find import own_cases
from fiberax.core.errors import BadInput
from fiberax.io.results import read_table

COOLING = '''
"""A case of another package."""

from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np

import fiberax as fx
from fiberax.cases import Case, Figure, Names, Quantity, Table, option, when

POWER = Quantity("q", "W/m^2", "heat flux")


@dataclass(frozen=True)
class Cooling(Case):
    """Heat flux of a plate in a draught."""

    top: float = option(2.0, help="highest temperature difference", unit="K", above=0)
    draught: bool = option(False, help="blow on it")
    speed: float = option(1.0, help="of the draught", unit="m/s", applies=when(draught=True))

    def build(self):
        """The rows."""
        link = lambda u, U: (1 + self.draught) * u
        fiber = fx.FlowFiber(rate=lambda u, U: U - u, init=lambda U: jnp.zeros_like(U), link=link)
        axis = Quantity("difference", "K", "temperature difference")
        values = np.linspace(0.0, self.top, 3)
        return Table(fiber, values, names=Names({"response": POWER}, axis=axis), further=lambda u, U: {"exact.U": U})

    def figures(self, results):
        """The default, one of its own, one that fails, and one that comes after."""
        return [
            *super().figures(results),
            Figure("flux", lambda plt: draw(plt, results)),
            Figure("broken", lambda plt: 1 / 0),
            Figure("last", lambda plt: draw(plt, results)),
        ]


def draw(plt, results):
    figure, panel = plt.subplots()
    panel.plot(results.values, results("response"))
    panel.set(xlabel=results.words(), ylabel=results.words("response"))
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("temperature difference [K]", "heat flux [W/m²]")
    return figure
'''
POTENTIAL = """
from fiberax.physics.solids.potentials import LennardJones


def argon():
    return "fcc", 1.56, ("X",), LennardJones(cutoff=2.5, scheme="smooth")


def text():
    return "fcc", 1.56, "Ar", LennardJones(cutoff=2.5, scheme="smooth")


def once():
    return "diamond", 1.56, ["Ar"], LennardJones(cutoff=2.5, scheme="smooth")


def three():
    return "diamond", 1.56, ("Ar", "Ne", "Kr"), LennardJones(cutoff=2.5, scheme="smooth")


def nothing():
    return 7
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    """An installed package with a case and a potential, as pip leaves it behind."""
    site = tmp_path / "site"
    (site / "glacier").mkdir(parents=True)
    (site / "glacier" / "__init__.py").write_text("")
    (site / "glacier" / "cooling.py").write_text(COOLING)
    (site / "glacier" / "potential.py").write_text(POTENTIAL)
    info = site / "glacier-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: glacier\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fiberax.cases]\ncooling = glacier.cooling:Cooling\nchannel = glacier.cooling:Cooling\nlost = glacier.lost:Lost\n"
        "odd = glacier.cooling:draw\nwhole = glacier.cooling\n\n"
        "[fiberax.potentials]\nargon = glacier.potential:argon\nnothing = glacier.potential:nothing\n"
        + "".join(f"{name} = glacier.potential:{name}\n" for name in ("text", "once", "three"))
    )
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    yield site
    for name in [name for name in sys.modules if name.split(".")[0] == "glacier"]:
        del sys.modules[name]


def test_the_cases_of_the_folder_are_all_there():
    assert set(own_cases()) == {
        "cavity", "chain", "channel", "crystal", "diffusion", "electron-wave", "electrons", "homogenize", "kolmogorov",
        "liquid-cavity", "liquid-channel", "pull", "rheometer", "spins", "steady", "wave",
    }  # fmt: skip
    for name, entry in own_cases().items():
        assert find_case(name).__name__ == entry.attribute and 20 < len(entry.line) < 110


def test_a_package_brings_a_case_with_options_units_and_figures(package, tmp_path, capsys):
    entry = all_cases()["cooling"]
    assert entry.line == "Heat flux of a plate in a draught" and entry.package == "glacier" and "glacier" not in sys.modules
    assert all_cases()["channel"].package == "fiberax"  # a name of the library's stays its own
    assert cli.main(["list"]) == 0
    assert "cooling         Heat flux of a plate in a draught (glacier)" in capsys.readouterr().out
    assert cli.main(["run", "cooling", "--help"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "highest temperature difference (K) [default: 2.0]" in said and "--speed" in said
    folder = tmp_path / "run"
    assert cli.main(["run", "cooling", "--draught", "--plain", "--out", str(folder)]) == 0
    assert "The figure broken.png failed: ZeroDivisionError" in capsys.readouterr().err
    assert {path.name for path in (folder / "figures").glob("*.png")} == {"response.png", "flux.png", "last.png"}
    table = read_table(folder)
    assert table.arrays["q"].tolist() == [0.0, 2.0, 4.0] and table.schema.axis.unit == "K"
    for path in (folder / "figures").iterdir():
        path.unlink()
    assert cli.main(["plot", str(folder)]) == 2  # for the broken one
    said = capsys.readouterr()
    assert "flux.png" in said.out and "broken.png failed" in said.err and (folder / "figures" / "last.png").exists()


def test_a_case_that_is_gone_leaves_the_figures_of_any_results(package, tmp_path, capsys):
    folder = tmp_path / "run"
    assert cli.main(["run", "cooling", "--no-figures", "--quiet", "--out", str(folder)]) == 0
    (package / "glacier-1.0.dist-info" / "entry_points.txt").write_text("")
    importlib.invalidate_caches()
    assert cli.main(["plot", str(folder)]) == 2
    said = capsys.readouterr().err
    assert "the default figures are drawn: There is no case 'cooling'" in said
    assert [path.name for path in (folder / "figures").glob("*.png")] == ["response.png"]


def test_what_a_package_cannot_give_is_one_message(package, capsys):
    with pytest.raises(BadInput, match=r"The case 'lost' of glacier: .*No module named 'glacier.lost'"):
        find_case("lost")
    with pytest.raises(BadInput, match=r"glacier\.cooling:draw is no class derived from Case"):
        find_case("odd")
    with pytest.raises(BadInput, match=r"The case 'whole' of glacier: .*module glacier\.cooling alone"):
        find_case("whole")
    assert cli.main(["run", "cooling", "--speed", "1"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "--speed 1.0 has no effect: it counts with --draught only. Leave --speed out, or give --draught." in said
    assert cli.main(["run", "colling"]) == 2
    assert "did you mean cooling or chain?" in capsys.readouterr().err


def test_a_package_brings_a_potential_by_name(package, capsys):
    from fiberax.cases.solids.atoms import Choice, Material
    from fiberax.cases.solids.crystal import CrystalCase

    named, lattice, _ = CrystalCase(material="argon").choice.found()
    own = CrystalCase(material=Material.LJ).choice.found().crystal
    assert lattice[0, 0] == 1.56 and float(named.energy(named.init(None, None), 0 * named.lattice)) == float(
        own.energy(own.init(None, None), 0 * own.lattice)
    )
    assert cli.main(["run", "pull", "--material", "neon"]) == 2
    assert "'argon'" in capsys.readouterr().err
    with pytest.raises(BadInput, match=r"--material = neon: there are si-sw, .*, argon, nothing"):
        CrystalCase(material="neon")
    with pytest.raises(BadInput, match=r"--material nothing: glacier\.potential:nothing gives no crystal"):
        Choice("nothing", None, None, None, None, None).found()


def test_species_of_a_potential_are_one_element_or_one_for_each_atom(package):
    from fiberax.cases.solids.atoms import Choice

    species = lambda name: tuple(Choice(name, None, None, None, None, None).found().crystal.species)
    assert species("text") == ("Ar",)
    assert species("once") == ("Ar", "Ar")
    with pytest.raises(BadInput, match=r"--material three: glacier\.potential:three gives no crystal.*'Kr'.* each of 2 atoms"):
        species("three")
