"""The error of wrong input, and the exit codes of the commands."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable


class UserError(ValueError):
    """Input that cannot be used. The text names it, the limit and the remedy. Commands print it and exit with 2."""


def exit_on_ctrl_c(line: str) -> None:
    """Makes Ctrl-C print this line and exit with 130, until `exit_code` runs. For the time of slow imports.

    A KeyboardInterrupt would not do: extension modules that are being imported turn it into other errors.
    """

    def leave(*_: object) -> None:
        print(line, file=sys.stderr, flush=True)
        os._exit(130)

    signal.signal(signal.SIGINT, leave)


def exit_code(act: Callable[[], object], interrupted: str = "interrupted") -> int:
    """Runs a command. Returns 0; or prints a line on stderr and returns 2 for wrong input, 130 for Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        act()
    except (UserError, OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(interrupted, file=sys.stderr)
        return 130
    return 0
