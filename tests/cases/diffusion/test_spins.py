"""The case spins: A(U), D(U) and a coupled density against what is exact; what it refuses; kill and resume."""

import numpy as np
import pytest

from fiberax import cli
from fiberax.cases.diffusion.spins import Mode, Spins
from fiberax.core.errors import BadInput
from fiberax.io import log
from fiberax.io.records import write_record
from fiberax.io.results import read_table
from fiberax.physics.diffusion import ginzburg_landau_chain


def run(folder, *arguments):
    """The results of a run of the command."""
    assert cli.main(["run", "spins", *arguments, "--plain", "--quiet", "--out", str(folder)]) == 0
    return read_table(folder)


@pytest.fixture(scope="module")
def well(tmp_path_factory):
    """The table of short rings in a double well."""
    folder = tmp_path_factory.mktemp("spins") / "run"
    arguments = ["--sites", "8", "--low", "-0.5", "--high", "1", "--rows", "4", "--average", "400"]
    return folder, run(folder, *arguments)


def double_well(phi):
    return (phi**2 - 1.0) ** 2 / 4.0


def test_the_table_of_a_double_well_is_that_of_its_ring(well):
    """Within four standard errors of the ring, and far from the infinite chain: the shift of O(1/N) is seen."""
    folder, table = well
    a = table.arrays
    assert not a["result"].any()
    for k, U in enumerate(table.values):
        truth = ginzburg_landau_chain(double_well, U, sites=8)
        assert abs(a["A"][k] - truth.response) < 4.0 * a["A_stderr"][k]
        assert abs(a["D"][k] - truth.diffusion) < 4.0 * a["D_stderr"][k]
        assert a["A_exact"][k] == pytest.approx(truth.response) and a["D_exact"][k] == pytest.approx(truth.diffusion)
    assert np.all(a["A_stderr"] < 0.01) and np.all(a["D_stderr"] < 0.05)
    assert np.abs(a["A"] - a["A_limit"]).max() > 10.0 * a["A_stderr"].max()
    assert {p.name for p in (folder / "figures").glob("*.png")} == {"diffusion-coefficient.png", "microstates.png"}
    assert (folder / "table.csv").read_text().startswith("U,A,D,A_stderr,D_stderr,result,A_exact,D_exact,A_limit,D_limit\n")


def test_a_killed_table_goes_on_with_the_same_noise(well):
    folder, table = well
    for k in range(2):
        write_record(folder, k, table.values[k], {v.key: table.arrays[v.quantity.name][k] for v in table.schema.variables})
    (folder / "results.nc").unlink()
    log.write_state(folder, "running", {})
    assert cli.main(["resume", str(folder), "--quiet", "--no-figures"]) == 0
    again = read_table(folder)
    for name, array in table.arrays.items():
        assert again.arrays[name].tobytes() == array.tobytes(), name


def test_a_ring_of_three_spins_by_quadrature():
    beta, coupling, U = 1.3, 0.5, 0.4
    x = np.linspace(-5.0, 5.0, 401)
    a, b = np.meshgrid(x, x, indexing="ij")

    def free_energy(U):
        c = 3.0 * U - a - b
        H = 0.5 * coupling * ((a - b) ** 2 + (b - c) ** 2 + (c - a) ** 2) + sum(map(double_well, (a, b, c)))
        return -np.log(3.0 * np.exp(-beta * H).sum() * (x[1] - x[0]) ** 2) / (3.0 * beta)

    low, mid, high = (free_energy(U + d) for d in (-1e-3, 0.0, 1e-3))
    ring = ginzburg_landau_chain(double_well, U, beta, coupling, sites=3)
    assert ring.energy == pytest.approx(mid, abs=1e-10)
    assert ring.response == pytest.approx(0.25e3 * (high - low), abs=1e-6)
    assert ring.diffusion == pytest.approx(0.5e6 * (high - 2.0 * mid + low), abs=1e-5)
    # Gaussian spins do not know how many they are, and a long ring is an infinite chain.
    assert ginzburg_landau_chain(lambda phi: 0.7 * phi**2, 0.3, sites=5).diffusion == pytest.approx(0.7, rel=1e-12)
    far, limit = (ginzburg_landau_chain(double_well, 0.3, sites=n) for n in (512, None))
    assert 0.0 < abs(far.response - limit.response) < 0.05 * abs(limit.response)


@pytest.mark.slow
def test_gaussian_spins_diffuse_as_heat(tmp_path):
    """A = 0.8 U: the wave falls by exp(−0.8 (2π/L)² t), up to the noise of the lattices; the sum over cells stays."""
    arguments = ["--mode", "diffusion", "--potential", "0.8*phi**2", "--initial", "0.3 + cos(2*pi*x)", "--cells", "12"]
    table = run(tmp_path / "run", *arguments, "--sites", "32", "--replicas", "32", "--length", "40", "--records", "4")
    U, x = table.arrays["U"], (np.arange(12) + 0.5) / 12
    wave = np.cos(2.0 * np.pi * x)
    h = 40.0 / 12
    rate = 0.8 * (2.0 - 2.0 * np.cos(2.0 * np.pi / 12)) / h**2  # of the wave on this grid
    exact = 0.3 + np.exp(-rate * table.values)[:, None] * wave
    np.testing.assert_allclose(table.arrays["U_exact"], exact, atol=1e-6)
    np.testing.assert_allclose(U.mean(axis=1), 0.3, atol=1e-12)
    # One noise a step of 2⟨A⟩² dt/h⁴ would make less; the lattices' memory makes it several times that.
    assert np.abs(U - exact).max() < 0.05
    assert U[-1].max() < 0.3 + 0.5 and table.values[-1] == pytest.approx(40.0**2 / (4.0 * np.pi**2 * 0.8), rel=1e-6)
    assert np.all(table.arrays["A_stderr"] > 0.0) and not table.arrays["result"].any()
    assert {"profiles.png", "response.png"} <= {p.name for p in (tmp_path / "run" / "figures").glob("*.png")}


@pytest.mark.slow
def test_sampled_lattices_in_the_plane(tmp_path):
    """In two dimensions nothing is exact, and the figures do without; sampling has an error at every cell."""
    arguments = ["--mode", "diffusion", "--dim", "2", "--sites", "4", "--replicas", "4", "--potential", "0.5*phi**2"]
    arguments += ["--method", "sampled", "--samples", "128", "--cells", "4", "--length", "20", "--dt", "2", "--t1", "4"]
    table = run(tmp_path / "run", *arguments, "--records", "1")
    np.testing.assert_allclose(table.arrays["A"], 0.5 * table.arrays["U"], atol=1e-12)  # of every state, since A is linear
    assert "U_exact" not in table.arrays and (tmp_path / "run" / "figures" / "U.png").exists()


def test_check_says_what_a_table_will_cost(capsys):
    arguments = ["--potential", "phi**2", "--sites", "8", "--replicas", "4", "--rows", "3"]
    assert cli.main(["check", "spins", *arguments]) == 0
    assert "for the averages of 3 conditions" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"potential": "phi"}, "V must be finite and grow, but for a linear part, on both sides"),
        ({"potential": "psi**2"}, r"--potential 'psi\*\*2': 'psi' is not known. Use phi, pi"),
        ({"low": 1.0, "high": 0.5}, "--high = 0.5 is not above --low = 1"),
        ({"initial": "1/(x - x)", "mode": Mode.DIFFUSION}, r"--initial '1/\(x - x\)' is not finite at x"),
        ({"initial": "y", "mode": Mode.DIFFUSION}, "--initial 'y': 'y' is not known. Use x, pi"),
    ],
)
def test_misuse_is_named(options, message):
    with pytest.raises(BadInput, match=message):
        Spins(**options).build()
