"""Ready-made runs: one typed dataclass each. The command line is generated from them.

A model of your own becomes a case in the same way:

    from dataclasses import dataclass
    from fiberax.cases import Case, Evolve, option

    @dataclass(frozen=True)
    class MyCase(Case):
        \"\"\"One line of help.\"\"\"

        cells: int = option(32, help="macro cells", low=2)

        def build(self):
            return Evolve(bundle=..., driver=..., macro0=..., t1=1.0, dt=0.01)

and `fiberax run my_model.py --cells 64` runs it.
"""

from fiberax.cases.base import Case, Evolve, Labels, Loading, Option, Sampling, Steady, Summary, Table, option
from fiberax.cases.find import CASES, find_case, load_file
from fiberax.io.results import Quantity

__all__ = [
    "CASES", "Case", "Evolve", "Labels", "Loading", "Option", "Quantity", "Sampling", "Steady", "Summary", "Table", "find_case",
    "load_file", "option",
]  # fmt: skip
