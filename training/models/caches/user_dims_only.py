"""The arm without a pool: user dims alone."""

from torch import Tensor

from models.caches.history_cache import Cached, HistoryCache
from models.caches.oracles import UserDimsOracle
from models.caches.shared_pool import SharedPool, user_bytes
from models.caches.user_head import UserHead
from models.compression import Compression
from models.embeddings import Embeddings
from models.oracle_math import Parameters


class UserDimsOnly(HistoryCache):
    """User dims in an attention head of their own, and nothing else."""

    def __init__(self, c: Compression, embedding: int, outputs: int):
        super().__init__()
        alone = Compression(slots=1, user_width=c.user_width, user_type=c.user_type)
        self.shared = SharedPool(alone, embedding, 1, outputs, embedding)  # its pool stays unused
        for part in (self.shared.pool_key, self.shared.pool_value, *self.shared.router.parameters()):
            part.requires_grad_(False)

    @property
    def user_head(self) -> UserHead:
        return self.shared.user_head

    def user_dims_holder(self) -> SharedPool | None:
        return self.shared.user_dims_holder()

    def forward(self, s: Tensor, x: Tensor | None = None) -> Cached:
        user_key, user_value = self.shared.user_dims(s).chunk(2, -1)
        return Cached(None, None, user_key, user_value)

    def row_bytes(self, model: Embeddings) -> int:
        return user_bytes(self.shared.compression)

    def oracle(self, parameters: Parameters, name: str) -> UserDimsOracle:
        return UserDimsOracle(parameters, f"{name}.shared", self.shared.compression, self.shared.quantised)
