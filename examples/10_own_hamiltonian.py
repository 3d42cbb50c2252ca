"""Diffusion coefficient of interacting spins from their Hamiltonian (5.1)-(5.7).

The lattice of Guo, Papanicolaou and Varadhan, H = (κ/2) Σ (φ_i − φ_j)² + Σ V(φ_i), diffuses by
its own interaction, ∂_t U = ΔA(U). A(U) is the long-time average of ½V'(φ) on a lattice held at
the mean U. The script draws it with its error bars into runs/own_hamiltonian.png, with the exact
answer of the infinite chain by its transfer operator.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import fiberax as fx

jax.config.update("jax_enable_x64", True)


def V(phi):
    return 0.25 * phi**4 - 0.5 * phi**2


def main(folder=Path("runs")):
    U = jnp.linspace(-1.5, 1.5, 13)
    lattice = fx.diffusion.GinzburgLandau(V, sites=64, replicas=8)
    found = fx.samples(lattice, U, steps=4000, replicas=2)
    exact = [fx.diffusion.ginzburg_landau_chain(V, float(u)) for u in U]
    truth = np.array([x.response for x in exact])
    for u, value, error, x in zip(U, found.value, found.stderr, exact):
        print(
            f"U = {u:5.2f}   A = {value:8.4f} ± {error:.4f}   "
            f"exact {x.response:8.4f}   D = {x.diffusion:.4f}"
        )
    # A finite lattice is off by O(1/N), here less than 0.01.
    assert np.all(np.abs(found.value - truth) < 4.0 * found.stderr + 0.01)
    draw(folder / "own_hamiltonian.png", U, found, truth)


def draw(path, U, found, truth):
    try:
        import matplotlib.pyplot as plt
    except ImportError:
        print("The figure needs matplotlib: pip install 'fiberax[plot]'")
        return
    path.parent.mkdir(exist_ok=True)
    figure, axes = plt.subplots(layout="constrained")
    axes.plot(U, truth, color="black", label="infinite chain, transfer operator")
    axes.errorbar(
        U,
        found.value,
        2.0 * found.stderr,
        fmt="o",
        capsize=3,
        label="lattice of 64 spins, two standard errors",
    )
    axes.set(xlabel="mean spin U", ylabel="response A(U)")
    axes.legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
    print(f"Figure: {path}")


if __name__ == "__main__":
    main()
