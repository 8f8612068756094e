"""Reserved names: the graphs of a bundle use them for their own tensors.

A feature is a graph input with the feature's name, so no feature may have a reserved name.
"""

import re

OPS = (
    "abs|add|argmax|cast|clip|concat|cos|cumsum|div|equal|exp|expand|floor|gather|gathernd|gemm|greater|greaterorequal|identity|if|"
    "layernormalization|less|lessorequal|log|matmul|max|min|mul|multiheadattention|nonzero|pad|range|reducemax|reducemean|reducemin|reducesum|relu|reshape|round|shape|"
    "scatternd|sigmoid|sin|slice|softmax|split|sqrt|squeeze|sub|sum|tanh|topk|transpose|unsqueeze|where"
)
PARAMETERS = (
    "deep|score|mix|mix_context|out|query|fused_query|fingerprint_(query|key)|hash_query|search_query|recent_query|interaction_features|"
    "kept_(query|null|value)|full_key|full_value"
)
RESERVED = re.compile(
    rf"({OPS})_\d+(_\d+)?|({PARAMETERS})_(weight|bias)|(number|shape|pool|history|output|layer\d+)_.*|"
    r"((key_|value_|recent_)?routes?|user_(code|key|value)s?|slots?)(_.*)?|user|history|keys?|values?|scores|"
    r"(recent_)?null_(key|value)|(item|action)_(index|table)|candidate(_item)?|(recent_)?positions(_count)?|recent_embeddings|candidates|"
    r"(item|action|item_clusters)_(key|value)(_slots|_rows)?|code_clusters|event_rows|zeros_\d|"
    r"item|action|event|event_router_(weight|bias)|(items|events)_(key|value)_(slots|rows)|"
    r"stage_\d+(_router_(weight|bias)|_key_(slots|rows))?|clusters|cluster_(counts|means)|cluster_(key|value)_(weight|bias)|"
    r"(attention|own_columns)_.*|(user|recent)_out_(weight|bias)|steps|step_\d+|(own_)?contributions|base_scores|attended_without|"
    r"cluster_places|position_embeddings|axis_\d+|(place|row)_\d+|bucket_numbers|distance_buckets|lowest|no_embedding|no_rows|kept_null_value|planes|powers|reach|zero|batch"
)


def is_reserved(name: str) -> bool:
    """True if a graph of any family may have a tensor of that name."""
    return RESERVED.fullmatch(name) is not None
