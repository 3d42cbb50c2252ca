"""What crystals are made of on the command line: records of tables, structures by name and from files, axes."""

import numpy as np
import pytest

from fiberax.cases.solids.atoms import Structure, density
from fiberax.cases.solids.crystal import CrystalCase
from fiberax.cases.solids.pull import Pull

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


def test_another_structure_begins_with_the_volume_of_the_record(alloy):
    crystal, lattice, _ = chosen(alloy, species="Fe", structure=Structure.FCC).found()
    assert lattice[0, 0] == pytest.approx(2.8665 * 2 ** (1 / 3), rel=1e-12)
    assert float(crystal.volume) == pytest.approx(2.8665**3 / 2, rel=1e-12)
