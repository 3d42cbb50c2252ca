"""The Thomas-Fermi-von Weizsäcker cell by DFTpy, with the ions of fiberax in a table fine enough for 1e-12."""

import jax.numpy as jnp
import numpy as np

_POINTS, _FARTHEST = 40_001, 40.0  # of the table, and its largest |G| in 1/bohr


class Solver:
    """One element at fractional `places`; `ion` as in `fx.solids.ions`; `xc`: whether to have Perdew's and Zunger's."""

    def __init__(self, ion, places, shape, xc: bool):
        from dftpy.constants import environ
        from dftpy.functional.pseudo import ReadPseudo

        environ["LOGLEVEL"] = 9  # it prints every step otherwise
        q = np.linspace(0.0, _FARTHEST, _POINTS)
        charge = np.asarray(ion.density(jnp.asarray(q[1:] ** 2)))
        self.table = ReadPseudo(PP_list={})
        self.table.PP_list = {"Al": "in memory"}
        self.table._gp["Al"], self.table._zval["Al"] = q, ion.charge
        self.table._vp["Al"] = np.append(ion.at_zero, -4.0 * np.pi * charge / q[1:] ** 2)
        self.table._core_density["Al"] = self.table._atomic_density["Al"] = None
        self.table.get_vloc_interp("Al")
        self.places, self.shape, self.xc, self.electrons = places, shape, xc, ion.charge * len(places)

    def __call__(self, lattice, accuracy: float = 1e-12):
        """Energy (hartree per cell) and Cauchy stress (hartree/bohr³) on a lattice, from uniform electrons."""
        from dftpy.field import DirectField
        from dftpy.functional import Functional, TotalFunctional
        from dftpy.functional.pseudo import LocalPseudo
        from dftpy.grid import DirectGrid
        from dftpy.ions import Ions
        from dftpy.optimization import Optimization

        ions = Ions(["Al"] * len(self.places), scaled_positions=self.places, cell=lattice, pbc=True)
        grid = DirectGrid(lattice=np.asarray(lattice), nr=list(self.shape), full=False)
        parts = {
            "KE": Functional(type="KEDF", name="TFvW", y=1.0, x=1.0),
            "PSEUDO": LocalPseudo(grid=grid, ions=ions, readpp=self.table, PME=False),
            "HARTREE": Functional(type="HARTREE"),
        }
        if self.xc:
            parts["XC"] = Functional(type="XC", name="LDA", libxc=False)
        total = TotalFunctional(**parts)
        density = DirectField(grid=grid)
        density[:] = self.electrons / grid.volume
        options = {"econv": accuracy, "maxiter": 200}
        search = Optimization(EnergyEvaluator=total, optimization_method="TN", optimization_options=options)
        density = search.optimize_rho(guess_rho=density)
        return float(total.Energy(density)), np.asarray(total.get_stress(density))
