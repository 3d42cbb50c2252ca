"""`python -m fiberax` is the command `fiberax`."""

import sys

from fiberax.cli import main

sys.exit(main())
