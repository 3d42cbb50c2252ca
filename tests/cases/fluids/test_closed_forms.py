"""Closed forms of closures in the case rheometer, steady and in time; step strain and cessation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.cases.fluids.closed_forms import conformation, steady_stress
from fiberax.cases.fluids.fluids_common import Form, Model
from fiberax.cases.fluids.rheometer import Flow, Mode, Rheometer
from fiberax.core.errors import BadInput
from fiberax.core.recorder import Record
from fiberax.io.results import read_table
from fiberax.physics.fluids import FENECR, FENEP, PTT, Giesekus, RoliePoly

FLOWS = {"shear": np.eye(3, k=1) * [0, 1, 0], "planar": np.diag([1.0, -1.0, 0.0]), "uniaxial": np.diag([1.0, -0.5, -0.5])}
FLUIDS = {
    "fene-p": FENEP(50.0, 3, 0.7),
    "fene-cr": FENECR(50.0, 3, 0.7),
    "giesekus": Giesekus(0.3, 3, 0.7),
    "giesekus-fast": Giesekus(0.7, 3, 0.7),
    "ptt": PTT(0.25, 3, 0.7),
    "ptt-exp": PTT(0.25, 3, 0.7, exponential=True),
    "rolie-poly": RoliePoly(10.0, 3, 0.7),
}


@pytest.mark.parametrize("name", FLUIDS)
def test_steady_stresses_solve_the_equation_of_the_closure(name):
    """τ belongs to a conformation in which the equation of the closure has no rate, and which is positive."""
    fluid = FLUIDS[name]
    for flow, G in FLOWS.items():
        for rate in (1e-3, 0.8, 20.0):
            tau = steady_stress(fluid, rate * G)
            if tau is None:
                assert name == "ptt-exp" and flow != "shear"
                continue
            c = tau
            if isinstance(fluid, FENEP):  # tr τ = f tr c and f = 1/(1 − tr c/b)
                c = tau / (1.0 + np.trace(tau) / 50.0)
            elif isinstance(fluid, FENECR):
                # s = tr τ − 3 = f (tr c − 3), so that f = (b + s)/(b − 3)
                f = (50.0 + np.trace(tau) - 3.0) / 47.0
                c = np.eye(3) + (tau - np.eye(3)) / f
            left = np.asarray(fluid.rate(jnp.asarray(c), jnp.asarray(rate * G)))
            np.testing.assert_allclose(left, 0.0, atol=1e-9 * (1.0 + np.abs(tau).max()) * (1.0 + rate))
            assert np.linalg.eigvalsh(c).min() > 0.0


def test_published_numbers_of_steady_flows():
    """FENE-CR: η = De at any rate. PTT in shear: η = De/Y with Y (Y² − Y) = 2 ε Wi². No steady Rolie-Poly from 1/τ_R on."""
    assert steady_stress(FLUIDS["fene-cr"], 9.0 * FLOWS["shear"])[0, 1] == pytest.approx(0.7 * 9.0)
    Y = 0.7 * 4.0 / steady_stress(FLUIDS["ptt"], 4.0 * FLOWS["shear"])[0, 1]
    assert pytest.approx(2.0 * 0.25 * 2.8**2) == Y * (Y**2 - Y)
    Y = 0.7 * 4.0 / steady_stress(FLUIDS["ptt-exp"], 4.0 * FLOWS["shear"])[0, 1]
    assert Y**2 * np.log(Y) == pytest.approx(2.0 * 0.25 * 2.8**2)
    end = 3.0 * 10.0 / 0.7
    assert np.isnan(steady_stress(FLUIDS["rolie-poly"], 1.05 * end * FLOWS["uniaxial"])).all()
    assert np.isfinite(steady_stress(FLUIDS["rolie-poly"], 0.95 * end * FLOWS["uniaxial"])).all()


def test_no_form_is_claimed_where_none_is_known():
    mixed = FLOWS["shear"] + FLOWS["planar"]
    assert all(steady_stress(fluid, mixed) is None for fluid in FLUIDS.values())
    assert steady_stress(RoliePoly(10.0, 3, 0.7, beta=0.5), FLOWS["shear"]) is None
    assert conformation(FLUIDS["fene-p"], FLOWS["shear"], 1.0, np.eye(3)) is None
    assert conformation(FLUIDS["ptt"], FLOWS["shear"], 1.0, np.eye(3)) is None


def test_giesekus_in_extension_is_a_logistic_curve():
    """x = c_xx − 1: De dx/dt = −α (x − p)(x − q), so that (x − p)/(x − q) falls as exp(−α (p − q) t/De)."""
    alpha, De, rate, t = 0.3, 0.7, 2.0, 0.4
    c = conformation(FLUIDS["giesekus"], rate * FLOWS["planar"], t, np.eye(3))
    p, q = np.sort(np.roots([alpha, 1.0 - 2.0 * De * rate, -2.0 * De * rate]))[::-1]
    fall = p / q * np.exp(-alpha * (p - q) * t / De)
    assert c[0, 0] - 1.0 == pytest.approx((p - q * fall) / (1.0 - fall), rel=1e-10)


def transient(**options):
    """Times, responses, standard errors and exact columns of a run in time."""
    p = Rheometer(**options).build()
    noise = {"key": jax.random.key(p.seed)} if "members" in options else {}
    found = fx.evolve(p.bundle, p.driver, p.macro0, t0=p.t0, t1=p.t1, dt=p.dt, saveat=p.saveat, **noise)
    pick = lambda tree, k: None if tree is None else {name: np.asarray(x[k]) for name, x in tree.items()}
    rows = [
        p.output.columns(Record(k, float(t), None, pick(found.response, k), np.zeros(0), stderr=pick(found.stderr, k)))
        for k, t in enumerate(np.asarray(found.ts))
    ]
    return np.asarray(found.ts), {name: np.array([row[name] for row in rows]) for name in rows[0]}, found.response


@pytest.mark.parametrize("mode", [Mode.STARTUP, Mode.RELAXATION, Mode.CESSATION, Mode.STEP_STRAIN], ids=lambda m: m.value)
def test_giesekus_in_time_is_its_riccati_equation(mode):
    """Both are exact, so that a lag of a part of a step would show."""
    options = {"mode": mode, "model": Model.GIESEKUS, "rates": "0.1,3", "span": 1.0, "records": 2, "dim": 2}
    t, columns, response = transient(**options)
    assert t[-1] == 1.0
    # A step of strain takes 1e-6 of the relaxation time.
    loose = 1e-5 if mode is Mode.STEP_STRAIN else 1e-8
    np.testing.assert_allclose(response["stress"], columns["exact.stress"], rtol=loose, atol=1e-9)
    np.testing.assert_allclose(response["N1"], columns["exact.N1"], rtol=loose, atol=1e-9)


@pytest.mark.parametrize("model", [Model.FENE_P, Model.PTT_EXP, Model.ROLIE_POLY], ids=lambda m: m.value)
def test_after_a_step_of_strain_lodge_and_meissner_hold(model):
    """N1 = γ τ_xy at all times, whatever the fluid is, and G(0) = 1 for small strains."""
    _, columns, response = transient(mode=Mode.STEP_STRAIN, model=model, rates="0.01,2", span=2.0, records=4, dim=3)
    # FENE-P takes 1e-2 relaxation times for the step, others 1e-6.
    loose = 5e-3 if model is Model.FENE_P else 1e-5
    np.testing.assert_allclose(np.asarray(response["N1"]) / np.asarray(response["stress"]), [[0.01, 2.0]] * 5, rtol=loose)
    assert columns["material.modulus"][0, 0] == pytest.approx(1.0, abs=0.01)
    assert np.all(np.diff(columns["material.modulus"], axis=0) < 0.0)


DENSITY = {"mode": Mode.STEP_STRAIN, "form": Form.DENSITY, "De": 0.7, "span": 1.0, "records": 4}


def test_relaxation_modulus_of_springs():
    """exp(−t/De) of Hookean dumbbells in shear and extension."""
    t, columns, _ = transient(spring="hookean", rates="0.3,4", **DENSITY)
    np.testing.assert_allclose(columns["material.modulus"], np.exp(-t / 0.7)[:, None] * np.ones(2), rtol=1e-5)
    np.testing.assert_allclose(columns["exact.modulus"], columns["material.modulus"], rtol=1e-5)
    t, columns, _ = transient(spring="hookean", rates="0.5", flow=Flow.UNIAXIAL, **DENSITY)
    np.testing.assert_allclose(columns["material.modulus"][:, 0], (np.e - np.e**-0.5) / 0.5 * np.exp(-t / 0.7), rtol=1e-5)


def test_relaxation_modulus_of_dilute_rods():
    """3/5 exp(−6t/De) at small strain."""
    t, columns, _ = transient(model=Model.ROD, degree=4, rates="0.01", **DENSITY)
    np.testing.assert_allclose(columns["material.modulus"][:, 0], 0.6 * np.exp(-6.0 * t / 0.7), atol=1e-4)


def test_strains_that_a_density_does_not_resolve_are_refused():
    """At strain 1 polynomials of degree 24 give G(0) = 0.51, where more than 1 is right."""
    options = {"mode": Mode.STEP_STRAIN, "form": Form.DENSITY, "dim": 2}
    assert Rheometer(rates="0.5", **options).build().t1 == pytest.approx(6.0)
    with pytest.raises(BadInput, match="degree 24 does not resolve a step of strain of 1"):
        Rheometer(rates="0.5,1", **options).build()


@pytest.mark.slow
def test_step_strain_of_a_chain_is_that_of_rouse(tmp_path):
    """Of members, by the command: G(t) = ∑ exp(−t/De_k) within the errors over replicas."""
    arguments = "--mode step-strain --model chain --springs 2 --spring hookean --dim 2 --rates 1 --span 2 --records 4 --dt 0.1"
    arguments += " --members 100 --replicas 16"
    assert cli.main(["run", "rheometer", *arguments.split(), "--plain", "--quiet", "--out", str(tmp_path / "run")]) == 0
    a, t = read_table(tmp_path / "run").arrays, read_table(tmp_path / "run").values
    exact = np.sum(np.exp(-t[:, None] * np.array([0.5, 1.5])), axis=1)
    np.testing.assert_allclose(a["modulus_exact"][:, 0], exact, rtol=1e-12)
    assert np.all(np.abs(a["modulus"][:, 0] - exact) < 4.9 * a["modulus_stderr"][:, 0])
    assert a["modulus_stderr"][0, 0] < 0.1
    assert (tmp_path / "run" / "figures" / "transient.png").stat().st_size > 10_000


@pytest.mark.parametrize("model", [Model.FENE_P, Model.FENE_CR, Model.PTT, Model.ROLIE_POLY], ids=lambda m: m.value)
def test_tables_have_the_exact_columns(model):
    problem = Rheometer(model=model, rates="0.5,5").build()
    exact = problem.derived(problem.values, {"response.moment": np.eye(3)[None], **_zero(2)})
    found = fx.responses(problem.fiber, problem.conditions, problem.link, tangent=False).value
    for name in ("stress", "N1", "N2"):
        np.testing.assert_allclose(exact[f"exact.{name}"], found[name], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(exact["exact.viscosity"], np.asarray(found["stress"]) / problem.values, rtol=1e-9)


def _zero(rows):
    return {f"response.{name}": np.zeros(rows) for name in ("stress", "N1", "N2")}


@pytest.mark.slow
def test_fene_dumbbells_after_a_step_of_strain_keep_lodge_and_meissner():
    _, columns, _ = transient(mode=Mode.STEP_STRAIN, b=50.0, dim=2, rates="1", span=1.0, records=4, members=2000)
    ratio = columns["material.normal_modulus"] / columns["material.modulus"]
    error = columns["error.normal_modulus"] + columns["error.modulus"]
    assert np.all(np.abs(ratio - 1.0) < 4.9 * error / columns["material.modulus"])
    assert np.all(error < 0.15)
