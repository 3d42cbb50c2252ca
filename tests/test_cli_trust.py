"""Run folders from strangers: code is executed only from `inputs/`, as recorded, sealed by this user or trusted by word."""

import json
import sys
from pathlib import Path

import pytest

from fiberax import cli
from fiberax.io import runfolder
from fiberax.io.reading import digest_of
from fiberax.io.trust import seal_of

SETTINGS = {"checkpoint_every": None, "devices": None, "chunk": None}
CODE = '''"""A case that leaves a mark when it is executed."""

from dataclasses import dataclass
from pathlib import Path

import fiberax as fx
from fiberax.cases import Case, Table

Path({mark!r}).write_text("executed")


@dataclass(frozen=True)
class Marked(Case):
    """One row."""

    def build(self):
        """u = U."""
        fiber = fx.FlowFiber(rate=lambda u, U: U - u, init=lambda U: 0 * U, link=lambda u, U: u)
        return Table(fiber, [1.0], tangent=False)
'''


@pytest.fixture(autouse=True)
def _own_key(tmp_path, monkeypatch):
    monkeypatch.setenv("FIBERAX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def mark(tmp_path):
    return tmp_path / "mark"


def made(folder, mark, case="marked", source="inputs/marked.py", seal=True):
    """The folder of a run of that case before it has computed anything."""
    runfolder.create(folder)
    path = folder / source
    path.write_text(CODE.format(mark=str(mark)))
    code = {source: digest_of(path)}
    sealed = seal_of(case, source, code) if seal else ""
    runfolder.write_parameters(folder, runfolder.Parameters(case, {}, SETTINGS, source, code, sealed))
    (folder / "owner.json").unlink()
    return folder


def said(capsys, code, *arguments):
    capsys.readouterr()
    assert cli.main([str(a) for a in arguments]) == code
    return capsys.readouterr().err


def test_code_of_this_user_is_executed(tmp_path, mark, capsys):
    said(capsys, 0, "resume", made(tmp_path / "run", mark), "--no-figures")
    assert mark.exists()


def test_code_from_another_machine_needs_trust(tmp_path, mark, capsys, monkeypatch):
    folder = made(tmp_path / "run", mark)
    monkeypatch.setenv("FIBERAX_CACHE", str(tmp_path / "another"))
    for command in ("resume", "plot"):
        message = said(capsys, 2, command, folder)
        assert "inputs/marked.py" in message and "--trust" in message and not mark.exists()
    said(capsys, 2, "plot", folder, "--trust")  # nothing has been saved
    assert mark.exists()


def _forged(folder):
    _change(folder, seal="0" * 64)


def _other_case(folder):
    _change(folder, case="diffusion")


def _change(folder, **changed):
    path = folder / "parameters.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changed))


@pytest.mark.parametrize("change", [_forged, _other_case])
def test_a_seal_is_of_one_case_and_one_code(tmp_path, mark, capsys, change):
    folder = made(tmp_path / "run", mark)
    change(folder)
    assert "--trust" in said(capsys, 2, "resume", folder) and not mark.exists()


def _edited(folder):
    (folder / "inputs" / "marked.py").write_text((folder / "inputs" / "marked.py").read_text() + "# changed\n")


def _not_recorded(folder):
    (folder / "inputs" / "numpy.py").write_text("")


def _compiled(folder):
    (folder / "inputs" / "__pycache__").mkdir()
    (folder / "inputs" / "__pycache__" / f"marked.{sys.implementation.cache_tag}.pyc").write_bytes(b"")


def _outside(folder):
    (folder / "marked.py").write_text((folder / "inputs" / "marked.py").read_text())
    _change(folder, source="inputs/../marked.py", code={"inputs/../marked.py": digest_of(folder / "marked.py")})


def _link(folder):
    path = folder / "inputs" / "marked.py"
    (folder.parent / "marked.py").write_text(path.read_text())
    path.unlink()
    path.symlink_to(folder.parent / "marked.py")


def _absolute(folder):
    (folder.parent / "marked.py").write_text((folder / "inputs" / "marked.py").read_text())
    _change(folder, source=str(folder.parent / "marked.py"))


@pytest.mark.parametrize("change", [_edited, _not_recorded, _compiled, _outside, _link, _absolute])
def test_other_code_is_never_executed(tmp_path, mark, capsys, change):
    folder = made(tmp_path / "run", mark)
    change(folder)
    message = said(capsys, 2, "resume", folder, "--trust", "--allow-changes")
    assert "not the code that was recorded" in message or "names code outside" in message
    assert not mark.exists()


def test_a_built_in_case_executes_nothing_of_the_folder(tmp_path, mark, capsys):
    folder = made(tmp_path / "run", mark, case="chain", seal=False)
    _change(folder, source=None)
    said(capsys, 2, "plot", folder, "--trust")
    assert not mark.exists()


def test_modules_beside_a_case_are_copied_and_found_in_the_folder(tmp_path, mark, capsys, monkeypatch):
    home = tmp_path / "home"
    (home / "beside_pack").mkdir(parents=True)
    (home / "beside_pack" / "__init__.py").write_text("")
    (home / "beside_pack" / "deep.py").write_text("VALUE = 1\n")
    (home / "unrelated_module.py").write_text("1 / 0\n")
    (home / "mine.py").write_text("from beside_pack.deep import VALUE\n" + CODE.format(mark=str(mark)))
    folder = tmp_path / "run"
    assert cli.main(["run", str(home / "mine.py"), "--no-figures", "--out", str(folder)]) == 0
    parameters = runfolder.read_parameters(folder)
    assert set(parameters.code) == {"inputs/mine.py", "inputs/beside_pack/__init__.py", "inputs/beside_pack/deep.py"}
    for name in [name for name in sys.modules if name.startswith("beside_pack")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [entry for entry in sys.path if entry != str(home)])
    mark.unlink()
    (home / "beside_pack" / "deep.py").unlink()
    assert cli.main(["plot", str(folder)]) == 0 and mark.exists()
    assert Path(sys.modules["beside_pack"].__file__).is_relative_to(folder) and not list(folder.rglob("*.pyc"))


def test_input_files_outside_of_the_folder_are_refused(tmp_path, mark, capsys):
    folder = made(tmp_path / "run", mark, case="diffusion", seal=False)
    _change(folder, source=None, options={"image": "/etc/passwd"})
    assert "names a file outside of the folder" in said(capsys, 2, "resume", folder)
