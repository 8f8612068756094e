"""The first item embeddings."""

from dataclasses import replace

import numpy as np
import torch

from data.split import split_log
from fitting.starting_items import starting_items
from testbed.small_logs import planted_log


def test_starting_items_are_close_for_items_with_the_same_fans_and_use_no_tested_label() -> None:
    log = planted_log()
    learned = split_log(log, "position:0.3").train
    items = starting_items(log, learned, 4)
    length = items[1:].norm(dim=1)
    torch.testing.assert_close(length, torch.full_like(length, 1.5))
    assert not items[0].any()
    direction = items[1:] / 1.5
    near = direction @ direction.T
    alike = (torch.arange(20)[:, None] - torch.arange(20)) % 2 == 0
    assert near[alike].mean() > near[~alike].mean() + 0.5
    other = replace(log, query_label=np.where(learned, log.query_label, 1 - log.query_label))
    assert torch.equal(starting_items(other, learned, 4), items)
