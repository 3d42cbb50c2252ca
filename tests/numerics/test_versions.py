"""Versions of jax: bad ones are refused by name, good ones pass without work, unknown ones pass the canary once."""

import json
import re
import subprocess
import tomllib
from pathlib import Path

import jax
import jaxlib.version
import pytest

from fiberax.numerics import versions
from fiberax.numerics.versions import BAD, GOOD, UnsoundJax, require_sound_jax


@pytest.fixture(autouse=True)
def _forget():
    require_sound_jax.cache_clear()
    yield
    require_sound_jax.cache_clear()


@pytest.fixture
def runs(monkeypatch, tmp_path):
    """Runs of the canary, which are faked: a list of what each is to print, taken from the front."""
    monkeypatch.setenv("FIBERAX_CACHE", str(tmp_path / "cache"))
    answers, calls = [], []

    def run(command, **options):
        calls.append((command, options))
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return subprocess.CompletedProcess(command, answer if isinstance(answer, int) else 0, json.dumps(answer), "")

    monkeypatch.setattr(subprocess, "run", run)
    return answers, calls


def pretend(monkeypatch, version, library=None):
    """Another version is installed."""
    monkeypatch.setattr(jax, "__version__", version)
    monkeypatch.setattr(jaxlib.version, "__version__", library or version)


def test_the_installed_version_is_sound():
    require_sound_jax()


def test_the_excluded_versions_are_those_of_the_package():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    (wanted,) = (line for line in project["dependencies"] if line.startswith("jax>"))
    assert set(re.findall(r"!=([\d.]+)", wanted)) == set(BAD)
    assert wanted in versions.REMEDY
    assert not GOOD & set(BAD)


@pytest.mark.parametrize("version", ["0.10.1", "0.10.2", "0.11.0"])
@pytest.mark.parametrize("part", ["jax", "jaxlib"])
def test_bad_versions_are_refused_by_name(monkeypatch, runs, version, part):
    pretend(monkeypatch, *((version, "0.10.0") if part == "jax" else ("0.10.0", version)))
    with pytest.raises(UnsoundJax, match=rf"^{part} {re.escape(version)} is installed") as refusal:
        require_sound_jax()
    assert "pip install 'jax>=0.10,!=0.10.1,!=0.10.2,!=0.11.0'" in str(refusal.value)
    with pytest.raises(UnsoundJax):  # not only the first time
        require_sound_jax()
    assert runs[1] == []


def test_good_versions_do_no_work(monkeypatch, runs):
    for version in GOOD:
        pretend(monkeypatch, version)
        require_sound_jax.cache_clear()
        require_sound_jax()
    assert runs[1] == [] and not versions.cache_folder().exists()


def test_an_unknown_version_runs_the_canary_once_per_environment(monkeypatch, runs):
    answers, calls = runs
    answers += [[], []]
    pretend(monkeypatch, "0.12.0")
    require_sound_jax()
    require_sound_jax()
    assert len(calls) == 1
    command, options = calls[0]
    assert Path(command[-1]).name == "canary.py" and options["env"]["JAX_PLATFORMS"] == "cpu"
    require_sound_jax.cache_clear()  # the next process
    require_sound_jax()
    assert len(calls) == 1
    pretend(monkeypatch, "0.12.0", "0.12.1")
    require_sound_jax.cache_clear()
    require_sound_jax()
    assert len(calls) == 2


@pytest.mark.parametrize(("answer", "told"), [(["sums: 3 of 5"], "sums: 3 of 5"), (-11, "crash the compiler, signal 11")])
def test_an_unknown_version_with_wrong_numbers_is_refused_from_then_on(monkeypatch, runs, answer, told):
    answers, calls = runs
    answers.append(answer)
    pretend(monkeypatch, "0.12.0", "0.12.1")
    for _ in range(2):
        with pytest.raises(UnsoundJax, match=re.escape(told)) as refusal:
            require_sound_jax()
        assert "jax 0.12.0 and jaxlib 0.12.1 are installed" in str(refusal.value)
        assert "pip install 'jax==0.10.0'" in str(refusal.value)
    assert len(calls) == 1


def test_a_folder_that_takes_no_file_costs_only_time(monkeypatch, runs, tmp_path):
    answers, calls = runs
    answers += [[], []]
    (tmp_path / "cache").write_text("a file where the folder should be")
    pretend(monkeypatch, "0.12.0")
    require_sound_jax()
    require_sound_jax.cache_clear()
    require_sound_jax()
    assert len(calls) == 2


def test_a_damaged_verdict_is_found_anew(monkeypatch, runs):
    answers, calls = runs
    answers += [[], []]
    pretend(monkeypatch, "0.12.0")
    require_sound_jax()
    (kept,) = (versions.cache_folder() / "canary").iterdir()
    for damaged in ("", "[]", '{"faults": 3}', '{"faults": [3]}'):
        kept.write_text(damaged)
        answers.append([])
        require_sound_jax.cache_clear()
        require_sound_jax()
    assert len(calls) == 5 and json.loads(kept.read_text()) == {"faults": []}


@pytest.mark.parametrize("answer", [FileNotFoundError("no python"), subprocess.TimeoutExpired("python", 600.0), 1])
def test_where_the_canary_cannot_run_a_warning_says_so(monkeypatch, runs, answer):
    runs[0].append(answer)
    pretend(monkeypatch, "0.12.0")
    with pytest.warns(RuntimeWarning, match=r"jax 0\.12\.0 is new to fiberax.*could not be tested"):
        require_sound_jax()
    assert not (versions.cache_folder() / "canary").exists()


@pytest.mark.slow
def test_the_canary_runs_in_a_process_of_its_own():
    assert versions._run_canary() == []
