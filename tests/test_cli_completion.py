"""Completion in bash, zsh and fish."""

import os
import shutil
import subprocess
import sys

import pytest


@pytest.fixture
def bin(tmp_path):
    """A folder with the command `fiberax`."""
    command = tmp_path / "fiberax"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m fiberax "$@"\n')
    command.chmod(0o755)
    return tmp_path


def run(bin, *command, **more):
    environment = os.environ | {"PATH": f"{bin}:{os.environ['PATH']}", "HOME": str(bin)} | more
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


def completed(bin, line):
    """What a shell is told for a line, as fish and zsh ask: words and helps."""
    done = run(bin, "fiberax", _FIBERAX_COMPLETE="complete_zsh", _TYPER_COMPLETE_ARGS=line)
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("line", "there", "absent"),
    [
        ("fiberax ", ("run", "extend", "completion"), "diffusion"),
        ("fiberax run ", ("diffusion", "wave", "channel"), "extend"),
        ("fiberax run diff", ("diffusion",), "wave"),
        ("fiberax run diffusion --c", ("--conductivities", "--cells", "--chunk"), "--members"),
        ("fiberax run channel --model ", ("dumbbell", "giesekus"), "--cells"),
        ("fiberax plot runs/x --form", ("--format",), "--dpi"),
        ("fiberax run 'open", (), "diffusion"),
        ("fiberax run own.py --", (), "--cells"),
    ],
)
def test_words(bin, line, there, absent):
    said = completed(bin, line)
    assert all(f'"{word}"' in said for word in there) and f'"{absent}"' not in said


def test_no_code_of_a_user_is_executed(bin):
    (bin / "own.py").write_text(f"open({str(bin / 'executed')!r}, 'w')")
    completed(bin, f"fiberax run {bin / 'own.py'} --")
    assert not (bin / "executed").exists()


def test_bash(bin):
    script = run(bin, "fiberax", "completion", "bash")
    assert script.returncode == 0
    line = "fiberax run diffusion --radi"
    asked = (
        f'eval "$(fiberax completion bash)"; COMP_WORDS=({line}); COMP_CWORD=3; '
        "$(complete -p fiberax | sed 's/.*-F \\([^ ]*\\).*/\\1/') fiberax; echo \"${COMPREPLY[@]}\""
    )
    done = run(bin, "bash", "-c", asked)
    assert done.stdout.split() == ["--radians"], done.stderr


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_accept_their_script(bin, shell):
    done = run(bin, "fiberax", "completion", shell)
    assert done.returncode == 0 and "_FIBERAX_COMPLETE" in done.stdout and "fiberax" in done.stdout
    if shutil.which(shell):
        (bin / "script").write_text(done.stdout)
        assert run(bin, shell, "--no-execute", str(bin / "script")).returncode == 0


def test_unknown_shells_are_refused(bin):
    done = run(bin, "fiberax", "completion", "tcsh")
    assert done.returncode == 2 and "'tcsh' is not one of" in done.stderr
