"""Multi-head softmax attention with a learned null position: over positions, over cluster means, and in a graph.

The null position makes an empty history work. Shapes: B users, C candidates, N positions, S rows of a graph, G
clusters. Widths: E embedding, D = d_model, H heads.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.caches.cluster_means import ClusterMeans
from models.caches.history_cache import Cached
from models.graphs.builder import ORT_DOMAIN, Graph
from models.graphs.rows import Rows, log_counts
from models.heads import merge_heads, split_heads

Pair = tuple[Tensor, Tensor]  # of keys and of values: the null position's, [D] each
Affine = tuple[Tensor, Tensor]  # the weight [D, E] and the bias [D] of a map to keys, or to values


def attend(query: Tensor, kv: Cached, null: Pair, kept: Tensor, heads: int) -> Tensor:
    """Attends over the `kept` [B, C, N] positions: queries [B, C, D], keys and values [B, N, D] -> [B, C, D]."""
    mask = F.pad(torch.zeros_like(kept, dtype=query.dtype).masked_fill_(~kept, -torch.inf), (0, 1))[:, None]
    null_key, null_value = (x.expand(len(query), 1, -1) for x in null)
    k = torch.cat([kv.key, null_key], 1)  # [B, N + 1, D]
    v = torch.cat([kv.value, null_value], 1)  # [B, N + 1, D]
    q, k, v = (split_heads(x, heads) for x in (query, k, v))
    return merge_heads(F.scaled_dot_product_attention(q, k, v, attn_mask=mask))


def attend_to_clusters(
    query: Tensor, clusters: ClusterMeans, key: Affine, value: Affine, null: Pair, heads: int
) -> Tensor:
    """Attends over one user's clusters; a logit adds the logarithm of the count. Queries [C, D] -> [C, D].

    Works in the space of S: `q (W_k s + b_k) = (q W_k) s + q b_k`. The mean of values is `W_v (mean of s) + b_v`.
    """
    shape = (heads, query.shape[-1] // heads)
    query = query.unflatten(-1, shape) / math.sqrt(shape[1])  # [C, H, D/H]
    (key_weight, key_bias), (value_weight, value_bias) = key, value
    null_key, null_value = (x.view(shape) for x in null)
    folded = torch.einsum("chw,hwe->che", query, key_weight.unflatten(0, shape))  # [C, H, E]
    logits = torch.einsum("che,cge->chg", folded, clusters.mean)  # [C, H, G]
    logits = logits + torch.einsum("chw,hw->ch", query, key_bias.view(shape))[..., None]
    logits = logits + clusters.count[:, None].log()  # an empty cluster has -inf
    null_logit = torch.einsum("chw,hw->ch", query, null_key)[..., None]
    weights = torch.cat([logits, null_logit], -1).softmax(-1)  # [C, H, G + 1]
    mean = torch.einsum("chg,cge->che", weights[..., :-1], clusters.mean)
    attended = torch.einsum("che,hwe->chw", mean, value_weight.unflatten(0, shape))
    attended = attended + (1 - weights[..., -1:]) * value_bias.view(shape)
    return (attended + weights[..., -1:] * null_value).flatten(-2)


def write_logits(
    g: Graph, x: str, query: nn.Linear, rows: Rows, null: Pair, heads: int, prefix: str = ""
) -> tuple[str, str]:
    """Adds the logits of a graph's rows and of the null position, [H, C, S + 1], and the values [H, S + 1, D/H].

    `query` maps `x` [C, any] to queries; `prefix` begins the parameters' names. The query's last column is the constant
    1, and the log counts are the last row of the keys. So one product adds the counts, without a pass over [H, C, S].
    """
    width = query.out_features // heads
    by_head = query.weight.reshape(heads, width, -1).transpose(1, 2) / math.sqrt(width)
    weight = torch.cat([by_head, torch.zeros(heads, query.in_features, 1)], 2)  # [H, any, D/H + 1]
    bias = query.bias.reshape(heads, 1, width) / math.sqrt(width)
    bias = torch.cat([bias, torch.ones(heads, 1, 1)], 2)
    queries = g.add("MatMul", x, g.tensor(f"{prefix}query_weight", weight))  # [H, C, D/H + 1]
    queries = g.add("Add", queries, g.tensor(f"{prefix}query_bias", bias))
    key = write_null(g, f"{prefix}null_key", rows.key, null[0])  # [S + 1, D]
    key = g.add("Transpose", g.add("Reshape", key, g.constant(-1, heads, width)), perm=[1, 2, 0])
    key = g.add("Concat", key, g.add("Expand", log_counts(g, rows), g.constant(heads, 1, 1)), axis=1)
    value = write_null(g, f"{prefix}null_value", rows.value, null[1])  # [S + 1, D]
    value = g.add("Transpose", g.add("Reshape", value, g.constant(-1, heads, width)), perm=[1, 0, 2])
    return g.add("MatMul", queries, key), value


def write_pooled(g: Graph, logits: str, value: str, d_model: int) -> str:
    """Adds the values [H, S + 1, D/H], weighed by the softmax of the logits [H, C, S + 1]: [C, D]."""
    pooled = g.add("MatMul", g.add("Softmax", logits, axis=-1), value)  # [H, C, D/H]
    return g.add("Reshape", g.add("Transpose", pooled, perm=[1, 0, 2]), g.constant(-1, d_model))


def write_fused(g: Graph, x: str, query: nn.Linear, rows: Rows, null: Pair, heads: int, prefix: str = "") -> str:
    """Adds the attention over single positions by onnxruntime's own operator: [C, D].

    Over 10,000 of them it takes a sixth less.
    """
    queries = g.linear(x, f"{prefix}fused_query", query)  # [C, D]
    key = write_null(g, f"{prefix}null_key", rows.key, null[0])
    value = write_null(g, f"{prefix}null_value", rows.value, null[1])
    batch = (g.add("Unsqueeze", part, g.constant(0)) for part in (queries, key, value))
    attended = g.add("MultiHeadAttention", *batch, num_heads=heads, domain=ORT_DOMAIN)
    return g.add("Squeeze", attended, g.constant(0))


def write_null(g: Graph, name: str, rows: str, null: Tensor) -> str:
    """Adds the null position's key or value [D] behind those of the rows [S, D]: [S + 1, D]."""
    return g.add("Concat", rows, g.tensor(name, null[None]), axis=0)
