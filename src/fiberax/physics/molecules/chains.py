"""Melts of bead-spring chains, after Kremer and Grest (J. Chem. Phys. 92 (1990) 5057)."""

from typing import Any

from fiberax.core.errors import BadInput
from fiberax.physics.molecules.bonds import FENE, linear
from fiberax.physics.molecules.box import Box
from fiberax.physics.molecules.potentials import WCA, AbstractPair


def chains(
    beads: int = 12,
    count: int = 40,
    density: float = 0.81,
    temperature: Any = 1.0,
    potential: AbstractPair | None = None,
    k: float = 30.0,
    R0: float = 1.5,
    dt: float = 0.003,
    equilibration: float | None = None,
    key: Any = None,
) -> Box:
    """A box of linear chains: FENE bonds, and the repulsion WCA between all beads.

    Args:
        beads: Of one chain, at least 2.
        count: Number of chains.
        density: Beads per volume.
        temperature: As for `Box`.
        potential: Between all beads, bonded ones too; None for `WCA()`.
        k: Stiffness of the bonds, in ε/σ².
        R0: The length that no bond may reach, in σ.
        dt: A Verlet step; the bonds need a shorter one than a liquid.
        equilibration: As for `Box`; it is 1.5 beads² τ by default, which takes long for long chains.
        key: As for `Box`.

    Returns:
        The fiber. Particles are numbered chain by chain.

    Raises:
        BadInput: As for `Box` and `FENE`, and fewer than 2 beads or no chain.
    """
    for name, value, low in (("beads", beads, 2), ("count", count, 1)):
        if not isinstance(value, int) or value < low:
            raise BadInput(f"chains: {name} must be a whole number, at least {low}; it is {value!r}.")
    bonds = FENE(linear(beads, count), k, R0)
    potential = WCA() if potential is None else potential
    options: dict[str, Any] = {"dt": dt, "equilibration": equilibration, "key": key}
    return Box(potential, beads * count, density, temperature, bonds, **options)
