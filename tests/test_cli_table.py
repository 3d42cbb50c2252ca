"""Tables row by row, without a terminal."""

import numpy as np
import pytest

from fiberax.cases import Table
from fiberax.cli import table


class Rows:
    """A recorder that keeps the rows."""

    def __init__(self):
        self.saved, self.rows = 0, []

    def row(self, index, value, arrays):
        self.rows.append(index)


def test_the_time_left_of_a_table_leaves_out_the_first_batch(monkeypatch, tmp_path):
    """100 s for the first batch, which compiles, and 1 s for each of the four others."""
    now, beats = [0.0], []

    def slow(problem, rows, done, placement):
        now[0] += 100.0 if done == 0 else 1.0
        return {"result": np.zeros(len(rows), np.int32)}, None

    monkeypatch.setattr(table, "_answers", slow)
    monkeypatch.setattr(table.time, "monotonic", lambda: now[0])
    recorder = Rows()
    problem = Table(fiber=None, conditions=np.arange(10.0), batch=2)
    words, missing = table.compute_table(problem, recorder, lambda fields, _: beats.append(fields), None, tmp_path, False)
    assert (words, missing) == ("10 conditions, 0 failed", "") and recorder.rows == list(range(10))
    assert beats[0]["eta"] is None
    assert [beat["eta"] for beat in beats[1:]] == pytest.approx([3.0, 2.0, 1.0, 0.0])
