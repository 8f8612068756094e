"""Errors that whoever gave the command can mend."""


class UserError(ValueError):
    """What was given cannot be used: the text names it, the limit and the remedy. Commands print it and exit with 2."""
