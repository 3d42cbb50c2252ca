"""Elastic constants: classes of symmetry, averages and directional moduli against closed forms."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.physics.solids.crystal.symmetry import turned

TURNED = Rotation.from_euler("xyz", [0.3, -1.1, 2.0]).as_matrix()


def matrix(**given):
    """The symmetric matrix of C11=... and so on."""
    C = np.zeros((6, 6))
    for name, value in given.items():
        i, j = int(name[1]) - 1, int(name[2]) - 1
        C[i, j] = C[j, i] = value
    return C


def cubic(C11, C12, C44):
    return matrix(C11=C11, C22=C11, C33=C11, C12=C12, C13=C12, C23=C12, C44=C44, C55=C44, C66=C44)


def hexagonal(C11, C12, C13, C33, C44):
    return matrix(C11=C11, C22=C11, C33=C33, C12=C12, C13=C13, C23=C13, C44=C44, C55=C44, C66=(C11 - C12) / 2)


ORTHO = matrix(C11=320, C22=197, C33=234, C12=67, C13=72, C23=77, C44=64, C55=77, C66=78)  # olivine
TETRA = matrix(C11=453, C22=453, C33=756, C12=211, C13=203, C23=203, C44=206, C55=206, C66=256)  # stishovite
QUARTZ = matrix(C11=86.8, C22=86.8, C33=105.8, C12=7, C13=12, C23=12, C14=-18, C24=18, C56=-18, C44=58, C55=58, C66=39.9)
OBLIQUE = ORTHO + matrix(C15=10, C25=5, C35=-7, C46=6)
CLASSES = [
    ("isotropic", 2, cubic(3, 1, 1)),
    ("cubic", 3, cubic(168.4, 121.4, 75.4)),
    ("hexagonal", 5, hexagonal(162, 92, 69, 181, 47)),
    ("tetragonal", 6, TETRA),
    ("trigonal", 6, QUARTZ),
    ("orthorhombic", 9, ORTHO),
    ("monoclinic", 13, OBLIQUE),
    ("triclinic", 21, OBLIQUE + matrix(C14=5, C26=8, C34=3, C45=2)),
]


@pytest.mark.parametrize(("name", "count", "C"), CLASSES)
def test_classes_are_found_in_every_frame(name, count, C):
    here = fx.solids.elastic_constants(C)
    assert (here.symmetry, len(here.independent)) == (name, count)
    for key, value in here.independent.items():
        assert value == pytest.approx(C[int(key[1]) - 1, int(key[2]) - 1], rel=1e-12), key
    np.testing.assert_allclose(here.axes, np.eye(3), atol=1e-9)
    there = fx.solids.elastic_constants(turned(here.moduli, TURNED))
    assert there.symmetry == name
    # The axes are found, not given: seen from them the tensor is one of those that the class allows here.
    own = turned(there.moduli, there.axes)
    assert np.linalg.det(there.axes) == pytest.approx(1.0)
    # Of tetragonal axes there are two choices, at 45 degrees; of less symmetric ones more.
    octant = Rotation.from_euler("z", 45, degrees=True).as_matrix()
    choices = [here.moduli, turned(here.moduli, octant)][: 2 if name == "tetragonal" else 1]
    if name in ("isotropic", "cubic", "hexagonal", "tetragonal"):
        assert min(np.abs(own - choice).max() for choice in choices) < 1e-9 * np.abs(C).max()
    np.testing.assert_allclose(there.eigenvalues, here.eigenvalues, rtol=1e-9)
    for one, other in ((here.bulk, there.bulk), (here.shear, there.shear)):
        np.testing.assert_allclose(one, other, rtol=1e-9)


def test_a_symmetry_ends_at_the_tolerance():
    slightly = cubic(168.4, 121.4, 75.4) + matrix(C33=0.5)
    assert fx.solids.elastic_constants(slightly).symmetry == "tetragonal"
    loose = fx.solids.elastic_constants(slightly, tolerance=0.01)
    assert loose.symmetry == "cubic" and loose.independent["C11"] == pytest.approx(168.4 + 0.5 / 3)


def test_moduli_of_a_cubic_crystal():
    C11, C12, C44 = 168.4, 121.4, 75.4
    found = fx.solids.elastic_constants(cubic(C11, C12, C44))
    assert found.bulk == pytest.approx([(C11 + 2 * C12) / 3] * 3)
    upper = (C11 - C12 + 3 * C44) / 5
    lower = 5 * (C11 - C12) * C44 / (4 * C44 + 3 * (C11 - C12))
    assert found.shear == pytest.approx([upper, lower, (upper + lower) / 2])
    # J. F. Nye, Physical Properties of Crystals (1957), chapter VIII.
    S11 = (C11 + C12) / ((C11 - C12) * (C11 + 2 * C12))
    S12, S44 = -C12 / ((C11 - C12) * (C11 + 2 * C12)), 1 / C44
    for direction in ((1, 0, 0), (1, 1, 0), (1, 1, 1), (3, 1, -2)):
        a, b, c = np.square(direction) / np.sum(np.square(direction))
        expected = 1 / (S11 - 2 * (S11 - S12 - S44 / 2) * (a * b + b * c + c * a))
        assert found.young(direction) == pytest.approx(expected)
    assert found.poisson((1, 0, 0)) == pytest.approx(C12 / (C11 + C12))
    # W. Köster, H. Franz, Metall. Rev. 6, 1 (1961): [110] pulled, across it [001] and [1-10].
    half = S11 - S12 - S44 / 2
    assert found.poisson((1, 1, 0), (0, 0, 1)) == pytest.approx(-2 * S12 / (S11 + S12 + S44 / 2))
    assert found.poisson((1, 1, 0), (1, -1, 0)) == pytest.approx(-(S12 + half / 2) / (S11 - half / 2))
    both = [found.poisson((1, 1, 0), across) for across in ((0, 0, 1), (1, -1, 0))]
    assert found.poisson((1, 1, 0)) == pytest.approx(np.mean(both))
    np.testing.assert_allclose(found.eigenvalues, sorted([C11 - C12] * 2 + [2 * C44] * 3 + [C11 + 2 * C12]))
    assert found.stable


def test_moduli_of_a_hexagonal_crystal():
    C11, C12, C13, C33, C44 = 162.0, 92.0, 69.0, 181.0, 47.0
    C66 = (C11 - C12) / 2
    found = fx.solids.elastic_constants(hexagonal(C11, C12, C13, C33, C44))
    # R. Meister, L. Peselnick, J. Appl. Phys. 37, 4121 (1966).
    M, square = C11 + C12 + 2 * C33 - 4 * C13, (C11 + C12) * C33 - 2 * C13**2
    K = (2 * (C11 + C12) + C33 + 4 * C13) / 9
    assert found.bulk[:2] == pytest.approx([K, square / M])
    lower = 2.5 * square * C44 * C66 / (3 * K * C44 * C66 + square * (C44 + C66))
    assert found.shear[:2] == pytest.approx([(M + 12 * C44 + 12 * C66) / 30, lower])
    assert found.young((0, 0, 2)) == pytest.approx(C33 - 2 * C13**2 / (C11 + C12))
    assert found.poisson((0, 0, 1)) == pytest.approx(C13 / (C11 + C12))
    across = fx.solids.elastic_constants(turned(found.moduli, TURNED))
    assert across.young(TURNED[:, 2]) == pytest.approx(found.young((0, 0, 1)))


def test_plane_crystals():
    found = fx.solids.elastic_constants([[3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 1.0]])
    assert found.symmetry == "isotropic" and found.independent == pytest.approx({"C11": 3.0, "C12": 1.0})
    assert found.bulk == pytest.approx([2.0] * 3) and found.shear == pytest.approx([1.0] * 3)
    assert found.young((1, 2)) == pytest.approx(8 / 3) and found.poisson((1, 2)) == pytest.approx(1 / 3)
    square = [[3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 2.0]]
    assert fx.solids.elastic_constants(square).independent == pytest.approx({"C11": 3.0, "C12": 1.0, "C66": 2.0})
    oblong = fx.solids.elastic_constants([[4.0, 1.0, 0.0], [1.0, 3.0, 0.0], [0.0, 0.0, 2.0]])
    assert oblong.symmetry == "rectangular" and len(oblong.independent) == 4
    assert fx.solids.elastic_constants([[4.0, 1.0, 0.3], [1.0, 3.0, 0.2], [0.3, 0.2, 2.0]]).symmetry == "oblique"


def test_what_is_not_stable_is_said():
    soft = fx.solids.elastic_constants(cubic(100.0, 120.0, 50.0))
    assert not soft.stable and soft.eigenvalues[0] == pytest.approx(-20.0)
    neutral = fx.solids.elastic_constants(cubic(100.0, 100.0, 50.0))
    assert np.isnan(neutral.young((1, 0, 0))) and np.isnan(neutral.shear.reuss)
    with pytest.raises(BadInput, match=r"\(d, d, d, d\), or a matrix"):
        fx.solids.elastic_constants(np.eye(5))
    with pytest.raises(BadInput, match="not finite at index"):
        fx.solids.elastic_constants(np.full((6, 6), np.nan))
    with pytest.raises(BadInput, match="is not across"):
        soft.poisson((1, 0, 0), (1, 1, 0))


def test_the_constants_of_a_crystal():
    """Nearest neighbours by springs k: E. W. Montroll's fcc with C11 = 2 C12 = 2 C44 = √2 k/r."""
    pair = fx.solids.potentials.LennardJones(cutoff=1.4, scheme="smooth", onset=1.3)
    r = 2 ** (1 / 6)
    fcc = r / 2**0.5 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
    found = fx.solids.equilibrium(fx.solids.Crystal(fcc, [[0, 0, 0]], ["X"], pair, stretch=0.9)).constants
    k = 72.0 * 2 ** (-1 / 3)
    assert found.symmetry == "cubic"
    assert found.independent == pytest.approx({"C11": 2**0.5 * k / r, "C12": k / r / 2**0.5, "C44": k / r / 2**0.5})
