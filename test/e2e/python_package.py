"""Uses the installed package as a backend does, and prints what it found as JSON.

python test/e2e/python_package.py RANKING_ADDRESS UPDATER_ADDRESS
"""

import json
import sys
import time

from collectivekv import CkvError, Client, Interaction, RankRequest

RANKING, UPDATER = sys.argv[1:3]
USER = "py-package"
CANDIDATES = ["i0001", "i0002", "i0003"]


def failure(call) -> dict:
    try:
        call()
    except CkvError as error:
        return {"reason": error.reason, "field": error.field, "message": str(error)}
    return {}


with Client(RANKING, UPDATER) as kv:
    history = [Interaction(f"i{i + 1:04d}", user_id=USER, timestamp_ms=1_700_000_000_000 + i) for i in range(20)]
    keyed = kv.record_interactions(history, idempotency_key="é-key")
    again = kv.record_interactions(history, idempotency_key="é-key")
    many = kv.record_interactions([Interaction("i0001", user_id=f"many-{i}") for i in range(1_001)])
    request = RankRequest(
        USER, CANDIDATES, candidate_features={"freshness": [0.1, 0.5, 0.9]}, context_features={"hour": 3}
    )
    ranking = kv.rank(request, timeout_s=10)
    until = time.monotonic() + 60
    while ranking.info.position_count < 20 and time.monotonic() < until:
        ranking = kv.rank(request, timeout_s=10)
    streamed = [one.scores for one in kv.rank_stream([request, request], timeout_s=10)]
    recent = kv.rank(RankRequest(USER, CANDIDATES, recent_interactions=[Interaction("i0007", action="like")]))
    unknown = failure(lambda: kv.rank(RankRequest(USER, CANDIDATES, candidate_features={"nope": [1, 2, 3]})))
with Client("127.0.0.1:1", "127.0.0.1:1") as nobody:
    away = failure(lambda: nobody.rank(RankRequest(USER, CANDIDATES), timeout_s=2))
with Client(UPDATER, RANKING) as swapped:
    other = failure(lambda: swapped.rank(RankRequest(USER, CANDIDATES), timeout_s=2))
print(
    json.dumps(
        {
            "keyed": keyed,
            "again": again,
            "manyCount": len(set(many)),
            "scores": ranking.scores,
            "ranked": [one.item_id for one in ranking.ranked],
            "positions": ranking.info.position_count,
            "rung": ranking.rung,
            "streamed": streamed,
            "merged": recent.info.merged_count,
            "failures": [unknown, away, other, failure(lambda: Client("http://ranking:50053"))],
        }
    )
)
