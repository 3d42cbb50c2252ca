"""The process that works in a run's folder: a claim that is valid after a kill, and the process for `status`."""

import json
import math
import operator
import os
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from fiberax.core.errors import BadInput
from fiberax.io.atomic import refused
from fiberax.io.reading import Unreadable, read_json

FILE = "owner.json"


@dataclass(frozen=True)
class Owner:
    """The process that computes in a folder. `started` distinguishes it from a later process with the same number."""

    pid: int
    host: str
    started: str
    since: float

    @classmethod
    def this_process(cls) -> "Owner":
        """The calling process as an owner."""
        return cls(os.getpid(), platform.node(), _process_start(os.getpid()), time.time())

    def alive(self) -> bool | None:
        """Whether the process still runs; None where that is not known, because it runs on another host."""
        if self.host != platform.node():
            return None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _process_start(self.pid) == self.started


def read_owner(folder: Path) -> Owner | None:
    """The owner named in `folder`, running or not; None where there is none, or where the file cannot be read."""
    return _parse(folder / FILE)


def claim(folder: Path, takeover: bool = False) -> None:
    """Make this process the owner of `folder`. Of several that try at once, one succeeds.

    An owner that has ended is replaced. One on another host, whose state is not known, is replaced with `takeover`.
    Raises `BadInput` where another process works there, `SaveFailed` where the folder cannot be written.
    """
    path, mine = folder / FILE, folder / f".{FILE}.{os.getpid()}.part"
    if path.exists() and not path.is_file():
        raise BadInput(f"{path} is no regular file, and not of this program: move it away.")
    previous = read_owner(folder)
    refuse_living(folder, takeover)
    try:
        if path.exists():
            os.replace(path, mine)
            if previous != _parse(mine):
                os.replace(mine, path)
                raise _just_taken(folder)
        mine.write_text(json.dumps(asdict(Owner.this_process())))
        os.link(mine, path)
    except (FileExistsError, FileNotFoundError):
        raise _just_taken(folder) from None
    except OSError as error:
        raise refused(path, error) from error
    finally:
        mine.unlink(missing_ok=True)


def refuse_living(folder: Path, takeover: bool = False) -> None:
    """Raise `BadInput` where a running process, or one on another host, works in `folder`."""
    owner = read_owner(folder)
    if owner is None:
        return
    alive = owner.alive()
    if alive:
        raise BadInput(
            f"{folder} belongs to a run that still computes (process {owner.pid} on {owner.host}). "
            f"Wait for it, or stop it with `kill {owner.pid}`; `fiberax status {folder}` shows its progress."
        )
    if alive is None and not takeover:
        raise BadInput(
            f"{folder} belongs to process {owner.pid} on {owner.host}, whose state is not known on {platform.node()}. "
            "If it has ended, add --takeover."
        )


def release(folder: Path) -> None:
    """End the claim. Does nothing where this process has none."""
    owner = read_owner(folder)
    if owner is not None and owner.pid == os.getpid() and owner.host == platform.node():
        (folder / FILE).unlink(missing_ok=True)


def _just_taken(folder: Path) -> BadInput:
    return BadInput(f"Another process has just begun to work in {folder}: see `fiberax status {folder}`.")


def _parse(path: Path) -> Owner | None:
    try:
        owner = Owner(**read_json(path))
        good = 0 < operator.index(owner.pid) < 2**31 and isinstance(owner.host, str) and isinstance(owner.started, str)
        return owner if good and isinstance(owner.since, int | float) and math.isfinite(owner.since) else None
    except (Unreadable, TypeError, OverflowError):
        return None


def _process_start(pid: int) -> str:
    """Start time of a process, different for a later one with its number; "" where unknown, "ended" for a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
    if fields[0] in ("Z", "X"):  # killed, but its parent has not collected it: it no longer runs
        return "ended"
    return f"{boot}:{fields[19]}"
