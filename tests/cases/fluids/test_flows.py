"""The cases channel, cavity and kolmogorov against series, an independent Stokes solver and balances; what they refuse."""

import json
import warnings

import numpy as np
import pytest
import scipy.sparse as sparse
from scipy.integrate import solve_ivp
from scipy.sparse.linalg import spsolve

import fiberax as fx
from fiberax import cli
from fiberax.cases.base import CaseWarning
from fiberax.cases.fluids.cavity import Cavity, vortex
from fiberax.cases.fluids.channel import Channel
from fiberax.cases.fluids.flows import StiffWatch, linear_modes
from fiberax.cases.fluids.fluids_common import Form, Model
from fiberax.cases.fluids.kolmogorov import Kolmogorov, stream_function
from fiberax.core.errors import BadInput
from fiberax.io.microstates import read_microstates
from fiberax.io.results import read_table


def run(folder, case, *arguments):
    """The results of a run of the command."""
    assert cli.main(["run", case, *arguments, "--plain", "--quiet", "--out", str(folder)]) == 0
    table = read_table(folder)
    assert table is not None
    return table


def waters_king(y, t, Re, nu, De, F):
    """Start-up of Poiseuille flow of an Oldroyd-B fluid (Rheol. Acta 9, 1970), by the roots of each mode's equation."""
    k = np.arange(1, 800, 2)
    q, f = np.pi * k, 4.0 * F / (np.pi * k)
    b, a, c = Re + nu * De * q**2, Re * De, q**2
    root = np.sqrt((b**2 - 4.0 * a * c).astype(complex))
    first, second = (-b + root) / (2.0 * a), (-b - root) / (2.0 * a)
    rest = f / q**2
    weight = (f / Re + second * rest) / (first - second)
    u = rest + weight * np.exp(first * t) - (rest + weight) * np.exp(second * t)
    return np.sin(np.outer(y, q)) @ u.real


def test_channel_starts_as_waters_and_king_say(tmp_path):
    arguments = ["--form", "density", "--dim", "2", "--viscosity-ratio", "0.3", "--Re", "0.8", "--De", "0.5"]
    table = run(tmp_path / "run", "channel", *arguments, "--cells", "16", "--t1", "1.2", "--records", "6", "--gradient", "8")
    a, y = table.arrays, np.linspace(0.0, 1.0, 17)
    for k, t in list(enumerate(table.values))[1:]:
        truth = waters_king(y, t, 0.8, 0.3, 0.5, 8.0)
        np.testing.assert_allclose(a["U_exact"][k], truth, atol=1e-5)
        assert np.abs(a["U"][k] - truth).max() < 0.01 * truth.max()
    assert a["U_centre"][-1] == pytest.approx(a["U"][-1, 8]) and a["velocity"].shape == (7, 16, 2)
    (nodes,) = (place for place in table.schema.places if place.dim == "point")
    assert nodes.quantity.name == "y_node" and nodes.values == pytest.approx(np.linspace(0.0, 1.0, 17))
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert 0.0 < found["largest deviation from the exact velocity"] < 0.02
    names = {path.name for path in (tmp_path / "run" / "figures").glob("*.png")}
    assert names == {"velocity.png", "stress.png", "centre.png", "configurations.png"}


def test_replicas_give_errors_of_the_velocity(tmp_path):
    """The mean of several flows is as far from the exact velocity as its standard error says, at any time."""
    short = ["--cells", "8", "--t1", "1", "--records", "4", "--viscosity-ratio", "0.3", "--dim", "2"]
    a = run(tmp_path / "run", "channel", *short, "--members", "320", "--replicas", "8").arrays
    assert a["U"].shape == a["U_stderr"].shape == a["U_exact"].shape and a["tau"].shape == a["tau_stderr"].shape
    off = (a["U_centre"] - a["U_centre_exact"])[1:] / a["U_centre_stderr"][1:]
    assert np.all(np.abs(off) < 5.0) and np.all(a["U_centre_stderr"][1:] > 0.0)
    # Some tens is the deviation of the shear stress of one spring at these rates.
    assert 1e-3 < a["U_centre_stderr"][-1] < 0.5
    words = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert "largest standard error of the stress over the largest stress" in words


@pytest.mark.parametrize("Re", [0.0, 0.7])
def test_modes_of_linear_chains_solve_their_equations(Re):
    options = Channel(model=Model.CHAIN, springs=3, Re=Re, viscosity_ratio=0.2, De=0.6)
    De, weight = 0.6 / (2.0 * np.sin(np.pi * np.arange(1, 4) / 8.0) ** 2), 0.8 / 0.6
    q, f, times = 2.0, 1.5, np.linspace(0.0, 3.0, 4)
    velocity = lambda s: (f - q * weight * s.sum()) / (0.2 * q**2)

    def rate(t, x):
        u, s = (velocity(x[1:]), x[1:]) if Re == 0.0 else (x[0], x[1:])
        first = 0.0 if Re == 0.0 else (f - 0.2 * q**2 * u - q * weight * s.sum()) / Re
        return [first, *(q * u - s / De)]

    truth = solve_ivp(rate, (0.0, 3.0), np.zeros(4), "LSODA", t_eval=times, rtol=1e-10, atol=1e-12).y
    modes = linear_modes(np.array([q]), options, f)
    u, s = np.array([modes(t) for t in times])[..., 0].T
    np.testing.assert_allclose(s, truth[1:].sum(axis=0), atol=1e-8)
    expected = truth[0] if Re else [velocity(x) for x in truth[1:].T]
    np.testing.assert_allclose(u, expected, atol=1e-8)


@pytest.mark.slow
def test_couette_flow_of_members_has_their_stress_with_errors(tmp_path):
    """In the end κ_xy = 1 everywhere, τ_xy = De and N1 = 2 De² of Hookean springs; states are saved on request."""
    arguments = ["--drive", "wall", "--members", "300", "--cells", "6", "--De", "0.8", "--dim", "2", "--records", "3"]
    table = run(tmp_path / "run", "channel", *arguments, "--Re", "0.2", "--viscosity-ratio", "0.7", "--save-states")
    a = table.arrays
    shear = 6.0 * np.diff(a["U"][-1])
    off = np.abs(a["tau"][-1, :, 0, 1] - 0.8 * shear) / a["tau_stderr"][-1, :, 0, 1]
    assert np.all(off < 4.5) and np.any(off > 0.0) and np.all(a["tau_stderr"][-1, :, 0, 1] > 0.02)
    assert np.all(np.abs(a["N1"][-1] - 2.0 * 0.64) < 5.0 * a["tau_stderr"][-1, :, 0, 0])
    assert a["state"].shape == (4, 6, 2, 300)
    moment = np.einsum("syik,syjk->syij", a["state"], a["state"]) / 300
    np.testing.assert_allclose(a["conformation"], moment, atol=1e-12)
    np.testing.assert_allclose(a["tau"], moment, atol=1e-12)
    assert all(" at (0, 0." in m.caption for m in read_microstates(tmp_path / "run"))


@pytest.mark.slow
@pytest.mark.parametrize("case", ["channel", "cavity", "kolmogorov"])
def test_closures_flow(case, tmp_path):
    """Couette flow of FENE-P ends at the stress of steady shear; in other flows springs stay shorter than they can."""
    arguments = ["--model", "fene-p", "--b", "20", "--dim", "2", "--De", "1", "--records", "2", "--cells", "12", "--Re", "0.2"]
    more = ["--drive", "wall", "--speed", "4", "--t1", "30", "--viscosity-ratio", "0.7"] if case == "channel" else ["--t1", "1"]
    table = run(tmp_path / "run", case, *arguments, *more)
    tau, c = table.arrays["tau"][-1], table.arrays["conformation"][-1]
    assert np.trace(c, axis1=-2, axis2=-1).max() < 20.0 and np.linalg.eigvalsh(c.reshape(-1, 2, 2)).min() > 0.0
    if case == "channel":
        f = max(r.real for r in np.roots([20.0, -22.0, 0.0, -2.0 * 4.0**2]) if abs(r.imag) < 1e-9)
        np.testing.assert_allclose(tau[:, 0, 1], 4.0 / f, rtol=1e-6)
        np.testing.assert_allclose(table.arrays["N1"][-1], 2.0 * (4.0 / f) ** 2, rtol=1e-6)


def stokes(n, lid):
    """ψ (n + 1, n + 1) of Stokes flow in the unit square under a lid: the biharmonic equation with thirteen points."""
    h, index = 1.0 / n, lambda i, j: i * (n + 1) + j
    stencil = {(0, 0): 20, (1, 0): -8, (-1, 0): -8, (0, 1): -8, (0, -1): -8, (1, 1): 2, (1, -1): 2, (-1, 1): 2, (-1, -1): 2}
    stencil |= {(2, 0): 1, (-2, 0): 1, (0, 2): 1, (0, -2): 1}
    A, right = sparse.lil_matrix(((n + 1) ** 2,) * 2), np.zeros((n + 1) ** 2)
    for i in range(n + 1):
        for j in range(n + 1):
            row = index(i, j)
            if i in (0, n) or j in (0, n):
                A[row, row] = 1.0
                continue
            for (a, b), weight in stencil.items():
                x, y = i + a, j + b
                if y == n + 1:  # ∂ψ/∂y = lid on the wall between the ghost and its mirror image
                    right[row] -= weight * 2.0 * h * lid(i * h)
                x, y = (2 * n - x if x > n else abs(x)), (2 * n - y if y > n else abs(y))
                A[row, index(x, y)] += weight
    return spsolve(A.tocsr(), right).reshape(n + 1, n + 1)


@pytest.mark.slow
def test_newtonian_cavity_is_that_of_the_biharmonic_equation(tmp_path):
    table = run(
        tmp_path / "run",
        "cavity",
        "--viscosity-ratio",
        "1",
        "--cells",
        "16",
        "--t1",
        "1.6",
        "--records",
        "1",
        "--De",
        "0.1",
        "--dt",
        "0.02",
    )
    a, lid = table.arrays, lambda x: 8.0 * (1.0 + np.tanh(8.0 * 1.1)) * x**2 * (1.0 - x) ** 2
    psi = stokes(24, lid)
    centre, lowest = vortex(psi)
    assert a["vortex_psi"][-1] == pytest.approx(float(lowest), rel=0.02) and lowest < -0.08
    np.testing.assert_allclose(a["vortex_centre"][-1], centre, atol=4e-3)
    assert a["vortex_centre"][-1, 0] == pytest.approx(0.5, abs=1e-4)
    u, v = np.moveaxis(a["velocity"][-1], -1, 0)
    np.testing.assert_allclose(u, u[::-1], atol=1e-10)
    np.testing.assert_allclose(v, -v[::-1], atol=1e-10)
    # What goes down through a horizontal line goes up again, cell by cell to round-off.
    assert np.abs(v.sum(axis=0)).max() < 1e-10 and np.abs(u.sum(axis=1)).max() < 1e-10
    assert {p.name for p in (tmp_path / "run" / "figures").glob("*.png")} == {
        "fields.png", "ellipses.png", "energy.png", "configurations.png"
    }  # fmt: skip
    head = (tmp_path / "run" / "paraview" / "fields_000001.vti").read_bytes()[:2500].decode("latin1")
    for name, components in (("velocity", 3), ("tau", 9), ("psi", 1), ("conformation", 9)):
        assert f'Name="{name}" NumberOfComponents="{components}"' in head
    assert not list((tmp_path / "run").glob("**/state*.npz")) and "state" not in a


@pytest.mark.slow
def test_kolmogorov_flow_is_laminar_at_first_and_loses_no_energy(tmp_path):
    """Newtonian: a = F/n² (1 − exp(−n² t/Re)); with springs the powers add up to what the motion gains."""
    laminar = run(
        tmp_path / "laminar", "kolmogorov", "--viscosity-ratio", "1", "--disturbance", "0", "--cells", "8", "--Re", "2",
        "--force", "3", "--t1", "2", "--records", "4", "--dt", "0.02", "--no-figures",
    )  # fmt: skip
    t = laminar.values
    np.testing.assert_allclose(laminar.arrays["amplitude"], 0.75 * (1.0 - np.exp(-2.0 * t)), atol=2e-4)
    np.testing.assert_allclose(laminar.arrays["amplitude_laminar"], 0.75 * (1.0 - np.exp(-2.0 * t)), atol=1e-12)
    np.testing.assert_allclose(laminar.arrays["kinetic_energy"], 0.5 * laminar.arrays["amplitude"] ** 2, rtol=1e-6)

    mill = [
        "--forcing",
        "four-roll",
        "--waves",
        "1",
        "--cells",
        "16",
        "--Re",
        "2",
        "--De",
        "0.4",
        "--t1",
        "1.5",
        "--dt",
        "0.01",
    ]
    a = run(tmp_path / "mill", "kolmogorov", *mill, "--records", "30").arrays
    # Stresses are of half a step before: 0.005 of 1.5, times the share of the fibers.
    missing = json.loads((tmp_path / "mill" / "summary.json").read_text())
    assert abs(missing["energy that is missing, relative to the work of the force"]) < 2e-3
    # Hookean springs store (1 − ν)/(2 De) ⟨tr c − 2⟩ and lose it at twice that over De.
    gain = np.gradient(a["elastic_energy"], 1.5 / 30) + 2.0 * a["elastic_energy"] / 0.8
    np.testing.assert_allclose(gain[2:-2], a["power_fibers"][2:-2], rtol=0.02, atol=0.002)
    assert a["elastic_energy"][-1] > 0.05 and np.all(np.linalg.eigvalsh(a["conformation"]) > 0.0)


def test_summary_of_a_cavity():
    """The last record counts, and the change since four fifths of the time."""
    times, kinetic = np.linspace(0.0, 10.0, 11), np.array([0.0, 1, 2, 3, 4, 5, 6, 7, 8, 9.5, 10.0])
    columns = {"kinetic": kinetic, "vortex.psi": -0.01 * kinetic, "vortex.centre": np.linspace([0.5, 0.7], [0.4, 0.8], 11)}
    found = Cavity(cells=8).build().summary(times, columns)
    change = "change of the kinetic energy over the last fifth, relative"
    right = {"vortex centre": [0.4, 0.8], "stream function there": -0.1, "kinetic energy": 10.0, change: 0.2}
    assert found.content.keys() == right.keys()
    for key, value in right.items():
        assert found.content[key] == pytest.approx(value), key
    assert "(0.4000, 0.8000), stream function -0.1 there, kinetic energy 10" in found.lines[0] and "by 20 %" in found.lines[1]


def test_stream_functions():
    x = 2.0 * np.pi * (np.arange(12) + 0.5) / 12
    psi = np.sin(x)[:, None] * np.cos(2.0 * x)
    np.testing.assert_allclose(stream_function(5.0 * psi), psi, atol=1e-14)
    s = np.linspace(0.0, 1.0, 21)
    where, value = vortex(-np.outer(np.sin(np.pi * s) * np.exp(s), np.sin(np.pi * s**1.5)))
    # tan πx = −π and y^1.5 = 1/2
    np.testing.assert_allclose(where, [1.0 - np.arctan(np.pi) / np.pi, 0.5 ** (2.0 / 3.0)], atol=2e-4)
    assert value == pytest.approx(-np.sin(np.arctan(np.pi)) * np.exp(where[0]), rel=1e-4)
    assert np.isnan(vortex(np.zeros((5, 5)))[0]).all()


def test_a_step_that_grows_too_long_is_told_once():
    """The limit of short waves is De ν/((1 − ν) τ), that of waves without solvent √(Re De/τ)/k."""
    options, grid = Cavity(De=0.5, viscosity_ratio=0.5), fx.grids.Box((0.0, 0.0), (1.0, 1.0), (8, 8), periodic=False)
    assert options.stiff_limit(grid, 100.0) == pytest.approx(0.005)
    inviscid = Kolmogorov(De=0.5, viscosity_ratio=0.0, Re=2.0)
    assert inviscid.stiff_limit(grid, 1.0) == pytest.approx(1.0 / np.sqrt(2.0 * 16.0**2))
    assert Channel(viscosity_ratio=1.0).stiff_limit(grid, 1.0) == np.inf
    watch = StiffWatch(options, grid, 0.01)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert watch(0.1, 10.0) == pytest.approx(0.05)
        watch(0.2, 100.0)
        watch(0.3, 200.0)
    assert len(told) == 1 and issubclass(told[0].category, CaseWarning) and "t = 0.2" in str(told[0].message)
    assert options.build().dt < 0.05


@pytest.mark.parametrize("case", [Channel(cells=4, replicas=1), Cavity(cells=8), Kolmogorov(cells=8, waves=1)])
def test_the_fiber_of_a_run_is_built_once(case, monkeypatch):
    """Bundle, pictures and columns have the same."""
    built, build = [], type(case).fiber
    monkeypatch.setattr(type(case), "fiber", lambda self: built.append(build(self)) or built[-1])
    problem = case.build()
    assert built == [problem.bundle.fiber] and problem.bundle.fiber is built[0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (lambda: Channel(dt=1.0), "no step above 0.112"),
        (lambda: Channel(Re=0.0, viscosity_ratio=0.0), "nothing to solve for"),
        (lambda: Channel(Re=0.0, model=Model.ROD, viscosity_ratio=0.1), "--viscosity-ratio = 0.1: rods without inertia"),
        (lambda: Channel(viscosity_ratio=1.5), "at most 1"),
        (lambda: Cavity(model=Model.ROD), "Give --dim 3"),
        (lambda: Cavity(model=Model.CHAIN), "Use brownian"),
        (lambda: Cavity(spring="1 + s", form=Form.DENSITY), "needs --form brownian"),
        (lambda: Kolmogorov(waves=30), "more than 90 cells"),
        (lambda: Channel(members=10, replicas=4), "--members 10 cannot be divided among --replicas 4"),
    ],
)
def test_what_cannot_be_is_refused(options, words):
    with pytest.raises(BadInput, match=words):
        options().build()
