"""The command that changes single tokens: what it offers, what it leaves alone, which tests it finds."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "tools" / "mutate"))
changes = pytest.importorskip("changes")
cover = pytest.importorskip("cover")

SOURCE = b'''"""A docstring with 1 + 2 and True."""
from module import x
LIMIT: Float[Array, "2 3"] | None = 1e-8

def \xce\xb1_rule(\xce\xb2: int | None = 3, *, flag=True) -> bool | None:
    """Another, 1 < 2."""
    if not \xce\xb2 < 4.0 and flag is not None:
        raise ValueError(f"give {4 + 5}" % 6)
    warnings.warn("7" * 8)
    y = jnp.minimum(\xce\xb2, -x)  # 9 - 10
    y += 0.5 * (\xce\xb2
                / x)
    return isinstance(y, int | float) or "text 11" in y
'''


def test_offers_are_tokens_that_count():
    found = [(c.line, c.old, c.new) for c in changes.changes_of("m.py", SOURCE)]
    assert found == [
        (3, "1e-8", "1e-05"),
        (5, "3", "4"),
        (5, "True", "False"),
        (7, "not ", ""),
        (7, "<", ">="),
        (7, "4.0", "8.0"),
        (7, "and", "or"),
        (7, "is not", "is"),
        (10, "minimum", "maximum"),
        (10, "-", ""),
        (11, "+", "-"),
        (11, "0.5", "1.0"),
        (11, "*", "/"),
        (12, "/", "*"),
        (13, "or", "and"),
        (13, "in", "not in"),
    ]


def test_a_change_touches_its_token_alone():
    for change in changes.changes_of("m.py", SOURCE):
        changed = change.apply(SOURCE)
        assert changed != SOURCE and len(changed) - len(SOURCE) == len(change.new) - len(change.old)
        assert changed.splitlines()[: change.line - 1] == SOURCE.splitlines()[: change.line - 1]
        assert changed.splitlines()[change.line :] == SOURCE.splitlines()[change.line :]
        assert changes.parses(change, SOURCE)


def test_the_sample_does_not_depend_on_other_lines():
    files = {"a.py": SOURCE, "b.py": b"x = 1 + 2\n" * 5}
    drawn = changes.sample(files, 6, 0)
    assert len(drawn) == len({(c.path, c.line) for c in drawn}) == 6
    assert changes.sample(files, 6, 1) != drawn
    moved = changes.sample({"a.py": b"# a comment\n" + SOURCE, "b.py": files["b.py"]}, 6, 0)
    assert [(c.path, c.line - (c.path == "a.py"), c.old, c.new) for c in moved] == [
        (c.path, c.line, c.old, c.new) for c in drawn
    ]


def test_changes_without_effect_are_not_drawn():
    files = {"a.py": SOURCE}
    all_of_them = changes.sample(files, 100, 0)
    known = changes.without_effect("# path | line | old | new | reason\na.py | / x) | / | * | why\n", files)
    drawn = changes.sample(files, 100, 0, known)
    assert [c.line for c in all_of_them if c not in drawn] == [12]
    with pytest.raises(ValueError, match="no line"):
        changes.without_effect("a.py | / y) | / | * | why", files)


PROBED = b'''"""A module."""
LIMIT = 3

@decorated
def f(x, y=4):
    """Text."""
    if x < LIMIT:
        return 1 + y
    elif x < 5:
        return 2
    else:
        return [
            z
            for z in x if z < 7
        ]

class C:
    size: int = 6

    def g(self):
        return self.size

def h():
    return 0
'''


@pytest.mark.parametrize(
    ("line", "before"),
    [
        (2, [b"    if x < LIMIT:"]),  # a constant: where the functions begin that use it
        (5, [b"    if x < LIMIT:"]),  # a default: where the function begins
        (8, [b"        return 1 + y"]),
        (9, [b"    if x < LIMIT:"]),  # no statement can stand before `elif`
        (14, [b"        return ["]),
        (18, [b"        return self.size"]),  # a field: where it is read
    ],
)
def test_a_probe_stands_where_a_line_counts(line, before):
    change = changes.Change("src/fiberax/m.py", line, 0, "", "")
    new = cover.probed({"src/fiberax/m.py": PROBED}, [change])
    lines = new["src/fiberax/m.py"].splitlines()
    compile(new["src/fiberax/m.py"], "m", "exec")
    probes = [i for i, text in enumerate(lines) if b"_probe.hit(0)" in text]
    assert [lines[i + 1] for i in probes] == before
    assert [text for text in lines if b"_probe" not in text] == PROBED.splitlines()


def test_a_line_that_runs_while_a_file_is_read_is_run_by_its_tests(tmp_path):
    (tmp_path / "log").write_text("0\ta/t.py\n0\tu.py::one\n")
    (tmp_path / "times").write_text('{"a/t.py::quick[1]": 0.5, "a/t.pyx::other": 0.1, "u.py::one": 0.7}')
    found = cover.read(tmp_path / "log", tmp_path / "times", 1)
    assert [r.test for r in found[0]] == ["a/t.py::quick[1]", "u.py::one"]


def test_tests_that_ran_a_line_and_passed_are_found_the_quickest_first(tmp_path):
    (tmp_path / "log").write_text("0\tt.py::slow[a b]\n0\tt.py::quick\n1\tt.py::failed\n0\tt.py::quick\n")
    (tmp_path / "times").write_text('{"t.py::slow[a b]": 2.5, "t.py::quick": 0.5}')
    found = cover.read(tmp_path / "log", tmp_path / "times", 2)
    assert found == [[cover.Reached("t.py::quick", 0.5), cover.Reached("t.py::slow[a b]", 2.5)], []]


def test_a_probe_notes_the_test_that_runs(tmp_path, monkeypatch):
    for name, value in (("MUTATE_LOG", str(tmp_path / "log")), ("PYTEST_CURRENT_TEST", "t.py::f[a (b)] (call)")):
        monkeypatch.setenv(name, value)
    space = {}
    exec(cover._PROBE_TEXT, space)
    for number in (3, 3, 4):
        space["hit"](number)
    assert (tmp_path / "log").read_text() == "3\tt.py::f[a (b)]\n4\tt.py::f[a (b)]\n"


def test_constants_are_read_by_the_files_that_name_them(tmp_path):
    source = b"TABLE = {\n    'a': 1,\n}\n\ndef f(x):\n    return x + 1\n"
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_a.py").write_text("from m import TABLE")
    (tmp_path / "tests" / "test_b.py").write_text("from m import TABLES")
    (tmp_path / "times").write_text('{"tests/test_a.py::one": 2.0, "tests/test_a.py::two": 1.0, "tests/test_b.py::three": 1.0}')
    inside, outside = (changes.Change("m.py", line, 0, "1", "2") for line in (6, 2))
    found = cover.with_readers([[], []], [inside, outside], {"m.py": source}, tmp_path, tmp_path / "times")
    assert found == [[], [cover.Reached("tests/test_a.py::two", 1.0), cover.Reached("tests/test_a.py::one", 2.0)]]
