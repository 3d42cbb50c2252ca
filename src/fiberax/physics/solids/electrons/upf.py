"""Norm-conserving pseudopotentials in the unified format of Quantum ESPRESSO (UPF, versions 1 and 2).

A file has tables over r in rydberg and bohr: the local potential, r times the projectors, and the matrix D between them. They
are transformed once, by Simpson's rule on the mesh of the file, into tables over q; between those are cubic splines.
"""

import re
from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy.special import erf

from fiberax.core.errors import BadInput
from fiberax.physics.solids.electrons.ion import AbstractChannel, Ion, Matrix, Spline

_STEP, _LAST = 0.01, 80.0  # of the tables over q, 1/bohr
_LOCAL_END = 10.0  # bohr; beyond, tables of the local potential are −Z/r and round-off
_CHUNK = 400
_LDA = {"SLA", "PZ", "PW", "VWN", "LDA", "PADE", "NOGX", "NOGC"}
_REMEDY = "KohnSham needs a norm-conserving pseudopotential for the local density approximation, without spin-orbit terms."


class Content(NamedTuple):
    """What a file holds, in rydberg and bohr: `betas` are pairs of l and r times the projector."""

    element: str
    charge: float
    functional: str
    r: np.ndarray
    spacing: np.ndarray
    local: np.ndarray
    betas: list[tuple[int, np.ndarray]]
    strength: np.ndarray
    core: np.ndarray | None


class Tables(AbstractChannel):
    """Projectors of one l from tables over q."""

    l: int = eqx.field(static=True)
    strength: Matrix = eqx.field(static=True)
    table: Spline

    def radial(self, square):
        return self.table(square)


class UPF(Ion):
    """A norm-conserving pseudopotential from a UPF file.

    Args:
        file: The file, of version 1 or 2.
        element: The element that it must be for; None for any.
        any_functional: Whether a pseudopotential made for another functional than the local density approximation is taken.

    Raises:
        BadInput: The file is missing or damaged, or is ultrasoft, PAW, relativistic with spin-orbit terms, for another
            functional or element, or with projectors of l > 2.
    """

    charge: float
    limit: float
    local: Spline
    channels: tuple[Tables, ...]
    shell: Spline | None

    def __init__(self, file: str | Path, element: str | None = None, any_functional: bool = False):
        path = Path(file)
        if not path.is_file():
            raise BadInput(f"UPF: there is no file {path}.")
        found = read(path.read_text(encoding="latin-1"), str(path))
        if element is not None and found.element.lower() != element.lower():
            raise BadInput(f"{path} is a pseudopotential for {found.element}, not for {element}.")
        other = set(re.findall(r"[A-Z0-9]+", found.functional.upper())) - _LDA
        if other and not any_functional:
            raise BadInput(
                f"{path} is made for the functional {found.functional!r}. {_REMEDY} any_functional=True takes it nevertheless."
            )
        q = _STEP * np.arange(round(_LAST / _STEP) + 1)
        self.charge = found.charge
        inside = _odd(int(np.searchsorted(found.r, _LOCAL_END, side="right")))
        r = found.r[:inside]
        short = 0.5 * r * found.local[:inside] + found.charge * erf(r)
        table = _bessel(0, q, r, (_simpson(found.spacing[:inside]) * r * short)[None])
        self.local, self.limit = Spline(_STEP, table), float(4.0 * np.pi * table[0, 0] + np.pi * found.charge)
        self.channels = tuple(_channel(found, l, q) for l in sorted({l for l, _ in found.betas}))
        self.shell = None
        if found.core is not None:
            size = _odd(len(found.r))
            weighed = _simpson(found.spacing[:size]) * found.r[:size] ** 2 * found.core[:size]
            self.shell = Spline(_STEP, 4.0 * np.pi * _bessel(0, q, found.r[:size], weighed[None]))

    def density(self, g2):
        return self.charge * jnp.exp(-0.25 * g2) - g2 * self.local(g2)[0]

    def core(self, g2):
        return None if self.shell is None else self.shell(g2)[0]

    @property
    def at_zero(self):
        return self.limit

    @property
    def farthest(self):
        return self.local.farthest

    @property
    def projectors(self):
        return self.channels


def _channel(found: Content, l: int, q: np.ndarray) -> Tables:
    """All projectors of one l. D joins no projectors of different l (`read`)."""
    rows = [k for k, (other, _) in enumerate(found.betas) if other == l]
    weighed = np.zeros((len(rows), len(found.r)))
    for row, k in zip(weighed, rows):
        beta = found.betas[k][1]
        size = _odd(len(beta))
        row[:size] = _simpson(found.spacing[:size]) * found.r[:size] ** (1 + l) * beta[:size]
    strength = 0.5 * found.strength[np.ix_(rows, rows)]
    table = 4.0 * np.pi * _bessel(l, q, found.r, weighed)
    return Tables(l, tuple(map(tuple, strength.tolist())), Spline(_STEP, table))


def _odd(count: int) -> int:
    return count - 1 + count % 2


def _simpson(spacing: np.ndarray) -> np.ndarray:
    """Weights of Simpson's rule at an odd number of points, for a variable whose slope over the index is `spacing`."""
    weights = np.where(np.arange(len(spacing)) % 2 == 1, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    return weights * spacing / 3.0


def _bessel(l: int, q: np.ndarray, r: np.ndarray, weighed: np.ndarray) -> np.ndarray:
    """Σ_r w(r) j_l(qr)/(qr)^l for rows of w (n, r): (n, q)."""
    return np.concatenate(
        [weighed @ _over_power(l, np.outer(r, part)) for part in np.split(q, range(_CHUNK, len(q), _CHUNK))], 1
    )


def _over_power(l: int, x: np.ndarray) -> np.ndarray:
    """j_l(x)/x^l, by its series below ½."""
    term = np.full_like(x, 1.0 / np.prod(np.arange(1, 2 * l + 2, 2)))
    series = term.copy()
    for k in range(1, 6):
        term = -term * x**2 / (2.0 * k * (2 * l + 2 * k + 1))
        series += term
    y = np.where(x < 0.5, 1.0, x)
    sin, cos = np.sin(y), np.cos(y)
    closed = (
        lambda: sin / y,
        lambda: (sin / y - cos) / y**2,
        lambda: ((3.0 / y**2 - 1.0) * sin / y - 3.0 * cos / y**2) / y**2,
    )[l]()
    return np.where(x < 0.5, series, closed)


def is_upf(text: str) -> bool:
    """Whether a text is a UPF file, of whatever version and kind."""
    return "<PP_HEADER" in text


def read(text: str, name: str) -> Content:
    """The tables of a UPF file.

    Args:
        text: The file.
        name: What a message calls it.

    Raises:
        BadInput: As `UPF`, but for functionals and elements.
    """
    try:
        found, kind = _version_2(text) if re.search(r"<PP_HEADER\s+\w+\s*=", text) else _version_1(text)
    except (KeyError, ValueError, IndexError) as error:
        raise BadInput(f"{name} is no whole UPF file: {error}.") from error
    if kind:
        raise BadInput(f"{name} is {kind}. {_REMEDY}")
    size = len(found.r)
    whole = [found.spacing, found.local] + ([] if found.core is None else [found.core])
    if size < 10 or any(len(x) != size for x in whole) or any(len(b) > size for _, b in found.betas):
        raise BadInput(
            f"{name}: its tables have different lengths: mesh {size}, others {', '.join(str(len(x)) for x in whole)}."
        )
    if not all(np.all(np.isfinite(x)) for x in (found.r, *whole, *(b for _, b in found.betas))):
        raise BadInput(f"{name} holds numbers that are not finite.")
    labels = np.array([l for l, _ in found.betas], int)
    if np.any(labels > 2):
        raise BadInput(f"{name} has projectors of l = {labels.max()}; here l goes to 2.")
    if np.any(found.strength[labels[:, None] != labels] != 0.0):
        raise BadInput(f"{name}: its matrix PP_DIJ joins projectors of different l.")
    return found


def _version_2(text: str) -> tuple[Content, str]:
    """Content, and what is not supported, in words."""
    header = _attributes(_tag(text, "PP_HEADER"))
    yes = lambda word: header.get(word, "F").strip(" .").upper().startswith("T")
    kinds = (
        ("ultrasoft", yes("is_ultrasoft") or header.get("pseudo_type", "NC").strip() in ("US", "USPP")),
        ("PAW", yes("is_paw") or header.get("pseudo_type", "NC").strip() == "PAW"),
        ("a bare Coulomb potential", yes("is_coulomb")),
        ("made with spin-orbit terms", yes("has_so")),
    )
    betas = []
    for k in range(int(header["number_of_proj"])):
        tag, values = _section(text, rf"PP_BETA\.{k + 1}")
        given = _attributes(tag)
        end = int(given.get("cutoff_radius_index", "0"))
        betas.append((int(given["angular_momentum"]), _numbers(values)[: end or None]))
    strength = _numbers(_section(text, "PP_DIJ")[1]).reshape(len(betas), len(betas)) if betas else np.zeros((0, 0))
    r, spacing, local = (_numbers(_section(text, part)[1]) for part in ("PP_R", "PP_RAB", "PP_LOCAL"))
    core = _numbers(_section(text, "PP_NLCC")[1]) if yes("core_correction") else None
    charge = _number(header["z_valence"])
    content = Content(
        header["element"].strip(), charge, header.get("functional", "").strip(), r, spacing, local, betas, strength, core
    )
    return content, next((words for words, true in kinds if true), "")


def _version_1(text: str) -> tuple[Content, str]:
    """Content, and what is not supported, in words."""
    lines = [line.split() for line in _section(text, "PP_HEADER")[1].strip().splitlines()]
    words = lines[4][: lines[4].index("Exchange-Correlation")] if "Exchange-Correlation" in lines[4] else lines[4][:4]
    kinds = (
        ("ultrasoft", lines[2][0].upper() != "NC"),
        ("made with spin-orbit terms", "<PP_ADDINFO>" in text),
    )
    betas = []
    for block in re.findall(r"<PP_BETA>(.*?)</PP_BETA>", text, re.DOTALL):
        rows = block.strip().splitlines()
        size = int(rows[1].split()[0])
        betas.append((int(rows[0].split()[1]), _numbers("\n".join(rows[2:]))[:size]))
    strength = np.zeros((len(betas), len(betas)))
    if betas:
        for row in _section(text, "PP_DIJ")[1].strip().splitlines()[1:]:
            i, j, value = row.split()[:3]
            strength[int(i) - 1, int(j) - 1] = strength[int(j) - 1, int(i) - 1] = _number(value)
    r, spacing, local = (_numbers(_section(text, part)[1]) for part in ("PP_R", "PP_RAB", "PP_LOCAL"))
    core = _numbers(_section(text, "PP_NLCC")[1]) if lines[3][0].strip(".").upper().startswith("T") else None
    content = Content(lines[1][0], _number(lines[5][0]), " ".join(words[:4]), r, spacing, local, betas, strength, core)
    return content, next((words for words, true in kinds if true), "")


def _tag(text: str, name: str) -> str:
    found = re.search(rf"<{name}\b(.*?)>", text, re.DOTALL)
    if found is None:
        raise ValueError(f"there is no {name}")
    return found[1]


def _section(text: str, name: str) -> tuple[str, str]:
    """The attributes and the content of a section."""
    found = re.search(rf"<{name}(\s[^>]*)?>(.*?)</{name}>", text, re.DOTALL)
    if found is None:
        raise ValueError(f"there is no section {name.replace(chr(92), '')}")
    return found[1] or "", found[2]


def _attributes(tag: str) -> dict[str, str]:
    return dict(re.findall(r"(\w+)\s*=\s*\"([^\"]*)\"", tag))


def _number(word: str) -> float:
    return float(word.upper().replace("D", "E"))


def _numbers(text: str) -> np.ndarray:
    return np.array([_number(word) for word in text.split()])
