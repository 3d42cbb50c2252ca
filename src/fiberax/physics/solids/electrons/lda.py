"""Exchange and correlation of the local density approximation, electrons without spin; atomic units.

Exchange: P. A. M. Dirac (1930). Correlation: "lda_pw", J. P. Perdew and Y. Wang, Phys. Rev. B 45 (1992) 13244, with the digits
of libxc's LDA_C_PW; "lda_pz", J. P. Perdew and A. Zunger, Phys. Rev. B 23 (1981) 5048, whose derivative jumps a little at
r_s = 1; "lda_vwn", S. H. Vosko, L. Wilk and M. Nusair, Can. J. Phys. 58 (1980) 1200, their formula V.
"""

from typing import Literal

import jax.numpy as jnp
from jaxtyping import Array, Float

Functional = Literal["lda_pw", "lda_pz", "lda_vwn"]

_LEAST = 1e-20  # electrons per bohr³; below, ε is that of this density, and contributes nothing


def energy(density: Float[Array, "..."], functional: Functional) -> Float[Array, "..."]:
    """ε_xc(ρ) in hartree per electron, of ρ in electrons per bohr³; smooth down to ρ = 0."""
    rho = jnp.maximum(density, _LEAST)
    log_rs = (jnp.log(3.0 / (4.0 * jnp.pi)) - jnp.log(rho)) / 3.0  # faster than a power, and used below
    rs = jnp.exp(log_rs)
    if functional == "lda_pz":
        return _EXCHANGE / rs + _perdew_zunger(rs, log_rs)
    return _EXCHANGE / rs + (_perdew_wang(rs) if functional == "lda_pw" else _vosko_wilk_nusair(rs))


_EXCHANGE = -0.75 * (9.0 / (4.0 * jnp.pi**2)) ** (1.0 / 3.0)


def _perdew_wang(rs):
    a, a1, b1, b2, b3, b4 = 0.031091, 0.21370, 7.5957, 3.5876, 1.6382, 0.49294
    root = jnp.sqrt(rs)
    series = 2.0 * a * root * (b1 + root * (b2 + root * (b3 + root * b4)))
    return -2.0 * a * (1.0 + a1 * rs) * jnp.log1p(1.0 / series)


def _perdew_zunger(rs, log_rs):
    dilute, dense, log_dense = jnp.maximum(rs, 1.0), jnp.minimum(rs, 1.0), jnp.minimum(log_rs, 0.0)
    low = -0.1423 / (1.0 + 1.0529 * jnp.sqrt(dilute) + 0.3334 * dilute)
    high = 0.0311 * log_dense - 0.048 + 0.0020 * dense * log_dense - 0.0116 * dense
    return jnp.where(rs >= 1.0, low, high)


def _vosko_wilk_nusair(rs):
    a, x0, b, c = 0.0310907, -0.10498, 3.72744, 12.9352
    x, q = jnp.sqrt(rs), (4.0 * c - b**2) ** 0.5
    square = lambda y: y * y + b * y + c
    angle = jnp.arctan(q / (2.0 * x + b))
    rest = jnp.log((x - x0) ** 2 / square(x)) + 2.0 * (b + 2.0 * x0) / q * angle
    return a * (jnp.log(x**2 / square(x)) + 2.0 * b / q * angle - b * x0 / square(x0) * rest)
