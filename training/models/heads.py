"""Attention heads as an axis of their own."""

from torch import Tensor


def split_heads(x: Tensor, heads: int) -> Tensor:
    """Splits columns into heads: [B, N, D] -> [B, H, N, D/H]."""
    return x.unflatten(-1, (heads, -1)).transpose(-2, -3)


def merge_heads(x: Tensor) -> Tensor:
    """Joins heads to columns: [B, H, C, D/H] -> [B, C, D]."""
    return x.transpose(-2, -3).flatten(-2)
