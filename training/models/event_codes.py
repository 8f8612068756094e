"""The codebook of events: the user's part of a factored pool.

An event is [g, h], 2E wide, see embeddings.py. Its code is argmax_c M[c], M = [g, h] W + b: the nearest of a few
centroids, if conversion/factored.py wrote W and b. The code names a row of the codebook, which takes the event's place.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.router import Router


class EventCodes(nn.Module):
    """At most 256 rows [g, h], and the frozen router that chooses among them."""

    def __init__(self, codes: int, embedding: int):
        super().__init__()
        self.router = Router(2 * embedding, codes).requires_grad_(False)
        self.rows = nn.Parameter(torch.zeros(codes, 2 * embedding))

    def forward(self, event: Tensor) -> Tensor:
        """Returns the codebook's rows for the codes of events: [B, N, 2E] -> [B, N, 2E]."""
        return F.embedding(self.router.route(event), self.rows)
