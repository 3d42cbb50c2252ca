"""Thresholds of grey values, and Otsu's method."""

import numpy as np
import pytest

import fiberax as fx
from fiberax.core.errors import BadInput
from fiberax.physics.homogenization.thresholds import histogram

hom = fx.homogenization
GREY = np.array([[0, 10, 20], [128, 129, 255]], np.uint8)


def test_values_above_a_level_are_the_next_phase():
    labels = hom.threshold(GREY, 128)
    assert labels.dtype == np.uint8 and np.array_equal(labels, [[0, 0, 0], [0, 1, 1]])
    assert np.array_equal(hom.threshold(GREY, [10, 128.5]), [[0, 0, 1], [1, 2, 2]])
    assert np.array_equal(hom.threshold(GREY > 100, 0.5), [[0, 0, 0], [1, 1, 1]])
    assert np.array_equal(hom.threshold(GREY / 255.0 - 0.5, (-0.49, 0.0)), [[0, 1, 1], [2, 2, 2]])


@pytest.mark.parametrize("levels", [[], [2, 1], [1, 1], float("nan"), [[1, 2]], range(300)])
def test_levels_that_cannot_be_used(levels):
    with pytest.raises(BadInput, match="levels = "):
        hom.threshold(GREY, levels)


def test_greys_that_cannot_be_used():
    with pytest.raises(BadInput, match=r"1 of 6 grey values are NaN or infinite, the first at \(1, 2\)"):
        hom.threshold(np.where(GREY == 255, np.nan, GREY), 3)
    with pytest.raises(BadInput, match="grey values of the type <U1"):
        hom.threshold(np.array(["a"]), 3)
    with pytest.raises(BadInput, match="all grey values are 7: no threshold divides them"):
        hom.otsu(np.full((4, 4), 7))


def within(grey, level):
    """The variance inside the two phases, weighted by their numbers: Otsu's method makes it smallest."""
    return sum(part.size * part.var() for part in (grey[grey <= level], grey[grey > level]) if part.size)


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16])
def test_otsu_makes_the_variance_within_the_phases_smallest(kind):
    random = np.random.default_rng(0)
    grey = np.concatenate([random.normal(70, 15, 3000), random.normal(150, 25, 1000)]).clip(0, 255).round().astype(kind)
    grey = grey - kind(300) if kind is np.int16 else grey
    levels = np.unique(grey)[:-1]
    assert hom.otsu(grey.reshape(40, 100)) == levels[np.argmin([within(grey.astype(float), level) for level in levels])]


def test_otsu_of_a_small_histogram():
    """Numbers 8, 7, 2, 6, 9, 4 of the values 0 to 5: Otsu's 6 x 6 example. Its classes are 0 to 2 and 3 to 5.

    With the weights 17/36 and 19/36 and the means 11/17 and 74/19 of the classes the variance between them is
    17·19/36² (74/19 − 11/17)² = 2.6354, larger than for any other level. The level, the lowest of the upper values less
    one, is what `skimage.filters.threshold_otsu` gives for these numbers.
    """
    grey = np.repeat(np.arange(6, dtype=np.uint8), [8, 7, 2, 6, 9, 4])
    counts, values = histogram(grey)
    assert np.array_equal(counts, [8, 7, 2, 6, 9, 4]) and np.array_equal(values, range(6))
    between = grey.size * (grey.var() - 17 * 19 / 36**2 * (74 / 19 - 11 / 17) ** 2)
    assert hom.otsu(grey) == 2.0 and within(grey.astype(float), 2) == pytest.approx(between, rel=1e-12)


def test_otsu_of_floats_takes_the_middle_of_a_bin():
    """Two values, 256 bins from 0 to 1: every level between them is as good, and the lowest bin comes first."""
    grey = np.array([0.0, 0.0, 1.0])
    assert hom.otsu(grey) == 1.0 / 512.0
    assert np.array_equal(hom.threshold(grey, hom.otsu(grey)), [0, 0, 1])
    wide = np.array([0, 0, 2**30], np.int64)
    assert np.array_equal(hom.threshold(wide, hom.otsu(wide)), [0, 0, 1])


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4"])
def test_a_value_that_is_written_like_the_level_is_equal_to_it(kind):
    for level in (0.1, 0.7):  # in single precision above 0.1, and below 0.7
        grey = np.array([level, np.nextafter(np.array(level, kind), np.array(1, kind))], kind)
        assert hom.threshold(grey, level).tolist() == [0, 1]
    assert hom.threshold(grey, [0.7, 1e300]).tolist() == [0, 1]


def test_levels_that_are_one_in_the_type_of_the_image_are_refused():
    with pytest.raises(BadInput, match="the same number in the type of the grey values, float32"):
        hom.threshold(np.array([0.1, 0.2], np.float32), [0.1, 0.1 + 1e-12])
