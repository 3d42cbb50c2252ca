"""What `progress=` of a run may be: a function of reports, or True for plain lines on standard error."""

import math
import sys
import time
from collections.abc import Callable

from fiberax.core.recorder import Report

_INTERVAL = 2.0  # s between two lines


def listener(progress: Callable[[Report], None] | bool | None) -> Callable[[Report], None] | None:
    """Whom a run reports to: the caller's function, `Lines` for True, nobody for None and False."""
    if progress is True:
        return Lines()
    return None if progress is False else progress


class Lines:
    """One line for the first report, at most one every two seconds, and one for the last."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock, self._last = clock, -math.inf

    def __call__(self, report: Report) -> None:
        """Print the report, if the last line is long enough ago."""
        ended = report.step >= report.steps
        if not ended and self._clock() - self._last < _INTERVAL:
            return
        self._last = self._clock()
        left = f", {report.eta:.0f} s left" if not ended and math.isfinite(report.eta) else ""
        failed = f", {report.failed} of {report.sites} fibers failed" if report.failed else ""
        print(f"{report.step}/{report.steps} t = {report.t:.6g}{failed}{left}", file=sys.stderr, flush=True)
