"""Golden requests: whole requests from ids to scores."""

from torch import Tensor

from bundle.golden_drawer import GIVEN_DIGITS, Drawer, plural, score
from data.features import Feature
from data.history import Candidates, History
from models.ranker import Ranker

FIRST_INTERACTION_MS = 1_700_000_000_000


def served_cases(log_items: list[str], log_actions: list[str], draw: Drawer, longest: int) -> list[dict]:
    """Returns requests on histories of different lengths, at most `longest` positions, from ids to scores."""
    drawn = (("cold user", 0, {}), ("1 interaction", 1, {}),
             ("50 interactions, one of an unknown item, one of an unknown action", 50, {"unknown": True}),
             (plural(min(300, longest), "interaction"), min(300, longest), {}))  # fmt: skip
    cases = []
    for name, count, options in drawn:
        history = draw.history(count, **options)
        if history.item.shape[1] < min(count, draw.model.config.max_positions):
            name = f"{name}; {history.item.shape[1]} clear of ties"
        cases.append(served_case(log_items, log_actions, draw.model, name, history, draw.candidates(history, 30)))
    # A feature that a request does not give has its default.
    history = draw.history(20, defaults=True)
    candidates = draw.candidates(history, 10, unknown=True, defaults=True)
    case = served_case(
        log_items, log_actions, draw.model, "features left out, an unknown candidate", history, candidates
    )
    for interaction in case["interactions"]:
        interaction["features"] = {}
    return [*cases, case | {"candidateFeatures": {}, "contextFeatures": {}}]


def served_case(
    items: list[str], actions: list[str], model: Ranker, name: str, history: History, candidates: Candidates
) -> dict:
    c = model.config

    def named(wanted: list[Feature], values: Tensor) -> dict:
        return {f.name: round(value, GIVEN_DIGITS) for f, value in zip(wanted, values.tolist())}

    interactions = [
        {
            "itemId": items[item] or "not-in-the-catalogue",
            "action": actions[action] or "not-in-the-vocabulary",
            "timestampMs": FIRST_INTERACTION_MS + 60_000 * i,
            "features": named(c.interaction_features, history.features[0, i]),
        }
        for i, (item, action) in enumerate(zip(history.item[0].tolist(), history.action[0].tolist()))
    ]
    columns = candidates.features[0].T.tolist()
    return {
        "name": name,
        "interactions": interactions,
        "candidateIds": [items[item] or "not-in-the-catalogue" for item in candidates.item[0].tolist()],
        "candidateFeatures": {
            f.name: [round(x, GIVEN_DIGITS) for x in xs] for f, xs in zip(c.candidate_features, columns)
        },
        "contextFeatures": named(c.context_features, candidates.context[0, 0]),
        "scores": score(model, history, candidates).tolist(),
    }
