"""Kill runs of every case at random moments, resume them, and compare all that they leave with undisturbed runs.

    python tools/chaos.py --kills 100 --workers 2

A worker takes a case, starts it in a process of its own and kills that (SIGKILL, from which nothing can be saved) in a phase
that is drawn: while the process begins, before it writes a record, between records, while results and figures are written, or
while the run is made longer. It goes on as a user would, with the command that the folder asks for, until all kills of the case
are spent, and then to the end. Every file of results is then compared with that of the undisturbed run, bit by bit.
Exit code 1 where something differs, or where a command fails that should not.
"""

import argparse
import concurrent.futures
import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))
from small_runs import LONG, SMALL  # noqa: E402

PHASES = ("beginning", "before a record", "between records", "writing results")
LONGER = "made longer"
SAVING = {*LONG, "pull"}  # cases with checkpoints; tables go on after their last row
LINGER = {"beginning": 3.0, "before a record": 2.0, "between records": 0.2, "writing results": 1.5}  # s, at most
LIMIT = 900.0  # seconds in which a command must end
OWN = {"log.jsonl", "state.json", "owner.json", "parameters.json", "digests.json", "versions.json"}  # not of the results
FINISHED = "is finished;"


class Failed(Exception):
    """A command that failed, or results that differ."""


def log_size(folder: Path) -> int:
    """Bytes of the log of a run."""
    return (folder / "log.jsonl").stat().st_size if (folder / "log.jsonl").exists() else 0


def phase_of(folder: Path, before: int) -> str:
    """How far the process is that works in a folder, whose log had `before` bytes when it began."""
    if log_size(folder) <= before:
        return PHASES[0]
    with open(folder / "log.jsonl", "rb") as stream:
        stream.seek(before)
        said = stream.read()
    try:
        if "computed" in json.loads((folder / "state.json").read_text()):
            return PHASES[3]
    except (OSError, ValueError):
        pass
    return PHASES[2] if b'"event": "record"' in said else PHASES[1]


def command_of(folder: Path, case: str, more: list[str]) -> list[str]:
    """What a user would call next: `run`, or `resume` once there is a run in the folder."""
    if (folder / "parameters.json").exists():
        return ["resume", str(folder), "--plain"]
    often = ["--checkpoint-every", "0"] if case in SAVING else []
    return ["run", case, *SMALL[case], *often, "--plain", "--out", str(folder), *more]


def begin(arguments: list[str]) -> subprocess.Popen:
    """A command in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "fiberax", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(arguments: list[str]) -> None:
    """Run a command to its end, which must be good; a run that is finished already is good too."""
    process = begin(arguments)
    _, said = process.communicate(timeout=LIMIT)
    if process.returncode != 0 and not (arguments[0] == "resume" and FINISHED in said):
        raise Failed(f"fiberax {' '.join(arguments)}: exit code {process.returncode}: {said.strip()[-600:]}")


def kill_once(arguments: list[str], folder: Path, draw: random.Random, wanted: str) -> str | None:
    """Begin a command and kill it in the phase `wanted`, or later; the phase in which it was, None where it had ended."""
    before = log_size(folder)
    process, deadline = begin(arguments), time.monotonic() + LIMIT
    while PHASES.index(phase_of(folder, before)) < PHASES.index(wanted) and process.poll() is None:
        if time.monotonic() > deadline:
            raise Failed(f"fiberax {' '.join(arguments)}: not {wanted} after {LIMIT:.0f} s")
        time.sleep(0.003)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(draw.uniform(0.0, LINGER[wanted]))
    reached = phase_of(folder, before)
    if process.poll() is None:
        process.kill()
        process.communicate()
        return reached
    _, said = process.communicate()
    if process.returncode != 0 and FINISHED not in said:
        raise Failed(f"fiberax {' '.join(arguments)}: exit code {process.returncode}: {said.strip()[-600:]}")
    return None


def kill_longer(case: str, folder: Path, draw: random.Random) -> bool:
    """Extend a finished run and kill that; True where it was in time. The run goes on to the later end in either case."""
    extend = ["extend", str(folder), "--t1", LONG[case][1], "--plain"]
    process = begin(extend)
    try:
        process.wait(draw.uniform(1.0, 8.0))
    except subprocess.TimeoutExpired:
        process.kill()
    killed = process.returncode is None
    _, said = process.communicate()
    if not killed and process.returncode != 0:
        raise Failed(f"fiberax {' '.join(extend)}: exit code {process.returncode}: {said.strip()[-600:]}")
    ends = json.loads((folder / "parameters.json").read_text())["ends"]
    finish(["resume", str(folder), "--plain"] if ends else extend)
    return killed


def differences(folder: Path, whole: Path) -> list[str]:
    """What differs between the results in two folders."""
    files = lambda root: {p.relative_to(root) for p in root.rglob("*") if p.is_file() and p.name not in OWN}
    kept = lambda root: {p for p in files(root) if p.parts[0] not in ("checkpoints", "inputs")}
    found = [f"{path} is in one only" for path in sorted(kept(folder) ^ kept(whole))]
    for path in sorted(kept(folder) & kept(whole)):
        one, other = folder / path, whole / path
        if path.suffix == ".nc":
            with h5py.File(one) as a, h5py.File(other) as b:
                same = set(a) == set(b) and all(a[name][...].tobytes() == b[name][...].tobytes() for name in b)
        elif path.suffix == ".npz":
            with np.load(one) as a, np.load(other) as b:
                same = a.files == b.files and all(a[name].tobytes() == b[name].tobytes() for name in b.files)
        elif path.name == "schema.json":
            a, b = (json.loads(file.read_text()) for file in (one, other))
            same = {k: v for k, v in a.items() if k != "origin"} == {k: v for k, v in b.items() if k != "origin"}
        else:
            same = one.read_bytes() == other.read_bytes()
        found += [] if same else [f"{path} differs"]
    return found


def trial(case: str, kills: int, seed: str, place: Path) -> tuple[Counter, list[str]]:
    """Kills of one case by phase, and what was wrong."""
    draw, counts, wrong = random.Random(seed), Counter(), []
    whole, folder = place / "whole" / "run", place / "killed" / "run"
    try:
        finish(command_of(whole, case, []))
        tries = 0
        while counts.total() < kills and tries < 4 * kills:
            tries += 1
            reached = kill_once(command_of(folder, case, []), folder, draw, draw.choice(PHASES))
            counts[reached] += reached is not None
            if reached is None:  # it came to its end
                wrong += [f"{case}: {line}" for line in differences(folder, whole)]
                folder = place / f"killed-{tries}" / "run"
        if folder.exists():
            finish(command_of(folder, case, []))
            wrong += [f"{case}: {line}" for line in differences(folder, whole)]
        if case in LONG:
            finish(command_of(place / "long" / "run", case, LONG[case]))
            counts[LONGER] += kill_longer(case, whole, draw)
            wrong += [f"{case}, made longer: {line}" for line in differences(whole, place / "long" / "run")]
    except (Failed, subprocess.TimeoutExpired, OSError) as error:
        wrong.append(f"{case} (seed {seed}): {error}")
    return counts, wrong


def main() -> int:
    """All cases; prints how many kills there were in each phase."""
    parser = argparse.ArgumentParser(description="Kill runs, resume them, compare.")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=sorted(SMALL), default=sorted(SMALL))
    options = parser.parse_args()
    begun, total, wrong = time.monotonic(), Counter(), []
    longer = sum(case in LONG for case in options.only)
    each = [max(1, (options.kills - longer + k) // len(options.only)) for k in range(len(options.only))]
    with tempfile.TemporaryDirectory() as name, concurrent.futures.ThreadPoolExecutor(options.workers) as pool:
        jobs = {
            pool.submit(trial, case, kills, f"{options.seed} {case}", Path(name) / case): case
            for case, kills in zip(options.only, each, strict=True)
        }
        for job in concurrent.futures.as_completed(jobs):
            counts, bad = job.result()
            total, wrong = total + counts, wrong + bad
            words = ", ".join(f"{counts[phase]} {phase}" for phase in (*PHASES, LONGER) if counts[phase])
            print(f"{jobs[job]:<14} {counts.total()} kills ({words}){': ' + '; '.join(bad) if bad else ''}", flush=True)
    words = ", ".join(f"{total[phase]} {phase}" for phase in (*PHASES, LONGER))
    print(f"{total.total()} kills ({words}), {len(wrong)} differences, {(time.monotonic() - begun) / 60:.0f} min")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
