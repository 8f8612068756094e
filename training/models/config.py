"""The sizes and features of a model."""

from dataclasses import dataclass, field

from data.features import Feature


@dataclass
class ModelConfig:
    family: str  # a name of models/families/registry.py
    items: int  # vocabulary, with the unknown item
    actions: int  # vocabulary, with the unknown action
    interaction_features: list[Feature] = field(default_factory=list)
    candidate_features: list[Feature] = field(default_factory=list)
    context_features: list[Feature] = field(default_factory=list)
    embedding: int = 64
    d_model: int = 256
    heads: int = 8
    layers: int = 1
    hidden: int = 128
    dropout: float = 0.0  # in training, on the scorer's inputs and hidden layer
    top_k: int = 50  # SIM, ETA, TWIN: positions that the search keeps
    recent: int = 16  # SIM, SDIM, ETA: positions of the short part
    recent_heads: int = 2  # the short part reads the first heads' columns of the cache
    hash_bits: int = 64  # ETA: bits of a fingerprint
    hashes: int = 24  # SDIM: hash functions
    bits_per_hash: int = 3  # SDIM
    max_positions: int = 1000

    @property
    def head_width(self) -> int:
        return self.d_model // self.heads

    @property
    def recent_width(self) -> int:
        return self.recent_heads * self.head_width
