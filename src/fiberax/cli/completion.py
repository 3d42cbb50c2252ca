"""Shell completion: the script of a shell, and the words for which a shell asks.

Both are typer's: the variable names what is asked for, and the shell hands the line in by further variables.
"""

import os
import shlex
from enum import Enum

VARIABLE = "_FIBERAX_COMPLETE"


class Shell(Enum):
    """Shells with completion."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def asked() -> bool:
    """Whether a shell asks what may be typed next."""
    return VARIABLE in os.environ


def typed() -> list[str]:
    """The words on the line without the program's name, the last perhaps half typed; none where they cannot be told apart."""
    try:
        if "COMP_WORDS" in os.environ:
            return shlex.split(os.environ["COMP_WORDS"])[1:]
        return shlex.split(os.environ.get("_TYPER_COMPLETE_ARGS", ""))[1:]
    except ValueError:  # an open quotation mark
        return []
