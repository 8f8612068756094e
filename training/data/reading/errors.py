"""The error of a log that cannot be read."""

from errors import UserError


class LogError(UserError):
    """A file that cannot be read. The text names the file, the place, the problem and the remedy."""


def first_line(error: Exception) -> str:
    """Returns the first line of an error's text, without its final stop."""
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
