"""What a strategy costs for an error: one problem, settings of each strategy, and the cheapest that reaches a target.

The error is the largest over the save times of the norm of U − U_ref, over that of U_ref(end) − U(0). Random runs are repeated
with other seeds: root mean square over them, and bias and spread apart. Costs: fiber steps (micro steps, or steps of solves),
CPU time of a run without compilation, and the bytes that are carried from step to step.

Every setting is written to NAME_all.csv as soon as it is measured; tables and figures are made of these files.
"""

import csv
import dataclasses
import itertools
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from table import Table

import fiberax as fx

NEWTON = 1e-8  # update of the last Newton step of a body at rest
TARGETS = (0.1, 0.03, 0.01, 3e-3, 1e-3)
COLUMNS = ("strategy", "parameters", "bias", "spread", "fiber steps", "CPU s", "bytes")


class Setting(NamedTuple):
    """One way to compute a problem; `words` are its parameters."""

    strategy: str
    words: str
    bundle: fx.Bundle
    driver: Any
    dt: float
    stepper: Any


def scan(strategy: str, make: Callable, **axes) -> tuple[Setting, ...]:
    """Settings for all combinations of the parameters; `make(**parameters)` gives bundle, driver, step and scheme."""
    combinations = (dict(zip(axes, values)) for values in itertools.product(*axes.values()))
    words = lambda parameters: ", ".join(f"{name} {value:.4g}" for name, value in parameters.items())
    return tuple(Setting(strategy, words(p), *make(**p)) for p in combinations)


@dataclasses.dataclass(frozen=True)
class Problem:
    """A macro model over fibers with a known solution.

    `truth`: U_ref at `times`, (times, ...); `field(macro)` is what is compared of macrostates with a leading time axis.
    `at_rest`: the times are loads, and a step is one of the load.
    """

    name: str
    title: str
    macro0: Any
    times: tuple[float, ...]
    truth: Callable[[], np.ndarray]
    settings: tuple[Setting, ...]
    seeds: int = 1
    field: Callable = np.asarray
    at_rest: bool = False

    def solve(self, setting: Setting, seed: int, times: tuple[float, ...]) -> fx.Solution:
        """The problem in one setting, saved at `times`."""
        if self.at_rest:
            found = fx.continuation(setting.bundle, setting.driver, self.macro0, t1=times[-1], dt=setting.dt, tolerance=NEWTON)
            rows = [int(np.argmin(np.abs(np.asarray(found.ts) - t))) for t in times]
            return dataclasses.replace(found, macro=jax.tree.map(lambda x: x[np.array(rows)], found.macro))
        key = {"key": jax.random.key(seed)} if self.seeds > 1 else {}
        return fx.evolve(
            setting.bundle,
            setting.driver,
            self.macro0,
            t1=times[-1],
            dt=setting.dt,
            saveat=list(times),
            stepper=setting.stepper,
            **key,
        )

    def start(self) -> np.ndarray:
        """What `field` gives at the start."""
        return self.field(jax.tree.map(lambda x: np.asarray(x)[None], self.macro0))[0]


class Measured(NamedTuple):
    """A setting with its errors and costs of one run, or the reason why it cannot run."""

    setting: Setting
    error: float = np.inf
    bias: float = np.nan
    spread: float = np.nan
    steps: float = np.nan
    cpu: float = np.nan
    memory: float = np.nan
    refused: str = ""


def measure(problem: Problem, setting: Setting, truth: np.ndarray) -> Measured:
    """Errors and costs of one setting."""
    found, cpu = [], 0.0
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # settings that break a limit are part of the scan, and their errors tell
            problem.solve(setting, 0, (min(setting.dt, problem.times[0]),))  # compiles
            for seed in range(problem.seeds):
                begun = time.process_time()
                solution = problem.solve(setting, seed, problem.times)
                cpu += time.process_time() - begun
                found.append(problem.field(solution.macro))
    except fx.FiberaxError as error:
        return Measured(setting, refused=str(error).split("\n")[0])
    fields = np.stack(found)
    size = np.linalg.norm(truth[-1] - problem.start())
    norm = lambda x: np.sqrt(np.sum(x**2, axis=tuple(range(1, x.ndim)))) / size  # of each save time
    mean = fields.mean(axis=0)
    bias, spread = norm(mean - truth), np.sqrt(np.mean([norm(x - mean) ** 2 for x in fields], axis=0))
    worst = int(np.argmax(np.hypot(bias, spread)))
    memory = sum(x.nbytes for x in jax.tree.leaves(solution.section))
    steps = solution.stats["fiber_steps"]
    return Measured(
        setting, float(np.hypot(bias, spread)[worst]), bias[worst], spread[worst], steps, cpu / problem.seeds, memory
    )


def compare(problem: Problem, out: Path, targets: tuple[float, ...] = TARGETS) -> tuple[list[Measured], list[str]]:
    """All settings of a problem measured; table, figure and lines of Markdown in `out`; the rows that broke their bound."""
    out.mkdir(parents=True, exist_ok=True)
    truth, found = problem.truth(), []
    with open(out / f"{problem.name}_all.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("title", "error", *COLUMNS, "refused"))
        for setting in problem.settings:
            found.append(m := measure(problem, setting, truth))
            costs = (m.bias, m.spread, m.steps, m.cpu, m.memory)
            writer.writerow((problem.title, m.error, setting.strategy, setting.words, *costs, m.refused))
            file.flush()
    table = Table(problem.name, problem.title, ("target", *COLUMNS))
    for strategy, group in _grouped(found):
        for target, best in _cheapest(group, targets):
            if best is None:
                floor = min(group, key=lambda m: m.error)
                told = floor.refused or f"not reached; its floor is {floor.error:.2g} with {floor.setting.words}"
                table.note(f"{target:g}", strategy, told, *[""] * (len(COLUMNS) - 2))
                continue
            costs = (best.bias, best.spread, best.steps, best.cpu, best.memory)
            table.below(best.error, target, f"{target:g}", strategy, best.setting.words, *costs)
    failures = table.close(out)
    (out / f"{problem.name}.md").write_text(_markdown(problem.title, found, targets))
    figure([out / f"{problem.name}_all.csv"], out / f"{problem.name}.png")
    return found, failures


def read(path: Path) -> tuple[str, list[Measured]]:
    """Title and settings of a problem that was measured before, as written by `compare`."""
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = ("error", "bias", "spread", "fiber steps", "CPU s", "bytes")

    def one(row) -> Measured:
        setting = Setting(row["strategy"], row["parameters"], None, None, np.nan, None)
        return Measured(setting, *(float(row[name]) for name in numbers), row["refused"])

    return rows[0]["title"], [one(row) for row in rows]


def _grouped(found: list[Measured]) -> list[tuple[str, list[Measured]]]:
    names = dict.fromkeys(m.setting.strategy for m in found)
    return [(name, [m for m in found if m.setting.strategy == name]) for name in names]


def _cheapest(group: list[Measured], targets) -> list[tuple[float, Measured | None]]:
    """For each target the setting of least fiber steps, among equals of least CPU time; None where none reaches it."""
    reached = lambda target: [m for m in group if m.error <= target]
    return [(target, min(reached(target), key=lambda m: (m.steps, m.cpu), default=None)) for target in targets]


def _markdown(title: str, found: list[Measured], targets) -> str:
    """A table with a row for each strategy, steps and CPU time for each target, and the reasons of those that cannot run."""
    head = ["strategy", *(f"{100 * target:g} %" for target in targets)]
    lines = [f"### {title[0].upper()}{title[1:]}", "", f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    reasons = []
    for strategy, group in _grouped(found):
        if all(m.refused for m in group):
            lines.append(f"| {strategy} | {' | '.join(['refused'] * len(targets))} |")
            reasons.append(f"Refused: *{strategy}*. {group[0].refused}")
            continue
        cells, shown = [], False
        for _, best in _cheapest(group, targets):
            floor = min(m.error for m in group)
            none = "not reached" if shown else f"not reached, floor {100 * floor:.2g} %" if np.isfinite(floor) else "diverges"
            shown = shown or best is None
            cells.append(none if best is None else f"{best.steps:.3g}, {best.cpu:.2g} s<br>{best.setting.words}")
        lines.append(f"| {strategy} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"{reason}\n" for reason in reasons)]).rstrip() + "\n"


def figure(sources: list[Path], target: Path) -> None:
    """Error against fiber steps and against CPU time of problems that were measured, one row of panels for each."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    shown, panels = plt.subplots(
        len(sources), 2, figsize=(8.4, 3.4 * len(sources)), layout="constrained", sharey="row", squeeze=False
    )
    tables = [read(source) for source in sources]
    names = dict.fromkeys(m.setting.strategy for _, found in tables for m in found)
    looks = {name: {"color": f"C{k}", "marker": "osDv^<>PX*"[k % 10]} for k, name in enumerate(names)}
    for (left, right), (title, found) in zip(panels, tables):
        _draw((left, right), found, looks)
        left.set_title(title, fontsize="medium", loc="left")
        left.set(ylabel="error, relative to the change of U")
        right.legend(frameon=False, fontsize="small", loc="center left", bbox_to_anchor=(1.0, 0.5))
        left.set_xlabel("fiber steps")
        right.set_xlabel("CPU time [s], without compilation")
    shown.savefig(target, dpi=110)
    plt.close(shown)


def _draw(panels, found: list[Measured], looks: dict[str, dict]) -> None:
    """Points of one problem; each strategy looks alike in all problems."""
    for name, group in _grouped(found):
        for panel, cost in zip(panels, ("steps", "cpu")):
            points = np.array([(getattr(m, cost), m.error) for m in group if 0.0 < m.error < 10.0 and getattr(m, cost) > 0.0])
            if len(points):
                x, y = points[np.argsort(points[:, 0])].T
                front = y <= np.minimum.accumulate(y)
                panel.loglog(x[front], y[front], markersize=5, label=name, **looks[name])
                panel.loglog(x[~front], y[~front], markersize=4, ls="none", alpha=0.25, **looks[name])
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
        low, high = panel.get_xlim()
        if high < 30.0 * low:  # labels of whole decades alone, two of them at least
            panel.set_xlim(10.0 ** np.floor(np.log10(low)), 10.0 ** np.ceil(np.log10(high)))
        panel.xaxis.set_minor_formatter("")
