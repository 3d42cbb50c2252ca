"""Programs that run a few times: compiled in a fraction of the time, and slower."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from fiberax.numerics import trees

# No passes of LLVM, and the older code generator for fused loops. Both are options of XLA for CPUs.
_QUICK = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}


def jit_once(function: Callable) -> Callable:
    """`eqx.filter_jit` for programs of many small operations that are called some ten times with the same shapes.

    On a CPU such programs compile three to four times as fast, and take longer to run. Elsewhere, and as a part of a program
    that is being traced, nothing is different.
    """

    @functools.cache
    def compiled(quick: bool):
        options: dict[str, Any] = {"compiler_options": dict(_QUICK)} if quick else {}
        return eqx.filter_jit(function, **options)

    @functools.wraps(function)
    def call(*args, **kwargs):
        return compiled(_has_options() and not _is_traced((args, kwargs)))(*args, **kwargs)

    return call


def _is_traced(arguments: Any) -> bool:
    """Whether a program is being traced or differentiated, which takes no options: new arrays belong to its trace."""
    return any(trees.is_tracer(x) for x in (jnp.zeros(()), *jax.tree.leaves(arguments)))


@functools.cache
def _has_options() -> bool:
    """Whether this XLA knows the options; another release may have given them other names."""
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda x: x, compiler_options=dict(_QUICK))(0.0)
    except Exception:  # the error for an unknown option has no type of its own
        return False
    return True
