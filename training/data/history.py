"""The inputs of a model: histories of users, and candidates to score."""

from dataclasses import dataclass

from torch import Tensor


@dataclass
class History:
    """Positions of users, oldest first; a shorter history is padded on the left, where `valid` is False."""

    item: Tensor  # [B, N] int64
    action: Tensor  # [B, N] int64
    features: Tensor  # [B, N, features]
    valid: Tensor  # [B, N] bool


@dataclass
class Candidates:
    item: Tensor  # [B, C] int64
    features: Tensor  # [B, C, features], of the candidate
    context: Tensor  # [B, C, features], of the request
    now: Tensor  # [B, C] int64: the candidate sees positions 0 .. now - 1
