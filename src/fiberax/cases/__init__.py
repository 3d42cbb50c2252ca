"""Ready-made runs: one typed dataclass each. The command line is generated from them.

A model of your own becomes a case in the same way:

    from dataclasses import dataclass
    from fiberax.cases import Case, Evolve, Figure, Names, Quantity, option

    TEMPERATURE = Quantity("U", "K", "temperature")

    @dataclass(frozen=True)
    class MyCase(Case):
        \"\"\"One line of help.\"\"\"

        cells: int = option(32, help="macro cells", low=2)
        peak: float = option(1.0, help="temperature at the start", unit=TEMPERATURE)

        def build(self):
            return Evolve(bundle=..., driver=..., macro0=..., t1=1.0, dt=0.01, names=Names({"macro": TEMPERATURE}))

        def figures(self, results):
            return [*super().figures(results), Figure("mean", lambda plt: draw_mean(plt, results))]

and `fiberax run my_model.py --cells 64` runs it. `figures` may be left out: fields, responses, bodies, energies in time and
states of a few sites are drawn for every run. A package adds cases under a name by the entry point

    [project.entry-points."fiberax.cases"]
    my-case = "my_package.my_model:MyCase"

and `fiberax list` shows them where it is installed.
"""

from fiberax.cases.base import Case, Evolve, Loading, Sampling, Steady, Summary, Table
from fiberax.cases.find import all_cases, find_case, load_file
from fiberax.cases.options import ABSENT, GIVEN, Option, above, inherited, option, other_than, when
from fiberax.cases.times import even_times
from fiberax.io.labels import Names, Output
from fiberax.io.plots.figure import Figure
from fiberax.io.results import Quantity
from fiberax.io.run import Results

__all__ = [
    "ABSENT", "GIVEN", "Case", "Evolve", "Figure", "Loading", "Names", "Option", "Output", "Quantity", "Results", "Sampling",
    "Steady", "Summary", "Table", "above", "all_cases", "even_times", "find_case", "inherited", "load_file", "option",
    "other_than", "when",
]  # fmt: skip
