"""The first item embeddings of a training."""

import numpy as np
import torch
from torch import Tensor

from data.log import Log


def starting_items(log: Log, learned: np.ndarray, width: int, length: float = 1.5) -> Tensor:
    """Returns embeddings [items, width] of norm `length`. Items with the same fans are close to each other.

    A truncated SVD of the users' labels minus each item's mean label, from the learned queries only. From random
    embeddings, attention would take thousands of steps to find any structure.
    """
    item, label, user = log.query_item[learned], log.query_label[learned], log.query_user()[learned]
    size = len(log.items)
    shown = np.bincount(item, minlength=size).clip(1)
    rate = (np.bincount(item, label, size) + 1) / (shown + 2)
    excess = (label - rate[item]) / np.sqrt(shown[item])
    matrix = torch.sparse_coo_tensor(
        torch.from_numpy(np.stack([user, item])),
        torch.from_numpy(excess.astype(np.float32)),
        (log.users, size),
        check_invariants=True,
    ).coalesce()
    torch.manual_seed(0)
    _, strength, direction = torch.svd_lowrank(matrix, q=min(width + 8, log.users, size), niter=4)
    items = (direction * strength)[:, :width]
    items = items / items.norm(dim=1, keepdim=True).clamp(min=1e-6) * length
    items[shown < 2] = 0
    return items
