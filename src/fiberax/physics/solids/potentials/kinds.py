"""Kinds of potential files that are not read, so that such a file is called what it is, and never damaged.

Several have the shape of a kind that is read: a Gao-Weber or a Vashishta file has the 14 numbers of a Tersoff entry, one for
`sw/mod` those of a Stillinger-Weber entry, an ADP table begins as a setfl one. So the name of a file is looked at first.
"""

import re
from pathlib import Path

from fiberax.core.errors import BadInput

# End of a file's name, in small letters, and the kind: the names in use in the collections of LAMMPS, OpenKIM and NIST.
_BY_NAME = (
    (r"(m?s?meam)", "MEAM"),
    (r"meam(\.sw)?\.spline", "MEAM (spline)"),
    (r"adp", "ADP (angular-dependent)"),
    (r"cdeam", "CD-EAM (concentration-dependent)"),
    (r"eam\.he", "eam/he"),
    (r"sw\.mod", "modified Stillinger-Weber (sw/mod)"),
    (r"sw\.quip|xml", "QUIP (XML)"),
    (r"tersoff\.modc?", "modified Tersoff (tersoff/mod)"),
    (r"tersoff\.zbl", "Tersoff-ZBL"),
    (r"extep", "ExTeP"),
    (r"gw", "Gao-Weber"),
    (r"gw\.zbl", "Gao-Weber-ZBL"),
    (r"vashishta", "Vashishta"),
    (r"edip", "EDIP"),
    (r"bop(\.table)?", "BOP"),
    (r"poly", "polymorphic"),
    (r"airebo(-m)?|rebo|rebomos", "REBO"),
    (r"lcbop", "LCBOP"),
    (r"nb3b\.\w+", "three-body (nb3b)"),
    (r"streitz|ctip", "variable-charge (Streitz-Mintmire)"),
    (r"comb3?", "COMB"),
    (r"eim", "EIM"),
    (r"reax|reaxff|zbl\.dat|ff\.water", "ReaxFF"),
    (r"smtbq", "SMTBQ"),
    (r"snap|snapcoeff|snapparam", "SNAP"),
    (r"mliap(\.\w+)?", "ML-IAP"),
    (r"pod|(coeff|param)\.pod", "POD"),
    (r"ace|yace", "ACE"),
    (r"mtp|almtp", "MTP (moment tensor)"),
    (r"uf3", "UF3"),
    (r"rann", "RANN"),
    (r"agni", "AGNI"),
    (r"ilp|kc(-full)?|drip|lebedeva|water\.2dm", "interlayer"),
    (r"mesocnt", "mesoscopic nanotube"),
    (r"mgpt\.\w+|parmin|potin", "MGPT"),
    (r"cmap", "CMAP (dihedral)"),
    (r"cgdna", "oxDNA"),
)
# Asked only where a file does not read: tables of any kind have such names.
_BY_NAME_LATE = ((r"table", "tabulated pair (pair_style table)"), (r"\.?readme(\.\w+)?", "text"))
_MEAM = re.compile(r"\s*(erose_form|augt1|ialloy|(rho0|re|lattce)\([\d,]+\))\s*=")  # settings of its parameter files
# Force fields have their kind in front: ffield.reax.cho, lib.comb3.
_FORCE_FIELD = re.compile(r"(ffield|lib)\.(?P<kind>(ci-)?\w+)")


def check_name(path: Path) -> None:
    """Raise `BadInput` where the name of a file says that it is of a kind that is not read."""
    kind = _named(path.name, _BY_NAME)
    if kind:
        raise BadInput(_words(path, kind))


def check_content(path: Path, lines: list[str]) -> None:
    """The same, by what a file holds or may be called, for one that did not read."""
    words = [line.split("#")[0].split() for line in lines]
    words = [found for found in words if found]
    kind = _named(path.name, _BY_NAME_LATE)
    if words and words[0][0].startswith("<"):
        kind = "QUIP (XML)" if any("_params" in line for line in lines[:5]) else "XML"
    elif (words and words[0][0][0] in "'\"" and len(words[0]) >= 5) or any(_MEAM.match(line) for line in lines):
        kind = "MEAM"
    if kind:
        raise BadInput(_words(path, kind))


def _named(name: str, table) -> str | None:
    lower = name.lower()
    front = _FORCE_FIELD.match(lower)
    tried = lower if front is None else front["kind"].removeprefix("ci-")
    return next((kind for pattern, kind in table if re.search(rf"(^|[._])({pattern})$", tried)), None)


def _words(path: Path, kind: str) -> str:
    article = "an" if kind[0] in "AEIOaeio" else "a"
    return (
        f"{path}: this is {article} {kind} file, a kind that is not read here (setfl, fs, funcfl, Stillinger-Weber and Tersoff "
        "are). Use LAMMPS as calculator, fx.solids.from_ase(atoms, LAMMPSlib(...)), or rename the file if its name misleads."
    )
