"""TWIN: the search unit and the attention share their parameters. Source: arXiv 2302.02352."""

from torch import Tensor

from models.families.one_cache import OneCacheFamily
from models.families.target import SEARCHED_CLUSTERS, TargetAttention, TargetOracle
from models.graphs.builder import Graph
from models.graphs.rows import Rows
from models.oracle_math import Vector


class Twin(TargetAttention):
    """The search scores a position by the attention's own query: the sum over heads of their inner products."""

    searches = True

    def search_scores(self, item: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return query @ key.mT

    def write_search_scores(self, g: Graph, rows: Rows, item: str) -> str:
        return rows.products(g, item, "search_query", self.query)


class TwinOracle(TargetOracle):
    def scores(self, keys: list[Vector], query: Vector, item: Vector) -> list[float]:
        return [query @ key for key in keys]


TWIN = OneCacheFamily(
    name="twin",
    title="TWIN",
    bundle_family="twin",
    description="TWIN: target attention over the positions that its own scores keep",
    attention=Twin,
    attention_oracle=TwinOracle,
    reads_clusters=True,
    explains=True,
    clusters=SEARCHED_CLUSTERS,
)
