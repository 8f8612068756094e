"""Errors that whoever gave the command can mend, and how a command ends by them."""

import subprocess
import sys
from collections.abc import Callable


class UserError(ValueError):
    """What was given cannot be used: the text names it, the limit and the remedy. Commands print it and exit with 2."""


def exit_code(act: Callable[[], object], interrupted: str = "interrupted") -> int:
    """Runs a command. Returns 0; or, with a line on stderr, 2 for what whoever gave it can mend, 130 for Ctrl-C."""
    try:
        act()
    except (UserError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    return 0
