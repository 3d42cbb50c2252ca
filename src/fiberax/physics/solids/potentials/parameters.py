"""Published parameter sets of potentials, by name, in units "metal" (eV, Å)."""

import math

# A. P. Sutton, J. Chen, Phil. Mag. Lett. 61, 139 (1990), table 1: ε in eV, a in Å, c, n, m. In the full lattice sum each is in
# equilibrium at the lattice constant a, which fixes c = n S_n / (m √S_m), S_k = Σ (a/r)^k over fcc.
SUTTON_CHEN = {
    "Ni": (1.5707e-2, 3.52, 39.432, 9, 6),
    "Cu": (1.2382e-2, 3.61, 39.432, 9, 6),
    "Rh": (4.9371e-3, 3.80, 144.41, 12, 6),
    "Pd": (4.1790e-3, 3.89, 108.27, 12, 7),
    "Ag": (2.5415e-3, 4.09, 144.41, 12, 6),
    "Ir": (2.4489e-3, 3.84, 334.94, 14, 6),
    "Pt": (1.9833e-2, 3.92, 34.408, 10, 8),
    "Au": (1.2793e-2, 4.08, 34.408, 10, 8),
    "Pb": (5.5765e-3, 4.95, 45.778, 10, 7),
    "Al": (3.3147e-2, 4.05, 16.399, 7, 6),
}

# J. Tersoff, Phys. Rev. B 39, 5566 (1989), table I, and erratum 41, 3248: A, B in eV, λ, µ in 1/Å, β, n, c, d, h, R and S in Å.
# C is that of Phys. Rev. Lett. 61, 2879 (1988); Si differs from Phys. Rev. B 38, 9902 (1988) in the last digits and has λ₃ = 0.
_ELEMENTS_1989 = {
    "C": (1393.6, 346.74, 3.4879, 2.2119, 1.5724e-7, 0.72751, 38049.0, 4.3484, -0.57058, 1.8, 2.1),
    "Si": (1830.8, 471.18, 2.4799, 1.7322, 1.1000e-6, 0.78734, 100390.0, 16.217, -0.59825, 2.7, 3.0),
    "Ge": (1769.0, 419.23, 2.4451, 1.7047, 9.0166e-7, 0.75627, 106430.0, 15.652, -0.43884, 2.8, 3.1),
}
_CHI_1989 = {("C", "Si"): 0.9776, ("Ge", "Si"): 1.00061}

_SILICON_1988 = {
    # J. Tersoff, Phys. Rev. B 37, 6991 (1988)
    "Si(B)": dict(m=3, gamma=1.0, lambda3=1.3258, c=4.8381, d=2.0417, costheta0=0.0, n=22.956)
    | dict(beta=0.33675, lambda2=1.3258, B=95.373, R=3.0, D=0.2, lambda1=3.2394, A=3264.7),
    # J. Tersoff, Phys. Rev. B 38, 9902 (1988)
    "Si(C)": dict(m=3, gamma=1.0, lambda3=1.7322, c=1.0039e5, d=16.218, costheta0=-0.59826, n=0.78734)
    | dict(beta=1.0999e-6, lambda2=1.7322, B=471.18, R=2.85, D=0.15, lambda1=2.4799, A=1830.8),
}


def tersoff_sets() -> tuple[str, ...]:
    """Names that `tersoff_set` knows."""
    return (*_SILICON_1988, "Si(D)", "C", "Ge", "SiC", "SiGe")


def tersoff_set(name: str) -> dict[tuple[str, str, str], dict[str, float]]:
    """A named set as entries by triple of elements, as `files.read_tersoff` gives them."""
    if name in _SILICON_1988:
        return {("Si", "Si", "Si"): dict(_SILICON_1988[name])}
    elements = {"Si(D)": ("Si",), "C": ("C",), "Ge": ("Ge",), "SiC": ("Si", "C"), "SiGe": ("Si", "Ge")}[name]
    return {(a, b, c): _mixed(a, b, c) for a in elements for b in elements for c in elements}


def _mixed(a: str, b: str, c: str) -> dict[str, float]:
    """Entry of the set of 1989: bonds a-b mix by its equations (1) to (4), the range of the third atom is that of a-c."""
    first, second, third = (_ELEMENTS_1989[x] for x in (a, b, c))
    strength = _CHI_1989.get((min(a, b), max(a, b)), 1.0)
    inner, outer = math.sqrt(first[9] * third[9]), math.sqrt(first[10] * third[10])
    return dict(
        m=3,
        gamma=1.0,
        lambda3=0.0,
        c=first[6],
        d=first[7],
        costheta0=first[8],
        n=first[5],
        beta=first[4],
        lambda2=(first[3] + second[3]) / 2,
        B=strength * math.sqrt(first[1] * second[1]),
        R=(inner + outer) / 2,
        D=(outer - inner) / 2,
        lambda1=(first[2] + second[2]) / 2,
        A=math.sqrt(first[0] * second[0]),
    )
