"""A potential of your own as a crystal: equilibrium, elastic constants, stress at large stretch.

phi(r) is a spring between nearest neighbours of an fcc lattice, k (r - r0)^2 / 2. Its elastic
constants are known: with the volume V = r0^3 / sqrt(2) and the twelve directions n, C_ijkl is k
r0^2 / 2V times the sum of n_i n_j n_k n_l, hence C11 = sqrt(2) k / r0 and C12 = C44 = C11 / 2:
Cauchy's relation, as for every pair potential without stress.
"""

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)

k, r0 = 3.0, 1.1


# The potential in five lines; any JAX function of the distance is possible.
def phi(r):
    return 0.5 * k * (r - r0) ** 2 - 0.5 * k * (1.3 - r0) ** 2


potential = fx.solids.potentials.Pair(phi, cutoff=1.3)
lattice = (
    1.12 / np.sqrt(2) * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0]])
)  # fcc, neighbours 1.12 apart: not yet at rest
found = fx.solids.equilibrium(fx.solids.Crystal(lattice, [[0, 0, 0]], ["X"], potential))

distance = np.linalg.norm(np.asarray(found.crystal.lattice)[0])
C = found.voigt
print(
    f"neighbours at rest: {distance:.6f} apart; "
    f"C11 = {C[0, 0]:.6f}, C12 = {C[0, 1]:.6f}, C44 = {C[3, 3]:.6f}"
)
assert abs(distance - r0) < 1e-9
exact = np.sqrt(2) * k / r0
assert np.allclose([C[0, 0], C[0, 1], C[3, 3]], [exact, exact / 2, exact / 2], rtol=1e-8)

# One line from the potential to a finite-deformation material: W, P and dP/dA at any displacement
# gradient A.
A = jnp.zeros((3, 3)).at[0, 0].set(0.08).at[0, 1].set(0.03)
r = fx.response(found.crystal, A, tangent=True)
print(
    f"W = {float(r.energy):.6f}, P =\n{np.round(np.asarray(r.value), 6)}\ntangent {r.tangent.shape}"
)

# The same sum by hand: P = (1/V) times the sum over half the bonds of phi'(|F R|) (F R / |F R|)
# R^T.
volume = np.sqrt(0.5) * r0**3
bonds = (
    r0
    / np.sqrt(2)
    * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0], [0, 1, -1], [1, 0, -1], [1, -1, 0]])
)
deformed = bonds @ (np.eye(3) + np.asarray(A)).T
length = np.linalg.norm(deformed, axis=1)
P = np.einsum("b,bi,bj->ij", k * (length - r0) / length, deformed, bonds) / volume
assert np.allclose(r.value, P, rtol=1e-10, atol=1e-12)

print(fx.solids.stability(found.crystal, A).in_words())
