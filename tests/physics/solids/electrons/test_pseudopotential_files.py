"""Pseudopotentials from files: tables of functions that have closed forms, CP2K's layout, and what is refused."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf, gamma

import fiberax as fx
from fiberax.physics.solids.electrons import lda

ions = fx.solids.ions
FCC = 0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
A = jnp.asarray([[0.01, 0.03, 0.0], [-0.01, 0.02, 0.01], [0.0, 0.02, -0.015]])
# As CP2K's data base has them, but for the comments.
CP2K = """
# PADE functional
Si GTH-PADE-q4 GTH-LDA-q4 GTH-PADE GTH-LDA
    2    2
     0.44000000    1    -7.33610297
    2
     0.42273813    2     5.90692831    -1.26189397
                                        3.25819622
     0.48427842    1     2.72701346
#PSEUDOPOTENTIAL
Ti GTH-PADE-q12 GTH-LDA-q12 GTH-PADE GTH-LDA   # with its semicore
    4    6    2
     0.38000000    2     7.54878947    -0.58837666
    3
     0.33423466    2     6.92573970     1.21689330
                                       -3.14200499
     0.24241582    2     5.07908650     2.65559321
                                       -6.28428053
     0.24294750    1    -9.12589591
Ti GTH-PADE-q4 GTH-LDA-q4
    2    0    2
     0.72000000    0
    3
     0.52841076    3     1.86661330    -0.55779994     0.89250253
                                        1.44023325    -2.30443161
                                                       3.65817177
     0.79114554    2     0.96791577    -0.11016023
                                        0.26068669
     0.40871178    1    -4.82645635
O GTH-PBE-q6 GTH-PBE
    2    4
     0.24455430    2   -16.66721480     2.48731132
    2
     0.22095592    1    18.33745811
     0.21133247    0
"""


def tables(symbol):
    """Radius and its slope over the index of a logarithmic mesh, r V, pairs (l, r p) and h; hartree."""
    found = ions.parameters(symbol)
    r = 1e-5 * np.exp(0.0085 * np.arange(1651))
    s = r / found.r_loc
    local = -found.valence * erf(s / 2**0.5) / r + np.exp(-0.5 * s**2) * sum(c * s ** (2 * k) for k, c in enumerate(found.c))
    betas, blocks = [], []
    for l, (radius, h) in enumerate(found.projectors):
        for n in range(len(h)):
            a = l + 2 * n + 1.5
            betas.append((l, r * 2**0.5 * r ** (l + 2 * n) * np.exp(-0.5 * (r / radius) ** 2) / (radius**a * gamma(a) ** 0.5)))
        blocks.append(h)
    D, begin = np.zeros((len(betas),) * 2), 0
    for h in blocks:
        D[begin : begin + len(h), begin : begin + len(h)] = h
        begin += len(h)
    return found.valence, r, 0.0085 * r, local, betas, D


def numbers(values, exponent="e"):
    return "\n".join(" ".join(f"{x:.16e}" for x in row) for row in np.array_split(values, len(values) // 4 + 1)).replace(
        "e", exponent
    )


def version_2(symbol, functional="SLA PW NOGX NOGC", flags="", core="F"):
    charge, r, slope, local, betas, D = tables(symbol)
    column = f'type="real" size="{len(r)}" columns="4"'
    rows = [
        f'<PP_BETA.{k + 1} {column} index="{k + 1}" angular_momentum="{l}" cutoff_radius_index="{len(r)}">\n{numbers(b)}\n'
        f"</PP_BETA.{k + 1}>\n"
        for k, (l, b) in enumerate(betas)
    ]
    return "".join(
        [
            f'<UPF version="2.0.1">\n<PP_INFO>made & tested < here ></PP_INFO>\n<PP_HEADER generated="by hand"\n {flags}\n',
            f'element="{symbol}"\npseudo_type="NC" is_ultrasoft=".false." core_correction="{core}" functional="{functional}"\n',
            f'z_valence=" {charge}.0 " number_of_proj="{len(betas)}"/>\n<PP_MESH mesh="{len(r)}">\n',
            f"<PP_R {column}>\n{numbers(r)}\n</PP_R>\n<PP_RAB {column}>\n{numbers(slope)}\n</PP_RAB>\n</PP_MESH>\n",
            f"<PP_LOCAL {column}>\n{numbers(2.0 * local)}\n</PP_LOCAL>\n<PP_NONLOCAL>\n",
            *rows,
            f"<PP_DIJ {column}>\n{numbers(2.0 * D.ravel())}\n</PP_DIJ>\n</PP_NONLOCAL>\n</UPF>\n",
        ]
    )


def version_1(symbol, kind="NC", functional="SLA  PW   NOGX NOGC   PW"):
    charge, r, slope, local, betas, D = tables(symbol)
    size = 1600
    rows = [
        f"<PP_BETA>\n    {k + 1}    {l}             Beta   L\n   {size}\n{numbers(b[:size], 'D')}\n  {size}\n</PP_BETA>\n"
        for k, (l, b) in enumerate(betas)
    ]
    pairs = [(i, j) for i in range(len(D)) for j in range(i, len(D)) if D[i, j]]
    return "".join(
        [
            "<PP_INFO>\nmade here\n</PP_INFO>\n<PP_HEADER>\n   0                   Version Number\n",
            f"  {symbol}                   Element\n   {kind}                  Norm - Conserving pseudopotential\n",
            f"    F                  Nonlinear Core Correction\n {functional}   Exchange-Correlation functional\n",
            f"    {charge}.00000000      Z valence\n</PP_HEADER>\n<PP_MESH>\n<PP_R>\n{numbers(r, 'E')}\n</PP_R>\n",
            f"<PP_RAB>\n{numbers(slope)}\n</PP_RAB>\n</PP_MESH>\n<PP_LOCAL>\n{numbers(2.0 * local)}\n</PP_LOCAL>\n",
            "<PP_NONLOCAL>\n",
            *rows,
            f"<PP_DIJ>\n  {len(pairs)}        Number of nonzero Dij\n",
            *(f"  {i + 1}  {j + 1}  {2.0 * D[i, j]:.16e}\n" for i, j in pairs),
            "</PP_DIJ>\n</PP_NONLOCAL>\n",
        ]
    )


@pytest.fixture
def written(tmp_path):
    def write(text, name="ion.upf"):
        (tmp_path / name).write_text(text, encoding="latin-1")
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("symbol", "version"),
    [
        ("Al", version_1),
        ("Ga-q13", version_2),
        *(pytest.param(*row, marks=pytest.mark.slow) for row in (("Al", version_2), ("Ga-q13", version_1))),
    ],
)
def test_tables_of_gaussians_give_their_closed_form(written, symbol, version):
    """Local charge, its limit, and projectors of every l, at q from 0 to 30/bohr."""
    exact, found = ions.GTH(symbol), ions.UPF(written(version(symbol)))
    square = jnp.asarray([0.0, 1e-6, 0.3, 2.7, 30.1, 433.0, 900.0])
    assert found.charge == exact.charge
    np.testing.assert_allclose(found.at_zero, exact.at_zero, rtol=1e-8)
    np.testing.assert_allclose(found.density(square), exact.density(square), atol=2e-7)
    assert len(found.projectors) == len(exact.projectors)
    for mine, other in zip(found.projectors, exact.projectors):
        assert mine.l == other.l
        np.testing.assert_allclose(mine.strength, other.strength, rtol=1e-14)
        expected = other.radial(square)
        np.testing.assert_allclose(mine.radial(square), expected, atol=2e-8 * np.abs(expected).max())
    assert np.all(np.isnan(found.density(jnp.asarray([81.0**2]))))


@pytest.mark.slow
def test_a_crystal_of_tables_is_that_of_the_formulas(written):
    """W, P of two atoms of one kind beside one of another, through the command's path: files by symbol."""
    atoms = [("Al", (0.0, 0.0, 0.0)), ("Si", (0.26, 0.25, 0.24)), ("Al", (0.5, 0.45, 0.5))]
    files = {"Al": written(version_2("Al"), "al.upf"), "Si": str(written(CP2K, "GTH_POTENTIALS"))}
    options = {"cutoff": 3.0, "kgrid": 1}
    lattice = 12.0 * FCC
    formulas = fx.solids.KohnSham(lattice, atoms, **options)
    mixed = fx.solids.KohnSham(lattice, atoms, pseudopotentials=files, **options)

    @eqx.filter_jit
    def of(fiber, state):
        return fiber.assemble(state, A, 1)

    state = eqx.filter_jit(lambda f: f.init(A, jax.random.key(0)))(formulas)
    (W, P), (other, Q) = of(formulas, state), of(mixed, state)
    np.testing.assert_allclose(other, W, rtol=1e-8)
    np.testing.assert_allclose(Q, P, atol=1e-9)


@pytest.mark.slow
def test_core_electrons_are_seen_by_exchange_and_correlation(written):
    """A Gaussian shell of 1.3 electrons, summed over neighbours in space; its share of P is the slope of that sum."""
    width, many, r = 1.6, 1.3, tables("Al")[1]
    shell = many * (np.pi * width**2) ** -1.5 * np.exp(-((r / width) ** 2))
    text = version_2("Al", core="T").replace("</UPF>", f"<PP_NLCC>\n{numbers(shell)}\n</PP_NLCC>\n</UPF>")
    options = {"cutoff": 4.0, "kgrid": 1, "smearing": ("fermi", 0.02)}
    plain = fx.solids.KohnSham(7.6 * FCC, [(ions.UPF(written(version_2("Al"), "a")), (0, 0, 0))], **options)
    fiber = fx.solids.KohnSham(7.6 * FCC, [(ions.UPF(written(text, "b")), (0, 0, 0))], **options)
    state = eqx.filter_jit(lambda f: f.init(A, jax.random.key(0)))(plain)
    n = np.array(plain._table.shape)
    y = jnp.stack(jnp.meshgrid(*(jnp.arange(k) / k for k in n), indexing="ij"), -1)
    cells = jnp.asarray(np.stack(np.meshgrid(*[range(-2, 3)] * 3, indexing="ij"), -1).reshape(-1, 3))

    def share(A):
        rho = plain.density(state, A)
        rows = 7.6 * FCC @ (jnp.eye(3) + A).T
        apart = jnp.sum(((y[..., None, :] - cells) @ rows) ** 2, axis=-1)
        whole = rho + many * (np.pi * width**2) ** -1.5 * jnp.sum(jnp.exp(-apart / width**2), axis=-1)
        volume = jnp.linalg.det(rows)
        return jnp.abs(volume) * jnp.mean(whole * lda.energy(whole, "lda_pw") - rho * lda.energy(rho, "lda_pw")) / plain.volume

    of = eqx.filter_jit(lambda f: f.assemble(state, A, 1))
    (W, P), (other, Q) = of(plain), of(fiber)
    expected, slope = jax.value_and_grad(share)(A)
    np.testing.assert_allclose(other - W, expected, rtol=1e-6)
    np.testing.assert_allclose(Q - P, slope, atol=1e-6 * np.abs(slope).max())
    with pytest.raises(fx.BadInput, match="nonlinear core correction, which only KohnSham knows"):
        fx.solids.ThomasFermi(7.6 * FCC, fiber.ions[0], 3)


@pytest.mark.parametrize("name", ["Ti", "Ti-q12", "Ti-GTH-PADE-q4", "Si", "Ti-q4", "ti-gth-lda"])
def test_files_of_cp2k_are_those_of_the_table(written, name):
    found = ions.from_file(written(CP2K, "GTH_POTENTIALS"), name)
    symbol = {"Si": "Si-q4", "ti-gth-lda": "Ti-q12", "Ti": "Ti-q12"}.get(name, f"Ti-{name.rpartition('-')[2]}")
    assert eqx.tree_equal(found, ions.GTH(symbol))


@pytest.mark.parametrize(
    ("text", "symbol", "message"),
    [
        (CP2K.replace("GTH-PADE GTH-LDA   #", "#"), "Ti", "holds GTH-PADE-q12, GTH-PADE-q4 for Ti: say which"),
        (CP2K, "Fe", "no pseudopotential for 'Fe'. It has some for Si, Ti, O"),
        (CP2K, "O", "made for another functional"),
        (CP2K.replace("-1.26189397", ""), "Si", "the numbers of Si GTH-PADE-q4"),
        ("nothing at all", "Si", "no pseudopotential for 'Si'"),
        (version_2("Al", "SLA PW PBX PBC"), "Al", "made for the functional 'SLA PW PBX PBC'"),
        (version_2("Al", flags='is_paw="T"'), "Al", "is PAW"),
        (version_2("Al", flags='has_so=".true."'), "Al", "spin-orbit"),
        (version_2("Al", core=".true."), "Al", "no section PP_NLCC"),
        (version_2("Al"), "Si", "a pseudopotential for Al, not for Si"),
        (version_2("Al").replace("PP_RAB", "PP_OTHER"), "Al", "no section PP_RAB"),
        (version_2("Al").replace('angular_momentum="1"', 'angular_momentum="3"'), "Al", "l = 3; here l goes to 2"),
        (version_1("Al", kind="US"), "Al", "is ultrasoft"),
        (version_1("Al", functional="SLA  PW   PBE  PBE   PBE"), "Al", "made for the functional 'SLA PW PBE PBE'"),
    ],
)
def test_what_is_not_supported_is_named(written, text, symbol, message):
    file = written(text)
    with pytest.raises(fx.BadInput, match=message):
        ions.from_file(file, symbol)
    if "functional" in message:
        assert isinstance(ions.from_file(file, symbol, any_functional=True), ions.Ion)


def test_files_that_are_missing_or_end_too_early(written, tmp_path):
    with pytest.raises(fx.BadInput, match=r"no file .*none.upf with a pseudopotential for Al"):
        ions.from_file(tmp_path / "none.upf", "Al")
    soft = fx.solids.ions.UPF(written(version_2("Al")), "Al")
    with pytest.raises(fx.BadInput, match=r"atoms\[0\] is known up to \|G\| = 80/bohr; this grid needs"):
        fx.solids.KohnSham(7.6 * FCC, [(soft, (0, 0, 0))], cutoff=200.0, kgrid=1, smearing=("fermi", 0.01))
