"""Do the tests notice a wrong token? A sample of single-token changes in src/fiberax, each against the tests that cover it.

    python tools/mutate                                  # 60 changes; exit code 1 where fewer than 90 % are noticed
    python tools/mutate --count 8 --only numerics
    python tools/mutate --list                           # the sample alone

All tests run once in a copy of the tree that notes which of them run the changed lines. Then each change is made in a copy, a
temporary git worktree with the uncommitted changes of tracked files, and the tests that ran its line are repeated, the quickest
first, until one fails or the budget of time is used up. A line that no test runs is not noticed.

Changes that no test can notice, such as the width of a line in a figure, stand in without_effect.txt, each with its reason,
and are not drawn.

The sample is drawn by a hash of the line and the seed, so that a change elsewhere in the tree leaves it as it is. Results are
kept in .cache/mutate.json: a second call goes on where the first was stopped, as long as sources and tests stay the same.
"""

import argparse
import concurrent.futures
import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import cover
from changes import Change, sample, without_effect

ROOT = Path(__file__).parents[2]
KILLED, SURVIVED, TIMEOUT = "killed", "survived", "timeout"
_FIRST = 20.0  # seconds of tests in the first process for a change; each further one takes four times as many
_START = 60.0  # seconds that a process may need beside its tests


def git(*words: str) -> str:
    """What a git command prints."""
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def environment(tree: Path, **more: str) -> dict[str, str]:
    """Variables for tests of a tree. Byte code would be stale: a change keeps size and second of its file."""
    path = os.pathsep.join((str(tree / "src"), str(Path(__file__).parent)))
    return os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"} | more


def run_tests(tree: Path, tests: list[str], limit: float) -> str:
    """How tests end in a tree. Their processes are ended at the limit."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=tree, env=environment(tree), stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return TIMEOUT
    return SURVIVED if code == 0 else KILLED


class Record:
    """The tests that reach each change, and the verdicts, kept in a file after each."""

    def __init__(self, path: Path, state: str):
        self.path, self.state, self._lock = path, state, threading.Lock()
        content = json.loads(path.read_text()) if path.exists() else {}
        same = content.get("state") == state
        self.reached: list | None = content["reached"] if same else None
        self.verdicts: dict[str, dict] = content["verdicts"] if same else {}

    def save(self) -> None:
        """Write the file in one piece."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(".part")
            partial.write_text(json.dumps({"state": self.state, "reached": self.reached, "verdicts": self.verdicts}, indent=1))
            partial.replace(self.path)


def reached(tree: Path, files: dict[str, bytes], changes: list[Change], workers: int) -> list[list[cover.Reached]]:
    """The tests that run each change, from a run of all tests with probes in `tree`."""
    log, times = tree.parent / "log", tree.parent / "times"
    probed = cover.probed(files, changes)
    for path, source in probed.items():
        (tree / path).write_bytes(source)
    command = [sys.executable, "-m", "pytest", "-q", "-n", str(workers), "-p", "cover", "-p", "no:cacheprovider"]
    done = subprocess.run(
        command, cwd=tree, env=environment(tree, MUTATE_LOG=str(log), MUTATE_TIMES=str(times)), capture_output=True, text=True
    )
    for path in probed:
        if path in files:
            (tree / path).write_bytes(files[path])
    (tree / cover.PROBE).unlink()
    print(f"all tests, with probes: {(done.stdout.splitlines() or ['nothing'])[-1]}", flush=True)
    if not times.exists():
        sys.exit(f"The tests did not run:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return cover.with_readers(cover.read(log, times, len(changes)), changes, files, tree, times)


def batches(tests: list[cover.Reached], budget: float) -> list[list[cover.Reached]]:
    """Tests by process, up to `budget` seconds in all: the quickest alone first, so that a change costs little in the mean."""
    found, size, total = [[]], _FIRST, 0.0
    for test in tests:
        if total + test.seconds > budget and total:
            break
        if found[-1] and sum(t.seconds for t in found[-1]) + test.seconds > size:
            found.append([])
            size *= 4.0
        found[-1].append(test)
        total += test.seconds
    return [batch for batch in found if batch]


class Trial:
    """Judges changes in trees of their own, as many at a time as there are trees."""

    def __init__(self, trees: list[Path], record: Record, budget: float):
        self.record, self.budget, self.trees = record, budget, queue.SimpleQueue()
        for tree in trees:
            self.trees.put(tree)

    def judge(self, change: Change, source: bytes, tests: list[cover.Reached]) -> dict:
        """The verdict on a change, from the record or by running tests."""
        if found := self.record.verdicts.get(str(change)):
            return found
        tree = self.trees.get()
        file, begun, verdict, ran = tree / change.path, time.monotonic(), SURVIVED, 0
        try:
            file.write_bytes(change.apply(source))
            for batch in batches(tests, self.budget):
                ran += len(batch)
                # Other work on the machine and programs that are not in the cache take their time.
                limit = _START + 5.0 * sum(t.seconds for t in batch)
                if (verdict := run_tests(tree, [t.test for t in batch], limit)) != SURVIVED:
                    break
        finally:
            file.write_bytes(source)
            self.trees.put(tree)
        found = {"verdict": verdict, "ran": ran, "of": len(tests), "seconds": round(time.monotonic() - begun, 1)}
        self.record.verdicts[str(change)] = found
        self.record.save()
        return found


def sources(tree: Path, only: str = "") -> dict[str, bytes]:
    """Modules of the package whose path holds `only`."""
    files = {str(path.relative_to(tree)): path for path in sorted((tree / cover.SOURCE).rglob("*.py"))}
    return {name: path.read_bytes() for name, path in files.items() if only in name}


def grow(folder: Path, count: int) -> list[Path]:
    """Worktrees with the state of the working tree, sharing its compilation cache."""
    state = git("stash", "create") or "HEAD"
    (ROOT / ".cache").mkdir(exist_ok=True)
    trees = [folder / f"tree{i}" for i in range(count)]
    for tree in trees:
        git("worktree", "add", "--quiet", "--detach", str(tree), state)
        (tree / ".cache").symlink_to(ROOT / ".cache")
    return trees


def arguments() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=60, help="changes to try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="modules whose path holds this")
    parser.add_argument("--workers", type=int, default=1, help="changes tried at the same time")
    parser.add_argument("--budget", type=float, default=300.0, help="seconds of tests after which a change has survived")
    parser.add_argument("--share", type=float, default=0.9, help="of the changes that must be noticed")
    parser.add_argument("--results", type=Path, default=ROOT / ".cache" / "mutate.json")
    parser.add_argument("--list", action="store_true", help="print the sample, and run nothing")
    return parser.parse_args()


def try_all(changes: list[Change], files: dict[str, bytes], trial: Trial, tests: list, workers: int) -> list[dict]:
    """The verdict on every change, with a line for each as it comes."""
    verdicts = [{}] * len(changes)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        pending = {pool.submit(trial.judge, change, files[change.path], tests[i]): i for i, change in enumerate(changes)}
        for done, future in enumerate(concurrent.futures.as_completed(pending), 1):
            i = pending[future]
            verdicts[i] = future.result()
            print(f"[{done}/{len(changes)}] {changes[i]}  {verdicts[i]['verdict']}", flush=True)
    return verdicts


def report(changes: list[Change], verdicts: list[dict], share: float) -> int:
    """The table, and the exit code."""
    width = max(len(str(change)) for change in changes)
    print()
    for change, found in sorted(zip(changes, verdicts, strict=True), key=lambda pair: (pair[1]["verdict"], pair[0].path)):
        ran = f"{found['ran']} of {found['of']} tests"
        print(f"{change!s:{width}}  {found['verdict']:9}  {found['seconds']:6.0f} s  {ran}")
    counts = {kind: sum(v["verdict"] == kind for v in verdicts) for kind in (KILLED, TIMEOUT, SURVIVED)}
    noticed = (counts[KILLED] + counts[TIMEOUT]) / len(changes)
    told = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    print(f"\n{noticed:.0%} of {len(changes)} changes noticed ({told}); {share:.0%} are needed.")
    return int(noticed < share)


def main() -> int:
    """Draw, try, report."""
    options = arguments()
    files = sources(ROOT)
    known = without_effect(Path(__file__).with_name("without_effect.txt").read_text(), files)
    changes = sample(sources(ROOT, options.only), options.count, options.seed, known)
    if not changes:
        sys.exit(f"No module of {cover.SOURCE} holds '{options.only}' in its path and offers a change.")
    if options.list:
        print(*changes, sep="\n")
        return 0
    state = ["\n".join(map(str, changes)).encode(), *files.values()]
    state += [path.read_bytes() for path in sorted((ROOT / "tests").rglob("*.py"))]
    record = Record(options.results, hashlib.sha256(b"\0".join(state)).hexdigest()[:16])
    with tempfile.TemporaryDirectory() as name:
        trees = grow(Path(name), options.workers)
        try:
            if record.reached is None:
                found = reached(trees[0], files, changes, options.workers)
                record.reached = [[(r.test, r.seconds) for r in tests] for tests in found]
                record.save()
            covering = [[cover.Reached(*r) for r in tests] for tests in record.reached]
            verdicts = try_all(changes, files, Trial(trees, record, options.budget), covering, options.workers)
        finally:
            for tree in trees:
                git("worktree", "remove", "--force", str(tree))
    return report(changes, verdicts, options.share)


if __name__ == "__main__":
    sys.exit(main())
