"""The error of wrong input, and the exit codes of the commands."""

import subprocess
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Input that cannot be used. The text names it, the limit and the remedy. Commands print it and exit with 2."""


def exit_code(act: Callable[[], object], interrupted: str = "interrupted") -> int:
    """Runs a command. Returns 0; or prints a line on stderr and returns 2 for wrong input, 130 for Ctrl-C."""
    try:
        act()
    except (UserError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    return 0
