"""Runs with files that are missing, damaged or changed: what is sound is kept, what is not is said."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from fiberax import cli
from fiberax.io import log, recorder, runfolder
from fiberax.io.results import read_table

RING = str(Path(__file__).with_name("ring_case.py"))
TINY = [RING, "--cells", "3", "--steps", "12", "--records", "3", "--plain", "--no-figures"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of one small run without figures."""
    folder = tmp_path_factory.mktemp("runs") / "ring"
    assert cli.main(["run", *TINY, "--out", str(folder)]) == 0
    return folder


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of it to damage."""
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def said(capsys, code, *arguments):
    """What a command that must end with this code says."""
    capsys.readouterr()
    assert cli.main([str(a) for a in arguments]) == code
    found = capsys.readouterr()
    assert "Traceback" not in found.err
    return found.out + found.err


@pytest.mark.parametrize("damage", ["gone", "cut"])
def test_a_lost_record_loses_no_other(finished, tmp_path, monkeypatch, capsys, damage):
    folder, write = tmp_path / "run", recorder.write_record

    def lossy(where, index, value, arrays):
        write(where, index, value, arrays)
        path = where / "records" / "000001.npz"
        if index == 2 and damage == "gone":
            path.unlink()
        elif index == 2:
            path.write_bytes(path.read_bytes()[:-50])

    monkeypatch.setattr(recorder, "write_record", lossy)
    words = said(capsys, 3, "run", *TINY, "--out", folder)
    assert "1 of 4 records are not in the results: " in words and "000001.npz" in words
    table, whole = read_table(folder), read_table(finished)
    assert log.read_state(folder)["phase"] == "finished"
    np.testing.assert_array_equal(table.values, whole.values[[0, 2, 3]])
    np.testing.assert_array_equal(table.arrays["U"], whole.arrays["U"][[0, 2, 3]])
    left = [path.name for path in (folder / "records").iterdir()]
    assert left == ([] if damage == "gone" else ["000001.npz"])


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory):
    """The folder of that run, which ended before its last record and has checkpoints."""
    folder, write = tmp_path_factory.mktemp("broken") / "run", recorder.write_record

    def fail(where, index, value, arrays):
        if index == 3:
            raise RuntimeError("the power is gone")
        write(where, index, value, arrays)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recorder, "write_record", fail)
        assert cli.main(["run", *TINY, "--checkpoint-every", "0", "--out", str(folder)]) == 1
    return folder


@pytest.fixture
def stopped(broken_off, tmp_path):
    """A copy of it to change."""
    shutil.copytree(broken_off, tmp_path / "run")
    return tmp_path / "run"


RESUME = ["--plain", "--no-figures"]


def test_a_record_that_is_missing_before_a_checkpoint_is_said_and_the_run_goes_on(finished, stopped, capsys):
    (stopped / "records" / "000000.npz").unlink()
    assert "2 of 3: " in (words := said(capsys, 0, "status", stopped)) and "000000.npz is gone" in words
    words = said(capsys, 3, "plot", stopped)
    assert "1 of 3 records are not in the results" in words and (stopped / "results.nc").exists()
    words = said(capsys, 3, "resume", stopped, *RESUME)
    assert "1 of 4 records are not in the results" in words
    assert "000000.npz is gone. It will not be in the results; the run goes on." in words
    np.testing.assert_array_equal(read_table(stopped).arrays["U"], read_table(finished).arrays["U"][1:])


def _option(folder, monkeypatch):
    path = folder / "parameters.json"
    path.write_text(path.read_text().replace('"pole": 1.0', '"pole": 1.5'))
    return "--pole was 1.0, is 1.5"


def _file(folder, monkeypatch):
    path = folder / "inputs" / "ring_case.py"
    path.write_text(path.read_text().replace("0.1 * U**2", "0.2 * U**2"))
    return "inputs/ring_case.py is not the same file"


def _version(folder, monkeypatch):
    before = runfolder.versions()
    monkeypatch.setattr("fiberax.io.origin.versions", lambda: before | {"jax": "0.0.1"})
    return f"jax was {before['jax']}, is 0.0.1"


@pytest.mark.parametrize("change", [_option, _file, _version])
@pytest.mark.parametrize("checkpoints", [True, False])
def test_a_run_that_would_go_on_otherwise_is_refused(stopped, monkeypatch, capsys, change, checkpoints):
    words = change(stopped, monkeypatch)
    if not checkpoints:  # the records say it as well
        shutil.rmtree(stopped / "checkpoints")
    message = said(capsys, 2, "resume", stopped, *RESUME)
    assert words in message and "--allow-changes" in message
    assert log.read_state(stopped)["phase"] == "failed" and not (stopped / "owner.json").exists()


def test_a_run_goes_on_otherwise_where_that_is_asked_for(stopped, monkeypatch, capsys):
    _option(stopped, monkeypatch)
    said(capsys, 0, "resume", stopped, "--allow-changes", *RESUME)
    (event,) = (event for event in log.read_events(stopped) if event["event"] == "resume")
    assert event["changes"] == ["--pole was 1.0, is 1.5"]


def test_files_that_are_not_what_was_written_are_said(copied, capsys):
    assert set(json.loads((copied / "digests.json").read_text())) == {"results.nc", "microstates.npz", "schema.json"}
    assert "changed" not in said(capsys, 0, "status", copied)
    content = bytearray((copied / "results.nc").read_bytes())
    at = content.find(read_table(copied).arrays["U"][1].tobytes())
    content[at + 6] ^= 1
    (copied / "results.nc").write_bytes(content)
    assert "results.nc is not what was written" in said(capsys, 0, "status", copied)
    words = said(capsys, 2, "plot", copied)
    assert "results.nc is not what was written" in words and (copied / "figures" / "U.png").exists()
    (copied / "results.nc").write_bytes(b"")
    (copied / "microstates.npz").write_bytes(b"PK")
    words = said(capsys, 2, "plot", copied)
    assert "results.nc is damaged" in words and "microstates.npz is damaged" in words


class Killed(BaseException):
    """What ends a process without a word."""


def killed(*_, **__):
    raise Killed


@pytest.mark.parametrize("at", ["gather", "_look_back"])
def test_a_run_that_is_killed_before_its_last_file_is_completed_and_not_computed_again(
    finished, tmp_path, monkeypatch, capsys, at
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(f"fiberax.cli.finish.{at}", killed)
        with pytest.raises(Killed):
            cli.main(["run", *TINY, "--out", str(folder)])
    assert log.read_state(folder)["phase"] != "finished" and not (folder / "digests.json").exists()
    monkeypatch.setattr("fiberax.cli.execute._evolve", killed)
    assert "Finished: 4 records, 3 sites, 0 failed" in said(capsys, 0, "resume", folder, *RESUME)
    np.testing.assert_array_equal(read_table(folder).arrays["U"], read_table(finished).arrays["U"])
    assert log.read_state(folder)["phase"] == "finished" and "computed" not in log.read_state(folder)
    assert (folder / "digests.json").exists() and not list((folder / "records").iterdir())


def test_ctrl_c_while_figures_are_drawn_leaves_them_to_resume(tmp_path, monkeypatch, capsys):
    pytest.importorskip("matplotlib")
    folder = tmp_path / "run"

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("fiberax.cli.finish.draw_all", stop)
        said(capsys, 130, "run", *TINY[:-1], "--out", folder)
    assert log.read_state(folder)["phase"] == "interrupted"
    said(capsys, 0, "resume", folder, "--plain")
    assert (folder / "figures" / "U.png").exists()


@pytest.mark.parametrize(
    "at", ["fiberax.io.owner.claim", "fiberax.cli.commands._parameters", "fiberax.io.runfolder.write_text"]
)
def test_a_run_that_is_killed_in_its_first_instants_is_run_again_without_rm(tmp_path, monkeypatch, capsys, at):
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(at, killed)
        patch.setattr("fiberax.io.owner.release", lambda _: None)
        with pytest.raises(Killed):
            cli.main(["run", *TINY, "--out", str(folder)])
    assert folder.is_dir() and not (folder / "parameters.json").exists()
    if (folder / "owner.json").exists():
        text = (folder / "owner.json").read_text()
        (folder / "owner.json").write_text(json.dumps(json.loads(text) | {"started": "an earlier boot:17"}))
    assert f"`fiberax run CASE --out {folder}` begins it" in said(capsys, 2, "resume", folder)
    assert cli.main(["run", *TINY, "--out", str(folder)]) == 0


def test_a_folder_with_files_of_a_user_is_no_unbegun_run(tmp_path, capsys):
    (tmp_path / "run" / "inputs").mkdir(parents=True)
    (tmp_path / "run" / "inputs" / "mine.txt").write_text("mine")
    assert "exists and is not empty" in said(capsys, 2, "run", *TINY, "--out", tmp_path / "run")
    assert (tmp_path / "run" / "inputs" / "mine.txt").exists()


def _as_pipe(path):
    path.unlink()
    os.mkfifo(path)


def _as_folder(path):
    path.unlink()
    path.mkdir()


TEXTS = ["", "{", "[1]", '{"phase": 3, "step": "x", "steps": null, "written": "now"}']
DAMAGE = [lambda path, text=text: path.write_text(text) for text in TEXTS]


@pytest.mark.timeout(60)  # a pipe without a writer would hang
@pytest.mark.parametrize("damage", [*DAMAGE, _as_pipe, _as_folder])
def test_a_damaged_state_is_rebuilt_from_the_rest(stopped, capsys, damage):
    before = log.read_state(stopped)
    damage(stopped / "state.json")
    if damage is not DAMAGE[-1]:  # sound JSON, without one sound entry
        found = log.read_state(stopped)
        assert {name: found[name] for name in ("step", "saved", "phase")} == {
            "step": before["step"],
            "saved": 3,
            "phase": "failed",
        }
    words = said(capsys, 0, "status", stopped)
    assert "failed: " in words or "dead" in words
    (stopped / "log.jsonl").unlink()
    assert f"last checkpoint   step {before['step']}" in said(capsys, 0, "status", stopped)


def test_a_run_with_an_empty_state_goes_on(finished, stopped, capsys):
    (stopped / "state.json").write_text("")
    said(capsys, 0, "resume", stopped, *RESUME)
    np.testing.assert_array_equal(read_table(stopped).arrays["U"], read_table(finished).arrays["U"])


def _settings(path, **changed):
    found = json.loads(path.read_text())
    found["settings"] |= changed
    path.write_text(json.dumps(found))


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("name", "damage", "commands"),
    [
        *[("parameters.json", damage, ["status", "plot", "resume"]) for damage in [*DAMAGE, _as_pipe, _as_folder]],
        ("parameters.json", lambda path: _settings(path, devices="two"), ["status", "plot", "resume"]),
        ("parameters.json", lambda path: path.write_text(path.read_text().replace("12,", '"a",')), ["resume"]),
        *[("schema.json", damage, ["plot", "resume"]) for damage in [*DAMAGE, _as_pipe]],
        *[("owner.json", damage, ["resume"]) for damage in [os.mkfifo, Path.mkdir]],
    ],
)
def test_a_damaged_file_is_one_message_that_names_it(stopped, capsys, name, damage, commands):
    damage(stopped / name)
    for command in commands:
        assert name in said(capsys, 2, command, stopped, *(["--allow-changes"] if command == "resume" else []))


@pytest.mark.timeout(60)
def test_a_pipe_in_place_of_a_checkpoint_is_named_and_the_one_before_is_used(finished, stopped, capsys):
    newest = sorted((stopped / "checkpoints").iterdir())[-1]
    _as_pipe(newest)
    words = said(capsys, 0, "resume", stopped, *RESUME)
    assert f"{newest} cannot be read: it is no regular file" in words and "the one before it is used" in words
    np.testing.assert_array_equal(read_table(stopped).arrays["U"], read_table(finished).arrays["U"])
