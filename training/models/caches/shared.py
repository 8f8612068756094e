"""The history cache of CollectiveKV."""

from models.caches.history_cache import NOT_SERVED
from models.caches.oracles import SharedOracle
from models.caches.shared_pool import SharedPool
from models.caches.shared_record import SharedRecord
from models.embeddings import Embeddings
from models.oracle_math import Parameters


class SharedKV(SharedPool):
    """Routes into a shared pool of keys and values, and user dims."""

    def record_layer(self, prefix: str, model: Embeddings) -> SharedRecord:
        if self.compression.share != "both":
            raise ValueError(NOT_SERVED)
        return SharedRecord(self, prefix)

    def oracle(self, parameters: Parameters, name: str) -> SharedOracle:
        return SharedOracle(parameters, name, self.compression, self.quantised)
