"""Settings of JAX before it starts: double precision, compilation cache, devices, processes."""

import logging
import os
from collections.abc import Callable

import numpy as np

from fiberax.cli.options import Devices
from fiberax.core.errors import BadInput
from fiberax.numerics.machine import cache_folder

# Launchers, the variable that tells a process how many there are, and its value for one alone. Slurm sets SLURM_NTASKS in a
# batch script as well, where one process runs, and that of the step under srun only. pbsdsh numbers tasks; the script is 1.
_LAUNCHERS = (
    ("mpirun of Open MPI", "OMPI_COMM_WORLD_SIZE", 1),
    ("mpirun of MPICH or Intel MPI", "PMI_SIZE", 1),
    ("mpirun of MVAPICH", "MV2_COMM_WORLD_SIZE", 1),
    ("srun", "SLURM_STEP_NUM_TASKS", 1),
    ("pbsdsh", "PBS_TASKNUM", 1),
)


_JAX_DEFAULT = 1.0
_WORTH = 0.02  # seconds of compilation from which a program is kept


def start(devices: Devices) -> None:
    """Set JAX up for this process. Calling it again with the same devices changes nothing.

    Raises `BadInput` where more devices are asked for than there are, the other processes cannot be reached, or there are other
    processes of which nothing was said.
    """
    if is_alone(devices):
        _refuse_unshared()
    import jax

    jax.config.update("jax_enable_x64", True)
    if jax.config.values["jax_compilation_cache_dir"] is None:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder()))
    # A case begins with dozens of small programs, which take longer to compile than to read.
    if jax.config.values["jax_persistent_cache_min_compile_time_secs"] == _JAX_DEFAULT:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH)
    logging.getLogger("jax._src.compilation_cache").setLevel(logging.ERROR)
    if not jax.distributed.is_initialized():
        _split_cpu(devices)
        _find_processes(devices)
    _check_count(devices)


def placement(devices: Devices):
    """The `fx.Placement` for a run: all devices of all processes, or those asked for."""
    import jax

    from fiberax.core.sites import Placement

    alone = jax.process_count() == 1
    return Placement(devices=devices.devices if alone else None, chunk=devices.chunk)


def is_alone(devices: Devices) -> bool:
    """Whether no other process takes part, which is known before JAX starts."""
    return not devices.distributed and devices.coordinator is None


def is_first_process() -> bool:
    """Whether this process writes files and prints."""
    import jax

    return jax.process_index() == 0


def on_first_process(work: Callable[[], object]) -> None:
    """Do `work` on the first process; the others wait for it, and all fail where it fails.

    Raises what `work` raises, and `BadInput` on the other processes.
    """
    import jax

    if jax.process_count() == 1:
        work()
        return
    from jax.experimental import multihost_utils

    failure = None
    if is_first_process():
        try:
            work()
        except Exception as error:
            failure = error
    good = multihost_utils.broadcast_one_to_all(np.int32(failure is None))
    if failure is not None:
        raise failure
    if not good:
        raise BadInput("Process 0 could not begin; its message says why.")


def _refuse_unshared() -> None:
    """Raise `BadInput` where a launcher has started several processes, each of which would compute the whole case."""
    for launcher, variable, alone in _LAUNCHERS:
        count = os.environ.get(variable, "")
        if count.isdecimal() and int(count) > alone:
            raise BadInput(
                f"This is one of several processes that {launcher} has started ({variable}={count}), and each of them would "
                "compute all of it. Add --distributed, so that they share it, or start one process; for runs of their own, "
                f"each in its folder, remove {variable} from the environment."
            )


def _find_processes(devices: Devices) -> None:
    by_hand = (devices.coordinator, devices.num_processes, devices.process_id)
    if any(value is not None for value in by_hand):
        if devices.coordinator is None or devices.num_processes is None or devices.process_id is None:
            raise BadInput("Several processes need --coordinator, --num-processes and --process-id together.")
        if devices.process_id >= devices.num_processes:
            raise BadInput(
                f"--process-id = {devices.process_id}: with {devices.num_processes} processes it runs "
                f"from 0 to {devices.num_processes - 1}."
            )
        _join(*by_hand)
    elif devices.distributed:
        _join(None, None, None)


def _join(coordinator: str | None, count: int | None, number: int | None) -> None:
    import jax

    try:
        jax.distributed.initialize(coordinator, count, number)
    except (RuntimeError, ValueError) as error:
        raise BadInput(
            f"The processes did not find one another ({str(error).splitlines()[0]}). Under Slurm and Open MPI use "
            "--distributed; elsewhere --coordinator HOST:PORT --num-processes N --process-id I, the same HOST:PORT for all."
        ) from error


def _split_cpu(devices: Devices) -> None:
    """Divide one CPU into several devices. Has no effect once a backend runs, or where there is a GPU."""
    import jax

    if devices.devices is not None and devices.devices > 1:
        try:
            jax.config.update("jax_num_cpu_devices", devices.devices)
        except RuntimeError:
            return


def _check_count(devices: Devices) -> None:
    import jax

    if devices.devices is not None and jax.local_device_count() < devices.devices:
        raise BadInput(
            f"--devices = {devices.devices}: this process sees {jax.local_device_count()} ({jax.local_devices()[0].platform})."
        )
