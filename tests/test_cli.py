"""The command in one process: help, wrong input in one message, a run from start to figures."""

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import fiberax as fx
from fiberax import cli
from fiberax.cli import check
from fiberax.io import log
from fiberax.io.results import read_table

RING = str(Path(__file__).with_name("ring_case.py"))
TINY = [RING, "--steps", "12", "--records", "3", "--plain"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of one small run from start to figures."""
    pytest.importorskip("matplotlib")
    folder = tmp_path_factory.mktemp("runs") / "ring"
    assert cli.main(["run", *TINY, "--out", str(folder)]) == 0
    return folder


def refused(capsys, *arguments):
    """The one message of a command that must end with exit code 2."""
    capsys.readouterr()
    assert cli.main([str(a) for a in arguments]) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return " ".join(said.err.replace("│", " ").split())


def test_help_lists_the_commands_and_cases(capsys):
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    assert all(word in said for word in ("list", "run", "resume", "status", "check", "plot"))
    assert cli.main(["list"]) == 0
    assert "diffusion" in capsys.readouterr().out


@pytest.mark.parametrize("case", ["diffusion", "homogenize", "steady"])
def test_every_option_of_a_case_has_help_and_unit(capsys, case):
    assert cli.main(["run", case, "--help"]) == 0
    said = capsys.readouterr().out
    assert "--conductivities" in said and "(mm^2/s)" in said and "[default: 1,20]" in said


def test_version(capsys):
    import fiberax

    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"fiberax {fiberax.__version__}\n"


def test_help_is_light():
    script = "import sys; from fiberax.cli import main; main(['--help']); print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    modules = done.stdout.splitlines()[-1]
    for heavy in ("'jax'", "'matplotlib'", "'xarray'", "'h5py'", "'scipy'"):
        assert heavy not in modules


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "difusion"], "did you mean diffusion?"),
        (["run", "zzz"], "There is no case 'zzz': there are "),
        (["run", "diffusion", "--cels", "3"], "--cels"),
        (["run", "diffusion", "--cells", "three"], "--cells"),
        (["run", "diffusion", "--cells", "2"], "--cells = 2: give at least 4"),
        (["run", "diffusion", "--t1", "nan"], "--t1 = nan: give a finite number"),
        (["run", "diffusion", "--dt", "-1"], "--dt = -1.0 s: give a number larger than 0"),
        (["run", "diffusion", "--conductivities", "1,-20"], "label 255, -20 + 0 U, is -20 at U = 0; it must not be negative"),
        (["run", "diffusion", "--slopes", "-0.5,0"], "is -49 at U = 100"),
        (["run", "diffusion", "--conductivities", "1,2,3"], "gives 3 numbers"),
        (["run", "diffusion", "--conductivities", "1,two"], "'two' is no number"),
        (["run", "diffusion", "--cells", "2.5"], "'--cells': '2.5' is not a whole number."),
        (["run", "diffusion", "--cells", "1_0"], "'--cells': '1_0' is not a whole number."),
        (["run", "diffusion", "--dt", "1e-3s"], "'--dt': '1e-3s' is not a number."),
        (["run", "diffusion", "--image", "missing.png"], "missing.png: no such file"),
        (["run", "homogenize", "--formula", "import os"], "not a formula"),
        (["run", "homogenize", "--formula", "__import__('os')"], "is not known"),
        (["run", "homogenize", "--formula", "1 + q"], "'q' is not known"),
        (["run", "homogenize", "--formula", "sin(2*pi*x)"], "is negative at z = [0.515625, "),
        (["run", "homogenize", "--low", "5", "--high", "1"], "--high = 1 is not above --low = 5"),
        (["run", "homogenize", "--formula", "+".join(["U"] * 40_000)], "--formula: the formula has 79999 characters"),
        (["run", "homogenize", "--formula", "+".join(["U"] * 2_000)], "--formula: the formula is nested, or has sums or"),
        (["run", "homogenize", "--formula", "(" * 4_000 + "U" + ")" * 4_000], "not a formula"),
        (["run", "no_such_file.py"], "There is no file no_such_file.py"),
        (["run", "diffusion", "--process-id", "1"], "need --coordinator"),
        (["resume", "nowhere"], "There is no folder nowhere"),
        (["status", "nowhere"], "There is no folder nowhere"),
        (["plot", "nowhere"], "There is no folder nowhere"),
        (["plot", "."], "no folder of a run"),
    ],
)
def test_wrong_input_is_one_message(capsys, tmp_path, monkeypatch, arguments, words):
    monkeypatch.chdir(tmp_path)
    assert words in refused(capsys, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_an_image_that_cannot_be_used_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = np.zeros((8, 8))
    image[2, 3] = np.nan
    np.save("nan.npy", image)
    assert "NaN" in refused(capsys, "run", "diffusion", "--image", "nan.npy")
    np.save("shape.npy", np.zeros((2, 2, 2, 2)))
    assert "4 axes" in refused(capsys, "run", "diffusion", "--image", "shape.npy")
    Path("text.png").write_text("no picture")
    assert "text.png" in refused(capsys, "run", "diffusion", "--image", "text.png")
    np.save("many.npy", np.arange(64).reshape(8, 8))
    assert "64 different labels" in refused(capsys, "run", "diffusion", "--image", "many.npy")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("x = 1", "defines no case"),
        ("import nothing_like_this", "line 1: ModuleNotFoundError"),
        ("a = 1\nb = a / 0", "line 2: ZeroDivisionError"),
        ("def f(:", "line 1: SyntaxError"),
        ("class A(Case):\n    def build(self): pass", "is not a dataclass"),
        ("@dataclass\nclass A(Case):\n    n: int = 3\n    def build(self): pass", "A.n: make it an option"),
        ("@dataclass\nclass A(Case):\n    def build(self): pass\n\nclass B(A): pass", "defines 2 cases"),
        ("@dataclass\nclass A(Case):\n    def build(self):\n        return [][1]", "line 6: IndexError"),
        ("@dataclass\nclass A(Case):\n    def build(self):\n        return 7", "build() must return"),
    ],
)
def test_a_wrong_file_is_one_message(capsys, tmp_path, monkeypatch, content, words):
    monkeypatch.chdir(tmp_path)
    head = (
        ""
        if content.startswith(("import", "a =", "def", "x"))
        else ("from dataclasses import dataclass\nfrom fiberax.cases import Case\n")
    )
    Path("model.py").write_text(head + content)
    assert words in refused(capsys, "run", "model.py")


def test_debug_shows_the_traceback(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["run", "diffusion", "--image", "missing.png", "--debug"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_run_leaves_everything_in_its_folder(finished):
    parameters = json.loads((finished / "parameters.json").read_text())
    assert parameters["case"] == "ring_case" and parameters["options"]["steps"] == 12
    assert (finished / parameters["source"]).read_text() == Path(RING).read_text()
    versions = json.loads((finished / "versions.json").read_text())
    assert {"python", "jax", "numpy", "fiberax", "platform"} <= set(versions)
    events = [event["event"] for event in log.read_events(finished)]
    assert events[0] == "start" and events[-1] == "end" and events.count("record") == 4 and "progress" in events
    for name in ("U", "response", "microstates"):
        assert (finished / "figures" / f"{name}.png").stat().st_size > 5000
    assert (finished / "paraview" / "series.pvd").exists()
    assert not (finished / "owner.json").exists() and not list((finished / "records").iterdir())
    table = read_table(finished)
    assert table.arrays["U"].shape == (4, 12) and not table.arrays["result"].any()
    np.testing.assert_allclose(table.arrays["A"], 1.0 + 0.1 * table.arrays["U"] ** 2, rtol=1e-9)


def test_status_resume_and_plot_of_a_finished_run(capsys, finished):
    capsys.readouterr()
    assert cli.main(["status", str(finished)]) == 0
    said = capsys.readouterr().out
    assert "finished" in said and "12 of 12 (100 %)" in said and "0 of 12" in said
    assert "is finished" in refused(capsys, "resume", finished)
    shutil.rmtree(finished / "figures")
    assert cli.main(["plot", str(finished)]) == 0
    assert (finished / "figures" / "U.png").exists()


def test_the_time_left_counts_from_the_last_sign_of_life(capsys, finished, tmp_path):
    """100 s were left 30 s ago: 70 s; never less than none."""
    folder = tmp_path / "run"
    shutil.copytree(finished, folder)
    for eta, ago, words in ((100.0, 30.0, "70 s"), (20.0, 30.0, "under 1 s")):
        state = {"step": 3, "steps": 12, "failed": 0, "sites": 12, "saved": 1, "eta": eta, "phase": "running"}
        (folder / "state.json").write_text(json.dumps(state | {"written": time.time() - ago}))
        capsys.readouterr()
        assert cli.main(["status", str(folder)]) == 0
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "time left" in line]
        assert line.split("time left")[1].strip() == words


def test_a_folder_that_exists_is_kept(capsys, finished, tmp_path):
    message = refused(capsys, "run", *TINY, "--out", finished)
    assert "exists" in message and "--overwrite" in message and "resume" in message
    other = tmp_path / "letters"
    other.mkdir()
    (other / "dear.txt").write_text("aunt")
    assert "something other than a run" in refused(capsys, "run", *TINY, "--out", other, "--overwrite")
    assert (other / "dear.txt").exists()
    assert "is a file" in refused(capsys, "run", *TINY, "--out", other / "dear.txt")


def test_overwrite_replaces_an_earlier_run(capsys, finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    assert cli.main(["run", *TINY, "--records", "1", "--no-figures", "--out", str(copy), "--overwrite"]) == 0
    assert read_table(copy).arrays["U"].shape == (2, 12)


def test_missing_matplotlib_is_one_message_and_spoils_no_run(capsys, finished, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "fiberax[plot]" in refused(capsys, "plot", copy)
    assert cli.main(["run", *TINY, "--out", str(tmp_path / "new")]) == 0
    said = capsys.readouterr()
    assert "fiberax[plot]" in said.err and f". Results are in {tmp_path / 'new'}" in said.out
    assert log.read_state(tmp_path / "new")["phase"] == "finished"


def test_a_full_disk_is_one_message(capsys, tmp_path, monkeypatch):
    calls, sync = [], os.fsync

    def full(handle):
        calls.append(handle)
        if len(calls) > 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        sync(handle)

    monkeypatch.setattr(os, "fsync", full)
    message = refused(capsys, "run", *TINY, "--records", "12", "--out", tmp_path / "run")
    assert "No space left on device" in message and "Free some space" in message
    monkeypatch.undo()
    assert cli.main(["resume", str(tmp_path / "run"), "--no-figures"]) == 0
    assert read_table(tmp_path / "run").arrays["U"].shape == (13, 12)


@pytest.mark.filterwarnings("ignore::fiberax.StepLimitWarning")  # said before
def test_a_run_that_blows_up_stops_and_says_why(capsys, tmp_path):
    message = refused(capsys, "run", *TINY, "--pole", "1e9", "--out", tmp_path / "run")
    assert "The macrostate grew from" in message and "limit an explicit step" in message and "in step" in message
    assert log.read_state(tmp_path / "run")["phase"] == "failed"


def test_the_time_of_a_step_is_measured_without_the_start_of_a_run(monkeypatch):
    """A clock on which a run takes 2 s and then 0.1 s for each step."""
    now = [0.0]
    monkeypatch.setattr("fiberax.cli.check.time.perf_counter", lambda: now[0])

    def evolve(*_, t0, t1, dt, stepper):
        now[0] += 1.9 + 0.1 * round((t1 - t0) / dt)

    monkeypatch.setattr(fx, "evolve", evolve)
    problem = SimpleNamespace(bundle=None, driver=None, macro0=None, t0=1.0, stepper=None)
    assert check._time_step(problem, 0.01, 2.0, 10**6) == pytest.approx(0.1, rel=1e-6)


def test_check_tells_what_holds_and_what_it_will_cost(capsys, tmp_path):
    assert cli.main(["check", RING, "--cells", "3", "--steps", "1000", "--records", "1"]) == 0
    said = capsys.readouterr().out
    assert "fit together" in said and "tangent is the derivative" in said and "for 1000 steps" in said
    assert "finite gradient" in said and "All checks passed" in said and "expect   the field decays" in said
    wrong = tmp_path / "wrong.py"
    wrong.write_text(Path(RING).read_text().replace("return response * self", "return response[:2] * self"))
    assert "Ring.rate" in refused(capsys, "check", wrong)


def test_the_command_finds_itself_as_a_module(tmp_path):
    begun = time.process_time()
    done = subprocess.run([sys.executable, "-m", "fiberax", "list"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0 and "homogenize" in done.stdout
    assert time.process_time() - begun < 5


def test_plain_lines_begin_at_once_and_come_every_five_seconds(capsys):
    from fiberax.cli.display import Lines

    now = [0.0]
    lines = Lines(lambda: now[0])
    lines.show(1, 1, "all of it", None)
    assert capsys.readouterr().err == "1/1 (100 %) all of it\n"
    lines = Lines(lambda: now[0])
    for second in (0.1, 1.0, 4.0, 5.2, 6.0):
        now[0] = second
        lines.show(1, 9, f"t = {second}", None)
    assert [line.split("t = ")[1] for line in capsys.readouterr().err.splitlines()] == ["0.1", "5.2"]
