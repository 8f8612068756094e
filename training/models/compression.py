"""How keys and values are shared."""

from dataclasses import dataclass

CODES = 256  # entries of a codebook: one byte


@dataclass
class Compression:
    """The settings of a conversion to CollectiveKV. docs/quality.md measures the defaults."""

    slots: int = 10_000  # rows of the pool
    user_width: int = 2  # dims of a user key, and of a user value; 0: no user dims
    tied: bool = True  # one route for key and value
    share: str = "both"  # both, keys or values: the pool holds this part; the other part is kept in full
    user_form: str = "own_head"  # own_head: an attention head over the user dims; last_head: last columns of K and V
    user_type: str = "codebook"  # int8, float16 or codebook: one code of 256 for user key and value together
    key_weight: float = 1.0  # weight of the keys against the values in k-means
    gate: bool = False  # the published recipe: in training, sigmoid of the router's score scales the pool row
    balance: float = 1.0  # weight of the published recipe's balance loss
    peak: float = 0.01  # weight of the published recipe's peak loss
