"""Residual codes of a position's embedding S: the sum of a few rows, one of each stage.

    r_1 = S,  c_j = argmax_c (r_j W_j + b_j)[c],  r_{j+1} = r_j - R_j[c_j],  S ~ R_1[c_1] + R_2[c_2] + ...

Each stage codes what the stages before it left over. c_j is the row nearest to r_j, if conversion/residual.py wrote
W_j and b_j. Residual quantisation is an old method, see Juang and Gray, "Multiple stage vector quantization for speech
coding" (ICASSP 1982).
"""

import torch
from torch import Tensor, nn

from models.router import Router


class ResidualCodes(nn.Module):
    """The stages. Rows and routers are frozen together: the rows of a stage decide the codes of the next ones."""

    def __init__(self, codes: list[int], embedding: int):
        """`codes` are the rows of each stage."""
        super().__init__()
        self.routers = nn.ModuleList(Router(embedding, count) for count in codes)
        self.rows = nn.ParameterList(torch.zeros(count, embedding) for count in codes)
        self.requires_grad_(False)

    def route(self, s: Tensor) -> Tensor:
        """Returns the codes of embeddings: [..., E] -> [..., stages]."""
        return torch.stack([scores.argmax(-1) for scores in self.scores(s)], -1)

    def scores(self, s: Tensor) -> list[Tensor]:
        """Returns the scores of each stage's rows, [..., codes] each."""
        found = []
        for router, rows in zip(self.routers, self.rows):
            found.append(router(s))
            s = s - rows[found[-1].argmax(-1)]
        return found

    def sums(self, code: Tensor) -> Tensor:
        """Returns the sum of the rows of codes: [..., stages] -> [..., E]."""
        return sum(rows[code[..., j]] for j, rows in enumerate(self.rows))
