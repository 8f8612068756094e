"""The inputs of a model: histories of users, and candidates to score."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class History:
    """The positions of users, oldest first. Shorter histories are padded on the left; padding has `valid` False."""

    item: Tensor  # [B, N] int64
    action: Tensor  # [B, N] int64
    features: Tensor  # [B, N, features]
    valid: Tensor  # [B, N] bool


@dataclass
class Candidates:
    """Items to score, each at a moment of its user's history."""

    item: Tensor  # [B, C] int64
    features: Tensor  # [B, C, features], of the candidate
    context: Tensor  # [B, C, features], of the request
    now: Tensor  # [B, C] int64: the candidate sees positions 0 .. now - 1
