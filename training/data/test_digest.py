"""The digest of a log."""

from dataclasses import replace

import numpy as np

from testbed.small_logs import random_log


def test_the_digest_of_a_log_depends_on_every_column() -> None:
    log = random_log(1)
    assert random_log(1).digest() == log.digest() != random_log(2).digest()
    for name, value in vars(log).items():
        other = [*value[:-1], "other"] if isinstance(value, list) else np.append(value[:-1], value[-1:] + 1, 0)
        assert replace(log, **{name: other}).digest() != log.digest(), name
