"""ASE calculators as fibers, our potentials as ASE calculators: ASE's effective medium theory, matscipy's Stillinger-Weber.

`python validation/ase_calculators.py`; needs `fiberax[atoms]` and `pip install --group peers`. Twenty random displacement
gradients of up to 10 % each.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.optimize import BFGS
from matscipy.calculators.manybody import Manybody
from matscipy.calculators.manybody.explicit_forms import StillingerWeber
from matscipy.calculators.manybody.explicit_forms.stillinger_weber import Stillinger_Weber_PRB_31_5262_Si
from table import Table

import fiberax as fx

COUNT = 20


def peer():
    """Stillinger-Weber silicon by matscipy."""
    return Manybody(**StillingerWeber(Stillinger_Weber_PRB_31_5262_Si))


def gradients():
    """(COUNT, 3, 3) with entries of up to 10 %."""
    return np.random.default_rng(7).uniform(-0.1, 0.1, (COUNT, 3, 3))


def by_ase(cell, A, calculator):
    """W and P of the cell relaxed by an optimiser of ASE."""
    cell, volume, F = cell.copy(), cell.get_volume(), np.eye(3) + A
    cell.set_cell(cell.cell.array @ F.T, scale_atoms=True)
    cell.calc = calculator
    BFGS(cell, logfile=None).run(fmax=1e-9, steps=500)
    stress = cell.get_stress(voigt=False)
    return cell.get_potential_energy() / volume, np.linalg.det(F) * stress @ np.linalg.inv(F).T


def fiber(cell, calculator, A):
    """Responses through the fiber, on two threads."""
    with ThreadPoolExecutor(2) as threads:
        crystal = fx.solids.from_ase(cell, calculator, executor=threads)
        return jax.block_until_ready(fx.responses(crystal, A, tangent=True))


def largest(found, true):
    """Largest error over the batch, each relative to the largest entry of its own tensor."""
    found, true = (np.asarray(x).reshape(COUNT, -1) for x in (found, true))
    return np.max(np.abs(found - true).max(axis=1) / np.abs(true).max(axis=1))


def ase_calculators(out):
    """W, P and tangents through the fiber against ASE's optimiser and against our own crystal; forces and stress in ASE."""
    table = Table(
        "ase_calculators", f"largest relative error, {COUNT} random A of up to 10 %", ("system", "against", "quantity")
    )
    A = gradients()
    # Hexagonal: no atom is a centre of inversion, so that shifts follow the strain.
    hexagonal = bulk("Cu", "hcp", a=2.56, c=4.18)
    for name, cell, make in (("EMT, hcp copper", hexagonal, EMT), ("matscipy SW, silicon", bulk("Si"), peer)):
        got = fiber(cell, make, A)
        W, P = (np.array(x) for x in zip(*[by_ase(cell, a, make()) for a in A]))
        table.below(np.sum(np.asarray(got.result) != 0), 0, name, "", "fibers that failed")
        table.below(largest(got.energy, W), 1e-11, name, "ASE, BFGS", "W")
        table.below(largest(got.value, P), 1e-8, name, "ASE, BFGS", "P")
    potential = fx.solids.potentials.StillingerWeber("Si")
    ours = fx.responses(fx.solids.from_ase(bulk("Si"), potential), A, tangent=True)
    for quantity, bound, mine, theirs in (
        ("W", 1e-11, ours.energy, got.energy),
        ("P", 1e-11, ours.value, got.value),
        ("shifts", 1e-9, ours.state, got.state),
        ("tangent", 1e-6, ours.tangent, got.tangent),
    ):
        table.below(largest(theirs, mine), bound, "matscipy SW, silicon", "our crystal", quantity)
    cell = bulk("Si", cubic=True) * (2, 1, 1)
    cell.rattle(0.1, seed=1)
    cell.set_cell(cell.cell.array @ (np.eye(3) + A[0]).T, scale_atoms=True)
    results = []
    for calculator in (fx.interop.ase.Calculator(potential), peer()):
        cell.calc = calculator
        results.append((cell.get_potential_energy(), cell.get_forces(), cell.get_stress()))
    for quantity, mine, theirs in zip(("energy", "forces", "stress"), *results):
        error = np.max(np.abs(np.asarray(mine) - theirs)) / np.max(np.abs(theirs))
        table.below(error, 1e-11, "our SW in ASE, 16 atoms", "matscipy", quantity)
    return table.close(out)


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    sys.exit(1 if ase_calculators(Path("runs/validation")) else 0)
