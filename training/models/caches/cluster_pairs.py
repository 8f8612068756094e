"""Clusters of positions: pairs of the item's cluster and the event code's cluster."""

from torch import Tensor, nn


class ClusterPairs(nn.Module):
    """Two tables of a bundle. A record holds neither: a position's item and code tell its cluster."""

    def __init__(self, item: Tensor, code: Tensor, item_count: int, code_count: int):
        """`item` [items] are below `item_count`, `code` [codes] below `code_count`."""
        super().__init__()
        self.item_count, self.code_count = item_count, code_count
        self.register_buffer("item", item)
        self.register_buffer("code", code)

    @property
    def count(self) -> int:
        """The number of pairs."""
        return self.item_count * self.code_count

    def of(self, item: Tensor, code: Tensor) -> Tensor:
        """Returns the clusters of positions with these items and codes, in their shape."""
        return self.item[item] * self.code_count + self.code[code]
