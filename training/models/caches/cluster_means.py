"""A user's positions, put into a few clusters: the mean embedding and the count of each cluster.

K and V are linear in S, so the mean of S gives the means of keys and of values:

    K_g = W_k mean(S_i) + b_k,  V_g likewise,  logit_g = q K_g / sqrt(d_h) + log n_g

This is softmax attention over all positions, exact to first order in the spread of q K_i within a cluster. Prior art:
counts and means per code, Transformer-VQ (arXiv 2309.16354); clusters of one user's behaviours with their sizes,
TWIN-V2 (2407.16357).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class ClusterMeans:
    """The cluster means and counts that each candidate sees. A cluster without visible positions has the count 0."""

    mean: Tensor  # [C, G, E]
    count: Tensor  # [C, G]


def cluster_means(s: Tensor, cluster: Tensor, clusters: int, visible: Tensor) -> ClusterMeans:
    """Returns the means of one user's position embeddings `s` [N, E]. Candidates see `visible` [C, N] positions.

    `cluster` [N] is each position's cluster, below `clusters`.
    """
    seen = visible.to(s.dtype)  # [C, N]
    candidates, e = len(visible), s.shape[1]
    sums = torch.zeros(candidates, clusters, e, dtype=s.dtype, device=s.device)
    sums.index_add_(1, cluster, seen[..., None] * s)
    count = torch.zeros(candidates, clusters, dtype=s.dtype, device=s.device).index_add_(1, cluster, seen)
    return ClusterMeans(sums / count.clamp(min=1)[..., None], count)
