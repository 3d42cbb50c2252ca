"""The script for accelerators computes at small size on any machine, and writes what it says."""

import importlib.util
import json
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "accelerator.py"
SPEC = importlib.util.spec_from_file_location("accelerator", SCRIPT)
assert SPEC is not None and SPEC.loader is not None
accelerator = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(accelerator)


def results(folder, *arguments):
    assert accelerator.main(["--small", *arguments, "--out", str(folder)]) == 0
    return json.loads((folder / "accelerator.json").read_text()), (folder / "accelerator.md").read_text()


def check(found, table, names):
    rows = {(row["subject"], row["precision"], row["sites"]): row for row in found["rows"]}
    assert found["bytes per second"] > 1e8 and "cpu" in found["device"] + "cpu"
    for name in names:
        for sites in accelerator.FEW:
            row = rows[name, "double", sites]
            assert row["per second"] > 0.0 and "note" not in row, row
        # In single precision it computes, or says that it needs double precision.
        single = [row for key, row in rows.items() if key[:2] == (name, "single")]
        assert all(row.get("per second", 0.0) > 0.0 or "precision" in row["note"] or "x64" in row["note"] for row in single), (
            single
        )
    assert table.count("\n| ") == 2 + len(found["rows"])  # two of the head


def test_two_subjects_in_both_precisions(tmp_path):
    found, table = results(tmp_path, "--only", "dumbbells,crystals", "--seconds", "300")
    check(found, table, ("dumbbells", "crystals"))
    assert 0.0 < found["rows"][0]["bandwidth"] < 2.0
    single = {row["subject"] for row in found["rows"] if row["precision"] == "single" and row.get("per second")}
    assert "dumbbells" in single


@pytest.mark.parametrize("name", list(accelerator.SUBJECTS))
def test_every_subject_can_be_made(name):
    subject = accelerator.SUBJECTS[name](True)
    assert len(subject.conditions(3)) == 3


@pytest.mark.slow
def test_every_subject(tmp_path):
    check(*results(tmp_path, "--seconds", "1200"), accelerator.SUBJECTS)


def test_rows_that_do_not_fit_into_the_time_are_told():
    rows = list(accelerator.rows("dumbbells", True, lambda: -1.0, 1.0))
    assert [row["note"] for row in rows] == ["left out: no time"]


def test_the_table_is_markdown():
    row = {"subject": "spins", "precision": "double", "sites": 3, "per second": 12345.6, "bandwidth": 0.5}
    text = accelerator.table({"device": "gpu X", "bytes per second": 2e12, "rows": [row]})
    assert "gpu X, 2000 GB/s" in text and "| spins | double | 3 | 1.23e+04 | 50 % |" in text


def test_unknown_subjects_are_refused(capsys):
    with pytest.raises(SystemExit):
        accelerator.main(["--only", "gases"])
    assert "no subject gases" in capsys.readouterr().err
