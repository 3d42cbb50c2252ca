"""Bad input to the command, drawn at random: exit code 2, one message, no traceback, and nothing is left behind."""

import os
import random
import typing
from enum import Enum
from pathlib import Path

import pytest
from small_runs import SMALL

from fiberax import cli
from fiberax.cases.find import find_case
from fiberax.cases.options import fields_of, flag
from fiberax.cli.options import Devices, Drawing, End, Settings

COUNT, SEED = 300, 0
NUMBERS = ("nan", "inf", "-inf", "1e999", "-1e999", "three", "", "1,2", "0x10", "1e", "--", "١٢a")
TEXTS = ("nonsense~(", "((((")
FILES = ("missing.bin", "folder", "empty", "noise.png", "noise.npy", "noise.h5", "noise.json", "noise.msh", "no\0name")


def bad_values(hint, opt):
    """Values that an option cannot have."""
    kinds = [kind for kind in (typing.get_args(hint) or (hint,)) if kind is not type(None)]
    (kind,) = kinds[:1]
    if kind is bool:
        return []
    if isinstance(kind, type) and issubclass(kind, Enum):
        return ["", "nonsense", next(iter(kind)).value + "x", "0"]
    if kind in (int, float):
        beyond = [None if bound is None else bound + more for bound, more in ((opt.low, -1), (opt.above, 0), (opt.high, 1))]
        found = [repr(kind(value)) for value in beyond if value is not None]
        return [*NUMBERS, *(["2.5", "1e3"] if kind is int else []), *found]
    return FILES if kind is Path else TEXTS if kind is str else ()


def pool():
    """All bad command lines."""
    lines = []
    for case, small in SMALL.items():
        for name, hint, _, opt in [*fields_of(find_case(case)), *fields_of(Devices), *fields_of(Settings)]:
            if name == "coordinator":  # waits for the others
                continue
            lines += [["run", case, *small, flag(name), value] for value in bad_values(hint, opt)]
            lines += [["run", case, *small, f"{flag(name)}x"], ["check", case, *small, f"{flag(name)}-of", "1"]]
        lines += [["run", case, *small, "surplus"], ["run", case, "--config", "noise.json"], ["run", f"{case}s"]]
        lines += [["run", case, *small, "--out", place] for place in ("empty", "full", "x" * 300, "empty/below", "a\0b")]
    for command in ("resume", "status", "plot", "extend"):
        lines += [[command, place] for place in ("missing", "empty", "folder", "full", "", "a\0b", "x" * 300)]
        lines += [[command], [command, "full", "surplus"], [command, "full", "--nonsense"]]
    for name, hint, _, opt in fields_of(Drawing):
        lines += [["plot", "run", flag(name), value] for value in (*bad_values(hint, opt), "nonsense")]
    lines += [["extend", "run", flag(name), value] for name, hint, _, opt in fields_of(End) for value in bad_values(hint, opt)]
    lines += [["run", place] for place in ("broken.py", "empty.py", "missing.py", "folder", "", "a\0b", "x" * 300)]
    return [*lines, ["completion", "tcsh"], ["completion"], ["nonsense"], ["--nonsense"], ["list", "surplus"], ["run", "--x"]]


def tree():
    """All files and folders here with their contents."""
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(Path().rglob("*"))}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with what bad options name."""
    monkeypatch.chdir(tmp_path)
    for name in ("folder", "full"):
        Path(name).mkdir()
    Path("full/dear.txt").write_text("mine")
    Path("empty").touch()
    Path("empty.py").touch()
    Path("broken.py").write_text("def nothing(:\n")
    for kind in ("png", "npy", "h5", "json", "msh"):
        Path(f"noise.{kind}").write_bytes(random.Random(kind).randbytes(200))
    ring = str(Path(__file__).with_name("ring_case.py"))
    assert cli.main(["run", ring, "--steps", "6", "--records", "2", "--quiet", "--no-figures", "--out", "run"]) == 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_bad_input_is_one_message_and_leaves_nothing(place, capfd):
    lines, wrong = random.Random(SEED).sample(pool(), COUNT), []
    before = tree()
    for line in lines:
        capfd.readouterr()
        code = cli.main(line)
        said = capfd.readouterr()
        messages = said.err.count("fiberax: ") + said.err.count("╭─ Error")
        if code != 2 or messages != 1 or "Traceback" in said.err + said.out:
            wrong.append((line, code, messages, said.err[-300:]))
        if tree() != before:
            wrong.append((line, "left behind", sorted(set(tree()) ^ set(before))))
            for path in sorted(set(tree()) - set(before), reverse=True):
                os.rmdir(path) if Path(path).is_dir() else os.remove(path)
    assert not wrong, "\n".join(map(repr, wrong))
