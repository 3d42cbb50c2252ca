"""What is said of a crystal: cell and elastic constants at rest, limits and peaks of a path, waves; peaks of a body."""

import textwrap
from typing import Any

import numpy as np

from fiberax.cases.base import Summary
from fiberax.cases.solids.atoms import AtRest, dimension, factor
from fiberax.cases.solids.paths import Course, StrainPath, StressPath, main_stress, peaks
from fiberax.cases.solids.structures import Structure
from fiberax.core.errors import FiberaxError
from fiberax.io.body import Body

_WIDTH = 118  # of printed lines
_ALIKE = 1e-9  # values that differ by less, relatively, are equal by symmetry


def at_rest_of(rest: AtRest, label: str, scale: float, unit: str) -> tuple[dict[str, Any], list[str]]:
    """Cell, elastic constants, moduli and stability at rest, as data and in words. `scale`: of stresses, into `unit`."""
    from fiberax.physics.solids.crystal.elastic import elastic_constants, voigt
    from fiberax.physics.solids.crystal.symmetry import turned

    found, metal = rest.equilibrium, rest.turned.potential.units == "metal"
    constants = elastic_constants(scale * np.asarray(found.elastic))
    fixed = scale * np.asarray(found.elastic_unrelaxed)
    d = len(fixed)
    cell, in_words = _cell(rest, "Å" if metal else "sigma")
    words = f"{label} at rest: {in_words}"
    R = _axes(rest)
    content: dict[str, Any] = {
        "crystal": words,
        "species": list(rest.turned.species),
        "lattice": np.asarray(rest.turned.lattice).tolist(),
        "basis": np.asarray(rest.turned.basis).tolist(),
        "cell": cell,
        "energy per atom": found.energy_per_atom,
        "x, y, z along these directions of the crystal": R.tolist(),
        "unit of the elastic constants": unit,
        "elastic constants, relaxed": voigt(turned(constants.moduli, R)).tolist(),
        "elastic constants, shifts fixed": voigt(turned(fixed, R)).tolist(),
        "order": "xx, yy, xy" if d == 2 else "xx, yy, zz, yz, xz, xy",
        "symmetry": constants.symmetry,
        "axes of the symmetry": constants.axes.tolist(),
        "independent constants": constants.independent,
        "bulk modulus": constants.bulk._asdict(),
        "shear modulus": constants.shear._asdict(),
        "eigenvalues of the stiffness": constants.eigenvalues.tolist(),
        "stable at rest": constants.stable,
    }
    lines = [f"{words}, {found.energy_per_atom:.6g} {'eV' if metal else 'eps'} per atom"]
    lines += _listed(f"elastic constants, {constants.symmetry}: ", constants.independent, unit)
    if len(rest.turned.species) > 1:
        own, order = voigt(turned(fixed, constants.axes)), "123456" if d == 3 else "126"
        unrelaxed = {name: own[order.index(name[1]), order.index(name[2])] for name in constants.independent}
        lines += _listed("with fixed shifts: ", unrelaxed, unit)
    if not np.allclose(constants.axes, np.eye(d), atol=1e-6) and constants.symmetry != "isotropic":
        axes = [np.round(axis, 4).tolist() for axis in constants.axes]
        lines.append(f"  their axes in the frame of the crystal: {', '.join(map(str, axes))}")
    for name, values in (("bulk", constants.bulk), ("shear", constants.shear)):
        lines.append(f"{name} modulus: Voigt {values.voigt:.5g}, Reuss {values.reuss:.5g}, Hill {values.hill:.5g} {unit}")
    young, ratios = constants.young(R[0]), {name: constants.poisson(R[0], R[k + 1]) for k, name in enumerate("yz"[: d - 1])}
    content |= {"Young's modulus along x": young, "Poisson's ratio along x": ratios}
    along = _along(rest)
    contractions = ", ".join(f"{value:.4g} ({name})" for name, value in ratios.items())
    lines.append(
        f"pulled along {along.removeprefix('x along ')}: Young's modulus {young:.5g} {unit}, Poisson's ratio {contractions}"
    )
    verdict = "stable" if constants.stable else "not stable"
    lines.append(f"{verdict} at rest (Born): smallest eigenvalue of the stiffness {constants.eigenvalues[0]:.5g} {unit}")
    return content, lines


def course_of(
    crystal: Any,
    course: StrainPath | StressPath,
    results: tuple[np.ndarray, dict[str, np.ndarray]],
    kind: tuple[Course, str | None],
    unit: str,
) -> Summary:
    """Where stability ends along a path, and its peaks. `results`: amplitudes and columns, converted into `unit`."""
    values, arrays = results
    content: dict[str, Any] = {}
    content["limits"] = marks = _limits(crystal, course, values, arrays)
    lines = [mark["text"] for mark in marks] or ["stable all along the path"]
    lines += course.ended
    content["peaks"] = found = []
    for name, key in (("P", "response"), ("sigma", "cauchy")):
        stress = main_stress(*kind, arrays[key])
        if stress is None:
            continue
        which = {Course.SHEAR: "xy", Course.SHEAR_STRESS: "xy", Course.VOLUMETRIC: "mean"}.get(kind[0], "xx")
        for at, value in peaks(values, stress):
            found.append({"stress": f"{name}_{which}", "value": value, "unit": unit, "at": at})
    for peak in found:
        beyond = any(mark["at"] * peak["at"] > 0.0 and abs(mark["at"]) < abs(peak["at"]) for mark in marks)
        where = ", beyond the limit of stability" if beyond else ""
        lines.append(f"peak of {peak['stress']}: {peak['value']:.5g} {unit} at s = {peak['at']:.4g}{where}")
    return Summary(content, tuple(lines), tuple(mark["at"] for mark in marks))


def wave_of(rest: AtRest, label: str, density: float, strain: float, speed: float) -> Summary:
    """Cell, density, modulus and speed of a longitudinal plane wave along x.

    `density` in g/cm³ and `speed` in nm/ps, or in the units of the potential; `strain` is that around the pulse.
    """
    crystal, metal = rest.turned, rest.turned.potential.units == "metal"
    cell, in_words = _cell(rest, "Å" if metal else "sigma")
    words = f"{label} at rest: {in_words}"
    # In nm and ps a density in g/cm³ goes with GPa.
    modulus, unit = density * speed**2, factor(crystal)[1]
    mass_unit, speed_unit = ("g/cm^3", "nm/ps") if metal else (f"m/sigma^{dimension(crystal)}", "sqrt(eps/m)")
    content = {
        "crystal": words,
        "cell": cell,
        "x, y, z along these directions of the crystal": _axes(rest).tolist(),
        "density": {"value": density, "unit": mass_unit},
        "strain around the pulse": strain,
        "modulus of a longitudinal plane wave": {"value": modulus, "unit": unit},
        "speed of a longitudinal plane wave": {"value": speed, "unit": speed_unit},
    }
    at = f", at the strain {strain:g}" if strain else ""
    lines = (
        f"{words}, density {density:.6g} {mass_unit}",
        f"longitudinal plane wave, {_along(rest)}{at}: modulus {modulus:.5g} {unit}, speed {speed:.5g} {speed_unit}",
    )
    return Summary(content, lines)


def pulled_of(body: Body, positions: np.ndarray, loads: np.ndarray, columns: dict[str, np.ndarray], unit: str) -> Summary:
    """The largest mean stress of a body that is pulled, if it has one, and the largest von Mises stress of a cell, as drawn.

    `positions` (sites, dim): of the sites, at the load 0. `columns`: u and P by key, P in `unit`.
    """
    stress, content, lines = columns["response"], {}, []
    if body.block is not None:
        nominal = body.nominal(stress)
        k = _largest(nominal)
        content["largest mean stress"] = {"value": float(nominal[k]), "unit": unit} | _when(body, loads[k])
        last = ", the last state" if k == len(loads) - 1 else ""
        lines.append(f"largest mean stress: {nominal[k]:.5g} {unit} {_when_in_words(body, loads[k])}{last}")
    local = np.array([body.mises(u, P) for u, P in zip(columns["macro.position"], stress, strict=True)])
    k, cell = np.unravel_index(_largest(local.ravel()), local.shape)
    place = body.over_cells(positions)[cell]
    content["largest von Mises stress"] = {
        "value": float(local[k, cell]),
        "unit": unit,
        "position": place.tolist(),
        "unit of the position": body.unit,
        **_when(body, loads[k]),
    }
    where = f"{', '.join('xyz'[: len(place)])} = {', '.join(f'{x:.4g}' for x in place)} {body.unit}"
    lines.append(
        f"largest von Mises stress, mean of a cell: {local[k, cell]:.5g} {unit} at {where}, {_when_in_words(body, loads[k])}"
    )
    return Summary(content, tuple(lines))


def _largest(values: np.ndarray) -> int:
    """The number of the largest value; of those that are equal by symmetry the first."""
    top = values.max()
    return int(np.argmax(values >= top - _ALIKE * abs(top)))


def _when(body: Body, load: float) -> dict[str, float]:
    return {"applied strain": body.strain * float(load), "load": float(load)}


def _when_in_words(body: Body, load: float) -> str:
    return f"at the applied strain {body.strain * load:.4g}, load {load:.4g}"


def _axes(rest: AtRest) -> np.ndarray:
    """x, y, z as rows (d, d), in the frame of the crystal."""
    return np.eye(len(rest.turned.lattice)) if rest.orientation is None else rest.orientation.rotation


def _along(rest: AtRest) -> str:
    """What x and y are along, in words; "x" where the crystal is not turned."""
    return "x" if rest.orientation is None else rest.orientation.words


def _cell(rest: AtRest, unit: str) -> tuple[dict[str, float], str]:
    """Lengths and angles of the cell, as data and in words."""
    lattice = rest.conventional
    d = len(lattice)
    lengths = np.linalg.norm(lattice, axis=1)
    pairs = {"gamma": (0, 1)} if d == 2 else {"alpha": (1, 2), "beta": (0, 2), "gamma": (0, 1)}
    angles = {
        name: float(np.degrees(np.arccos(lattice[i] @ lattice[j] / (lengths[i] * lengths[j]))))
        for name, (i, j) in pairs.items()
    }
    data = {name: float(length) for name, length in zip("abc", lengths, strict=False)} | angles
    shown = {name: f"{value:.6g}" for name, value in data.items()}
    if rest.structure is None:
        sizes = ", ".join(f"{name} = {shown[name]}" for name in "abc"[:d])
        corners = ", ".join(f"{name} = {shown[name]}" for name in angles)
        return data, f"{sizes} {unit}, {corners} degrees"
    kind = rest.structure.value
    if rest.structure not in (Structure.HCP, Structure.WURTZITE):
        return data, f"{kind}, lattice constant {shown['a']} {unit}"
    words = f"{kind}, a = {shown['a']}, c = {shown['c']} {unit}, c/a = {data['c'] / data['a']:.6g}"
    if rest.structure is Structure.WURTZITE:
        heights = np.asarray(rest.equilibrium.crystal.basis)[:, 2]
        data["u"] = float((heights[2] - heights[0]) % 1.0)
        words += f", u = {data['u']:.6g}"
    return data, words


def _listed(head: str, values: dict[str, float], unit: str) -> list[str]:
    """A list of constants on as many lines as it needs."""
    # Blanks within an entry do not break.
    entries = ", ".join(f"{name}\0=\0{value:.5g}" for name, value in values.items())
    return [line.replace("\0", " ") for line in textwrap.wrap(f"{head}{entries}\0{unit}", _WIDTH, subsequent_indent="  ")]


def _limits(crystal: Any, course: StrainPath | StressPath, values: np.ndarray, arrays) -> list[dict[str, Any]]:
    """Where stability ends on either side of the amplitude nearest to rest, found by bisection."""
    margin = np.minimum(arrays["acoustic"], arrays.get("internal", np.inf))
    stable = (margin > 0.0) & (arrays["result"] == 0)
    begin = int(np.argmin(np.abs(values)))
    if not stable[begin]:
        text = f"the crystal is not stable at the amplitude {values[begin]:.4g}, the nearest to rest"
        return [{"at": float(values[begin]), "text": text}]
    found = []
    for side in (range(begin + 1, len(values)), range(begin - 1, -1, -1)):
        inside = values[begin]
        for k in side:
            if not stable[k]:
                found.append(_bisected(crystal, course, float(inside), float(values[k])))
                break
            inside = values[k]
    return found


def _bisected(crystal: Any, course: StrainPath | StressPath, inside: float, outside: float) -> dict[str, Any]:
    from fiberax.physics.solids.crystal.ellipticity import stability

    reason, accuracy = "no relaxed state", 1e-6 * max(1.0, abs(outside), abs(inside))
    while abs(outside - inside) > accuracy:
        middle = 0.5 * (inside + outside)
        try:
            looked = stability(crystal, course.at(middle))
            good, reason = looked.stable, looked.in_words() if not looked.stable else reason
        except FiberaxError as error:
            good, reason = False, str(error)
        inside, outside = (middle, outside) if good else (inside, middle)
    return {"at": outside, "text": f"limit of stability at s = {outside:.5f}: {reason}"}
