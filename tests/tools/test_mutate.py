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


def test_tests_are_found_by_path_by_import_and_through_users(tmp_path):
    files = {
        "src/fiberax/core/box.py": b"def shut():\n    return 1\n",
        "src/fiberax/cli/say.py": b"def run():\n    from fiberax.core.box import shut\n",
    }
    tests = {
        "tests/cli/test_say.py": "import fiberax.cli.say",
        "tests/core/test_box.py": "",
        "tests/laws/test_own.py": "from fiberax.core import box",
        "tests/laws/test_shut.py": "fx.shut()",
        "tests/laws/test_other.py": "",
    }
    find = cover.Cover(files, tests, tmp_path / "map.json")
    closest = ["tests/core/test_box.py", "tests/laws/test_own.py", "tests/cli/test_say.py", "tests/laws/test_shut.py"]
    assert find("src/fiberax/core/box.py", 2) == closest
    (tmp_path / "map.json").write_text('{"src/fiberax/core/box.py shut": ["tests/laws/test_other.py"]}')
    find = cover.Cover(files, tests, tmp_path / "map.json")
    assert find("src/fiberax/core/box.py", 2) == ["tests/laws/test_other.py", *closest]
