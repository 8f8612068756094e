"""What a conversion needs of one attention layer: its inputs, keys and values at real positions."""

from dataclasses import dataclass

import torch
from torch import Tensor

MOST_POSITIONS = 60_000  # positions of real histories that a pool is made from


@dataclass
class LayerSample:
    """The inputs, keys and values of a layer at positions of real histories."""

    inputs: Tensor  # [P, E]; user dims are a function of these
    key: Tensor  # [P, D]
    value: Tensor  # [P, D]
    key_metric: Tensor | None = None  # [D, any] A: an error e of a key costs |e A|^2; None: |e|^2
    value_metric: Tensor | None = None  # [D, any]: the same for values


def query_metric(queries: Tensor, heads: int) -> Tensor:
    """Returns the key metric of softmax attention: [D, D], block-diagonal by head.

    A A^T = E[q q^T] over queries [any, D], so an error e of a key moves the logits by |e A|^2 on average.
    """
    d = queries.shape[1]
    metric = torch.zeros(d, d, device=queries.device)
    for block in torch.arange(d).chunk(heads):
        second = queries[:, block].T.double() @ queries[:, block].double() / len(queries)
        values, vectors = torch.linalg.eigh(second)
        metric[block[:, None], block] = (vectors * values.clamp(min=0).sqrt()).float()
    return metric
