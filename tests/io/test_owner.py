import dataclasses
import json
import os
import subprocess
import sys

import pytest

from fiberax.core.errors import BadInput
from fiberax.io import owner


def pretend(folder, **changes):
    other = dataclasses.replace(owner.Owner.this_process(), **changes)
    (folder / owner.FILE).write_text(json.dumps(dataclasses.asdict(other)))
    return other


def test_claim_and_release(tmp_path):
    owner.claim(tmp_path)
    assert owner.read_owner(tmp_path).alive()
    with pytest.raises(BadInput, match=f"process {os.getpid()}"):
        owner.claim(tmp_path)
    owner.release(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_dead_process_is_replaced(tmp_path):
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    pretend(tmp_path, pid=dead.pid)
    assert owner.read_owner(tmp_path).alive() is False
    owner.claim(tmp_path)
    assert owner.read_owner(tmp_path).pid == os.getpid()


def test_a_killed_process_that_nobody_has_waited_for_is_dead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    pretend(tmp_path, pid=child.pid, started=owner._process_start(child.pid))
    assert owner.read_owner(tmp_path).alive()
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # dead now, but still in the table of processes
    assert owner.read_owner(tmp_path).alive() is False
    child.wait()


def test_a_reused_process_number_is_seen_by_its_start(tmp_path):
    assert pretend(tmp_path, started="an earlier boot:17").alive() is False
    owner.claim(tmp_path)


def test_another_host_needs_takeover(tmp_path):
    assert pretend(tmp_path, host="node-of-another-cluster").alive() is None
    with pytest.raises(BadInput, match="--takeover"):
        owner.claim(tmp_path)
    owner.claim(tmp_path, takeover=True)
    assert owner.read_owner(tmp_path).pid == os.getpid()


@pytest.mark.parametrize(
    "change",
    [None, {"pid": "3"}, {"pid": 10**30}, {"pid": 0}, {"host": 4}, {"since": "today"}, {"since": 1e999}, {"more": 1}],
)
def test_a_damaged_claim_counts_as_dead(tmp_path, change):
    mine = dataclasses.asdict(owner.Owner.this_process())
    (tmp_path / owner.FILE).write_text('{"pid": 3' if change is None else json.dumps(mine | change))
    owner.claim(tmp_path)
    assert owner.read_owner(tmp_path).pid == os.getpid()


def test_release_leaves_the_claim_of_another(tmp_path):
    pretend(tmp_path, pid=1)
    owner.release(tmp_path)
    assert owner.read_owner(tmp_path).pid == 1
