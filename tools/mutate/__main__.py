"""Do the tests notice a wrong token? A sample of single-token changes in src/fiberax, each against the tests that cover it.

    python tools/mutate                                  # 60 changes; exit code 1 where fewer than 90 % are noticed
    python tools/mutate --count 8 --only numerics
    python tools/mutate --list                           # the sample and its test files
    python tools/mutate --map                            # once, slow: which functions each test file runs, for better choices

Each change is made in a copy of the tree: a temporary git worktree with the uncommitted changes of tracked files. Its tests are
those that ran the function (where there is a map), that of the mirrored path, those that import the module or mention its
public names, then those of the modules that use it. Their files run, the closest first, until one fails or the budget of time
is used up. A failure counts where the same tests pass without the change, a time-out where they take less than a third of the
limit then.

The sample is drawn by a hash of the line and the seed, so that a change elsewhere in the tree leaves it as it is. Results are
kept in .cache/mutate.json: a second call goes on where the first was stopped, and tries survivors again once tests changed.
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

from changes import Change, sample
from cover import SOURCE, Cover

ROOT = Path(__file__).parents[2]
MAP = ROOT / ".cache" / "mutate-map.json"
KILLED, SURVIVED, TIMEOUT, UNDECIDED = "killed", "survived", "timeout", "undecided"


def git(*words: str) -> str:
    """What a git command prints."""
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def run_tests(tree: Path, test: str, limit: float) -> tuple[str, float]:
    """How one test file ends in a tree, and the seconds it took. Its processes are ended at the limit."""
    # Byte code would be stale: a change keeps size and second of its file.
    environment = os.environ | {"PYTHONPATH": str(tree / "src"), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", test]
    begun = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            command, cwd=tree, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            code = process.wait(limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            return TIMEOUT, limit
    # 5: every test of the file is deselected.
    return SURVIVED if code in (0, 5) else KILLED, time.monotonic() - begun


class Record:
    """Verdicts and runs without a change, kept in a file after each."""

    def __init__(self, path: Path):
        self.path, self._lock = path, threading.Lock()
        content = json.loads(path.read_text()) if path.exists() else {}
        self.verdicts, self.clean = content.get("verdicts", {}), content.get("clean", {})

    def save(self) -> None:
        """Write the file in one piece."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            partial = self.path.with_suffix(".part")
            partial.write_text(json.dumps({"verdicts": self.verdicts, "clean": self.clean}, indent=1))
            partial.replace(self.path)


class Trial:
    """Judges changes in trees of their own, as many at a time as there are trees."""

    def __init__(self, trees: list[Path], cover: Cover, record: Record, limit: float, budget: float):
        self.cover, self.record, self.limit, self.budget = cover, record, limit, budget
        self.stamp = hashlib.sha256(json.dumps(cover.tests, sort_keys=True).encode()).hexdigest()[:12]
        self.state = hashlib.sha256(self.stamp.encode() + b"".join(sources(trees[0]).values())).hexdigest()[:12]
        self.trees = queue.SimpleQueue()
        for tree in trees:
            self.trees.put(tree)

    def known(self, change: Change, source: bytes) -> dict | None:
        """The verdict of an earlier call, where it still holds."""
        found = self.record.verdicts.get(str(change))
        if found is None or found["source"] != hashlib.sha256(source).hexdigest()[:12]:
            return None
        return found if found["verdict"] in (KILLED, TIMEOUT) or found["tests"] == self.stamp else None

    def judge(self, change: Change, source: bytes) -> dict:
        """The verdict on a change, from the record or by running tests."""
        if found := self.known(change, source):
            return found
        tree = self.trees.get()
        file = tree / change.path
        ran, begun, verdict, by = [], time.monotonic(), SURVIVED, ""
        try:
            for test in self.cover(change.path, change.line):
                if time.monotonic() - begun > self.budget:
                    break
                file.write_bytes(change.apply(source))
                outcome, _ = run_tests(tree, test, self.limit)
                file.write_bytes(source)
                ran.append(test)
                if outcome != SURVIVED and (verdict := self._weigh(tree, test, outcome)) != SURVIVED:
                    by = test
                    break
        finally:
            file.write_bytes(source)
            self.trees.put(tree)
        found = {
            "verdict": verdict if ran else UNDECIDED,
            "by": by,
            "ran": ran,
            "seconds": round(time.monotonic() - begun, 1),
            "source": hashlib.sha256(source).hexdigest()[:12],
            "tests": self.stamp,
        }
        self.record.verdicts[str(change)] = found
        self.record.save()
        return found

    def _weigh(self, tree: Path, test: str, outcome: str) -> str:
        """What a failure or a time-out says, given how the same tests end without the change."""
        key = f"{self.state} {test}"
        if key not in self.record.clean:
            self.record.clean[key] = run_tests(tree, test, self.limit)
            self.record.save()
        clean, seconds = self.record.clean[key]
        if clean != SURVIVED:
            print(f"  {test} ends with '{clean}' without any change: it is not counted", flush=True)
            return SURVIVED
        return UNDECIDED if outcome == TIMEOUT and seconds > self.limit / 3 else outcome


def sources(tree: Path, only: str = "") -> dict[str, bytes]:
    """Modules of the package whose path holds `only`."""
    files = {str(path.relative_to(tree)): path for path in sorted((tree / SOURCE).rglob("*.py"))}
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
    parser.add_argument("--limit", type=float, default=300.0, help="seconds for one test file")
    parser.add_argument("--budget", type=float, default=900.0, help="seconds after which no further file is run for a change")
    parser.add_argument("--share", type=float, default=0.9, help="of the changes that must be noticed")
    parser.add_argument("--results", type=Path, default=ROOT / ".cache" / "mutate.json")
    parser.add_argument("--list", action="store_true", help="print the sample with its tests, and run nothing")
    parser.add_argument("--map", action="store_true", help="run all tests once and keep which functions each file runs")
    return parser.parse_args()


def try_all(changes: list[Change], files: dict[str, bytes], trial: Trial, workers: int) -> list[dict]:
    """The verdict on every change, with a line for each as it comes."""
    verdicts = [{}] * len(changes)
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        pending = {pool.submit(trial.judge, change, files[change.path]): i for i, change in enumerate(changes)}
        for done, future in enumerate(concurrent.futures.as_completed(pending), 1):
            i = pending[future]
            verdicts[i] = future.result()
            print(f"[{done}/{len(changes)}] {changes[i]}  {verdicts[i]['verdict']} {verdicts[i]['by']}", flush=True)
    return verdicts


def report(changes: list[Change], verdicts: list[dict], share: float) -> int:
    """The table, and the exit code."""
    width = max(len(str(change)) for change in changes)
    print()
    for change, found in sorted(zip(changes, verdicts, strict=True), key=lambda pair: (pair[1]["verdict"], pair[0].path)):
        by = found["by"] or f"{len(found['ran'])} test files"
        print(f"{change!s:{width}}  {found['verdict']:9}  {found['seconds']:6.0f} s  {by}")
    counts = {kind: sum(v["verdict"] == kind for v in verdicts) for kind in (KILLED, TIMEOUT, SURVIVED, UNDECIDED)}
    noticed = (counts[KILLED] + counts[TIMEOUT]) / len(changes)
    told = ", ".join(f"{number} {kind}" for kind, number in counts.items())
    print(f"\n{noticed:.0%} of {len(changes)} changes noticed ({told}); {share:.0%} are needed.")
    return int(noticed < share)


def make_map() -> int:
    """Run every test file with a watch on the functions it calls; each adds to the map when it ends."""
    MAP.unlink(missing_ok=True)
    path = os.pathsep.join((str(Path(__file__).parent), str(ROOT / "src")))
    files = sorted(str(p.relative_to(ROOT)) for p in (ROOT / "tests").rglob("test_*.py"))
    for number, test in enumerate(files, 1):
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "cover", "--timeout", "3600", test]
        done = subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
        print(f"[{number}/{len(files)}] {test}  {(done.stdout.splitlines() or ['nothing'])[-1]}", flush=True)
    return 0


def main() -> int:
    """Draw, try, report."""
    options = arguments()
    if options.map:
        return make_map()
    files = sources(ROOT, options.only)
    tests = {str(p.relative_to(ROOT)): p.read_text() for p in sorted((ROOT / "tests").rglob("test_*.py"))}
    cover = Cover(sources(ROOT), tests, MAP)
    changes = sample(files, options.count, options.seed)
    if not changes:
        sys.exit(f"No module of {SOURCE} holds '{options.only}' in its path and offers a change.")
    if options.list:
        for change in changes:
            print(change, *cover(change.path, change.line), sep="\n    ")
        return 0
    with tempfile.TemporaryDirectory() as name:
        trees = grow(Path(name), options.workers)
        try:
            trial = Trial(trees, cover, Record(options.results), options.limit, options.budget)
            verdicts = try_all(changes, files, trial, options.workers)
        finally:
            for tree in trees:
                git("worktree", "remove", "--force", str(tree))
    return report(changes, verdicts, options.share)


if __name__ == "__main__":
    sys.exit(main())
