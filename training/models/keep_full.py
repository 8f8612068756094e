"""Full models in bundles: their caches take a form that records can hold."""

from models.families.registry import family_of
from models.ranker import Ranker

MOST_ITEMS = 65_536  # a route names no more


def keep_full(full: Ranker, kept: str) -> Ranker:
    """Returns the full model with a cache that records hold in the form `kept`, one of KEPT in caches/full.py.

    It shares the full model's parameters. Raises ValueError for a model whose positions attend to each other, and for
    more items than a route can name.
    """
    if kept == "interactions" and full.config.items > MOST_ITEMS:
        raise ValueError(
            f"{full.config.items} items, a record names at most {MOST_ITEMS}; keep keys and values instead"
        )
    return family_of(full).keep_full(full, kept).eval()
