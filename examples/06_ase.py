"""To and from ASE: any calculator as a material, and a fiberax potential in ASE's own tools.

In: copper by ASE's effective medium theory, four atoms in a cell; P, W and the tangent with
relaxed shifts for a batch of displacement gradients A, computed by two threads. Out: silicon by
Stillinger and Weber, whose cell ASE relaxes with its own optimiser. Needs `fiberax[atoms]`.
"""

from concurrent.futures import ThreadPoolExecutor

import jax
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS

import fiberax as fx

jax.config.update("jax_enable_x64", True)
GPA = 160.21766208  # one eV/A^3

# In. Without `executor` a batch goes to a pool of processes; the script then keeps its work under
# `if __name__ == "__main__":`.
A = np.zeros((3, 3, 3))
A[1, 0, 0], A[2, 0, 1] = 0.02, 0.02  # at rest, stretched, sheared
with ThreadPoolExecutor(2) as threads:
    copper = fx.solids.from_ase(bulk("Cu", "fcc", a=3.59, cubic=True), EMT(), executor=threads)
    r = fx.responses(copper, A, tangent=True)
    jax.block_until_ready(r)
C11, C12, C44 = (GPA * r.tangent[0][index] for index in ((0, 0, 0, 0), (0, 0, 1, 1), (1, 2, 1, 2)))
print(f"copper, EMT: C11 = {C11:.1f}, C12 = {C12:.1f}, C44 = {C44:.1f} GPa (at a = 3.59 A)")
print(
    f"stretched by 2 %: P11 = {GPA * r.value[1, 0, 0]:.3f} GPa; "
    f"sheared by 2 %: P12 = {GPA * r.value[2, 0, 1]:.3f} GPa"
)

# The same stress from ASE alone, for the stretched cell; P = J sigma F^-T.
F = np.eye(3) + A[1]
cell = bulk("Cu", "fcc", a=3.59, cubic=True)
cell.set_cell(cell.cell.array @ F.T, scale_atoms=True)
cell.calc = EMT()
P = np.linalg.det(F) * cell.get_stress(voigt=False) @ np.linalg.inv(F).T
assert np.all(r.result == 0)
assert np.allclose(r.value[1], P, rtol=0, atol=1e-12)

# Out: a fiberax potential in ASE, and the deformed, relaxed cell of a crystal as Atoms.
potential = fx.solids.potentials.StillingerWeber("Si")
silicon = bulk("Si", a=5.3)
silicon.calc = fx.interop.ase.Calculator(potential)
BFGS(FrechetCellFilter(silicon), logfile=None).run(fmax=1e-6)
a = np.cbrt(4 * silicon.get_volume())
print(
    f"silicon, relaxed by ASE: a = {a:.5f} A, "
    f"E = {silicon.get_potential_energy() / 2:.5f} eV per atom"
)
assert abs(a - 5.43095) < 1e-4 and abs(silicon.get_potential_energy() / 2 + 4.3366) < 1e-4

crystal = fx.solids.from_ase(silicon, potential)
sheared = fx.response(crystal, A[2])
deformed = fx.interop.ase.atoms(crystal, sheared.state, A[2])
deformed.calc = fx.interop.ase.Calculator(potential)
print(f"largest force left in the sheared cell: {np.abs(deformed.get_forces()).max():.1e} eV/A")
assert np.abs(deformed.get_forces()).max() < 1e-9
