"""What surrounds a command: closed streams, signals, names of files, launchers of several processes."""

import io
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fiberax import cli
from fiberax.cli import platform, stopping
from fiberax.io import log
from fiberax.io.results import read_table

RING = str(Path(__file__).with_name("ring_case.py"))
TINY = [RING, "--cells", "3", "--steps", "12", "--records", "3", "--plain", "--no-figures"]


class Broken:
    """A stream whose reader is gone."""

    encoding = "utf-8"

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self):
        raise BrokenPipeError(32, "Broken pipe")


@pytest.mark.parametrize("stream", [Broken(), None, "/dev/full"])
def test_a_run_whose_words_nobody_can_read_is_computed(tmp_path, monkeypatch, stream):
    if stream == "/dev/full":
        if not Path(stream).exists():
            pytest.skip("no /dev/full")
        stream = open(stream, "w")  # noqa: SIM115
    monkeypatch.setattr(sys, "stderr", stream)
    code = cli.main(["run", *TINY, "--out", str(tmp_path / "run")])
    monkeypatch.undo()
    if isinstance(stream, io.TextIOBase):
        stream.close()
    assert code == 0 and log.read_state(tmp_path / "run")["phase"] == "finished"
    assert len(read_table(tmp_path / "run").values) == 4


def test_closed_streams_are_no_files_of_the_run(tmp_path):
    """The first file that a process opens gets the number of a closed stream, and what is printed would go there."""
    script = (
        "from fiberax.cli.display import open_streams, tell; open_streams(); tell('a word')\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w'); file.write(str(file.fileno()))"
    )
    done = subprocess.run(["sh", "-c", '"$0" -c "$1" 2>&- >&- <&-', sys.executable, script])
    assert done.returncode == 0 and int((tmp_path / "file").read_text()) > 2


@pytest.fixture(params=[signal.default_int_handler, signal.SIG_IGN], ids=["foreground", "background"])
def shell(request):
    """SIGINT as a terminal has it, and as a script starts jobs in the background; the other signals as usual."""
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.getsignal(number) for number in numbers}
    for number, handler in zip(numbers, (request.param, signal.SIG_DFL, signal.SIG_DFL), strict=True):
        signal.signal(number, handler)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_sighup_and_sigterm_count_as_ctrl_c(shell, number):
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stopping.within_seconds(lambda: None):
        signal.raise_signal(number)
        time.sleep(1.0)
    assert signal.getsignal(number) is before
    signal.signal(number, signal.SIG_IGN)  # as nohup does
    try:
        with stopping.within_seconds(lambda: None):
            signal.raise_signal(number)
            assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, before)


def test_an_interrupt_that_is_lost_comes_again(shell, monkeypatch):
    monkeypatch.setattr(sys, "unraisablehook", lambda _: pytest.fail("said"))

    class Garbage:
        def __del__(self):
            raise KeyboardInterrupt

    stopping.for_this_process()
    with pytest.raises(KeyboardInterrupt):
        Garbage()
        time.sleep(2.0)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("after", [1.0, 2.0, 3.0])
def test_a_signal_in_the_first_seconds_ends_cleanly(tmp_path, number, after):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "fiberax", "run", RING, "--steps", "1000000", "--plain", "--out", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    time.sleep(after)
    process.send_signal(number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130 and "Stopped." in said and "Traceback" not in said
    assert not (folder / "owner.json").exists()


@pytest.mark.slow
def test_a_reader_that_goes_away_does_not_end_the_run(tmp_path):
    command = f"{sys.executable} -m fiberax run {' '.join(TINY)} --out {tmp_path / 'run'} 2>&1 | head -1"
    assert "Preparing" in subprocess.run(["sh", "-c", command], capture_output=True, text=True).stdout
    assert log.read_state(tmp_path / "run")["phase"] == "finished"


@pytest.mark.parametrize(
    ("name", "words"),
    [("x" * 300, "File name too long"), ("/".join(["x" * 250] * 20), "File name too long"), ("\udcff", "is not UTF-8")],
)
def test_names_that_cannot_be_used_are_refused_before_the_work(tmp_path, monkeypatch, capsys, name, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("fiberax.cli.commands.build", lambda _: pytest.fail("built"))
    for arguments in (["run", *TINY, "--out", name], ["resume", name]):
        capsys.readouterr()
        assert cli.main(arguments) == 2
        assert words in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("command", [["status"], ["plot"], ["run", "diffusion", "--image"]])
def test_names_that_are_too_long_are_wrong_input_everywhere(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    assert cli.main([*command, "x" * 300]) == 2
    assert "Traceback" not in capsys.readouterr().err


LAUNCHED = [
    ("OMPI_COMM_WORLD_SIZE", "2", "Open MPI"),
    ("PMI_SIZE", "16", "MPICH or Intel MPI"),
    ("SLURM_STEP_NUM_TASKS", "2", "srun"),
    ("PBS_TASKNUM", "3", "pbsdsh"),
]


@pytest.mark.parametrize(("variable", "value", "launcher"), LAUNCHED)
def test_one_of_several_processes_computes_nothing_by_itself(tmp_path, monkeypatch, capsys, variable, value, launcher):
    monkeypatch.setenv(variable, value)
    assert cli.main(["run", *TINY, "--out", str(tmp_path / "run")]) == 2
    message = capsys.readouterr().err
    assert f"{launcher} has started ({variable}={value})" in message and "--distributed" in message
    assert not (tmp_path / "run").exists()


def test_one_process_alone_is_not_refused(monkeypatch):
    for variable, *_ in LAUNCHED:
        monkeypatch.setenv(variable, "1")
    monkeypatch.setenv("SLURM_NTASKS", "8")  # in a batch script, where one process runs
    platform._refuse_unshared()
