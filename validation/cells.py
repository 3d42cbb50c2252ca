"""Cell problems against closed forms: means, laminates, duality, non-symmetric media, derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import iv
from table import Table, fitted_order

import fiberax as fx

hom = fx.homogenization
TAU = 2 * np.pi


def effective(cell, U=0.0, tolerance=1e-10):
    """A(U) as a NumPy array."""
    r = fx.response(cell, U, tolerance=tolerance)
    assert int(r.result) == 0, fx.Result(int(r.result))
    return np.asarray(r.value)


def distance(A, exact):
    """Largest entry of the difference, relative to the largest entry."""
    exact = np.asarray(exact)
    return np.max(np.abs(A - exact)) / np.max(np.abs(exact))


def harmonic_mean(out):
    """One dimension: A is the harmonic mean."""
    columns = ("coefficient", "solver", "n", "A", "exact")
    table = Table("harmonic_mean", "one dimension, A is the harmonic mean: relative error", columns)
    smooth = {
        "1/(1 + sin/2)": (lambda U, z: 1 / (1 + 0.5 * jnp.sin(TAU * z[0])), 1.0),
        "exp(sin)": (lambda U, z: jnp.exp(jnp.sin(TAU * z[0])), 1 / iv(0, 1)),
        "1 + 0.9 cos": (lambda U, z: 1 + 0.9 * jnp.cos(TAU * z[0]), np.sqrt(1 - 0.81)),
        "(1 + U²) exp(3 sin), U = 2": (lambda U, z: (1 + U**2) * jnp.exp(3 * jnp.sin(TAU * z[0])), 5 / iv(0, 3)),
    }
    methods = {
        "closed form": (hom.Spectral(), True, 96),
        "general, spectral": (hom.Spectral(), False, 97),
        "general, elements": (hom.FiniteElement(), False, 96),
        "general, differences": (hom.FiniteDifference(), False, 96),
    }
    for name, (a, exact) in smooth.items():
        for how, (method, closed, n) in methods.items():
            value = effective(hom.Cell(a, (n,), method, closed_form=closed), 2.0)[0, 0]
            table.below(abs(value / exact - 1), 1e-9, name, how, n, value, exact)
    labels = np.repeat([0, 1, 2, 1], [3, 5, 7, 1])
    for contrast in (10.0, 1e4):
        values = {0: 1.0, 1: contrast, 2: 0.3}
        exact = 1 / np.mean([1 / values[v] for v in labels])
        for closed in (True, False):
            value = effective(hom.Cell.from_image(labels, values, closed_form=closed))[0, 0]
            name, how = f"pixels 1, {contrast:g}, 0.3", "closed form" if closed else "general, elements"
            table.below(abs(value / exact - 1), 1e-9, name, how, labels.size, value, exact)
    return table.close(out)


def laminate_tensor(phases, weights, n):
    """Effective tensor of layers with the tensors K and the normal n: continuous fluxes across, continuous gradients along.

    A = ⟨K − Kn⊗nK/(n·Kn)⟩ + ⟨Kn/(n·Kn)⟩⊗⟨nK/(n·Kn)⟩ / ⟨1/(n·Kn)⟩, for tensors without any symmetry.
    """
    inner = np.einsum("i,pij,j->p", n, phases, n)
    left, right = phases @ n / inner[:, None], n @ phases / inner[:, None]
    mean = lambda x: np.tensordot(weights, x, 1)
    first = mean(phases - inner[:, None, None] * left[:, :, None] * right[:, None, :])
    return first + np.outer(mean(left), mean(right)) / mean(1 / inner)


def laminates(out):
    """Layers at an angle."""
    columns = ("layers", "normal", "method", "n")
    table = Table("laminates", "layers at an angle: largest error of A relative to its largest entry", columns)
    for contrast in (10.0, 1e4):
        for shape in ((16, 16), (8, 8, 8)):
            labels = np.zeros(shape, int)
            labels[shape[0] // 4 :] = 1
            exact = np.diag([1 / (0.25 + 0.75 / contrast)] + [0.25 + 0.75 * contrast] * (len(shape) - 1))
            for method in (hom.FiniteElement(), hom.FiniteDifference()):
                A = effective(hom.Cell.from_image(labels, {0: 1.0, 1: contrast}, method))
                name = f"pixels 1, {contrast:g}"
                error = np.max(np.abs(A - exact) / np.sqrt(np.outer(np.diag(exact), np.diag(exact))))
                table.below(error, 1e-9, name, "axis", type(method).__name__, str(shape))

    def smooth(direction):
        return lambda U, z: jnp.exp(jnp.sin(TAU * jnp.dot(jnp.asarray(direction, float), z)))

    for direction, n in (((1, 1), 32), ((1, 2), 48), ((1, -1), 32), ((1, 1, 1), 24), ((0, 1, -1), 24)):
        normal = np.array(direction) / np.linalg.norm(direction)
        nn = np.outer(normal, normal)
        exact = iv(0, 1) * (np.eye(len(direction)) - nn) + nn / iv(0, 1)
        A = effective(hom.Cell(smooth(direction), (n,) * len(direction)))
        table.below(distance(A, exact), 1e-9, "exp(sin), means rotated", str(direction), "Spectral", n)
    normal = np.array([1, 2]) / np.sqrt(5)
    exact = iv(0, 1) * (np.eye(2) - np.outer(normal, normal)) + np.outer(normal, normal) / iv(0, 1)
    for method, low, high in ((hom.FiniteElement(), 1.9, 2.1), (hom.FiniteDifference(), 0.9, 2.1)):
        sizes = np.array([32, 64, 128])
        errors = [distance(effective(hom.Cell(smooth((1, 2)), (n, n), method)), exact) for n in sizes]
        table.between(fitted_order(1 / sizes, errors), low, high, "exp(sin)", "(1, 2)", type(method).__name__, "order 32..128")
    normal = np.array([1, 1]) / np.sqrt(2)
    exact = 5.5 * (np.eye(2) - np.outer(normal, normal)) + 20 / 11 * np.outer(normal, normal)
    sizes = np.array([16, 32, 64, 128])
    errors = []
    for n in sizes:
        i = np.arange(n)
        labels = (((i[:, None] + i) % n) < n // 2).astype(int)
        errors.append(
            distance(effective(hom.Cell.from_image(labels, {0: 1.0, 1: 10.0}, hom.FiniteElement()), tolerance=1e-8), exact)
        )
    table.below(errors[-1], 2e-2, "pixels 1, 10, staircase", "(1, 1)", "FiniteElement", sizes[-1])
    table.between(
        fitted_order(1 / sizes, errors), 0.8, 1.2, "pixels 1, 10, staircase", "(1, 1)", "FiniteElement", "order 16..128"
    )
    for d, direction in ((2, (1, 1)), (2, (2, 1)), (3, (1, 0, -1))):
        base = np.random.default_rng(d).normal(size=(2, d, d))
        mild = 2 * np.eye(d) + 0.3 * (base[0] + base[0].T)
        other = 0.4 * base[1]

        def tensor(U, z, direction=direction, mild=mild, other=other):
            return jnp.asarray(mild) + jnp.asarray(other) * jnp.sin(TAU * jnp.dot(jnp.asarray(direction, float), z))

        phases = mild + other * np.sin(TAU * np.arange(400) / 400)[:, None, None]
        normal = np.array(direction) / np.linalg.norm(direction)
        exact = laminate_tensor(phases, np.full(400, 1 / 400), normal)
        A = effective(hom.Cell(tensor, (32,) * 2 if d == 2 else (24,) * 3))
        table.below(distance(A, exact), 1e-8, "non-symmetric tensors", str(direction), "Spectral", 32 if d == 2 else 24)
    return table.close(out)


def duality(out):
    """Two dimensions: A(aᵀ/det a) = Aᵀ/det A (Keller, Dykhne, Mendelson)."""
    table = Table("duality", "duality in the plane and the checkerboard", ("what", "n", "A_11", "exact"))
    for s in (0.5, 1.0, 2.0, 3.0):
        a = lambda U, z, s=s: jnp.exp(s * jnp.sin(TAU * z[0]) * jnp.sin(TAU * z[1]))
        A = effective(hom.Cell(a, (64, 64)))
        table.below(distance(A, np.eye(2)), 1e-8, f"exp({s:g} sin sin) -> I", 64, A[0, 0], 1.0)

    def rough(U, z):
        return jnp.exp(jnp.sin(TAU * z[0]) + 0.8 * jnp.cos(TAU * (z[0] - z[1])) + 0.5 * jnp.sin(2 * TAU * z[1]))

    def tensor(U, z):
        twist = jnp.array([[0.0, 1.0], [-1.0, 0.0]]) * jnp.cos(TAU * z[1])
        return rough(U, z) * jnp.array([[1.0, 0.3], [0.3, 2.0]]) + twist

    for name, a in (("scalar without symmetry", lambda U, z: rough(U, z) * jnp.eye(2)), ("non-symmetric tensor", tensor)):
        dual = lambda U, z, a=a: a(U, z).T / jnp.linalg.det(a(U, z))
        A, B = effective(hom.Cell(a, (64, 64))), effective(hom.Cell(dual, (64, 64)))
        exact = A.T / np.linalg.det(A)
        table.below(distance(B, exact), 1e-8, f"A(aᵀ/det a) = Aᵀ/det A, {name}", 64, B[0, 0], exact[0, 0])
    sizes = np.array([16, 32, 64, 128, 256])
    for k, bound in ((4.0, 5e-3), (25.0, 0.2)):
        exact, errors = np.sqrt(k), []
        corner = (
            4 / np.pi * np.arctan(1 / np.sqrt(k))
        )  # the potential is like r^corner there, so the energy misses O(h^(2 corner))
        for n in sizes:
            i = np.arange(n) < n // 2
            labels = (i[:, None] ^ i).astype(int)
            value = effective(hom.Cell.from_image(labels, {0: 1.0, 1: k}, hom.FiniteElement()), tolerance=1e-7)[0, 0]
            errors.append(value / exact - 1)
            if n == sizes[-1]:
                table.below(abs(errors[-1]), bound, f"checkerboard 1 : {k:g} -> {exact:g}", n, value, exact)
            else:
                table.note(f"checkerboard 1 : {k:g} -> {exact:g}", n, value, exact)
        order = fitted_order(1 / sizes[2:], errors[2:])
        text = f"checkerboard 1 : {k:g}, order; the corner gives {2 * corner:.3f}"
        table.between(order, 1.7 * corner, 2.3 * corner, text, "64..256", "", "")
    return table.close(out)


def non_symmetric(out):
    """Antisymmetric parts: a constant adds itself, a stream function enhances diffusion."""
    columns = ("what", "n", "A", "exact")
    table = Table("non_symmetric", "non-symmetric media: largest error of A relative to its largest entry", columns)

    def even(U, z):
        return jnp.exp(0.7 * jnp.sin(TAU * z[0]) * jnp.cos(TAU * z[1])) * (jnp.eye(z.size) + 0.2)

    for d, n in ((2, 32), (3, 16)):
        twist = np.random.default_rng(d).normal(size=(d, d))
        twist = twist - twist.T
        A = effective(hom.Cell(even, (n,) * d))
        B = effective(hom.Cell(lambda U, z, twist=twist: even(U, z) + jnp.asarray(twist), (n,) * d))
        text = f"constant antisymmetric part, d = {d}: A_12"
        table.below(distance(B, A + twist), 1e-8, text, n, B[0, 1], A[0, 1] + twist[0, 1])
        C = effective(hom.Cell(lambda U, z, twist=twist: even(U, z) * (1 + 0.5 * jnp.asarray(twist)), (n,) * d))
        D = effective(hom.Cell(lambda U, z, twist=twist: (even(U, z) * (1 + 0.5 * jnp.asarray(twist))).T, (n,) * d))
        table.below(distance(D, C.T), 1e-8, f"A(aᵀ) = A(a)ᵀ, d = {d}: A_12", n, D[0, 1], C[1, 0])
        table.between(np.max(np.abs(C - C.T)), 1e-2, 10, "  which is not symmetric: A_12, A_21", n, C[0, 1], C[1, 0])
    turn = jnp.array([[0.0, 1.0], [-1.0, 0.0]])
    for p in (1.0, 10.0, 100.0):
        # Shear flow with the stream function H(z_1): layers, A = [[1, ⟨H⟩], [−⟨H⟩, 1 + ⟨H²⟩ − ⟨H⟩²]] (Taylor's dispersion).
        A = effective(
            hom.Cell(lambda U, z, p=p: jnp.eye(2) + turn * p * (0.5 + jnp.sin(TAU * z[0]) + jnp.cos(2 * TAU * z[0])), (32, 8))
        )
        exact = np.array([[1.0, 0.5 * p], [-0.5 * p, 1 + p**2]])
        table.below(
            distance(A, exact), 1e-8, f"shear flow, H = {p:g}(1/2 + sin + cos 2): A_22", "(32, 8)", A[1, 1], exact[1, 1]
        )
    labels = np.repeat([0, 1], [6, 10])[:, None] * np.ones((1, 8), int)
    A = effective(
        hom.Cell.from_image(
            labels, {0: np.eye(2) + 3 * np.asarray(turn), 1: np.eye(2) - 2 * np.asarray(turn)}, hom.FiniteElement()
        )
    )
    mean, square = 3 * 6 / 16 - 2 * 10 / 16, 9 * 6 / 16 + 4 * 10 / 16
    exact = np.array([[1.0, mean], [-mean, 1 + square - mean**2]])
    table.below(distance(A, exact), 1e-8, "shear flow in layers of pixels: A_22", "(16, 8)", A[1, 1], exact[1, 1])
    strengths, rest = np.array([0.05, 0.1, 0.2, 0.4]), []
    for p in strengths:
        A = effective(hom.Cell(lambda U, z, p=p: jnp.eye(2) + turn * p * jnp.sin(TAU * z[0]) * jnp.sin(TAU * z[1]), (32, 32)))
        rest.append(abs(A[0, 0] - 1 - p**2 / 8))
    table.below(rest[-1], 5e-4, "cellular flow, H = 0.4 sin sin: 1 + H²/8 + O(H⁴)", 32, A[0, 0], 1 + 0.16 / 8)
    table.between(fitted_order(strengths, rest), 3.8, 4.2, "cellular flow: order of the rest in H", 32, "", "")
    return table.close(out)


def _spectral_gradient(u):
    """Gradient of periodic fields (m, n, n), written here anew: (m, 2, n, n)."""
    n = u.shape[-1]
    k = TAU * np.fft.fftfreq(n, 1 / n)
    k[n // 2] = 0 if n % 2 == 0 else k[n // 2]
    hat = np.fft.fft2(u)
    return np.stack([np.fft.ifft2(1j * k[:, None] * hat).real, np.fft.ifft2(1j * k * hat).real], axis=1)


def derivative(out):
    """dA/dU of the library, central differences of A, and the adjoint formula (docs: mathematics, Homogenization)."""
    columns = ("coefficient", "entry", "against", "dA/dU", "reference")
    table = Table("derivative", "dA/dU: largest difference relative to the largest entry", columns)
    twist = jnp.array([[0.0, 1.0], [-1.0, 0.0]])

    def tensor(U, z):
        wave = jnp.exp(0.5 * jnp.sin(TAU * z[0]) * U) * jnp.eye(2) + 0.2 * U**2 * jnp.sin(TAU * z[1])
        return wave + twist * (U * jnp.cos(TAU * z[1]) + 0.5 * jnp.sin(TAU * z[0]))

    smooth = {
        "scalar": lambda U, z: 1.3 + U**2 + jnp.sin(TAU * z[0]) * jnp.cos(TAU * z[1] + U),
        "non-symmetric tensor": tensor,
    }
    U, step = 0.6, 1e-4
    n = 33
    grid = np.arange(n) / n
    points = jnp.asarray(np.stack(np.meshgrid(grid, grid, indexing="ij"), axis=-1).reshape(-1, 2))
    for name, a in smooth.items():
        full = lambda U, z, a=a: a(U, z) * jnp.eye(2) if jnp.ndim(a(U, z)) == 0 else a(U, z)
        cell = hom.Cell(a, (n, n))
        r = fx.response(cell, U, tangent=True)
        central = (effective(cell, U + step) - effective(cell, U - step)) / (2 * step)
        slope = np.asarray(jax.vmap(jax.jacfwd(full), (None, 0))(U, points)).reshape(n, n, 2, 2)
        chi = _spectral_gradient(np.asarray(r.state))
        star = fx.response(hom.Cell(lambda U, z, full=full: full(U, z).T, (n, n)), U)
        dual = _spectral_gradient(np.asarray(star.state))
        unit = np.eye(2)[:, :, None, None]
        adjoint = np.einsum("ikxy,xykl,jlxy->ij", unit + dual, slope, unit + chi) / n**2
        for against, reference in (("central differences", central), ("adjoint formula", adjoint)):
            for i, j in ((0, 0), (0, 1)):
                error = abs(r.tangent[i, j] - reference[i, j]) / np.max(np.abs(reference))
                table.below(error, 1e-6, name, f"{i + 1}{j + 1}", against, r.tangent[i, j], reference[i, j])
            table.below(distance(np.asarray(r.tangent), reference), 1e-6, name, "all", against, "", "")
    labels = np.random.default_rng(0).integers(0, 3, (16, 16))
    values = {0: 1.0, 1: lambda U: 10 + U**2, 2: lambda U: jnp.array([[2.0, U], [-U, 1.0]])}
    for method in (hom.FiniteElement(), hom.FiniteDifference()):
        cell = hom.Cell.from_image(labels, values, method)
        r = fx.response(cell, U, tangent=True)
        central = (effective(cell, U + step) - effective(cell, U - step)) / (2 * step)
        error = distance(np.asarray(r.tangent), central)
        table.below(
            error, 1e-6, f"image, {type(method).__name__}", "all", "central differences", r.tangent[0, 0], central[0, 0]
        )
    several = hom.Cell(lambda U, z: U["a"] + U["b"][0] * jnp.sin(TAU * z[0]) + U["b"][1] * jnp.cos(TAU * z[1]), (32, 32))
    at = {"a": jnp.array(2.0), "b": jnp.array([0.7, -0.4])}
    r = fx.response(several, at, tangent=True)
    shifted = lambda s: effective(several, {"a": at["a"], "b": at["b"] + jnp.array([0.0, s])})
    central = (shifted(step) - shifted(-step)) / (2 * step)
    error = distance(np.asarray(r.tangent["b"][..., 1]), central)
    table.below(
        error, 1e-6, "several conditions, to the third", "all", "central differences", r.tangent["b"][0, 0, 1], central[0, 0]
    )
    return table.close(out)
