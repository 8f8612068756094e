"""The client of CollectiveKV: rank candidates over a user's whole history, and record interactions."""

from collectivekv.client import Client
from collectivekv.errors import CkvError
from collectivekv.values import History, Interaction, RankedItem, Ranking, RankRequest, Rung

__all__ = [
    "CkvError",
    "Client",
    "History",
    "Interaction",
    "RankRequest",
    "RankedItem",
    "Ranking",
    "Rung",
]
