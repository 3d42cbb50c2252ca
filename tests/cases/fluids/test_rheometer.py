"""The case rheometer: material functions against closed forms; what it refuses; kill and resume."""

import json
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.cases.base import CaseWarning
from fiberax.cases.fluids.fluids_common import CLOSURES, Form, Model, Potential
from fiberax.cases.fluids.rheology import hookean, second_moment
from fiberax.cases.fluids.rheometer import Flow, Mode, Rheometer
from fiberax.core.errors import BadInput
from fiberax.io import log
from fiberax.io.microstates import read_microstates
from fiberax.io.records import write_record
from fiberax.io.results import read_table


def run(folder, *arguments):
    """The results of a run of the command."""
    assert cli.main(["run", "rheometer", *arguments, "--plain", "--quiet", "--out", str(folder)]) == 0
    return read_table(folder)


@pytest.fixture(scope="module")
def shear(tmp_path_factory):
    """Steady shear of Hookean dumbbells, sampled."""
    folder = tmp_path_factory.mktemp("shear") / "run"
    arguments = ["--spring", "hookean", "--dim", "2", "--rates", "0.5,2", "--members", "60", "--replicas", "4", "--De", "0.7"]
    return folder, run(folder, *arguments)


def test_sampled_hookean_dumbbells_are_the_oldroyd_b_fluid(shear):
    """η = De, N1 = 2 (De γ̇)²; with control the errors of the viscosity are those of few members."""
    folder, table = shear
    a, rate = table.arrays, table.values
    assert rate.tolist() == [0.5, 2.0] and not a["result"].any()
    assert np.all(np.abs(a["viscosity"] - 0.7) < 4.0 * a["viscosity_stderr"])
    assert np.all(np.abs(a["N1"] - 2.0 * (0.7 * rate) ** 2) < 4.0 * a["N1_stderr"])
    assert np.all(a["viscosity_stderr"] < 0.05) and np.all(a["viscosity_stderr"] > 1e-4)
    np.testing.assert_allclose(a["viscosity_exact"], 0.7, rtol=1e-12)
    np.testing.assert_allclose(a["N1_exact"], 2.0 * (0.7 * rate) ** 2, rtol=1e-12)
    # tan 2χ = 1/(De γ̇)
    chi = np.degrees(0.5 * np.arctan2(1.0, 0.7 * rate))
    assert np.all(np.abs(a["angle"] - chi) < 4.0 * a["angle_stderr"])
    assert json.loads((folder / "summary.json").read_text())["zero-rate viscosity"] == pytest.approx(0.7)
    assert {p.name for p in (folder / "figures").glob("*.png")} == {"material-functions.png", "configurations.png"}
    assert [m.caption for m in read_microstates(folder)] == ["shear rate = 0.5", "shear rate = 2"]
    header = (folder / "table.csv").read_text().splitlines()[0].split(",")
    assert {"rate [1/time]", "viscosity", "viscosity_stderr", "N1", "N1_stderr", "tau_xy", "tau_stderr_xy", "Psi1"} <= set(
        header
    )


def test_a_killed_table_goes_on_and_draws_the_same_numbers(shear, capsys):
    folder, table = shear
    write_record(folder, 0, table.values[0], {v.key: table.arrays[v.quantity.name][0] for v in table.schema.variables})
    (folder / "results.nc").unlink()
    log.write_state(folder, "running", {})
    assert cli.main(["resume", str(folder), "--quiet"]) == 0
    again = read_table(folder)
    for name, array in table.arrays.items():
        assert again.arrays[name].tobytes() == array.tobytes(), name
    assert len(read_microstates(folder)) == 2
    capsys.readouterr()
    assert cli.main(["status", str(folder)]) == 0 and "finished" in capsys.readouterr().out


def test_fene_density_in_extension_is_the_closed_form(tmp_path):
    """In potential flow ψ is known: (1 − |z|²/b)^(b/2) exp(De ε (x² − y²))."""
    arguments = ["--form", "density", "--dim", "2", "--b", "20", "--flow", "planar", "--low", "0.2", "--high", "0.6"]
    table = run(tmp_path / "run", *arguments, "--rows", "2", "--no-figures")
    u = np.linspace(-1.0, 1.0, 1201)[1:-1] * 20.0**0.5
    x, y = np.meshgrid(u, u, indexing="ij")
    inside = np.where(x**2 + y**2 < 20.0, 1.0 - (x**2 + y**2) / 20.0, 0.0)
    for k, rate in enumerate(table.values):
        psi = inside**10 * np.exp(rate * (x**2 - y**2))
        stress = np.sum((x**2 - y**2) * inside**9 * np.exp(rate * (x**2 - y**2))) / np.sum(psi)
        assert table.arrays["viscosity"][k] == pytest.approx(stress / rate, rel=1e-6)


@pytest.mark.slow
def test_startup_of_a_chain_is_that_of_rouse(tmp_path):
    """Within the errors over replicas at every time, at which fibers and records belong together."""
    arguments = ["--model", "chain", "--springs", "3", "--spring", "hookean", "--dim", "2", "--members", "150"]
    arguments += ["--mode", "startup", "--rates", "0.3,3", "--span", "4", "--records", "8", "--replicas", "16"]
    table = run(tmp_path / "run", *arguments)
    a, De = table.arrays, 1.0 / (2.0 * np.sin(np.pi * np.arange(1, 4) / 8.0) ** 2)
    t = table.values
    assert t[0] == 0.0 and t[-1] == pytest.approx(4.0) and table.schema.places[0].values == [0.3, 3.0]
    exact = np.sum(De * (1.0 - np.exp(-t[:, None] / De)), axis=1)
    np.testing.assert_allclose(a["viscosity_exact"], exact[:, None] * np.ones(2), rtol=1e-10, atol=1e-12)
    # Fifteen degrees of freedom: 4.9 errors are as rare as four of a Gaussian.
    assert np.all(np.abs(a["viscosity"][1:] - exact[1:, None]) < 4.9 * a["viscosity_stderr"][1:])
    assert np.all(a["viscosity_stderr"][1:] < 0.2 * exact[1:, None])
    assert (tmp_path / "run" / "figures" / "transient.png").stat().st_size > 10_000


@pytest.mark.parametrize("mode", [Mode.STARTUP, Mode.RELAXATION])
def test_records_fibers_and_flow_are_of_one_time(mode):
    """A Gaussian density is followed exactly, so that a lag of a fraction of a step would show."""
    options = {"mode": mode, "rates": "2", "span": 1.0, "records": 2, "dt": 0.05}
    options |= {"before": 1.0} if mode is Mode.RELAXATION else {}
    p = Rheometer(spring="hookean", dim=2, form=Form.DENSITY, **options).build()
    found = fx.evolve(p.bundle, p.driver, p.macro0, t0=p.t0, t1=p.t1, dt=p.dt, saveat=p.saveat)
    t, reached = np.asarray(found.ts), 2.0 * (1.0 - np.exp(-1.0))
    exact = 2.0 * (1.0 - np.exp(-t)) if mode is Mode.STARTUP else reached * np.exp(-np.maximum(t, 0.0))
    np.testing.assert_allclose(np.asarray(found.response["stress"])[:, 0], exact, atol=1e-8)
    rate = found.to_xarray(p.names, p.output)["viscosity"].coords["rate"]
    assert rate.dims == ("site",) and rate.values.tolist() == [2.0] and rate.attrs["units"] == "1/time"


def test_small_oscillations(tmp_path):
    """Dilute rods: G* = 3/5 iωτ/(1 + iωτ) + iωDe/30, τ = De/6. FENE: G''/ω is the viscosity at small rates, b/(b + 4)."""
    rods = run(
        tmp_path / "rods",
        "--model",
        "rod",
        "--form",
        "density",
        "--mode",
        "oscillation",
        "--De",
        "2",
        "--rows",
        "5",
        "--degree",
        "6",
    )
    x = 1j * rods.values * 2.0
    modulus = 0.6 * (x / 6.0) / (1.0 + x / 6.0) + x / 30.0
    np.testing.assert_allclose(rods.arrays["storage"], modulus.real, rtol=1e-9)
    np.testing.assert_allclose(rods.arrays["loss"], modulus.imag, rtol=1e-9)
    np.testing.assert_allclose(rods.arrays["loss_exact"], modulus.imag, rtol=1e-9)
    fene = Rheometer(form=Form.DENSITY, dim=2, b=12.0, mode=Mode.OSCILLATION, low=1e-3, rows=1).build()
    small = fx.responses(fene.fiber, fene.conditions).value
    assert float(small["loss"][0]) / 1e-3 == pytest.approx(12.0 / 16.0, rel=1e-5)


@pytest.mark.slow
def test_rods_of_members_order_as_their_density_does(tmp_path):
    arguments = ["--model", "rod", "--potential", "maier-saupe", "--intensity", "2", "--flow", "uniaxial", "--rates", "3"]
    members = run(tmp_path / "a", *arguments, "--members", "200", "--replicas", "4", "--average", "150", "--no-figures")
    density = run(tmp_path / "b", *arguments, "--form", "density", "--degree", "12")
    for name in ("viscosity", "order"):
        away = np.abs(members.arrays[name] - density.arrays[name])
        # The mean field of 200 rods has a bias of order 1/200.
        assert away < 4.0 * members.arrays[f"{name}_stderr"] + density.arrays[name] / 200
    assert 0.4 < density.arrays["order"][0] < 0.9
    (shown,) = read_microstates(tmp_path / "b")
    assert np.nanmax(shown.arrays["rod map"]) > 2.0 > np.nanmin(shown.arrays["rod map"])


def test_a_history_and_a_law_of_ones_own(tmp_path):
    file = tmp_path / "flow.txt"
    file.write_text("0 0 1 0 0\n1 0 3 0 0\n")
    problem = Rheometer(history=file, mode=Mode.STARTUP, dim=2, dt=0.1, records=10, members=4, spring="1 + 0.2*s").build()
    kappa = problem.bundle.macro.conditions
    assert problem.t0 == 0.0 and problem.t1 == pytest.approx(1.0)
    np.testing.assert_allclose(np.asarray(kappa(np.asarray(0.5)))[0], [[0.0, 2.0], [0.0, 0.0]], atol=1e-12)
    spring = problem.bundle.fiber.inner.spring
    assert float(spring.factor(np.asarray(2.0))) == pytest.approx(1.4)


def test_exact_stress_of_steady_uniaxial_extension():
    (tau,) = hookean(np.diag([0.2, -0.1, -0.1]), np.array([np.inf]), np.array([1.0]))
    np.testing.assert_allclose(np.diag(tau), [1 / 0.6, 1 / 1.2, 1 / 1.2], rtol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"spring": "hookean", "flow": Flow.UNIAXIAL}, r"drawn out without end from the rate 0\.5 on: lower --high"),
        ({"spring": "s + q"}, r"--spring 's \+ q': 'q' is not known. Use s, pi"),
        ({"spring": "1 - s"}, r"at s = 1\.01 it is no finite number >= 0. Give --b"),
        ({"spring": "1 + s", "form": Form.DENSITY}, "--form density takes --spring hookean or fene"),
        ({"spring": "hookean", "b": 3.0}, "--b 3.0 has no effect: it counts with --spring other than hookean or with"),
        ({"b": 1.5}, "b must be finite and above 2"),
        ({"model": Model.CHAIN, "form": Form.DENSITY}, "--form density is not there for chains"),
        ({"model": Model.ROD, "dim": 2}, "--dim 2: rods are unit vectors in three dimensions"),
        ({"potential": Potential.ONSAGER}, "or give --model rod"),
        ({"flow": Flow.UNIAXIAL, "dim": 2}, "--flow uniaxial has three dimensions"),
        ({"gradient": "0,1,0,0"}, "--gradient = 0,1,0,0: give 9 numbers"),
        ({"gradient": "1,0,0,0,1,0,0,0,1"}, "the trace must be zero"),
        ({"rates": "1,-2"}, "--rates = 1,-2: give positive numbers"),
        ({"low": 3.0, "high": 1.0}, "--high = 1 is not above --low = 3"),
        ({"mode": Mode.OSCILLATION, "model": Model.ROD, "potential": Potential.ONSAGER, "intensity": 12.0},
         "isotropic rest is not stable"),
        ({"mode": Mode.OSCILLATION, "form": Form.DENSITY, "model": Model.ROD, "potential": Potential.MAIER_SAUPE,
          "intensity": 6.0}, "isotropic rest is not stable"),
    ],
)  # fmt: skip
def test_misuse_is_named(options, message):
    with pytest.raises(BadInput, match=message):
        Rheometer(**options).build()


def test_springs_by_name_and_formulas_that_are_0_over_0_at_rest():
    s = jnp.asarray([0.0, 1.0, 9.0])
    for name, formula in (
        ("worm-like", "(2/3)*(1/(4*(1 - sqrt(s/12))**2) - 1/4 + sqrt(s/12))/sqrt(s/12)"),
        ("inverse-langevin", "(1 - s/36)/(1 - s/12)"),
        ("fene", "1/(1 - s/12)"),
    ):
        named, written = (Rheometer(spring=text, b=12.0).law() for text in (name, formula))
        np.testing.assert_allclose(written.factor(s), named.factor(s), rtol=1e-5)
    tangled = Rheometer(spring="tanh(sqrt(s))/sqrt(s)").law()
    np.testing.assert_allclose(tangled.factor(s), [1.0, np.tanh(1.0), np.tanh(3.0) / 3.0], rtol=1e-9)
    with pytest.raises(BadInput, match=r"--spring '1/s': near s = .* the force h sqrt\(s\) falls"):
        Rheometer(spring="1/s").law()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": Model.PTT, "alpha": 0.3}, "--alpha 0.3 has no effect: it counts with --model giesekus only"),
        ({"model": Model.GIESEKUS, "epsilon": 0.3}, "--epsilon 0.3 has no effect: it counts with --model ptt or ptt-exp only"),
        ({"model": Model.PTT, "b": 30.0}, "--b 30.0 has no effect"),
        ({"model": Model.FENE_P, "entanglements": 5.0}, "it counts with --model rolie-poly only"),
        ({"model": Model.ROLIE_POLY, "delta": -0.4}, "--delta -0.4 has no effect: it counts with --beta above 0"),
        ({"model": Model.FENE_P, "form": Form.DENSITY}, "it counts with --model dumbbell or chain or rod only"),
        ({"model": Model.FENE_P, "members": 50}, "--members 50 has no effect"),
        ({"model": Model.FENE_CR, "b": 2.5}, r"--b 2.5: at rest tr c = 3, which it has to exceed"),
        ({"model": Model.GIESEKUS, "alpha": 1.0}, "--alpha 1: the mobility is below 1"),
    ],
)
def test_misuse_of_closures_is_named(options, message):
    with pytest.raises(BadInput, match=message):
        Rheometer(**options).build()


@pytest.mark.parametrize("model", CLOSURES, ids=lambda model: model.value)
def test_closures_oscillate_as_maxwell_says(model):
    """G' and G'' from ∂rate/∂u and ∂rate/∂κ of the closure are those of one mode; the viscosity is its product."""
    options = Rheometer(model=model, De=0.7, b=12.0 if model in CLOSURES[:2] else None, mode=Mode.OSCILLATION, rates="0.5,4")
    problem = options.build()
    fluid, omega = problem.fiber, problem.conditions
    exact = problem.derived(omega, None)
    found = jax.vmap(lambda w: fluid.link(None, w))(jnp.asarray(omega))
    np.testing.assert_allclose(found["storage"], exact["exact.storage"], rtol=1e-10)
    np.testing.assert_allclose(found["loss"], exact["exact.loss"], rtol=1e-10)
    modulus, time = options.maxwell()
    assert options.zero_rate_viscosity() == pytest.approx(modulus * time)


@pytest.mark.slow
def test_closures_in_a_rheometer(tmp_path):
    """Steady shear of Giesekus's fluid as in closed form; Rolie-Poly says where there is no steady extension."""
    arguments = ["--model", "giesekus", "--alpha", "0.3", "--De", "0.7", "--rates", "1,20"]
    table = run(tmp_path / "shear", *arguments)
    for k, wi in enumerate(0.7 * table.values):
        x = 16.0 * 0.3 * 0.7 * wi**2
        chi = np.sqrt(2.0 * (np.sqrt(1.0 + x) - 1.0) / x)
        f = (1.0 - chi) / (1.0 + 0.4 * chi)
        assert table.arrays["viscosity"][k] == pytest.approx(0.7 * (1.0 - f) ** 2 / (1.0 + 0.4 * f), rel=1e-8)
        assert table.arrays["N2"][k] == pytest.approx(-f, rel=1e-7)
    assert {p.name for p in (tmp_path / "shear" / "figures").glob("*.png")} == {"material-functions.png", "configurations.png"}
    started = run(tmp_path / "start", *arguments, "--mode", "startup", "--span", "20", "--records", "10")
    np.testing.assert_allclose(started.arrays["viscosity"][-1], table.arrays["viscosity"], rtol=1e-6)


NEMATIC = {"model": Model.ROD, "form": Form.DENSITY, "potential": Potential.MAIER_SAUPE, "intensity": 8.0}


def test_a_director_orders_rods_along_it_at_first():
    """The largest eigenvalue of ⟨mm⟩ belongs to it, and is far from the 1/3 of isotropic rods."""
    fiber = Rheometer(director=" 0, 2,-1", **NEMATIC).fiber()
    moment = np.asarray(second_moment(fiber, fiber.init(np.zeros((3, 3)), None)))
    values, vectors = np.linalg.eigh(moment)
    assert values[-1] > 0.6
    np.testing.assert_allclose(np.abs(vectors[:, -1]), np.array([0.0, 2.0, 1.0]) / 5**0.5, atol=1e-6)
    isotropic = Rheometer(**NEMATIC).fiber()
    np.testing.assert_allclose(second_moment(isotropic, isotropic.init(np.zeros((3, 3)), None)), np.eye(3) / 3, atol=1e-12)


@pytest.mark.parametrize("director", ["1,0", "0,0,0", "1,0,0,0"])
def test_a_director_is_three_numbers(director):
    with pytest.raises(BadInput, match=f"--director = {director}: give three numbers, not all zero"):
        Rheometer(director=director, **NEMATIC).fiber()


def test_misuse_of_the_command_is_one_message(tmp_path, capsys):
    assert cli.main(["run", "rheometer", "--history", str(tmp_path / "none"), "--mode", "startup"]) == 2
    said = capsys.readouterr().err
    prepared, message = said.splitlines()
    assert prepared == "Preparing rheometer" and "there is no such file" in message


def test_extension_of_springs_reaches_every_rate_by_its_density(tmp_path):
    """N1 = 946.944 at De·rate 10 and b = 50 (quadrature in tests/physics/fluids); every row has numbers."""
    table = run(tmp_path / "run", "--form", "density", "--flow", "uniaxial", "--rates", "1,10")
    assert not table.arrays["result"].any()
    np.testing.assert_allclose(table.arrays["N1"][-1], 946.944, rtol=1e-6)
    moment = table.arrays["moment"][-1]
    np.testing.assert_allclose(table.arrays["N1"][-1], 10.0 * (2.0 * moment[0, 0] + moment[1, 1]), rtol=1e-9)


def test_rates_beyond_a_density_are_named_before_the_work():
    options = Rheometer(form=Form.DENSITY, dim=2, degree=8, low=1.0, high=60.0, rows=4)
    with pytest.warns(CaseWarning, match=r"degree 8 resolves steady states up to the rate .* [123] of 4 rates are beyond it"):
        options.build()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Rheometer(form=Form.DENSITY, dim=2, high=1.0).build()


def test_rods_choose_their_degree():
    """Degree 16 ends at Wi = 91 in shear; what is asked for stays."""
    table = Rheometer(model=Model.ROD, form=Form.DENSITY, rates="1,150").build()
    assert table.fiber.degree == 24
    with pytest.warns(CaseWarning, match="degree 16 resolves steady states up to the rate 9"):
        assert Rheometer(model=Model.ROD, form=Form.DENSITY, degree=16, rates="1,150").build().fiber.degree == 16
