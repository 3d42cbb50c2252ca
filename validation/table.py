"""Tables of measured numbers, each row with the bound that it must keep."""

import csv
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

OUT = Path("runs/validation")


@dataclass
class Table:
    """A table with the columns given, and at its end what was measured, what it must be, and whether it is."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def below(self, measured, bound, *cells):
        """A row whose measured number must not exceed `bound`."""
        self._add(cells, float(measured), f"<= {bound:.3g}", float(measured) <= bound)

    def between(self, measured, low, high, *cells):
        """A row whose measured number must lie in [low, high]."""
        self._add(cells, float(measured), f"{low:.4g} .. {high:.4g}", low <= float(measured) <= high)

    def note(self, *cells):
        """A row without a bound."""
        self.rows.append((*(_text(c) for c in cells), "", "", ""))

    def close(self, folder: Path) -> list[str]:
        """Print the table, write it as CSV, and return the rows that broke their bound."""
        header = (*self.columns, "measured", "must be", "")
        widths = [max(len(row[k]) for row in (header, *self.rows)) for k in range(len(header))]
        print(f"\n{self.name}: {self.title}")
        for row in (header, *self.rows):
            print("  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip())
        folder.mkdir(parents=True, exist_ok=True)
        with open(folder / f"{self.name}.csv", "w", newline="") as file:
            csv.writer(file).writerows((header, *self.rows))
        return self.failures

    def _add(self, cells, measured, bound, good):
        good = good and math.isfinite(measured)
        row = (*(_text(c) for c in cells), _text(measured), bound, "ok" if good else "FAILED")
        if len(cells) != len(self.columns):
            raise ValueError(f"{self.name}: {len(cells)} cells for {len(self.columns)} columns")
        self.rows.append(row)
        if not good:
            self.failures.append(f"{self.name}: " + "  ".join(row))


def _text(value) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, int | np.integer):
        return str(value)
    value = float(value)
    small = value != 0 and abs(value) < 1e-2
    return f"{value:.2e}" if small else f"{value:.6g}"


def orders(sizes, errors) -> np.ndarray:
    """Observed orders between successive entries of `sizes` (spacings, steps, periods)."""
    sizes, errors = np.asarray(sizes, float), np.asarray(errors, float)
    return np.log(errors[1:] / errors[:-1]) / np.log(sizes[1:] / sizes[:-1])


def fitted_order(sizes, errors) -> float:
    """Slope of log(error) over log(size)."""
    return float(np.polyfit(np.log(sizes), np.log(errors), 1)[0])


def run(cases: Sequence[Callable[[Path], list[str]]], names: Sequence[str], out: Path = OUT) -> int:
    """Run the named cases, all without a name, into the folder `out`.

    0 where all rows keep their bounds, 1 where not, 2 for an unknown name.
    """
    known = {case.__name__: case for case in cases}
    unknown = [name for name in names if name not in known]
    if unknown:
        print(f"unknown: {', '.join(unknown)}. Cases: {', '.join(known)}", file=sys.stderr)
        return 2
    failures = []
    for name in names or known:
        start = time.process_time()
        failures += known[name](out)
        print(f"  {time.process_time() - start:.0f} s of CPU time", flush=True)
    print("\n" + ("\n".join(failures) if failures else f"All rows keep their bounds. Tables: {out}"))
    return 1 if failures else 0
