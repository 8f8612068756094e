"""The attention head over user dims."""

import torch
from torch import Tensor, nn


class UserHead(nn.Module):
    """An attention head of its own for user dims, with its own softmax and rows of the output projection.

    The output projection starts at zero, so a freshly converted model scores as its pool alone does.
    """

    def __init__(self, embedding: int, width: int, outputs: int):
        super().__init__()
        self.query = nn.Linear(embedding, width)
        self.null_key = nn.Parameter(torch.zeros(width))
        self.null_value = nn.Parameter(torch.zeros(width))
        self.out = nn.Linear(width, outputs, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, item: Tensor, user_key: Tensor, user_value: Tensor, visible: Tensor) -> Tensor:
        """Attends: queries [B, C, E], user dims [B, N, U] each, visible [B, C, N] -> [B, C, outputs]."""
        query = self.query(item)  # [B, C, U]
        logits = (query @ user_key.mT).masked_fill(~visible, -torch.inf)  # [B, C, N]
        logits = torch.cat([logits, (query @ self.null_key)[..., None]], -1)  # [B, C, N + 1]
        null = self.null_value.expand(len(item), 1, -1)
        return self.out(logits.softmax(-1) @ torch.cat([user_value, null], 1))
