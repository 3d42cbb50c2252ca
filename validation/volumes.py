"""Seeded porous volumes: against taufactor, and each scheme against the limit of ever finer voxels."""

import numpy as np
from table import Table

import fiberax as fx
from fiberax.cases.homogenization.microstructure import gaussian_level_set

hom = fx.homogenization


def diagonal(labels, scheme=None, tolerance=1e-7, borders=hom.Borders.PERIODIC):
    """The diagonal of A, label 1 conducting."""
    found = fx.responses(hom.Cell.from_image(labels, [0.0, 1.0], scheme, borders=borders), np.zeros(1), tolerance=tolerance)
    assert int(found.result[0]) == 0
    return np.diagonal(np.asarray(found.value[0]))


def taufactor_held(folder):
    """Effective diffusivity with held ends and sealed sides along each axis; taufactor computes in single precision."""
    table = Table(
        "taufactor_held", "D_eff / D_0 of porous volumes of 32^3, relative difference", ("seed", "axis", "fiberax", "taufactor")
    )
    try:
        import taufactor
    except ImportError:
        print("taufactor_held: left out, taufactor is not installed (pip install --group taufactor)")
        return []
    for seed in (1, 2, 3):
        labels = gaussian_level_set(seed, (32, 32, 32), spacing=0.4, fraction=0.5)
        ours = diagonal(labels, borders=hom.Borders.HELD)
        for axis in range(3):
            solver = taufactor.Solver(np.ascontiguousarray(np.moveaxis(labels, axis, 0)), device="cpu")
            solver.solve(verbose=False, conv_crit=1e-5, iter_limit=20000)
            theirs = float(np.ravel(solver.D_eff)[0])
            table.below(abs(ours[axis] / theirs - 1), 1e-6, seed, "xyz"[axis], ours[axis], theirs)
    return table.close(folder)


def pores(folder):
    """Errors of the schemes on volumes of 24^3 against the limit of finer voxels; finite volumes below, elements above."""
    columns = ("conducting share", "spacing", "seed", "scheme")
    table = Table("pores", "mean of A's diagonal over the limit of finer voxels, minus 1", columns)
    for share, spacing, seed in ((0.4, 0.4, 1), (0.4, 0.4, 2), (0.4, 0.6, 3), (0.6, 0.4, 1), (0.6, 0.4, 2), (0.6, 0.6, 3)):
        labels = gaussian_level_set(seed, (24, 24, 24), spacing=spacing, fraction=share)
        finer = [np.kron(labels, np.ones((m, m, m), int)) for m in (1, 2, 4)]
        a, b, c = (diagonal(image, tolerance=1e-5).mean() for image in finer)
        falls = (c - b) / (b - a)
        limit = c + (c - b) * falls / (1 - falls)
        volumes, elements = a / limit - 1, diagonal(labels, hom.FiniteElement(), 1e-5).mean() / limit - 1
        table.between(volumes, -0.13, 0.0, share, spacing, seed, "FiniteVolume")
        table.between(elements, 0.0, 0.12, share, spacing, seed, "FiniteElement")
        table.below(abs(volumes + elements) / 2, 0.03, share, spacing, seed, "mean of both")
        difference = diagonal(labels, hom.FiniteDifference(), 1e-5).mean() / limit - 1
        table.note(share, spacing, seed, f"FiniteDifference {difference:+.2%}")
    return table.close(folder)


def corners(folder):
    """Pixels that touch at corners: a diagonal line in its surroundings, ever less conducting."""
    table = Table(
        "corners", "A of a diagonal line over the conductivity of its surroundings", ("pixels", "surroundings", "scheme")
    )
    for refine in (1, 2, 4):
        line = np.kron(np.eye(8, dtype=int), np.ones((refine, refine), int))
        for small in (1e-2, 1e-4, 1e-8):
            cell = hom.Cell.from_image(line, {0: small, 1: 1.0})
            found = fx.responses(cell, np.zeros(1), tolerance=1e-9).value[0]
            table.between(found[0, 0] / small, 1.0, 2.0, len(line), small, "FiniteVolume")
    return table.close(folder)
