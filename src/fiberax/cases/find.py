"""Cases by name, and cases in a user's own file."""

import difflib
import importlib
import importlib.util
import inspect
import sys
from pathlib import Path

from fiberax.cases.base import Case
from fiberax.core.errors import BadInput

PACKAGE = Path(__file__).parents[1]

# name -> (module, class, one line for `fiberax list`); the modules are imported when a case is asked for
CASES = {
    "cavity": (
        "fiberax.cases.fluids.cavity",
        "Cavity",
        "flow of dumbbells, chains or rods in a square cavity under a moving lid",
    ),
    "chain": (
        "fiberax.cases.solids.chain",
        "Chain",
        "energy, force, modulus and stability of a chain of atoms or electrons over a range of strains",
    ),
    "channel": (
        "fiberax.cases.fluids.channel",
        "Channel",
        "flow of dumbbells, chains or rods along a channel, from rest",
    ),
    "crystal": (
        "fiberax.cases.solids.crystal",
        "CrystalCase",
        "elastic constants of a crystal, and W and P along a deformation up to its limit of stability",
    ),
    "diffusion": (
        "fiberax.cases.homogenization.diffusion",
        "Diffusion",
        "heat flow in time through a composite whose cell is an image",
    ),
    "electrons": (
        "fiberax.cases.electrons.electrons",
        "Electrons",
        "energy, stress, elastic constants and bands of a crystal from its electrons, along a deformation",
    ),
    "electron-wave": (
        "fiberax.cases.electrons.electron_wave",
        "ElectronWave",
        "a pulse of strain in a bar of metal, its electrons carried along in Car-Parrinello motion",
    ),
    "homogenize": (
        "fiberax.cases.homogenization.homogenize",
        "Homogenize",
        "table of the effective conductivity A(U) and dA/dU of an image or a formula",
    ),
    "kolmogorov": (
        "fiberax.cases.fluids.kolmogorov",
        "Kolmogorov",
        "flow of dumbbells, chains or rods in a periodic box under a steady force",
    ),
    "pull": (
        "fiberax.cases.solids.pull",
        "Pull",
        "a block of crystal with a hole or a notch under tension, until it loses ellipticity",
    ),
    "rheometer": (
        "fiberax.cases.fluids.rheometer",
        "Rheometer",
        "steady and transient material functions of dumbbells, chains or rods",
    ),
    "spins": (
        "fiberax.cases.diffusion.spins",
        "Spins",
        "diffusion coefficient of interacting spins from their Hamiltonian, and how their density spreads",
    ),
    "steady": (
        "fiberax.cases.homogenization.steady",
        "SteadyConduction",
        "steady temperature between the hot and the cold sides of a composite plate",
    ),
    "wave": (
        "fiberax.cases.solids.wave",
        "WaveCase",
        "a pulse of strain that runs through a chain of atoms or electrons, with relaxing or relaxed fibers",
    ),
}


def find_case(name: str) -> type[Case]:
    """The case called `name`. Raises `BadInput` naming the closest ones where there is none."""
    if name not in CASES:
        close = difflib.get_close_matches(name, CASES, n=3, cutoff=0.5)
        hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(CASES)}."
        raise BadInput(f"There is no case {name!r}: {hint} A file of your own ends in .py.")
    module, attribute, _ = CASES[name]
    return getattr(importlib.import_module(module), attribute)


def load_file(path: Path, search_path: tuple[str, ...] = ()) -> type[Case]:
    """The one case that a Python file defines.

    Modules beside the file, and in `search_path`, can be imported by it. Raises `BadInput` where the file is missing
    or unfinished, or defines no case or several; an error inside the file is named with its line.
    """
    if not path.is_file():
        raise BadInput(f"There is no file {path}.")
    for folder in (*search_path, str(path.resolve().parent)):
        if folder not in sys.path:
            sys.path.insert(0, folder)
    name = f"fiberax_case_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise BadInput(f"{path} is not a Python file; its name must end in .py.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(f"{place_of(error)}: {type(error).__name__}: {error}") from error
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Case) and value.__module__ == name
        and not inspect.isabstract(value)
    ]  # fmt: skip
    if len(found) != 1:
        names = ", ".join(sorted(c.__name__ for c in found))
        problem = f"defines {len(found)} cases ({names}): keep one" if found else "defines no case: write one"
        raise BadInput(
            f"{path} {problem} dataclass derived from fiberax.cases.Case with a method build() "
            "(an example stands in the docstring of fiberax.cases)."
        )
    return found[0]


def place_of(error: BaseException) -> str:
    """File and line where an error arose: the last one in the user's own code, else the last of all."""
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}"
    own, last, trace = None, "an unknown place", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        last = f"{file}, line {trace.tb_lineno}"
        if not (file.startswith(("<", str(PACKAGE))) or "site-packages" in file):
            own = last
        trace = trace.tb_next
    return own or last
