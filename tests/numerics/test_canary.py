"""The compiler under us: small programs with exact answers, compiled against not compiled.

Compiled twice: as users compile, with the compiler's own settings, and as tests do, with those of conftest.py.
"""

import dataclasses
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fiberax.numerics import canary

GENERATOR = "xla_cpu_use_fusion_emitters"
USERS = {"xla_backend_optimization_level": 3} | ({GENERATOR: True} if GENERATOR in os.environ["XLA_FLAGS"] else {})
CHOICES = [USERS, {}]
PROGRAMS = list(canary.programs())


@pytest.mark.parametrize("program", PROGRAMS, ids=[program.name for program in PROGRAMS])
def test_program_is_exact(program):
    arguments = [jnp.asarray(argument) for argument in program.arguments]
    assert np.abs(program.exact).max() > 0
    for options in CHOICES:
        assert program.fault(jax.jit(program.function, compiler_options=options)(*arguments)) == ""
    with jax.disable_jit():
        assert program.fault(program.function(*arguments)) == ""


@pytest.mark.parametrize("program", [p for p in PROGRAMS if "in place" in p.name], ids=lambda p: p.name)
def test_donated_buffers_hold_the_same_result(program):
    for options in CHOICES:
        donated = jax.jit(program.function, donate_argnums=0, compiler_options=options)(jnp.array(program.arguments[0]))
        assert program.fault(donated) == ""


def test_a_wrong_number_is_a_fault():
    program = PROGRAMS[0]
    wrong = np.array(program.exact)
    wrong[[3, 5]] += [1.0, np.nan]
    assert "product and sum of 16384 rows: 2 of 16384 numbers are wrong" in program.fault(wrong)
    assert "float32" in program.fault(program.exact.astype(np.float32))
    rough = next(program for program in PROGRAMS if program.rtol)
    assert program.fault(rough.exact) != "" and rough.fault(rough.exact * (1 + 10 * rough.rtol)) != ""
    assert rough.fault(rough.exact * (1 + 0.5 * rough.rtol)) == ""


def test_faults_names_the_programs_that_are_wrong(monkeypatch):
    good, other = PROGRAMS[0], next(program for program in PROGRAMS if program.name == "linear systems")
    bad = dataclasses.replace(other, function=lambda a, b: jnp.linalg.solve(a, b).at[0, 0, 0].add(1e-6))
    monkeypatch.setattr(canary, "programs", lambda: [good, bad])
    assert [fault.split(":")[0] for fault in canary.faults()] == ["linear systems"]
